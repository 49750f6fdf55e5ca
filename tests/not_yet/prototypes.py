"""A method of waveforms: one network of all machine types at once, whose classes are the clips' attributes."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax

from asd_jax.methods import Recipe
from asd_jax.methods.recipe import EveryWindow, OneCycle, key
from asd_jax.sound.features import FeaturePreset
from asd_jax.sound.presets import PRESETS


@dataclasses.dataclass(frozen=True, kw_only=True)
class Samples(FeaturePreset):
    """The waveform itself: a frame is a sample."""

    hop: int = 1
    standardise: str = "none"

    @property
    def frame_shape(self):
        return ()

    def frames(self, samples):
        return samples

    def samples(self, frames):
        return frames

    def compute(self, wave, name, statistics=None):
        return np.asarray(wave, np.float32)

    def compute_on_device(self, waves, statistics):
        return waves

    def picture(self, features):
        log_mels = PRESETS["dcase2020_baseline"]
        return log_mels.compute(features, "the excerpt"), log_mels


SAMPLES = Samples(name="samples", sample_rate=16000)


@dataclasses.dataclass(frozen=True)
class Prototypes:
    """A spectrum for each class; the score is the distance to the nearest of them."""

    classes: int
    window: int

    def init(self, key):
        return {"spectra": 1e-3 * jax.random.normal(key, (self.classes, self.window // 2 + 1))}, {}

    def _distances(self, params, windows):
        spectrum = jnp.abs(jnp.fft.rfft(windows * np.hanning(self.window).astype(np.float32)))
        spectrum /= jnp.linalg.norm(spectrum, axis=-1, keepdims=True)
        return jnp.square(spectrum[:, None] - params["spectra"]).sum(-1)

    def loss(self, params, batch_stats, batch, key, progress):
        distances = self._distances(params, batch["features"])
        own = jnp.take_along_axis(distances, batch["class"][:, None], 1).mean()
        surprise = optax.softmax_cross_entropy_with_integer_labels(-distances, batch["class"]).mean()
        return own + surprise, (batch_stats, {"surprise": surprise})

    def outputs(self, params, batch_stats, windows, product):
        return {"score": self._distances(params, windows).min(-1)}

    def starts(self, frames):
        return np.arange(0, frames - self.window + 1, self.window)


@dataclasses.dataclass(frozen=True)
class PrototypesRecipe(Recipe):
    """All machines of all types at once, nothing held back."""

    method: str = "prototypes"
    title: ClassVar[str] = "a spectrum for each way of running"
    frame_rank: ClassVar[int] = 0
    features: str = key("samples", among=PRESETS)
    window: int = key(512, within=(16, 10**4))

    @property
    def sampler(self):
        return EveryWindow(self.window)

    @property
    def schedule(self):
        return OneCycle(self.learning_rate)

    def class_of(self, clip):
        return "/".join((*clip.machine, clip.attributes))

    def build(self, machines, classes):
        return Prototypes(classes, self.window)
