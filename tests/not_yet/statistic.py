"""A method without weights and steps: mean and deviation of the log-mel bands, whose backend does the rest."""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp
import numpy as np

from asd_jax.methods import Recipe
from asd_jax.methods.recipe import InlierChoice, key


@dataclasses.dataclass(frozen=True)
class Statistic:
    """Bands' means and deviations over a window."""

    window: int

    def init(self, key):
        return {}, {}

    def outputs(self, params, batch_stats, windows, product):
        windows = windows.astype(jnp.float32)
        return {"embedding": jnp.concatenate([windows.mean(1), windows.std(1)], -1)}

    def starts(self, frames):
        return np.arange(0, frames - self.window + 1, self.window)


@dataclasses.dataclass(frozen=True)
class StatisticRecipe(Recipe):
    """Nearest neighbours among all training clips."""

    method: str = "statistic"
    title: ClassVar[str] = "statistics of the sound, and the nearest of the healthy ones"
    window: int = key(32, within=(2, 10**4))
    inlier: str = key("nearest")

    @property
    def sampler(self):
        return None

    @property
    def inlier_choice(self):
        return InlierChoice(self.inlier, 1)

    def build(self, machines, classes):
        return Statistic(self.window)
