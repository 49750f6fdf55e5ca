"""The reconstruction baseline of paper 1: what an autoencoder of normal sound cannot reproduce is anomalous.

A window of a few frames is one vector; its anomaly score is the mean squared error, averaged over the windows of a
clip.
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from asd_jax.methods import recipe
from asd_jax.methods.recipe import EveryWindow, key
from asd_jax.models.autoencoder import DenseAutoencoder
from asd_jax.models.norms import DATA


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
        x = _vectors(batch["features"])
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


@dataclasses.dataclass(frozen=True)
class Network:
    """Keys of `DenseAutoencoder`."""

    widths: tuple[int, ...] = key((128, 128, 128, 8, 128, 128, 128), within=(1, 2**16))  # of the hidden layers
    kernel_gain: float = key(2.0, within=(1e-6, 1000))  # variance of the weights before training, of Xavier's
    bias: float = key(0.01, within=(-1000, 1000))  # before training
    momentum: float = key(0.9, within=(0, 0.999999))  # of BatchNorm
    epsilon: float = key(1e-5, within=(1e-12, 1))  # of BatchNorm


@dataclasses.dataclass(frozen=True)
class Recipe(recipe.Recipe):
    """The values of paper 1's released code (its text says "batch size 512, learning rate decay one")."""

    method: str = "autoencoder"
    title: ClassVar[str] = "an autoencoder of normal sound, whose error is the score"

    # Data
    machine_type: str = key("", needed=True)
    machine_id: str = key("")  # empty: one model for all IDs of the type
    held_back: int = key(0, within=(0, 10**6))  # normal clips of each ID kept from training; paper: 0
    window: int = key(5, within=(1, 10**4))  # frames
    hop: int = key(1, within=(1, 10**6))  # frames between the windows of a clip, in training and scoring

    network: Network = Network()

    # Training
    batch_size: int = key(512, within=(1, 2**20))
    learning_rate_decay: float = key(1.0, within=(1e-3, 1))  # factor per epoch
    beta2: float = key(0.999, within=(0, 1))  # Adam

    # Housekeeping
    # Steps that the devices take without the host, with all log-mels on them; None: one, of windows that the host
    # cuts out. It changes numbers by float rounding only.
    steps_per_dispatch: int | None = key(32, within=(1, 10**4), trains=False)
    checkpoint_epochs: int = key(10, within=(1, 10**6))  # epochs between checkpoints

    @property
    def sampler(self) -> EveryWindow:
        """All windows of the machine."""
        return EveryWindow(self.hop)

    def build(self, machines: int, classes: int) -> Autoencoder:
        """One network, whatever the number of machines."""
        del machines, classes
        network = DenseAutoencoder(**vars(self.network), axis_name=DATA, dtype=jnp.dtype(self.precision))
        return Autoencoder(network, self.window, self.n_mels, self.hop)


def _vectors(log_mels: jax.Array) -> jax.Array:
    return log_mels.astype(jnp.float32).reshape(len(log_mels), -1)
