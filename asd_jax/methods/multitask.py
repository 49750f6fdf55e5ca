"""Paper 2: an encoder trained on two binary cross-entropies with Mixup (Kuroyanagi et al., EUSIPCO 2022, section II).

A batch holds as many windows of the target machine type, of all its product IDs, as of other machine types. The
machine head separates the two by the norm of the embedding; the product head classifies the target's IDs. What is
kept is the embedding: how far it lies from those of normal clips is the anomaly score (`asd_jax.backends`).
"""

import dataclasses
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from asd_jax.backends import BACKENDS
from asd_jax.datasets.clips import DOMAINS
from asd_jax.methods import recipe
from asd_jax.methods.encoder import Network, build_encoder
from asd_jax.methods.recipe import OUTLIER_SETS, BandStatistics, HalfOutliers, InlierChoice, key
from asd_jax.methods.segments import segment_starts
from asd_jax.models.efficientnet import Encoder
from asd_jax.models.norms import mean_over_devices
from asd_jax.models.timm_weights import load_backbone
from asd_jax.sound.presets import PRESETS

TABLE_1 = {
    # learning rate, batch size, lambda, h, p
    "fan": (0.001, 32, 0.1, "gmm", 16),
    "gearbox": (0.001, 128, 10.0, "gmm", 64),
    "pump": (0.001, 128, 10.0, "gmm", 2),
    "valve": (0.0005, 128, 10.0, "gmm", 32),
    "slider": (0.001, 128, 10.0, "gmm", 2),
    "ToyCar": (0.001, 128, 10.0, "lof", 16),
    "ToyTrain": (0.0005, 32, 0.1, "lof", 8),
}
"""What the paper chose for every machine type."""

_OTHER_TYPES = (0.001, 32, 1.0, "gmm", 2)
"""For types that the paper does not know; our choice."""

_BY_TYPE = ("learning_rate", "batch_size", "product_weight", "inlier", "inlier_p")


@dataclasses.dataclass(frozen=True)
class Mixup:
    """How the samples of a batch are mixed with each other.

    Attributes:
        alpha: of the Beta(alpha, alpha) law that each sample's coefficient is drawn from; 0 mixes nothing.
        domain: what is mixed: the log-mels ("log"), or the powers ("power"), which is what mixing the waveforms gives,
            but for the cross term.
        schedule: the probability that a batch is mixed: 1 ("always", the paper's text), falling from 1 to 0 over the
            training, or rising from 0 to 1 until its half (two states of the released code).
    """

    alpha: float = 0.2
    domain: str = "log"
    schedule: str = "always"


class Samples(NamedTuple):
    """Windows and what is to be learned of them, mixed or not.

    Attributes:
        log_mel: [batch, frames, mels] float32.
        target: [batch] how much of a sample is of the target machine type, 0 to 1 (t of Eq. 1 to 3).
        products: [batch, products] how much of it is of each product ID; zeros for other machine types.
    """

    log_mel: jax.Array
    target: jax.Array
    products: jax.Array


