"""Mean and standard deviation of the training waveforms of each machine type, on all cores."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from asd_jax.base.errors import UserError
from asd_jax.base.progress import tqdm
from asd_jax.base.threads import map_ahead
from asd_jax.datasets.clips import Clip
from asd_jax.sound.audio import read_audio
from asd_jax.sound.features import FeaturePreset, WaveStatistics
from asd_jax.sound.kernels import moments


def measure(preset: FeaturePreset, training: Mapping[str, Sequence[Clip]], workers: int) -> dict[str, WaveStatistics]:
    """Mean and standard deviation over all samples of a machine type's training clips (paper 2).

    Args:
        preset: whose sample rate the clips are read at.
        training: machine type -> clips; those that cannot be read are passed over.
        workers: threads that read audio.

    Raises:
        UserError: a machine type has no training clip that can be read.
    """
    clips = [clip for mine in training.values() for clip in mine]
    found = dict.fromkeys(training, _NOTHING)
    with (
        ThreadPoolExecutor(workers) as pool,
        tqdm(total=len(clips), desc="measuring", unit="clips", smoothing=0, disable=not clips) as bar,
    ):
        results = map_ahead(pool, 2 * workers, lambda clip: _moments(clip, preset.sample_rate), clips)
        for clip, result in zip(clips, results, strict=True):
            found[clip.machine_type] = _together(found[clip.machine_type], result)
            bar.update()
    return {machine_type: _statistics(preset, machine_type, found[machine_type]) for machine_type in training}


class _Moments(NamedTuple):
    """Of some samples: how many, their mean, and the sum of their squared deviations from it."""

    count: int
    mean: float
    squares: float


_NOTHING = _Moments(0, 0.0, 0.0)


def _moments(clip: Clip, sample_rate: int) -> _Moments:
    try:
        wave = read_audio(clip.path, sample_rate, clip.channel)
    except UserError:
        return _NOTHING
    return _Moments(len(wave), *moments(wave))


def _together(one: _Moments, other: _Moments) -> _Moments:
    """Of the samples of both."""
    if not (one.count and other.count):
        return one if one.count else other
    count, apart = one.count + other.count, other.mean - one.mean
    mean = one.mean + apart * other.count / count
    return _Moments(count, mean, one.squares + other.squares + apart**2 * one.count * other.count / count)


def _statistics(preset: FeaturePreset, machine_type: str, found: _Moments) -> WaveStatistics:
    if not found.count:
        raise UserError(
            f"{machine_type} has no training clip that can be read, and preset {preset.name!r} standardises waveforms "
            "by the training clips of their machine type: add some, leave that machine type out or name another preset."
        )
    return WaveStatistics(float(found.mean), float(np.sqrt(found.squares / found.count)))
