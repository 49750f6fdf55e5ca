"""DDCSAD, a rival of paper 2: one network a product ID, by classification and by the distance to class centroids.

After Kuroyanagi et al., "Anomalous Sound Detection Using a Binary Classification Model and Class Centroids" (EUSIPCO
2021), of which the abstract and paper 2 give this much: positives are the ID's normal clips, negatives all other
machines; binary cross-entropy, and a metric loss that shrinks the distances within the two classes and widens those
between; the score is a weighted average of the predicted probability and the distance to the positive centroid.

Chosen here, since no code or formula is published: paper 2's encoder and segments; embeddings scaled to length 1; a
centroid is the running mean of its class, scaled to length 1; the metric loss is the mean squared distance to the own
centroid plus a hinge on the squared distance to the other one; both parts of the score lie between 0 and 1 and weigh
one half.
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax

from asd_jax.datasets.clips import DOMAINS
from asd_jax.methods import recipe
from asd_jax.methods.encoder import Network, build_encoder
from asd_jax.methods.recipe import OUTLIER_SETS, HalfOutliers, key
from asd_jax.methods.segments import segment_starts
from asd_jax.models.efficientnet import Encoder
from asd_jax.models.norms import mean_over_devices
from asd_jax.sound.presets import PRESETS

_MARGIN = 2.0
"""Squared distance beyond which a sample's other centroid is far enough: that of orthogonal vectors of length 1."""
_MOMENTUM = 0.9  # of the running means


