"""Clips -> log-mels -> records: on all cores, with bounded memory, going on where a killed run stopped."""

import dataclasses
import hashlib
import itertools
import json
import os
import shlex
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from etils import epath

from asd_jax import locks, records
from asd_jax.audio import low_rates_told, read_audio
from asd_jax.clips import Clip, Machine
from asd_jax.errors import UserError
from asd_jax.features import find_preset, log_mels
from asd_jax.files import write_atomically
from asd_jax.kernels import half
from asd_jax.manifest import (
    MachineRecords,
    Manifest,
    TypeStatistics,
    check_preset,
    read_manifest,
    write_manifest,
)
from asd_jax.outliers import is_machine
from asd_jax.progress import tqdm
from asd_jax.stored_json import read_json
from asd_jax.threads import map_ahead
from asd_jax.wave_statistics import measure

_SHARD_CLIPS = 256


@dataclasses.dataclass(frozen=True)
class Prepared:
    """What a run did.

    Attributes:
        manifest: all that is stored now.
        machines: those asked for, except machines without a usable clip.
        already_there: those among them that were complete before.
        left_out: one sentence for each clip that could not be used, also of earlier runs.
        computed: number of clips read in this run.
    """

    manifest: Manifest
    machines: tuple[Machine, ...]
    already_there: tuple[Machine, ...]
    left_out: tuple[str, ...]
    computed: int


@dataclasses.dataclass(frozen=True)
class Shard:
    """Some clips of one machine and split, one file.

    Attributes:
        path: the file.
        split: "train" or "test".
        first: place of its first clip among all of the machine and split.
        clips: in the order in which they are stored.
        folder: clips are called by their path below it: two of one name in two folders stay apart.
    """

    path: epath.Path
    split: str
    first: int
    clips: Sequence[Clip]
    folder: str

    @property
    def summary(self) -> epath.Path:
        """Written after the shard: number of clips, seconds, clips left out."""
        return self.path.with_suffix(".json")

    def is_complete(self) -> bool:
        return self.summary.exists() and self.path.exists()  # a killed run may have moved the shard already


@dataclasses.dataclass(frozen=True)
class _Result:
    """A clip, its log-mel [frames, mels] or the sentence why it is left out, and the recording's sample rate."""

    clip: Clip
    log_mel: np.ndarray | None
    seconds: float
    left_out: str | None
    rate: int


def prepare(
    clips: Sequence[Clip],
    data_dir: str,
    dataset: str,
    preset_name: str,
    dtype: str = "float16",
    workers: int | None = None,
    say: Callable[[str], None] = print,
    write_elsewhere: Callable[[Manifest, Sequence[Shard]], None] | None = None,
) -> Prepared:
    """Stores the log-mels of all clips; machines that are stored already, from the same clips, are kept.

    Args:
        clips: what to store.
        data_dir: where to; holds one feature preset and any number of machines.
        dataset: the layout that the clips were found in.
        preset_name: a key of `PRESETS`.
        dtype: "float16" (rounds by up to 0.04 dB) or "float32".
        workers: threads that read audio and compute features; one for each core where None.
        say: where sentences about the progress go.
        write_elsewhere: calls `write_shard` for every shard that is missing, on other machines; the threads of this
            process compute them where None.

    Raises:
        UserError: data_dir holds another preset, dtype, or a machine of another data set; a machine's clips are of
            several channels; another process prepares into it; no space left. Where the preset standardises by machine
            type also: one has no training clip that can be read, or it has other training clips than those that
            standardised a stored machine which is not among these clips.
    """
    with locks.held(data_dir, "preparation"):
        return _prepare(clips, data_dir, dataset, preset_name, dtype, workers or os.cpu_count(), say, write_elsewhere)


