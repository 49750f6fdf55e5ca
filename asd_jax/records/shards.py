"""Clips -> features -> shards: each is some clips of one machine and split, in one file that is written at once."""

import dataclasses
import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from etils import epath

from asd_jax.base.errors import UserError
from asd_jax.base.files import write_atomically
from asd_jax.datasets.clips import Clip
from asd_jax.records.manifest import MachineRecords, Manifest
from asd_jax.records.store import SPLITS, UNLABELLED, features, partial_folder, shard_writer
from asd_jax.sound.audio import read_audio
from asd_jax.sound.kernels import half

_SHARD_CLIPS = 256


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
class ComputedClip:
    """A clip, its features [frames, ...] or the sentence why it is left out, and the recording's sample rate."""

    clip: Clip
    features: np.ndarray | None
    seconds: float
    left_out: str | None
    rate: int


def make_shards(manifest: Manifest, machine: MachineRecords, clips: Sequence[Clip]) -> list[Shard]:
    """Where the clips of a machine go. Shards of other clips or another preset never have the same folder."""
    what = hashlib.sha256(repr((machine.found, manifest.preset, manifest.dtype)).encode()).hexdigest()[:16]
    folder = partial_folder(manifest.data_dir, machine) / what
    shards = []
    for split in SPLITS:
        mine = [clip for clip in clips if clip.split == split]
        below = os.path.commonpath([os.path.dirname(os.path.abspath(clip.path)) for clip in mine]) if mine else ""
        for first in range(0, len(mine), _SHARD_CLIPS):
            path = folder / f"{split}-{first:08}.tfrecord"
            shards.append(Shard(path, split, first, tuple(mine[first : first + _SHARD_CLIPS]), below))
    return shards


def compute_clip(clip: Clip, manifest: Manifest) -> ComputedClip:
    """The features of a clip as they are stored."""
    preset, statistics = manifest.preset, manifest.wave_statistics(clip.machine_type)
    rates: Counter[int] = Counter()
    try:
        wave = read_audio(clip.path, preset.sample_rate, clip.channel, rates)
        exact = preset.compute(wave, clip.path, statistics)
        stored = half(exact) if manifest.dtype == "float16" else exact
        return ComputedClip(clip, stored, len(wave) / preset.sample_rate, None, *rates)
    except UserError as error:
        return ComputedClip(clip, None, 0.0, str(error), 0)


def write_shard(manifest: Manifest, shard: Shard) -> None:
    """Computes and writes one shard and then its summary; several processes may do so at once, and again."""
    write(manifest, shard, (compute_clip(clip, manifest) for clip in shard.clips), lambda: None)


def write(manifest: Manifest, shard: Shard, results: Iterable[ComputedClip], tick: Callable[[], object]) -> None:
    """Writes the results of one shard's clips, in their order, and then its summary; calls `tick` after every clip."""
    serialize = features(manifest.preset, manifest.dtype).serialize_example
    stored, seconds, left_out, rates, frames = 0, 0.0, [], Counter(), Counter()
    with shard_writer(shard.path) as writer:
        for index, (expected, result) in enumerate(zip(shard.clips, results, strict=True), shard.first):
            clip = result.clip
            if clip != expected:
                raise RuntimeError(f"the features of {clip.path} came where that of {expected.path} is stored")
            if result.left_out:
                left_out.append(result.left_out)
            else:
                example = {
                    "features": result.features,
                    "label": UNLABELLED if clip.label is None else clip.label,
                    "name": os.path.relpath(clip.path, shard.folder),
                    "part": clip.part,
                    "domain": clip.domain,
                    "attributes": clip.attributes,
                    "index": index,
                }
                writer.write(serialize(example))
                stored, seconds = stored + 1, seconds + result.seconds
                rates[result.rate] += 1
                frames[f"{clip.split} {clip.domain}"] += len(result.features)
            tick()
    summary = {"clips": stored, "seconds": seconds, "left_out": left_out, "rates": rates, "frames": frames}
    write_atomically(shard.summary, json.dumps(summary))
