"""What is known of a data set: how its recordings lie on disk, what is published of it, and whose sounds it holds."""

import dataclasses
from collections.abc import Callable, Mapping

from asd_jax.datasets.clips import Clip

MachineCounts = tuple[int, int, int]
"""Training, normal test and anomalous test clips."""

RowKey = tuple[str, str, str, str]
"""(machine type, machine ID, part, domain), where the domain is empty in a data set that knows none."""


@dataclasses.dataclass(frozen=True)
class Dataset:
    """One layout of recordings; every file of this package that holds one gives it as `DATASET`.

    Attributes:
        name: as on the command line.
        list_clips: (raw_dir, *, machine_types, groups, misfits) -> the clips, from their names alone.
        mono: whether all clips are mono, of the features' sample rate, and of one length within a machine.
        by_domain: whether rows and score files are of one domain, named as the challenge of 2021 does.
        other_sounds: the machine type that stands for recordings of no machine; empty for data sets of machines.
        machine_types: those that are published.
        counts: the published numbers of clips.
        seconds: machine type -> the published length of a clip.
        archives: (part, split) -> the archive that holds it, but for the machine type.
        expected: where a challenge's clips lie, for people; empty where the layout is not a challenge's.
        tells_untaken: whether listing the clips already says what recordings are not taken.
    """

    name: str
    list_clips: Callable[..., list[Clip]]
    mono: bool = False
    by_domain: bool = False
    other_sounds: str = ""
    machine_types: tuple[str, ...] = ()
    counts: Mapping[RowKey, MachineCounts] = dataclasses.field(default_factory=dict)
    seconds: Mapping[str, float] = dataclasses.field(default_factory=dict)
    archives: Mapping[tuple[str, str], str] = dataclasses.field(default_factory=dict)
    expected: str = ""
    tells_untaken: bool = False


def flat_counts(by_part: Mapping[str, Mapping], domain: str = "") -> dict[RowKey, MachineCounts]:
    """Part -> machine type -> machine ID -> counts, as one table."""
    return {
        (machine_type, machine_id, part, domain): counts
        for part, types in by_part.items()
        for machine_type, ids in types.items()
        for machine_id, counts in ids.items()
    }