def _prepare(
    clips: Sequence[Clip],
    data_dir: str,
    dataset: str,
    preset_name: str,
    dtype: str,
    workers: int,
    say: Callable[[str], None],
    write_elsewhere: Callable[[Manifest, Sequence[Shard]], None] | None,
) -> Prepared:
    manifest = _open(data_dir, preset_name, dtype)
    by_machine: dict[Machine, list[Clip]] = {}
    training: dict[str, list[Clip]] = {}  # that standardise a machine type
    for clip in sorted(clips, key=lambda clip: (clip.machine, clip.split, clip.path)):
        by_machine.setdefault(clip.machine, []).append(clip)
        if manifest.preset.standardise == "type":
            training.setdefault(clip.machine_type, []).extend([clip] if clip.split == "train" else [])
    digests = {machine_type: _digest(mine) for machine_type, mine in training.items()}
    found = {machine: _as_found(dataset, mine, digests.get(machine[0], "")) for machine, mine in by_machine.items()}
    already_there = tuple(machine for machine in found if _is_there(manifest, found[machine], say))
    with records.no_space_told(data_dir):
        _update_statistics(manifest, training, digests, found, workers)
    todo = [machine for machine in found if machine not in already_there]
    shards = {machine: _shards(manifest, found[machine], by_machine[machine]) for machine in todo}
    # Asked once: where locks do not work, another process may finish a shard at any time; then both write the same.
    missing = {machine: [shard for shard in shards[machine] if not shard.is_complete()] for machine in todo}
    to_write = [shard for machine in todo for shard in missing[machine]]
    total, computed = sum(len(by_machine[machine]) for machine in todo), sum(len(shard.clips) for shard in to_write)
    left_out = [sentence for machine in already_there for sentence in manifest.machines[machine].left_out]
    for shard in to_write:
        shard.summary.unlink(missing_ok=True)  # is left where a killed run has moved the shard already
    if write_elsewhere:
        write_elsewhere(manifest, to_write)
        missing, to_write = {}, []
    with (
        records.no_space_told(data_dir),
        ThreadPoolExecutor(workers) as pool,
        tqdm(total=total, initial=total - computed, unit="clips", smoothing=0, disable=not to_write) as bar,
    ):
        unread = (clip for shard in to_write for clip in shard.clips)
        results = map_ahead(pool, 2 * workers, lambda clip: _compute(clip, manifest), unread)
        for machine in todo:
            for shard in missing.get(machine, ()):
                _write(manifest, shard, itertools.islice(results, len(shard.clips)), bar.update)
            left_out += _complete(manifest, found[machine], shards[machine])
        write_manifest(manifest)
    machines = tuple(machine for machine in found if machine in manifest.machines)
    return Prepared(manifest, machines, already_there, tuple(left_out), computed)


def _open(data_dir: str, preset_name: str, dtype: str) -> Manifest:
    """What is stored already; where that is nothing, an empty manifest."""
    preset, manifest = find_preset(preset_name), read_manifest(data_dir)
    if manifest is None:
        return Manifest(os.fspath(data_dir), preset, dtype, {})
    check_preset(manifest, preset_name)
    if manifest.dtype != dtype:
        raise UserError(
            f"{data_dir} holds log-mels as {manifest.dtype}, not {dtype}: name that dtype or another data_dir."
        )
    return manifest


