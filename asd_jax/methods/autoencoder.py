"""The reconstruction baseline of paper 1: what an autoencoder of normal sound cannot reproduce is anomalous.

A window of a few frames is one vector; its anomaly score is the mean squared error, averaged over the windows of a
clip.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from asd_jax.models.autoencoder import DenseAutoencoder


@dataclasses.dataclass(frozen=True)
class Autoencoder:
    """The network and its error.

    Attributes:
        network: maps vectors [batch, window * n_mels] to their reconstructions.
        window: frames of a window (5).
        n_mels: mel bands of a frame.
        hop: frames from one window of a clip to the next (1).
    """

    network: DenseAutoencoder
    window: int
    n_mels: int
    hop: int = 1

    def init(self, key: jax.Array) -> tuple[dict, dict]:
        """Fresh parameters and batch statistics."""
        variables = self.network.init(key, jnp.zeros((1, self.window * self.n_mels)), train=False)
        return variables["params"], variables["batch_stats"]

    def loss(
        self, params: dict, batch_stats: dict, batch: dict, key: jax.Array, progress: jax.Array
    ) -> tuple[jax.Array, tuple[dict, dict]]:
        """Mean squared error of the reconstructions; see `Method`. Nothing in the step is random."""
        del key, progress
        x = _vectors(batch["log_mel"])
        variables = {"params": params, "batch_stats": batch_stats}
        y, updated = self.network.apply(variables, x, train=True, mutable=["batch_stats"])
        return jnp.mean((y - x) ** 2), (updated["batch_stats"], {})

    def outputs(self, params: dict, batch_stats: dict, log_mels: jax.Array, product: jax.Array) -> dict[str, jax.Array]:
        """The "score" [batch] of windows [batch, frames, mels]: their mean squared errors."""
        del product
        x = _vectors(log_mels)
        y = self.network.apply({"params": params, "batch_stats": batch_stats}, x, train=False)
        return {"score": jnp.mean((y - x) ** 2, axis=-1)}

    def starts(self, frames: int) -> np.ndarray:
        """Every window of a clip."""
        return np.arange(0, frames - self.window + 1, self.hop)


def _vectors(log_mels: jax.Array) -> jax.Array:
    return log_mels.astype(jnp.float32).reshape(len(log_mels), -1)
