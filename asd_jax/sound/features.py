"""What features are: numbers of every short frame of a recording, by a preset that says how they are computed."""

import abc
import dataclasses
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import jax

    from asd_jax.sound.log_mels import LogMels


@dataclasses.dataclass(frozen=True)
class WaveStatistics:
    """Mean and standard deviation of the samples of some waveforms together."""

    mean: float
    std: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class FeaturePreset(abc.ABC):
    """How the features [frames, ...] of a waveform are computed; every kind of features is a class of its own.

    Attributes:
        name: its key in `PRESETS`.
        sample_rate: in Hz.
        hop: samples from one frame to the next.
        standardise: the waveform; "clip": divided by its own standard deviation, its mean stays; "type": mean 0 and
            variance 1 over the training clips of its machine type; "none": it stays as it is.
    """

    name: str
    sample_rate: int
    hop: int
    standardise: str = "clip"

    @property
    @abc.abstractmethod
    def frame_shape(self) -> tuple[int, ...]:
        """What a frame holds: (mels,) of log-mels, () where it is one number."""

    @abc.abstractmethod
    def frames(self, samples: int) -> int:
        """How many frames a waveform of so many samples has."""

    @abc.abstractmethod
    def samples(self, frames: int) -> int:
        """How many samples the shortest waveform has that gives so many frames."""

    @abc.abstractmethod
    def compute(self, wave: np.ndarray, name: str, statistics: WaveStatistics | None = None) -> np.ndarray:
        """The features of one clip, on the host.

        May be called from many threads at once, which is the way to use all cores.

        Args:
            wave: [samples], at `sample_rate`.
            name: what to call the clip in an error.
            statistics: of the training clips of its machine type; used where the preset standardises by "type".

        Returns:
            float32 [frames, *frame_shape].

        Raises:
            UserError: the clip is too short, or its features would not be finite.
            ValueError: the preset needs statistics and there are none.
        """

    @abc.abstractmethod
    def compute_on_device(self, waves: "jax.Array", statistics: WaveStatistics | None) -> "jax.Array":
        """The same of waveforms [batch, samples], each long enough, as a part of a JAX program, in float32."""

    @abc.abstractmethod
    def picture(self, features: np.ndarray) -> "tuple[np.ndarray, LogMels]":
        """A log-mel [frames, mels] of features, to be looked at, and the preset that it is of."""
