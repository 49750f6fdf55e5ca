"""Paper 1: a ResNet that separates one machine's normal sound from proxy outliers (Primus et al., DCASE 2020 workshop).

Each batch holds as many windows of the target machine's normal clips as of the outlier set, labelled 0 and 1. The
network is trained by binary cross-entropy; its logit, averaged over the windows of a clip, is the anomaly score.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax

from asd_jax.models.resnet import ResNet


@dataclasses.dataclass(frozen=True)
class ProxyOutlier:
    """The network and what is done with its logit.

    Attributes:
        network: maps log-mels [batch, frames, mels] to logits [batch].
        window: frames of a window (paper 1: 256).
        n_mels: mel bands of a frame.
        hop: frames from one scored window of a clip to the next (paper 1: 1).
    """

    network: ResNet
    window: int
    n_mels: int
    hop: int = 1

    def init(self, key: jax.Array) -> tuple[dict, dict]:
        """Fresh parameters and batch statistics."""
        # One window is enough to give the shapes; evaluation mode needs no mesh axis to average over.
        variables = self.network.init(key, jnp.zeros((1, self.window, self.n_mels)), train=False)
        return variables["params"], variables["batch_stats"]

    def loss(
        self, params: dict, batch_stats: dict, batch: dict, key: jax.Array, progress: jax.Array
    ) -> tuple[jax.Array, tuple[dict, dict]]:
        """Mean binary cross-entropy of a batch; the two classes share one forward pass and its batch statistics.

        See `Method`; nothing in paper 1's step is random. The metrics are the mean logits of the normal and of the
        outlier windows.
        """
        del key, progress
        variables = {"params": params, "batch_stats": batch_stats}
        logits, updated = self.network.apply(variables, batch["log_mel"], train=True, mutable=["batch_stats"])
        logits, label = logits.astype(jnp.float32), (batch["product"] < 0).astype(jnp.float32)
        # Each class is half of the whole batch, but not of the rows on one device: hence twice the mean, no quotient.
        metrics = {
            "normal_score": 2 * jnp.mean(logits * (1 - label)),
            "outlier_score": 2 * jnp.mean(logits * label),
        }
        return optax.sigmoid_binary_cross_entropy(logits, label).mean(), (updated["batch_stats"], metrics)

    def outputs(self, params: dict, batch_stats: dict, log_mels: jax.Array, product: jax.Array) -> dict[str, jax.Array]:
        """The "score" [batch] of windows [batch, frames, mels]: their logits."""
        del product
        logits = self.network.apply({"params": params, "batch_stats": batch_stats}, log_mels, train=False)
        return {"score": logits.astype(jnp.float32)}

    def starts(self, frames: int) -> np.ndarray:
        """Every window of a clip (section 3)."""
        return np.arange(0, frames - self.window + 1, self.hop)
