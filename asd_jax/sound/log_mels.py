"""Waveform -> log-mel spectrogram, as librosa computes it, on all cores."""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from asd_jax.base.errors import UserError
from asd_jax.sound import kernels
from asd_jax.sound.features import FeaturePreset, WaveStatistics

if TYPE_CHECKING:
    import jax


@dataclasses.dataclass(frozen=True, kw_only=True)
class LogMels(FeaturePreset):
    """How log-mels [frames, mels] are computed.

    The waveform is standardised, cut into centred frames (reflect padding), and the power in every mel band given in
    decibel: 10 log10(power), cut off `top_db` below the clip's maximum (papers 1 and 2; released code of paper 1 for
    what its text leaves open). Equals
    `librosa.power_to_db(librosa.feature.melspectrogram(..., pad_mode="reflect"))` within 1e-3 dB.

    Attributes:
        n_fft: samples of a frame (Hann window); a power of two from 4 to 4096.
        n_mels: mel bands (slaney scale, area-normalised).
        fmin: lower edge of the lowest band, Hz.
        fmax: upper edge of the highest band, Hz.
        amin: power below which the logarithm is cut off.
        top_db: how far below its own maximum a clip is cut off, dB; None: not at all.
    """

    n_fft: int
    n_mels: int
    fmin: float
    fmax: float
    amin: float = 1e-10
    top_db: float | None = 80.0

    @property
    def frame_shape(self) -> tuple[int]:
        """The mel bands."""
        return (self.n_mels,)

    def frames(self, samples: int) -> int:
        """Centred on every `hop`-th sample."""
        return 1 + samples // self.hop

    def samples(self, frames: int) -> int:
        """At least as many as one frame takes."""
        return max((frames - 1) * self.hop, self.n_fft)

    def compute(self, wave: np.ndarray, name: str, statistics: WaveStatistics | None = None) -> np.ndarray:
        """The log-mel of one clip; see `FeaturePreset`."""
        if self.standardise == "type" and statistics is None:
            raise ValueError(f"preset {self.name!r} standardises by machine type, whose statistics are missing")
        if len(wave) < self.n_fft:
            raise UserError(
                f"{name} is too short: it has {len(wave)} samples at {self.sample_rate} Hz and one frame of preset "
                f"{self.name!r} takes {self.n_fft}; leave it out."
            )
        standardise = {"clip": _own_std, "type": lambda _: statistics, "none": lambda _: WaveStatistics(0.0, 1.0)}
        by = standardise[self.standardise](wave)
        mel_power = kernels.mel_power(self.sample_rate, self.n_fft, self.hop, self.n_mels, self.fmin, self.fmax)
        with np.errstate(divide="ignore", invalid="ignore"):  # reported below
            decibel = mel_power(wave, by.mean, np.float64(1) / by.std**2, self.amin)
            np.log10(decibel, out=decibel)
        decibel *= 10
        if not np.isfinite(highest := decibel.max()):  # the largest of some values is NaN where one of them is
            raise UserError(
                f"{name} has log-mels that are not finite: its samples differ by too little, or are too large, to "
                "compute with; replace it or leave it out."
            )
        return decibel if self.top_db is None else np.maximum(decibel, highest - self.top_db, out=decibel)

    def compute_on_device(self, waves: "jax.Array", statistics: WaveStatistics | None) -> "jax.Array":
        """See `device_log_mels`."""
        from asd_jax.sound import device_log_mels  # preparing needs no JAX

        return device_log_mels.compute(self, waves, statistics)

    def picture(self, features: np.ndarray) -> tuple[np.ndarray, "LogMels"]:
        """Log-mels are what they look like."""
        return features.astype(np.float32), self


def _own_std(wave: np.ndarray) -> WaveStatistics:
    """The waveform's own standard deviation; its mean stays."""
    return WaveStatistics(0.0, np.sqrt(kernels.moments(wave)[1] / len(wave)))
