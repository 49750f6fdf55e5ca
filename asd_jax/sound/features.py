"""Waveform -> log-mel spectrogram, as librosa computes it, on all cores; and the feature presets."""

import dataclasses

import numpy as np

from asd_jax.base.errors import UserError
from asd_jax.sound import kernels


@dataclasses.dataclass(frozen=True)
class FeaturePreset:
    """How log-mels are computed.

    Attributes:
        name: its key in `PRESETS`.
        sample_rate: in Hz.
        n_fft: samples of a frame (Hann window); a power of two from 4 to 4096.
        hop: samples from one frame to the next.
        n_mels: mel bands (slaney scale, area-normalised).
        fmin: lower edge of the lowest band, Hz.
        fmax: upper edge of the highest band, Hz.
        amin: power below which the logarithm is cut off.
        top_db: how far below its own maximum a clip is cut off, dB; None: not at all.
        standardise: the waveform; "clip": divided by its own standard deviation, its mean stays; "type": mean 0 and
            variance 1 over the training clips of its machine type; "none": it stays as it is.
    """

    name: str
    sample_rate: int
    n_fft: int
    hop: int
    n_mels: int
    fmin: float
    fmax: float
    amin: float = 1e-10
    top_db: float | None = 80.0
    standardise: str = "clip"


PRESETS = {
    "paper1": FeaturePreset("paper1", sample_rate=16000, n_fft=1024, hop=512, n_mels=128, fmin=0.0, fmax=8000.0),
    "paper2": FeaturePreset(
        "paper2",
        sample_rate=16000,
        n_fft=2048,
        hop=256,
        n_mels=224,
        fmin=50.0,
        fmax=7800.0,
        top_db=None,
        standardise="type",
    ),
    # Of the challenge's official autoencoder.
    "dcase2020_baseline": FeaturePreset(
        "dcase2020_baseline",
        sample_rate=16000,
        n_fft=1024,
        hop=512,
        n_mels=128,
        fmin=0.0,
        fmax=8000.0,
        amin=2.220446049250313e-16,
        top_db=None,
        standardise="none",
    ),
}


@dataclasses.dataclass(frozen=True)
class WaveStatistics:
    """Mean and standard deviation of the samples of some waveforms together."""

    mean: float
    std: float


def find_preset(name: str) -> FeaturePreset:
    """The preset of that name; a UserError lists those there are."""
    if name not in PRESETS:
        raise UserError(f"No feature preset is called {name!r}: expected one of {', '.join(PRESETS)}.")
    return PRESETS[name]


def compile_kernels(preset_name: str) -> None:
    """What the first clip would wait for; on disk from then on, where it can be kept."""
    preset = find_preset(preset_name)
    statistics = WaveStatistics(0.0, 1.0) if preset.standardise == "type" else None
    wave = np.random.default_rng(0).normal(size=4 * preset.n_fft).astype(np.float32)
    kernels.half(log_mels(preset, wave, "noise", statistics))


def log_mels(
    preset: FeaturePreset, wave: np.ndarray, name: str, statistics: WaveStatistics | None = None
) -> np.ndarray:
    """The log-mel spectrogram of one clip (papers 1 and 2; released code of paper 1 for what its text leaves open).

    The waveform is standardised, cut into centred frames (reflect padding), and the power in every mel band given in
    decibel: 10 log10(power), cut off `top_db` below the clip's maximum. Equals
    `librosa.power_to_db(librosa.feature.melspectrogram(..., pad_mode="reflect"))` within 1e-3 dB.

    May be called from many threads at once, which is the way to use all cores.

    Args:
        preset: how.
        wave: [samples], at `preset.sample_rate`.
        name: what to call the clip in an error.
        statistics: of the training clips of its machine type; used where the preset standardises by "type".

    Returns:
        float32 [frames, mels], frames = 1 + samples // hop.

    Raises:
        UserError: the clip is shorter than one frame, or its log-mels would not be finite.
        ValueError: the preset needs statistics and there are none.
    """
    if preset.standardise == "type" and statistics is None:
        raise ValueError(f"preset {preset.name!r} standardises by machine type, whose statistics are missing")
    if len(wave) < preset.n_fft:
        raise UserError(
            f"{name} is too short: it has {len(wave)} samples at {preset.sample_rate} Hz and one frame of preset "
            f"{preset.name!r} takes {preset.n_fft}; leave it out."
        )
    standardise = {"clip": _own_std, "type": lambda _: statistics, "none": lambda _: WaveStatistics(0.0, 1.0)}
    by = standardise[preset.standardise](wave)
    mel_power = kernels.mel_power(preset.sample_rate, preset.n_fft, preset.hop, preset.n_mels, preset.fmin, preset.fmax)
    with np.errstate(divide="ignore", invalid="ignore"):  # told below
        decibel = mel_power(wave, by.mean, np.float64(1) / by.std**2, preset.amin)
        np.log10(decibel, out=decibel)
    decibel *= 10
    if not np.isfinite(highest := decibel.max()):  # the largest of some values is NaN where one of them is
        raise UserError(
            f"{name} has log-mels that are not finite: its samples differ by too little, or are too large, to compute "
            "with; replace it or leave it out."
        )
    return decibel if preset.top_db is None else np.maximum(decibel, highest - preset.top_db, out=decibel)


def _own_std(wave: np.ndarray) -> WaveStatistics:
    """The waveform's own standard deviation; its mean stays."""
    return WaveStatistics(0.0, np.sqrt(kernels.moments(wave)[1] / len(wave)))
