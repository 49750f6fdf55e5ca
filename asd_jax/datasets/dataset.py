"""What is known of a data set: how its recordings lie on disk, what is published of it, how it is measured."""

import dataclasses
from collections.abc import Callable, Mapping

from asd_jax.datasets.clips import Clip
from asd_jax.measures.challenge import Measures
from asd_jax.measures.file_names import ScoreFiles

MachineCounts = tuple[int, int, int]
"""Training, normal test and anomalous test clips."""

RowKey = tuple[str, str, str, str]
"""(machine type, machine ID, part, domain), where the domain is empty in a data set that knows none."""


@dataclasses.dataclass(frozen=True)
class MadeUpClip:
    """One recording of a made-up machine.

    Attributes:
        machine_type, machine_id, part, domain, split, label: as those of `Clip`.
        counter: among the clips that have all of the above.
        number: among the test clips of both labels.
    """

    machine_type: str
    machine_id: str
    part: str
    domain: str
    split: str
    label: int
    counter: int
    number: int

    @property
    def is_labelled(self) -> bool:
        """Whether the name of its file may hold the label."""
        return (self.part, self.split) != ("eval", "test")

    @property
    def label_word(self) -> str:
        """As names have it."""
        return "anomaly" if self.label else "normal"


@dataclasses.dataclass(frozen=True)
class MadeUp:
    """How a made-up data set of a layout lies on disk.

    Attributes:
        domains: that every machine has.
        name: clip -> its file, and file -> the row about the clip in that list of labels.
    """

    domains: tuple[str, ...]
    name: Callable[[MadeUpClip], tuple[str, dict[str, str]]]


@dataclasses.dataclass(frozen=True)
class Dataset:
    """One layout of recordings; every file of this package that holds one gives it as `DATASET`.

    Attributes:
        name: as on the command line.
        list_clips: (raw_dir, *, machine_types, groups, misfits) -> the clips, from their names alone.
        mono: whether all clips are mono, of the features' sample rate, and of one length within a machine.
        by_domain: whether clips are of two domains, which are counted apart.
        other_sounds: the machine type that stands for recordings of no machine; empty for data sets of machines.
        machine_types: those that are published.
        counts: the published numbers of clips.
        seconds: machine type -> the published length of a clip.
        archives: (part, split) -> the archive that holds it, but for the machine type.
        score_files: how the files of its test clips' scores are called.
        measures: what is measured of such files, and the official score.
        expected: where a challenge's clips lie, for people; empty where the layout is not a challenge's.
        made_up: how a made-up data set of this layout lies on disk; None where there is none.
        tells_untaken: whether listing the clips already says what recordings are not taken.
    """

    name: str
    list_clips: Callable[..., list[Clip]]
    mono: bool = False
    by_domain: bool = False
    score_files: ScoreFiles = ScoreFiles(paths=True)
    measures: Measures = Measures()
    other_sounds: str = ""
    machine_types: tuple[str, ...] = ()
    counts: Mapping[RowKey, MachineCounts] = dataclasses.field(default_factory=dict)
    seconds: Mapping[str, float] = dataclasses.field(default_factory=dict)
    archives: Mapping[tuple[str, str], str] = dataclasses.field(default_factory=dict)
    expected: str = ""
    made_up: MadeUp | None = None
    tells_untaken: bool = False


def flat_counts(by_part: Mapping[str, Mapping], domain: str = "") -> dict[RowKey, MachineCounts]:
    """Part -> machine type -> machine ID -> counts, as one table."""
    return {
        (machine_type, machine_id, part, domain): counts
        for part, types in by_part.items()
        for machine_type, ids in types.items()
        for machine_id, counts in ids.items()
    }
