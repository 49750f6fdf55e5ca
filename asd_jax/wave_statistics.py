"""Mean and standard deviation of the training waveforms of each machine type, on all cores."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tqdm

from asd_jax.audio import read_audio
from asd_jax.clips import Clip
from asd_jax.errors import UserError
from asd_jax.features import FeaturePreset, WaveStatistics
from asd_jax.kernels import power_sums
from asd_jax.threads import map_ahead


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
    sums = {machine_type: np.zeros(3) for machine_type in training}
    with (
        ThreadPoolExecutor(workers) as pool,
        tqdm.tqdm(total=len(clips), desc="measuring", unit="clips", smoothing=0, disable=not clips) as bar,
    ):
        results = map_ahead(pool, 2 * workers, lambda clip: _power_sums(clip.path, preset.sample_rate), clips)
        for clip, result in zip(clips, results, strict=True):
            sums[clip.machine_type] += result
            bar.update()
    return {machine_type: _statistics(preset, machine_type, *sums[machine_type]) for machine_type in training}


def _power_sums(path: str, sample_rate: int) -> tuple[float, float, float]:
    """Of the samples of one clip: how many, their sum, and that of their squares."""
    try:
        wave = read_audio(path, sample_rate)
    except UserError:
        return 0.0, 0.0, 0.0
    return len(wave), *power_sums(wave)


def _statistics(preset: FeaturePreset, machine_type: str, count: float, total: float, power: float) -> WaveStatistics:
    if not count:
        raise UserError(
            f"{machine_type} has no training clip that can be read, and preset {preset.name!r} standardises waveforms "
            "by the training clips of their machine type: add some, leave that machine type out or name another preset."
        )
    mean = total / count
    return WaveStatistics(float(mean), float(np.sqrt(power / count - mean**2)))
