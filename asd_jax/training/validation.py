"""The validation loss of a training, by which its best epoch is kept (paper 2, section III)."""

import functools
from collections.abc import Callable

import jax
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from asd_jax.devices.mesh import put, put_everywhere
from asd_jax.devices.steps import State, keep_best, output_step
from asd_jax.methods import Recipe, Validated
from asd_jax.models.norms import DATA
from asd_jax.training.clip_features import ClipFeatures
from asd_jax.training.windows import window_batches


class Validation:
    """Windows of every held-back clip of the targets, and of as many of the held-back outliers, if there are any."""

    def __init__(
        self,
        recipe: Recipe,
        method: Validated,
        target: ClipFeatures,
        outliers: ClipFeatures,
        products: np.ndarray,
        mesh: jax.sharding.Mesh,
    ) -> None:
        """`products` [target clips] says which product each clip is of."""
        # Evenly over the outliers' machines; some twice where they are fewer than the targets' clips.
        chosen = np.linspace(0, len(outliers), len(target) if len(outliers) else 0, endpoint=False).astype(int)
        of_clip = np.concatenate([products, np.full(len(chosen), -1, np.int32)])
        clips = (features for part in (target, outliers.select(chosen)) for features in part)
        batches = list(window_batches(clips, recipe.window, method.validation_starts, recipe.batch_size))
        self.batches = [(windows, of_clip[owners]) for windows, owners in batches]
        self.valid = np.concatenate([owners >= 0 for _, owners in batches])
        self.product = np.concatenate([product for _, product in self.batches])[self.valid]
        self.mesh, self.outputs, self.loss = mesh, output_step(mesh, method), _loss(method)
        self.every = recipe.validation_epochs

    def is_due(self, done: int, epoch_steps: int, num_steps: int) -> bool:
        """Whether to measure after so many steps: every `validation_epochs` epochs, and at the end."""
        return done % (epoch_steps * self.every) == 0 or done == num_steps

    def losses(self, states: State) -> np.ndarray:
        """The loss [runs] that every run has now."""
        rows = NamedSharding(self.mesh, P(DATA))
        outputs = [
            jax.device_get(self.outputs(states, put(windows, rows), put(product, rows)))
            for windows, product in self.batches
        ]
        outputs = jax.tree.map(lambda *x: np.concatenate(x, axis=1)[:, self.valid], *outputs)
        return jax.device_get(self.loss(*jax.device_put((outputs, self.product))))

    def keep_best(self, states: State, losses: np.ndarray) -> State:
        """The states, whose weights are the best ones where their losses [runs] are smaller than any before."""
        return keep_best(self.mesh)(states, put_everywhere(self.mesh, losses))


@functools.cache
def _loss(method: Validated) -> Callable:
    return jax.jit(jax.vmap(method.validation_loss, in_axes=(0, None)))
