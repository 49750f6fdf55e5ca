"""The density baseline of paper 1: a flow that knows every machine ID's normal sound; what is improbable is anomalous.

A snippet of a few frames is one vector; its anomaly score is its negative log-likelihood given the clip's machine ID,
averaged over the snippets of a clip.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from asd_jax.models.maf import MAF

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
        """Fresh parameters; statistics of the flow's BatchNorm and of the mel bands, which `with_bands` sets."""
        x, condition = jnp.zeros((1, self.window * self.n_mels)), jnp.zeros(1, jnp.int32)
        variables = self.network.init(key, x, condition, train=False)
        bands = {"mean": jnp.zeros(self.n_mels), "std": jnp.ones(self.n_mels)}
        return variables["params"], {"network": variables["batch_stats"], "bands": bands}

    def loss(
        self, params: dict, batch_stats: dict, batch: dict, key: jax.Array, progress: jax.Array
    ) -> tuple[jax.Array, tuple[dict, dict]]:
        """Mean negative log-likelihood; see `Method`. Nothing in the step is random."""
        del key, progress
        x, constant = self._vectors(batch_stats["bands"], batch["log_mel"])
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


def with_bands(batch_stats: dict, mean: np.ndarray, std: np.ndarray) -> dict:
    """Batch statistics (of several runs) with the mean and the deviation of the mel bands [mels]."""
    runs = len(batch_stats["bands"]["mean"])
    return batch_stats | {"bands": {"mean": jnp.tile(mean, (runs, 1)), "std": jnp.tile(std, (runs, 1))}}