@dataclasses.dataclass(frozen=True)
class Ddcsad:
    """The encoder, its losses, and its score.

    Attributes:
        network: maps log-mels [batch, frames, mels] to embeddings and one product logit.
        window: frames of a window.
        n_mels: mel bands of a frame.
        metric_weight: weight of the metric loss beside the cross-entropy.
        distance_weight: weight of the distance in the score; the probability has the rest.
    """

    network: Encoder
    window: int
    n_mels: int
    metric_weight: float = 1.0
    distance_weight: float = 0.5

    def init(self, key: jax.Array) -> tuple[dict, dict]:
        """Fresh parameters; batch statistics, with the centroids among them: [2, width], of positives and negatives."""
        log_mels = jnp.zeros((1, self.window, self.n_mels))
        outputs, variables = self.network.init_with_output(key, log_mels, train=False)
        centroids = jnp.zeros((2, outputs["embedding"].shape[-1]))
        return variables["params"], {"network": variables["batch_stats"], "centroids": centroids}

    def loss(
        self, params: dict, batch_stats: dict, batch: dict, key: jax.Array, progress: jax.Array
    ) -> tuple[jax.Array, tuple[dict, dict]]:
        """Cross-entropy plus metric loss; see `Method`. The centroids are of the batches before and of this one."""
        del progress
        outputs, updated = self.network.apply(
            {"params": params, "batch_stats": batch_stats["network"]},
            batch["features"],
            train=True,
            mutable=["batch_stats"],
            rngs={"dropout": key},
        )
        positive = (batch["product"] >= 0).astype(jnp.float32)
        embedding = _unit(outputs["embedding"])
        shares = jnp.stack([positive, 1 - positive])
        sums, counts = shares @ embedding, shares.sum(1)
        sums, counts = mean_over_devices((sums, counts), self.network.axis_name)
        means = sums / jnp.maximum(counts, 1e-6)[:, None]
        running = _MOMENTUM * batch_stats["centroids"] + (1 - _MOMENTUM) * jax.lax.stop_gradient(means)
        loss, metrics = self._losses(outputs["product"][:, 0], embedding, positive, running)
        return loss, ({"network": updated["batch_stats"], "centroids": running}, metrics)

    def _losses(
        self, logits: jax.Array, embedding: jax.Array, positive: jax.Array, centroids: jax.Array
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        cross_entropy = optax.sigmoid_binary_cross_entropy(logits, positive).mean()
        distances = _squared_distances(embedding, centroids)
        own = jnp.where(positive > 0, distances[:, 0], distances[:, 1])
        other = jnp.where(positive > 0, distances[:, 1], distances[:, 0])
        metric = jnp.mean(own + jnp.maximum(0.0, _MARGIN - other))
        return cross_entropy + self.metric_weight * metric, {"cross_entropy": cross_entropy, "metric_loss": metric}

    def validation_loss(self, outputs: dict[str, jax.Array], product: np.ndarray) -> jax.Array:
        """The cross-entropy of held-back windows; see `Validated`."""
        return optax.sigmoid_binary_cross_entropy(outputs["logit"], jnp.asarray(product >= 0, jnp.float32)).mean()

    def outputs(self, params: dict, batch_stats: dict, log_mels: jax.Array, product: jax.Array) -> dict[str, jax.Array]:
        """Of windows [batch, frames, mels]: "score" and "logit" [batch]."""
        del product
        variables = {"params": params, "batch_stats": batch_stats["network"]}
        outputs = self.network.apply(variables, log_mels, train=False)
        logit = outputs["product"][:, 0]
        distance = _squared_distances(_unit(outputs["embedding"]), batch_stats["centroids"])[:, 0] / 4
        score = self.distance_weight * distance + (1 - self.distance_weight) * jax.nn.sigmoid(-logit)
        return {"score": score, "logit": logit}

    def validation_starts(self, frames: int) -> np.ndarray:
        """The first segment of a clip."""
        return segment_starts(frames, self.window)[:1]

    def starts(self, frames: int) -> np.ndarray:
        """Ten overlapping segments, as paper 2's."""
        return segment_starts(frames, self.window)


@dataclasses.dataclass(frozen=True)
class Recipe(recipe.Recipe):
    """What is known of the system, and what was chosen."""

    method: str = "ddcsad"
    title: ClassVar[str] = "an EfficientNet that separates one product ID from other sounds, by class centroids too"

    # Data
    features: str = key("paper2", among=PRESETS)
    machine_type: str = key("", needed=True)
    machine_id: str = key("", needed=True)  # the product ID
    domains: tuple[str, ...] = key(("source",), among=DOMAINS)  # of the clips to train on and to evaluate; none: all
    outlier_set: str = key("all", among=OUTLIER_SETS)  # negatives: all other machines
    num_outliers: int | None = key(None, within=(1, 10**9))  # how many clips of the set; None: all
    validation_share: float = key(0.1, within=(1e-6, 1))  # of the clips of every machine; they choose the epoch
    window: int = key(126, within=(1, 10**4))  # frames: 2 s

    # Network, losses, score
    network: Network = Network()
    metric_weight: float = key(1.0, within=(0, 1e9))
    distance_weight: float = key(0.5, within=(0, 1))  # of the score; the probability has the rest

    # Training
    batch_size: int = key(64, within=(2, 2**20))  # half of the product ID
    num_epochs: int = key(300, within=(1, 10**6))
    learning_rate: float = key(1e-3, within=(1e-12, 1))  # at its highest
    weight_decay: float = key(0.0, within=(0, 1e9))
    validation_epochs: int = key(1, within=(1, 10**6))  # epochs between measurements of the validation loss

    @property
    def sampler(self) -> HalfOutliers:
        """Half of the windows are of other machines."""
        return HalfOutliers(self.outlier_set, self.num_outliers)

    def build(self, machines: int, classes: int) -> Ddcsad:
        """The classifier of one product ID."""
        del classes
        encoder = build_encoder(self, machines)
        return Ddcsad(encoder, self.window, self.n_mels, self.metric_weight, self.distance_weight)


def _unit(x: jax.Array) -> jax.Array:
    return x * jax.lax.rsqrt(jnp.sum(x**2, axis=-1, keepdims=True) + 1e-12)


def _squared_distances(embedding: jax.Array, centroids: jax.Array) -> jax.Array:
    """[batch, 2] between embeddings of length 1 and the two centroids, scaled to length 1; 0 to 4."""
    return 2 - 2 * embedding @ _unit(centroids).T
