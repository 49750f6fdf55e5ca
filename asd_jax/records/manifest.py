"""What a folder of prepared data holds: the preset of its features, and its machines."""

import dataclasses
import difflib
import functools
import importlib.metadata
import json
import os
from collections.abc import Iterable, Mapping
from typing import Literal

from etils import epath

from asd_jax.base.errors import UserError
from asd_jax.base.files import write_atomically
from asd_jax.base.stored_json import parse_json
from asd_jax.datasets.clips import Machine
from asd_jax.sound.features import FeaturePreset, WaveStatistics
from asd_jax.sound.presets import PRESETS, find_preset

_PACKAGES = ("asd_jax", "jax", "librosa", "numpy", "soundfile", "soxr", "tensorflow-datasets")


@dataclasses.dataclass(frozen=True)
class MachineRecords:
    """What is stored of one machine.

    Attributes:
        dataset: the layout that its clips were found in, such as "dcase2020".
        group: recording group.
        parts: of the challenge, among "dev" and "eval".
        domains: among "source" and "target".
        clips: split -> number of stored clips.
        seconds: of all stored clips together.
        left_out: one sentence for each clip that could not be used.
        found: digest of the clips that were found in the raw folder.
        channel: of its recordings, from 0; the mean over all where None.
        rates: sample rate of the recordings -> number of stored clips; None where older data do not say it.
        frames: "<split> <domain>" -> frames of its features together; None where older data do not say it.
    """

    dataset: str
    machine_type: str
    machine_id: str
    group: str
    parts: tuple[str, ...]
    domains: tuple[str, ...]
    clips: Mapping[str, int]
    seconds: float
    left_out: tuple[str, ...]
    found: str
    channel: int | None = None
    rates: Mapping[str, int] | None = None
    frames: Mapping[str, int] | None = None

    @property
    def machine(self) -> Machine:
        return self.machine_type, self.machine_id


@dataclasses.dataclass(frozen=True)
class TypeStatistics:
    """What the waveforms of a machine type are standardised by.

    Attributes:
        wave: of all samples of its training clips.
        found: digest of these clips.
    """

    wave: WaveStatistics
    found: str


@dataclasses.dataclass(frozen=True)
class Manifest:
    """The content of `data_dir/manifest.json`, which lists a machine once its records are complete.

    Attributes:
        data_dir: the folder.
        preset: how the features were computed.
        dtype: "float16" or "float32".
        machines: what is stored, by (machine type, machine ID).
        statistics: by machine type; empty where the preset does not standardise by it.
    """

    data_dir: str
    preset: FeaturePreset
    dtype: str
    machines: dict[Machine, MachineRecords]
    statistics: dict[str, TypeStatistics] = dataclasses.field(default_factory=dict)

    def find(self, machine: Machine) -> MachineRecords:
        """What is stored of one machine; a UserError says what is there instead."""
        if machine in self.machines:
            return self.machines[machine]
        there = {machine_type for machine_type, _ in self.machines}
        if machine[0] not in there:
            raise self._not_there("machine type", machine[0], there)
        there = {machine_id for machine_type, machine_id in self.machines if machine_type == machine[0]}
        raise self._not_there(f"machine ID of {machine[0]}", machine[1], there)

    def wave_statistics(self, machine_type: str) -> WaveStatistics | None:
        """For `FeaturePreset.compute`, as this machine type's clips were prepared; None where the preset takes none.

        Raises:
            UserError: clips of another machine type were prepared.
        """
        if self.preset.standardise != "type":
            return None
        if machine_type not in self.statistics:
            raise self._not_there("machine type", machine_type, self.statistics)
        return self.statistics[machine_type].wave

    def _not_there(self, what: str, asked: str, there: Iterable[str]) -> UserError:
        there = sorted(there)
        near = difflib.get_close_matches(asked, there, 1)
        return UserError(
            f"{self.data_dir} holds no {what} {asked!r}: {', '.join(there)} are there; "
            + (f"did you mean {near[0]!r}?" if near else "name one of these or prepare it.")
        )


def read_manifest(data_dir: str) -> Manifest | None:
    """Reads the manifest; None where there is none or it lists no machine.

    Raises:
        UserError: it is something else.
    """
    path = _path(data_dir)
    if not path.exists():
        return None
    kind = {"machines": list[MachineRecords], "dtype": Literal["float16", "float32"]}
    kind["statistics"] = dict[str, TypeStatistics] | None  # older manifests have none
    wrong = f"{path} is not a manifest of prepared data", f"delete {data_dir} and prepare again"
    content = parse_json(path.read_bytes(), kind | {"preset": {"name": str}}, *wrong)
    name = content["preset"]["name"]
    if name not in PRESETS:
        raise UserError(
            f"{data_dir} holds features of preset {name!r}, and there are {', '.join(PRESETS)}: name another data_dir."
        )
    preset = parse_json(json.dumps(content["preset"]), type(PRESETS[name]), *wrong)
    if not content["machines"]:
        return None
    machines = {entry.machine: entry for entry in content["machines"]}
    statistics = content["statistics"] or {}
    return Manifest(os.fspath(data_dir), preset, content["dtype"], machines, statistics)


def write_manifest(manifest: Manifest) -> None:
    """Replaces the manifest, at once for every reader."""
    content = {
        "preset": dataclasses.asdict(manifest.preset),
        "dtype": manifest.dtype,
        "versions": _versions(),
        "statistics": {name: dataclasses.asdict(entry) for name, entry in sorted(manifest.statistics.items())},
        "machines": [dataclasses.asdict(manifest.machines[machine]) for machine in sorted(manifest.machines)],
    }
    write_atomically(_path(manifest.data_dir), json.dumps(content, indent=1))


def check_preset(manifest: Manifest, preset_name: str) -> None:
    """Refuses a preset that differs from the stored one."""
    asked, stored = find_preset(preset_name), manifest.preset
    if stored.name != asked.name:
        raise UserError(
            f"{manifest.data_dir} holds features of preset {stored.name!r}, not {asked.name!r}: "
            "name that preset or another data_dir."
        )
    for field in dataclasses.fields(asked):
        now, then = getattr(asked, field.name), getattr(stored, field.name)
        if now != then:
            raise UserError(
                f"{manifest.data_dir} was prepared with {field.name}={then}, and preset {asked.name!r} now has {now}: "
                "prepare into another data_dir."
            )


@functools.cache
def _versions() -> dict[str, str]:
    return {package: importlib.metadata.version(package) for package in _PACKAGES}


def _path(data_dir: str) -> epath.Path:
    return epath.Path(data_dir) / "manifest.json"
