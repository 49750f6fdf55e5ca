"""How a challenge's files of anomaly scores are called."""

import dataclasses
import re


@dataclasses.dataclass(frozen=True)
class ScoreFiles:
    """The names of a challenge's score files, `anomaly_score_<machine type>_<name>.csv`.

    Attributes:
        name: with "{id}" for the machine ID, and "{domain}" where every domain has its own file.
        clips: how the names of a file's clips begin; as `name` where empty.
        place: the heads of the columns of a file of results that say which score file a row is of.
        paths: whether clips are called by their paths, not by their names alone.
    """

    name: str = "id_{id}"
    clips: str = ""
    place: tuple[str, ...] = ("id",)
    paths: bool = False

    @property
    def by_domain(self) -> bool:
        """Whether every domain has its own file."""
        return "{domain}" in self.name

    @property
    def expected(self) -> str:
        """For people."""
        return f"anomaly_score_<type>_{self.name.format(id='<ID>', domain='<source|target>')}.csv"

    def file(self, what: str, machine_type: str, machine_id: str, domain: str | None = None) -> str:
        """The file of "anomaly_score" or "decision_result" of the test clips of a machine, and of a domain."""
        return f"{what}_{machine_type}_{self.name.format(id=machine_id, domain=domain)}.csv"

    def parse(self, file: str) -> tuple[str, str, str | None] | None:
        """Machine type, machine ID and domain of a score file; None where the name is another one."""
        pattern = self.name.format(id="(?P<id>.+)", domain="(?P<domain>source|target)")
        match = re.fullmatch(rf"anomaly_score_(?P<type>.+)_{pattern}\.csv", file)
        return match and (match["type"], match["id"], match.groupdict().get("domain"))

    def clips_begin(self, machine_id: str, domain: str | None) -> str:
        """How the names of the clips of one file begin."""
        return (self.clips or f"{self.name}_").format(id=machine_id, domain=domain)