def _digest(clips: Sequence[Clip], standardised_by: str = "") -> str:
    """Of the files and what is said of them, and of the clips that standardise them."""
    files = [(os.path.basename(clip.path), os.stat(clip.path)) for clip in clips]
    facts = [
        (clip.split, name, clip.label, clip.domain, clip.part, stat.st_size, int(stat.st_mtime))
        + (() if clip.channel is None else (clip.channel,))
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


def _shards(manifest: Manifest, machine: MachineRecords, clips: Sequence[Clip]) -> list[Shard]:
    """Where the clips of a machine go. Shards of other clips or another preset never have the same folder."""
    what = hashlib.sha256(repr((machine.found, manifest.preset, manifest.dtype)).encode()).hexdigest()[:16]
    folder = records.partial_folder(manifest.data_dir, machine) / what
    shards = []
    for split in records.SPLITS:
        mine = [clip for clip in clips if clip.split == split]
        below = os.path.commonpath([os.path.dirname(os.path.abspath(clip.path)) for clip in mine]) if mine else ""
        for first in range(0, len(mine), _SHARD_CLIPS):
            path = folder / f"{split}-{first:08}.tfrecord"
            shards.append(Shard(path, split, first, tuple(mine[first : first + _SHARD_CLIPS]), below))
    return shards


def _is_there(manifest: Manifest, found: MachineRecords, say: Callable[[str], None]) -> bool:
    """Whether the machine is stored from the clips that were found. A new recording group is taken over at once."""
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
    if not records.record_folder(manifest.data_dir, stored).exists():
        say(f"{name}: its records are gone, preparing it again")
        return False
    say(f"already there: {name}")
    manifest.machines[found.machine] = dataclasses.replace(stored, group=found.group)
    return True


def _update_statistics(
    manifest: Manifest,
    training: Mapping[str, Sequence[Clip]],
    digests: Mapping[str, str],
    machines: Collection[Machine],
    workers: int,
) -> None:
    """Measures the machine types that have other training clips now, and unlists what the older ones standardised."""
    measured = {name: statistics.found for name, statistics in manifest.statistics.items()}
    stale = {name: mine for name, mine in training.items() if digests[name] != measured.get(name)}
    stored = [machine for machine in manifest.machines if machine[0] in stale]
    if kept := [machine for machine in stored if machine not in machines]:
        raise UserError(
            f"{manifest.data_dir} holds {'/'.join(kept[0])}, standardised by other training clips of {kept[0][0]} than "
            "are found now: prepare all machine IDs of a type from one raw folder, or into another data_dir."
        )
    for name, wave in measure(manifest.preset, stale, workers).items():
        manifest.statistics[name] = TypeStatistics(wave, digests[name])
    for machine in stored:
        del manifest.machines[machine]
    if stored:
        write_manifest(manifest)


def _compute(clip: Clip, manifest: Manifest) -> _Result:
    preset, statistics = manifest.preset, manifest.wave_statistics(clip.machine_type)
    rates: Counter[int] = Counter()
    try:
        wave = read_audio(clip.path, preset.sample_rate, clip.channel, rates)
        log_mel = log_mels(preset, wave, clip.path, statistics)
        stored = half(log_mel) if manifest.dtype == "float16" else log_mel
        return _Result(clip, stored, len(wave) / preset.sample_rate, None, *rates)
    except UserError as error:
        return _Result(clip, None, 0.0, str(error), 0)


def write_shard(manifest: Manifest, shard: Shard) -> None:
    """Computes and writes one shard and then its summary; several processes may do so at once, and again."""
    _write(manifest, shard, (_compute(clip, manifest) for clip in shard.clips), lambda: None)


def _write(manifest: Manifest, shard: Shard, results: Iterable[_Result], tick: Callable[[], object]) -> None:
    """Writes the results of one shard's clips, in their order, and then its summary; calls `tick` after every clip."""
    serialize = records.features(manifest.preset, manifest.dtype).serialize_example
    stored, seconds, left_out, rates, frames = 0, 0.0, [], Counter(), Counter()
    with records.shard_writer(shard.path) as writer:
        for index, (expected, result) in enumerate(zip(shard.clips, results, strict=True), shard.first):
            clip = result.clip
            if clip != expected:
                raise RuntimeError(f"the log-mel of {clip.path} came where that of {expected.path} is stored")
            if result.left_out:
                left_out.append(result.left_out)
            else:
                example = {
                    "log_mel": result.log_mel,
                    "label": records.UNLABELLED if clip.label is None else clip.label,
                    "name": os.path.relpath(clip.path, shard.folder),
                    "part": clip.part,
                    "domain": clip.domain,
                    "index": index,
                }
                writer.write(serialize(example))
                stored, seconds = stored + 1, seconds + result.seconds
                rates[result.rate] += 1
                frames[f"{clip.split} {clip.domain}"] += len(result.log_mel)
            tick()
    summary = {"clips": stored, "seconds": seconds, "left_out": left_out, "rates": rates, "frames": frames}
    write_atomically(shard.summary, json.dumps(summary))


def _complete(manifest: Manifest, machine: MachineRecords, shards: Sequence[Shard]) -> list[str]:
    """Puts the finished shards of a machine where they are read, and lists them. Returns why clips are left out."""
    kind = {"clips": int, "seconds": float, "left_out": list[str]}
    kind |= dict.fromkeys(("rates", "frames"), dict[str, int] | None)  # summaries of before have none
    if gone := [shard.path for shard in shards if not shard.is_complete()]:
        raise UserError(
            f"{gone[0]} was written and is gone: another preparation uses {manifest.data_dir} at the same time: "
            "run the command again when that has ended."
        )
    summaries = [read_json(shard.summary, kind, "delete it and run the command again") for shard in shards]
    left_out = [sentence for summary in summaries for sentence in summary["left_out"]]
    finished: dict[str, list] = {}
    for shard, summary in zip(shards, summaries, strict=True):
        if summary["clips"]:
            finished.setdefault(shard.split, []).append((shard.path, summary["clips"]))
    if manifest.machines.pop(machine.machine, None):
        write_manifest(manifest)  # before its older records go
    if finished:
        records.store_machine(manifest, machine, finished)
        manifest.machines[machine.machine] = dataclasses.replace(
            machine,
            clips={split: sum(count for _, count in files) for split, files in finished.items()},
            seconds=sum(summary["seconds"] for summary in summaries),
            left_out=tuple(left_out),
            rates=_sum(summary["rates"] for summary in summaries),
            frames=_sum(summary["frames"] for summary in summaries),
        )
        write_manifest(manifest)
        records.partial_folder(manifest.data_dir, machine).rmtree()
    return left_out


def next_command(prepared: Prepared) -> str | None:
    """A training on these data, ready to copy; None where no machine has training clips."""
    manifest, groups = prepared.manifest, {m.machine: m.group for m in prepared.manifest.machines.values() if m.clips}
    mine = [m for m in prepared.machines if is_machine(m) and manifest.machines[m].clips.get("train")]
    if not mine:
        return None
    (machine_type, machine_id), name = mine[0], manifest.preset.name
    values = {"data_dir": manifest.data_dir, "machine_type": machine_type}
    if name == "paper2":
        recipe, folder = "multitask", machine_type
    else:
        recipe = "proxy_outlier" if name == "paper1" and len(groups) > 1 else "autoencoder"
        values, folder = values | {"machine_id": machine_id}, f"{machine_type}_{machine_id}"
    if recipe == "proxy_outlier":
        values["outlier_set"] = "all"
    overrides = " ".join(shlex.quote(f"--config.{key}={value}") for key, value in values.items())
    recipe += ".py:dcase2020_baseline" if name == "dcase2020_baseline" else ".py"
    return f"python tools/train.py --config=configs/{recipe} --workdir={shlex.quote(f'runs/{folder}')} {overrides}"


def _sum(counts: Iterable[Mapping[str, int] | None]) -> dict[str, int] | None:
    counts = list(counts)
    return None if None in counts else dict(sum(map(Counter, counts), Counter()))


def format_lines(prepared: Prepared) -> list[str]:
    """A table with one line a machine type."""
    lines = [f"{'machine type':<20}{'machines':>9}{'train':>8}{'test':>8}{'seconds':>11}"]
    mine = [prepared.manifest.machines[machine] for machine in prepared.machines]
    for machine_type, group in itertools.groupby(mine, key=lambda machine: machine.machine_type):
        group = list(group)
        train, test = (sum(machine.clips.get(split, 0) for machine in group) for split in records.SPLITS)
        seconds = sum(machine.seconds for machine in group)
        lines.append(f"{machine_type:<20}{len(group):>9}{train:>8}{test:>8}{seconds:>11.0f}")
    rates = _sum(machine.rates or {} for machine in mine)
    low = low_rates_told({int(rate): count for rate, count in rates.items()}, prepared.manifest.preset.sample_rate)
    return [*lines, f"Warning: {low}"] if low else lines
