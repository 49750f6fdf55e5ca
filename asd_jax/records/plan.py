"""What a preparation has to do, found without changing anything: which machines, in which shards."""

import dataclasses
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence

from asd_jax.base.errors import UserError
from asd_jax.datasets.clips import Clip, Machine
from asd_jax.records import shards
from asd_jax.records.manifest import MachineRecords, Manifest
from asd_jax.records.shards import Shard
from asd_jax.records.store import record_folder


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a run has to do; nothing is written yet.

    Attributes:
        manifest: what is stored, with the recording groups as they are found now.
        found: every machine that was found, in order.
        already_there: those that are stored from the same clips.
        shards: the files of every other machine.
        missing: those of them that are not finished.
        training: machine type -> the clips that standardise it, where the features are standardised by type.
        digests: of these clips.
    """

    manifest: Manifest
    found: Mapping[Machine, MachineRecords]
    already_there: tuple[Machine, ...]
    shards: Mapping[Machine, Sequence[Shard]]
    missing: Mapping[Machine, Sequence[Shard]]
    training: Mapping[str, Sequence[Clip]]
    digests: Mapping[str, str]

    @property
    def to_write(self) -> list[Shard]:
        """All missing shards."""
        return [shard for mine in self.missing.values() for shard in mine]


def make_plan(manifest: Manifest, clips: Sequence[Clip], dataset: str, say: Callable[[str], None]) -> Plan:
    """What has to be done to store the clips; the folder is looked at and nothing in it is changed."""
    by_machine: dict[Machine, list[Clip]] = {}
    training: dict[str, list[Clip]] = {}
    for clip in sorted(clips, key=lambda clip: (clip.machine, clip.split, clip.path)):
        by_machine.setdefault(clip.machine, []).append(clip)
        if manifest.preset.standardise == "type":
            training.setdefault(clip.machine_type, []).extend([clip] if clip.split == "train" else [])
    digests = {machine_type: _digest(mine) for machine_type, mine in training.items()}
    found = {machine: _as_found(dataset, mine, digests.get(machine[0], "")) for machine, mine in by_machine.items()}
    there = tuple(machine for machine in found if _is_there(manifest, found[machine], say))
    groups = {machine: dataclasses.replace(manifest.machines[machine], group=found[machine].group) for machine in there}
    manifest = dataclasses.replace(manifest, machines={**manifest.machines, **groups})
    all_shards = {
        machine: shards.make_shards(manifest, found[machine], mine)
        for machine, mine in by_machine.items()
        if machine not in there
    }
    # Asked once: where locks do not work, another process may finish a shard at any time; then both write the same.
    missing = {machine: [one for one in mine if not one.is_complete()] for machine, mine in all_shards.items()}
    return Plan(manifest, found, there, all_shards, missing, training, digests)


def _digest(clips: Sequence[Clip], standardised_by: str = "") -> str:
    """Of the files and what is said of them, and of the clips that standardise them."""
    files = [(os.path.basename(clip.path), os.stat(clip.path)) for clip in clips]
    facts = [
        (clip.split, name, clip.label, clip.domain, clip.part, stat.st_size, int(stat.st_mtime))
        + (() if clip.channel is None else (clip.channel,))
        + ((clip.attributes,) if clip.attributes else ())
        for clip, (name, stat) in zip(clips, files, strict=True)
    ]
    return hashlib.sha256((repr(facts) + standardised_by).encode()).hexdigest()[:16]


def _as_found(dataset: str, clips: Sequence[Clip], standardised_by: str) -> MachineRecords:
    """One machine as found; what its clips hold is not known yet."""
    if len(channels := {clip.channel for clip in clips}) > 1:
        raise UserError(
            f"The clips of {'/'.join(clips[0].machine)} are of several channels ({', '.join(map(str, channels))}): "
            "expected one for all recordings of a machine, as new ones will be scored by it."
        )
    return MachineRecords(
        dataset=dataset,
        machine_type=clips[0].machine_type,
        machine_id=clips[0].machine_id,
        group=clips[0].group,
        parts=tuple(sorted({clip.part for clip in clips})),
        domains=tuple(sorted({clip.domain for clip in clips})),
        clips={},
        seconds=0.0,
        left_out=(),
        found=_digest(clips, standardised_by),
        channel=clips[0].channel,
    )


def _is_there(manifest: Manifest, found: MachineRecords, say: Callable[[str], None]) -> bool:
    """Whether the machine is stored from the clips that were found."""
    stored, name = manifest.machines.get(found.machine), "/".join(found.machine)
    if stored is None:
        return False
    if stored.dataset != found.dataset:
        raise UserError(
            f"{manifest.data_dir} holds {name} of the data set {stored.dataset!r}, now it would be of "
            f"{found.dataset!r}: prepare into another data_dir."
        )
    if stored.found != found.found:
        say(f"{name}: the raw folder holds other clips than are stored, preparing it again")
        return False
    if not record_folder(manifest.data_dir, stored).exists():
        say(f"{name}: its records are gone, preparing it again")
        return False
    say(f"already there: {name}")
    return True
