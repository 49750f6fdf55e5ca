"""Paper 1: a ResNet that separates one machine's normal sound from proxy outliers (Primus et al., DCASE 2020 workshop).

Each batch holds as many windows of the target machine's normal clips as of the outlier set, labelled 0 and 1. The
network is trained by binary cross-entropy; its logit, averaged over the windows of a clip, is the anomaly score.
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax

from asd_jax.methods import recipe
from asd_jax.methods.recipe import OUTLIER_SETS, HalfOutliers, key
from asd_jax.models.norms import DATA
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
        logits, updated = self.network.apply(variables, batch["features"], train=True, mutable=["batch_stats"])
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


@dataclasses.dataclass(frozen=True)
class Network:
    """Keys of `ResNet`."""

    blocks: tuple[int, ...] = key((4, 4, 4), within=(1, 50), length=3)  # residual blocks per stage
    width: int = key(64, within=(1, 2**14))  # channels of the first stage
    fixup: bool = key(False)  # initialise as the released code does


@dataclasses.dataclass(frozen=True)
class Recipe(recipe.Recipe):
    """The values of the paper's text."""

    method: str = "proxy_outlier"
    title: ClassVar[str] = "a ResNet that separates the machine's normal sound from other sounds (proxy outliers)"

    # Data
    machine_type: str = key("", needed=True)
    machine_id: str = key("", needed=True)
    # a: same type, b: other types of the recording group, c: a and b, d: other groups, all; e: TAU 2020, f: AudioSet
    outlier_set: str = key("c", among=OUTLIER_SETS)
    num_outliers: int | None = key(None, within=(1, 10**9))  # how many clips of the set; None: all
    outlier_crop: str = key("random", among=("random", "last"))  # which window of a clip of e or f is shown
    held_back: int = key(0, within=(0, 10**6))  # normal clips kept from training, to set a decision threshold; paper: 0
    window: int = key(256, within=(17, 10**4))  # frames

    network: Network = Network()

    # Training
    batch_size: int = key(64, within=(2, 2**20))  # half normal, half outliers
    learning_rate_decay: float = key(0.99, within=(1e-3, 1))  # factor per epoch
    beta2: float = key(0.99, within=(0, 1))  # Adam

    # Scoring
    score_hop: int = key(1, within=(1, 10**6))  # frames between a clip's windows; 15 costs 15 times less, scores alike

    @property
    def sampler(self) -> HalfOutliers:
        """Half of the windows are outliers."""
        return HalfOutliers(self.outlier_set, self.num_outliers, self.outlier_crop == "last")

    def build(self, machines: int, classes: int) -> ProxyOutlier:
        """The detector of one machine."""
        del machines, classes
        network = ResNet(**vars(self.network), dtype=jnp.dtype(self.precision), axis_name=DATA)
        return ProxyOutlier(network, self.window, self.n_mels, self.score_hop)
