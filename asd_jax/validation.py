"""The validation loss of a training, by which its best epoch is kept (paper 2, section III)."""

import jax
import ml_collections
import numpy as np

from asd_jax import parallel
from asd_jax.input_pipeline import LogMels
from asd_jax.methods import Validated
from asd_jax.scoring import window_batches


class Validation:
    """The first window of every held-back clip of the targets, and as many of the held-back outliers."""

    def __init__(
        self,
        config: ml_collections.ConfigDict,
        method: Validated,
        target: LogMels,
        outliers: LogMels,
        products: np.ndarray,
        mesh: jax.sharding.Mesh,
    ) -> None:
        """`products` [target clips] says which product each clip is of."""
        # Evenly over the outliers' machines; some twice where they are fewer than the targets' clips.
        chosen = np.linspace(0, len(outliers), len(target), endpoint=False).astype(int)
        self.product = np.concatenate([products, np.full(len(chosen), -1, np.int32)])
        clips = (log_mel for part in (target, outliers.select(chosen)) for log_mel in part)
        first = lambda frames: np.zeros(1, int)  # noqa: E731
        self.batches = [windows for windows, _ in window_batches(clips, config.window, first, config.batch_size)]
        self.outputs = parallel.output_step(mesh, method.outputs)
        self.loss = jax.jit(jax.vmap(method.validation_loss, in_axes=(0, None)))
        self.every = config.validation_epochs
        self.keep_best = parallel.keep_best(mesh)

    def is_due(self, done: int, epoch_steps: int, num_steps: int) -> bool:
        """Whether to measure after so many steps: every `validation_epochs` epochs, and at the end."""
        return done % (epoch_steps * self.every) == 0 or done == num_steps

    def losses(self, states: parallel.State) -> np.ndarray:
        """The loss [runs] that every run has now."""
        outputs = [jax.device_get(self.outputs(states, windows)) for windows in self.batches]
        outputs = jax.tree.map(lambda *x: np.concatenate(x, axis=1)[:, : len(self.product)], *outputs)
        return np.asarray(self.loss(outputs, self.product))
