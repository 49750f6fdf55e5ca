"""Clips -> features -> records: on all cores, with bounded memory, going on where a killed run stopped."""

import dataclasses
import itertools
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from asd_jax.base import locks
from asd_jax.base.errors import UserError
from asd_jax.base.progress import tqdm
from asd_jax.base.stored_json import read_json
from asd_jax.base.threads import map_ahead
from asd_jax.datasets.clips import Clip, Machine
from asd_jax.records import shards
from asd_jax.records.manifest import (
    MachineRecords,
    Manifest,
    TypeStatistics,
    check_preset,
    read_manifest,
    write_manifest,
)
from asd_jax.records.plan import Plan, make_plan
from asd_jax.records.shards import Shard
from asd_jax.records.store import SPLITS, no_space_reported, partial_folder, store_machine
from asd_jax.records.wave_statistics import measure
from asd_jax.sound.audio import low_rates_warning
from asd_jax.sound.presets import find_preset


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
    """Stores the features of all clips; machines that are stored already, from the same clips, are kept.

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
    plan = make_plan(_open(data_dir, preset_name, dtype), clips, dataset, say)
    to_write, manifest = plan.to_write, plan.manifest
    total = sum(len(shard.clips) for mine in plan.shards.values() for shard in mine)
    computed = sum(len(shard.clips) for shard in to_write)
    left_out = [sentence for machine in plan.already_there for sentence in manifest.machines[machine].left_out]
    with no_space_reported(data_dir):
        manifest = _standardised(plan, workers)
        for shard in to_write:
            shard.summary.unlink(missing_ok=True)  # is left where a killed run has moved the shard already
        if write_elsewhere:
            write_elsewhere(manifest, to_write)
            to_write = []
        with (
            ThreadPoolExecutor(workers) as pool,
            tqdm(total=total, initial=total - computed, unit="clips", smoothing=0, disable=not to_write) as bar,
        ):
            unread = (clip for shard in to_write for clip in shard.clips)
            results = map_ahead(pool, 2 * workers, lambda clip: shards.compute_clip(clip, manifest), unread)
            for machine in plan.shards:
                for shard in plan.missing[machine] if to_write else ():
                    shards.write(manifest, shard, itertools.islice(results, len(shard.clips)), bar.update)
                manifest, sentences = _commit(manifest, plan.found[machine], plan.shards[machine])
                left_out += sentences
        write_manifest(manifest)
    machines = tuple(machine for machine in plan.found if machine in manifest.machines)
    return Prepared(manifest, machines, plan.already_there, tuple(left_out), computed)


def _open(data_dir: str, preset_name: str, dtype: str) -> Manifest:
    """What is stored already; where that is nothing, an empty manifest."""
    preset, manifest = find_preset(preset_name), read_manifest(data_dir)
    if manifest is None:
        return Manifest(os.fspath(data_dir), preset, dtype, {})
    check_preset(manifest, preset_name)
    if manifest.dtype != dtype:
        raise UserError(
            f"{data_dir} holds features as {manifest.dtype}, not {dtype}: name that dtype or another data_dir."
        )
    return manifest


def _standardised(plan: Plan, workers: int) -> Manifest:
    """Measures the machine types that have other training clips now; what the older ones standardised is unlisted."""
    manifest = plan.manifest
    measured = {name: statistics.found for name, statistics in manifest.statistics.items()}
    stale = {name: mine for name, mine in plan.training.items() if plan.digests[name] != measured.get(name)}
    stored = [machine for machine in manifest.machines if machine[0] in stale]
    if kept := [machine for machine in stored if machine not in plan.found]:
        raise UserError(
            f"{manifest.data_dir} holds {'/'.join(kept[0])}, standardised by other training clips of {kept[0][0]} than "
            "are found now: prepare all machine IDs of a type from one raw folder, or into another data_dir."
        )
    new = {
        name: TypeStatistics(wave, plan.digests[name])
        for name, wave in measure(manifest.preset, stale, workers).items()
    }
    machines = {machine: one for machine, one in manifest.machines.items() if machine not in stored}
    manifest = dataclasses.replace(manifest, machines=machines, statistics={**manifest.statistics, **new})
    if stored:
        write_manifest(manifest)
    return manifest


def _commit(
    manifest: Manifest, machine: MachineRecords, finished_shards: Sequence[Shard]
) -> tuple[Manifest, list[str]]:
    """Puts the finished shards of a machine where they are read.

    Returns the manifest that lists it, and why clips are left out.
    """
    kind = {"clips": int, "seconds": float, "left_out": list[str]}
    kind |= dict.fromkeys(("rates", "frames"), dict[str, int] | None)  # summaries of before have none
    if gone := [shard.path for shard in finished_shards if not shard.is_complete()]:
        raise UserError(
            f"{gone[0]} was written and is gone: another preparation uses {manifest.data_dir} at the same time: "
            "run the command again when that has ended."
        )
    summaries = [read_json(shard.summary, kind, "delete it and run the command again") for shard in finished_shards]
    left_out = [sentence for summary in summaries for sentence in summary["left_out"]]
    finished: dict[str, list] = {}
    for shard, summary in zip(finished_shards, summaries, strict=True):
        if summary["clips"]:
            finished.setdefault(shard.split, []).append((shard.path, summary["clips"]))
    if machine.machine in manifest.machines:
        others = {key: one for key, one in manifest.machines.items() if key != machine.machine}
        manifest = dataclasses.replace(manifest, machines=others)
        write_manifest(manifest)  # before its older records go
    if finished:
        store_machine(manifest, machine, finished)
        stored = dataclasses.replace(
            machine,
            clips={split: sum(count for _, count in files) for split, files in finished.items()},
            seconds=sum(summary["seconds"] for summary in summaries),
            left_out=tuple(left_out),
            rates=_sum(summary["rates"] for summary in summaries),
            frames=_sum(summary["frames"] for summary in summaries),
        )
        manifest = dataclasses.replace(manifest, machines={**manifest.machines, machine.machine: stored})
        write_manifest(manifest)
        partial_folder(manifest.data_dir, machine).rmtree()
    return manifest, left_out


def _sum(counts: Iterable[Mapping[str, int] | None]) -> dict[str, int] | None:
    counts = list(counts)
    return None if None in counts else dict(sum(map(Counter, counts), Counter()))


def prepared_lines(prepared: Prepared) -> list[str]:
    """A table with one line a machine type."""
    lines = [f"{'machine type':<20}{'machines':>9}{'train':>8}{'test':>8}{'seconds':>11}"]
    mine = [prepared.manifest.machines[machine] for machine in prepared.machines]
    for machine_type, group in itertools.groupby(mine, key=lambda machine: machine.machine_type):
        group = list(group)
        train, test = (sum(machine.clips.get(split, 0) for machine in group) for split in SPLITS)
        seconds = sum(machine.seconds for machine in group)
        lines.append(f"{machine_type:<20}{len(group):>9}{train:>8}{test:>8}{seconds:>11.0f}")
    rates = _sum(machine.rates or {} for machine in mine)
    low = low_rates_warning({int(rate): count for rate, count in rates.items()}, prepared.manifest.preset.sample_rate)
    return [*lines, f"Warning: {low}"] if low else lines
