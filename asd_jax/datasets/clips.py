"""What each recording is. Every file of `datasets/` turns a folder into a list of these."""

import dataclasses
from collections.abc import Iterable

DOMAINS = ("source", "target")
"""Ways of running that training clips show often, and seldom."""

Machine = tuple[str, str]
"""(machine type, machine ID), such as ("fan", "00")."""


@dataclasses.dataclass(frozen=True, order=True)
class Clip:
    """One recording.

    Attributes:
        machine_type: "fan", "pump", ...
        machine_id: which individual machine; "00", "01", ... in DCASE.
        split: "train" or "test".
        path: the audio file, as found (relative to where the command runs, or absolute).
        label: 0 normal, 1 anomaly, None where nobody has said.
        domain: "source" or "target" (DCASE 2021); "source" where a data set knows no domains.
        part: "dev" or "eval", the challenge's development and evaluation parts.
        group: recording group: machines recorded with the same microphones and room, e.g. "MIMII".
        channel: of the file, from 0; the mean over all where None.
        attributes: of the operation and the surroundings, such as "car_A1_spd_28V"; empty where nothing is said.
    """

    machine_type: str
    machine_id: str
    split: str
    path: str
    label: int | None = None
    domain: str = "source"
    part: str = "dev"
    group: str = ""
    channel: int | None = None
    attributes: str = ""

    @property
    def machine(self) -> Machine:
        return self.machine_type, self.machine_id


def with_channel(clips: Iterable[Clip], channel: int | None) -> list[Clip]:
    """The clips, those that name no channel with this one."""
    return [dataclasses.replace(clip, channel=channel) if clip.channel is None else clip for clip in clips]


@dataclasses.dataclass(frozen=True)
class StoredClip:
    """What the records say of one clip, beside its features.

    Attributes:
        machine: (machine type, machine ID).
        name: its file, unique within its machine and split.
        label: 0 normal, 1 anomaly, -1 where nobody has said.
        domain: "source" or "target".
        part: "dev" or "eval".
        attributes: as those of `Clip`.
    """

    machine: Machine
    name: str
    label: int
    domain: str
    part: str
    attributes: str = ""
