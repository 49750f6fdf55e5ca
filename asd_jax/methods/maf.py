"""The density baseline of paper 1: a flow that knows every machine ID's normal sound; what is improbable is anomalous.

A snippet of a few frames is one vector; its anomaly score is its negative log-likelihood given the clip's machine ID,
averaged over the snippets of a clip.
"""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from asd_jax.methods import recipe
from asd_jax.methods.recipe import BandStatistics, EveryWindow, key
from asd_jax.models.maf import INPUT_ORDERS, MAF
from asd_jax.models.norms import DATA

SCORES = ("own_id", "all_ids")


@dataclasses.dataclass(frozen=True)
class Maf:
    """The flow and its densities.

    Attributes:
        network: maps vectors [batch, window * n_mels] and machine IDs [batch] to log densities.
        window: frames of a snippet (4).
        n_mels: mel bands of a frame.
        hop: frames from one snippet of a clip to the next (4: no overlap).
        score: "own_id" scores by the density given the clip's own machine ID, "all_ids" by the mean of the densities
            given any ID.
    """

    network: MAF
    window: int
    n_mels: int
    hop: int = 4
    score: str = "own_id"

    def init(self, key: jax.Array) -> tuple[dict, dict]:
        """Fresh parameters; statistics of the flow's BatchNorm and of the mel bands, which `Recipe.begin` sets."""
        x, condition = jnp.zeros((1, self.window * self.n_mels)), jnp.zeros(1, jnp.int32)
        variables = self.network.init(key, x, condition, train=False)
        bands = {"mean": jnp.zeros(self.n_mels), "std": jnp.ones(self.n_mels)}
        return variables["params"], {"network": variables["batch_stats"], "bands": bands}

    def loss(
        self, params: dict, batch_stats: dict, batch: dict, key: jax.Array, progress: jax.Array
    ) -> tuple[jax.Array, tuple[dict, dict]]:
        """Mean negative log-likelihood; see `Method`. Nothing in the step is random."""
        del key, progress
        x, constant = self._vectors(batch_stats["bands"], batch["features"])
        log_density, updated = self.network.apply(
            {"params": params, "batch_stats": batch_stats["network"]},
            x,
            batch["product"],
            train=True,
            mutable=["batch_stats"],
            method=MAF.log_density,
        )
        return constant - jnp.mean(log_density), (batch_stats | {"network": updated["batch_stats"]}, {})

    def validation_loss(self, outputs: dict[str, Any], product: np.ndarray) -> jax.Array:
        """The mean negative log-likelihood of held-back snippets; see `Validated`."""
        del product
        return jnp.mean(outputs["score"])

    def outputs(self, params: dict, batch_stats: dict, log_mels: jax.Array, product: jax.Array) -> dict[str, jax.Array]:
        """The "score" [batch] of snippets [batch, frames, mels]: their negative log-likelihoods."""
        x, constant = self._vectors(batch_stats["bands"], log_mels)
        variables = {"params": params, "batch_stats": batch_stats["network"]}

        def log_density(condition: jax.Array) -> jax.Array:
            return self.network.apply(variables, x, condition, train=False, method=MAF.log_density)

        if self.score == "own_id":
            return {"score": constant - log_density(product)}
        every = jax.lax.map(lambda y: log_density(jnp.full(len(x), y)), jnp.arange(self.network.conditions))
        return {"score": constant - jax.nn.logsumexp(every, axis=0) + jnp.log(self.network.conditions)}

    def starts(self, frames: int) -> np.ndarray:
        """All snippets of a clip."""
        return np.arange(0, frames - self.window + 1, self.hop)

    validation_starts = starts

    def _vectors(self, bands: dict[str, jax.Array], log_mels: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Standardised snippets, band after band [batch, n_mels * window]; what that takes from their log density."""
        x = (log_mels.astype(jnp.float32) - bands["mean"]) / bands["std"]
        return x.swapaxes(1, 2).reshape(len(x), -1), self.window * jnp.log(bands["std"]).sum()


@dataclasses.dataclass(frozen=True)
class Network:
    """Keys of `MAF`."""

    blocks: int = key(4, within=(1, 50))
    hidden: int = key(2048, within=(1, 2**14))  # units of a hidden layer
    hidden_layers: int = key(1, within=(1, 50))  # from hidden to hidden, after the one from the inputs
    input_order: str = key("sequential", among=INPUT_ORDERS)  # of the first block, reversed from block to block


@dataclasses.dataclass(frozen=True)
class Recipe(recipe.Recipe):
    """The sizes that paper 1 names; what is not published is chosen here."""

    method: str = "maf"
    title: ClassVar[str] = "a masked autoregressive flow: the less probable a sound, the higher its score"
    papers_machines: ClassVar[int] = 41

    # Data; without a machine type and ID, one model for all machines
    validation_share: float = key(0.1, within=(1e-6, 1))  # of the clips of every machine; they choose the epoch
    standardise_bands: bool = key(True)  # mel bands to mean 0 and variance 1
    window: int = key(4, within=(1, 100))  # frames of a snippet
    hop: int = key(4, within=(1, 10**6))  # frames between a clip's snippets, in training and scoring: no overlap

    network: Network = Network()

    # Training
    batch_size: int = key(512, within=(1, 2**20))
    num_epochs: int = key(50, within=(1, 10**6))
    learning_rate_decay: float = key(1.0, within=(1e-3, 1))  # factor per epoch
    beta2: float = key(0.999, within=(0, 1))  # Adam
    validation_epochs: int = key(1, within=(1, 10**6))  # epochs between measurements of the validation loss

    # Scoring
    score: str = key("own_id", among=SCORES)  # the density given the clip's own ID; or the mean density given any

    # Housekeeping
    # Steps that the devices take without the host, with all log-mels on them; None: one, of windows that the host
    # cuts out. It changes numbers by float rounding only.
    steps_per_dispatch: int | None = key(8, within=(1, 10**4), trains=False)

    @property
    def sampler(self) -> EveryWindow:
        """All snippets of all machines."""
        return EveryWindow(self.hop)

    def build(self, machines: int, classes: int) -> Maf:
        """One flow, given the machine."""
        del classes
        network = MAF(machines, **vars(self.network), axis_name=DATA, dtype=jnp.dtype(self.precision))
        return Maf(network, self.window, self.n_mels, self.hop, self.score)

    def begin(self, params: dict, batch_stats: dict, bands: BandStatistics) -> tuple[dict, dict]:
        """Knows mean and deviation of the mel bands, where they are standardised."""
        if not self.standardise_bands:
            return params, batch_stats
        mean, std = bands()
        return params, batch_stats | {"bands": {"mean": mean, "std": std}}