@dataclasses.dataclass(frozen=True)
class MultiTask:
    """The encoder, its losses, and the segments that its embeddings are taken of.

    Attributes:
        network: maps log-mels [batch, frames, mels] to embeddings and logits.
        window: frames of a window (paper 2: 126, which are 2 s).
        n_mels: mel bands of a frame.
        mixup: how samples are mixed.
        machine_weight: weight of the machine loss: 1 in Eq. 3, 0 for the ablation "only product IDs".
        product_weight: weight of the product loss, lambda of Eq. 3.
        soft_targets: whether Eq. 1 weights every sample by its target share, as the text says; the released code
            weights all samples alike that hold something of the target.
    """

    network: Encoder
    window: int
    n_mels: int
    mixup: Mixup = Mixup()
    machine_weight: float = 1.0
    product_weight: float = 1.0
    soft_targets: bool = True

    def init(self, key: jax.Array) -> tuple[dict, dict]:
        """Fresh parameters and batch statistics."""
        variables = self.network.init(key, jnp.zeros((1, self.window, self.n_mels)), train=False)
        return variables["params"], variables["batch_stats"]

    def loss(
        self, params: dict, batch_stats: dict, batch: dict, key: jax.Array, progress: jax.Array
    ) -> tuple[jax.Array, tuple[dict, dict]]:
        """Eq. 3 of a mixed batch; see `Method`. The metrics are the two losses."""
        mix_key, dropout_key = jax.random.split(key)
        plain = Samples(
            batch["features"].astype(jnp.float32),
            (batch["product"] >= 0).astype(jnp.float32),
            jax.nn.one_hot(batch["product"], self.network.products),
        )
        samples = mix(mix_key, plain, self.mixup, progress, self.network.axis_name)
        outputs, updated = self.network.apply(
            {"params": params, "batch_stats": batch_stats},
            samples.log_mel,
            train=True,
            mutable=["batch_stats"],
            rngs={"dropout": dropout_key},
        )
        loss, metrics = self._losses(outputs, samples.target, samples.products, self.network.axis_name)
        return loss, (updated["batch_stats"], metrics)

    def _losses(
        self, outputs: dict[str, jax.Array], target: jax.Array, products: jax.Array, axis_name: str | None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        machine = machine_loss(outputs["machine"], target)
        weight = target if self.soft_targets else (target > 0).astype(jnp.float32)
        product = product_loss(outputs["product"], products, weight, axis_name)
        total = self.machine_weight * machine + self.product_weight * product  # Eq. 3
        return total, {"machine_loss": machine, "product_loss": product}

    def validation_loss(self, outputs: dict[str, Any], product: np.ndarray) -> jax.Array:
        """Eq. 3 of held-back windows, not mixed; see `Validated`."""
        target = jnp.asarray(product >= 0, jnp.float32)
        return self._losses(outputs, target, jax.nn.one_hot(product, self.network.products), None)[0]

    def outputs(self, params: dict, batch_stats: dict, log_mels: jax.Array, product: jax.Array) -> dict[str, jax.Array]:
        """Of windows [batch, frames, mels]: "embedding" [batch, 128], and the logits "machine", "product"."""
        del product
        return self.network.apply({"params": params, "batch_stats": batch_stats}, log_mels, train=False)

    def validation_starts(self, frames: int) -> np.ndarray:
        """The first segment of a clip."""
        return segment_starts(frames, self.window)[:1]

    def starts(self, frames: int) -> np.ndarray:
        """Ten overlapping segments (section III)."""
        return segment_starts(frames, self.window)


def machine_loss(logits: jax.Array, target: jax.Array) -> jax.Array:
    """Eq. 2: mean binary cross-entropy of the machine logits [batch] against the target shares [batch]."""
    return optax.sigmoid_binary_cross_entropy(logits, target).mean()


def product_loss(logits: jax.Array, products: jax.Array, weight: jax.Array, axis_name: str | None = None) -> jax.Array:
    """Eq. 1: binary cross-entropy of the product logits, over the samples that hold something of the target.

    Args:
        logits: [batch, products].
        products: [batch, products] shares of the product IDs.
        weight: [batch] of each sample; 0 leaves it out.
        axis_name: mesh axis that the batch is split over.

    Returns:
        The sum over samples and products, divided by the number of products and the sum of the weights; 0 for a batch
        without a target sample. On a split batch, the mean over the devices is that of the whole batch.
    """
    cross_entropy = optax.sigmoid_binary_cross_entropy(logits, products).sum(-1)
    total = mean_over_devices(weight.sum(), axis_name)
    return jnp.sum(weight * cross_entropy) / (logits.shape[-1] * jnp.maximum(total, 1e-6))


def mix(key: jax.Array, samples: Samples, mixup: Mixup, progress: jax.Array, axis_name: str | None) -> Samples:
    """Mixes every sample with another of the batch, drawn at random, be it of the target or not.

    Args:
        key: the same on all devices of a split batch.
        samples: the rows on this device.
        mixup: how.
        progress: share of the training's steps that are done, for the schedule.
        axis_name: mesh axis that the batch is split over; partners come from all devices.
    """
    if not mixup.alpha:
        return samples
    rows = len(samples.target)
    first, whole = 0, samples
    if axis_name:
        first = jax.lax.axis_index(axis_name) * rows
        whole = jax.tree.map(lambda x: jax.lax.all_gather(x, axis_name, tiled=True), samples)
    partner_key, coefficient_key, batch_key = jax.random.split(key, 3)
    count = len(whole.target)

    def own(drawn: jax.Array) -> jax.Array:
        return jax.lax.dynamic_slice(drawn, (first,), (rows,))

    partner = jax.tree.map(lambda x: x[own(jax.random.permutation(partner_key, count))], whole)
    coefficient = own(jax.random.beta(coefficient_key, mixup.alpha, mixup.alpha, (count,)))
    probability = {
        "always": 1.0,
        "falling": jnp.cos(jnp.pi / 2 * progress),
        "rising": (1 - jnp.cos(jnp.minimum(jnp.pi, 2 * jnp.pi * progress))) / 2,
    }[mixup.schedule]
    coefficient = jnp.where(jax.random.uniform(batch_key) < probability, coefficient, 1.0)

    def blend(one: jax.Array, other: jax.Array) -> jax.Array:
        share = coefficient.reshape(-1, *[1] * (one.ndim - 1))
        return share * one + (1 - share) * other

    if mixup.domain == "power":
        log_mel = 10 * jnp.log10(blend(10 ** (samples.log_mel / 10), 10 ** (partner.log_mel / 10)))
    else:
        log_mel = blend(samples.log_mel, partner.log_mel)
    return Samples(log_mel, blend(samples.target, partner.target), blend(samples.products, partner.products))


@dataclasses.dataclass(frozen=True)
class Recipe(recipe.Recipe):
    """The values of the paper's text; None is that of Table I for the machine type."""

    method: str = "multitask"
    title: ClassVar[str] = (
        "an EfficientNet trained on product IDs and machine types, and inlier models on its embeddings"
    )
    papers_machines: ClassVar[int] = 7

    # Data
    features: str = key("paper2", among=PRESETS)
    machine_type: str = key("", needed=True)
    machine_id: str = key("")  # product IDs, joined by commas; empty: all of the type
    domains: tuple[str, ...] = key(("source",), among=DOMAINS)  # of the clips to train on and to evaluate; none: all
    outlier_set: str = key("other_types", among=OUTLIER_SETS)  # what the machine loss separates the target type from
    num_outliers: int | None = key(None, within=(1, 10**9))  # how many clips of the set; None: all
    validation_share: float = key(0.1, within=(1e-6, 1))  # of every ID's clips, to choose the epoch and fit models
    window: int = key(126, within=(1, 10**4))  # frames: 2 s

    # Network
    network: Network = Network()
    init_from: str = key("")  # a safetensors file of a published EfficientNet-B0

    # Losses and Mixup
    machine_weight: float = key(1.0, within=(0, 1e9))
    product_weight: float | None = key(None, within=(0, 1e9))  # lambda
    soft_targets: bool = key(True)  # Eq. 1 weights samples by how much of the target they hold
    mixup_alpha: float = key(0.2, within=(0, 1000))  # 0: no Mixup
    mixup_domain: str = key("log", among=("log", "power"))
    mixup_schedule: str = key("always", among=("always", "falling", "rising"))  # probability that a batch is mixed

    # Training
    batch_size: int | None = key(None, within=(2, 2**20))  # half of the target type
    num_epochs: int = key(300, within=(1, 10**6))
    learning_rate: float | None = key(None, within=(1e-12, 1))  # at its highest
    weight_decay: float = key(0.0, within=(0, 1e9))
    validation_epochs: int = key(1, within=(1, 10**6))  # epochs between measurements of the validation loss

    # Scoring
    inlier: str | None = key(None, among=BACKENDS, trains=False)  # none: mean product probability
    inlier_p: int | None = key(None, within=(1, 10**4), trains=False)  # components or neighbours

    @property
    def sampler(self) -> HalfOutliers:
        """Half of the windows are of other machine types."""
        return HalfOutliers(self.outlier_set, self.num_outliers)

    @property
    def inlier_choice(self) -> InlierChoice:
        """What scores the embeddings."""
        return InlierChoice(self.inlier, self.inlier_p)

    def resolved(self) -> "Recipe":
        """With the values of Table I where nothing else was asked for."""
        of_type = dict(zip(_BY_TYPE, TABLE_1.get(self.machine_type, _OTHER_TYPES), strict=True))
        return dataclasses.replace(self, **{k: v for k, v in of_type.items() if getattr(self, k) is None})

    def build(self, machines: int, classes: int) -> MultiTask:
        """One encoder for all product IDs."""
        del classes
        mixup = Mixup(self.mixup_alpha, self.mixup_domain, self.mixup_schedule)
        losses = (self.machine_weight, self.product_weight, self.soft_targets)
        return MultiTask(build_encoder(self, machines), self.window, self.n_mels, mixup, *losses)

    def begin(self, params: dict, batch_stats: dict, bands: BandStatistics) -> tuple[dict, dict]:
        """Has published weights in its backbone, where a file of them is given."""
        del bands
        return load_backbone(self.init_from, params, batch_stats) if self.init_from else (params, batch_stats)
