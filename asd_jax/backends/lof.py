"""The local outlier factor among the embeddings of normal clips (Kuroyanagi et al., EUSIPCO 2022)."""

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.neighbors import LocalOutlierFactor

from asd_jax.backends.backend import Arrays, Backend, points
from asd_jax.backends.embeddings import Embeddings


class LocalOutliers(Backend):
    """The factor among `p` neighbours."""

    model_type = LocalOutlierFactor

    @classmethod
    def needs(cls, p: int) -> int:
        """A point is not its own neighbour."""
        return p + 1

    @classmethod
    def fit(cls, normal: Embeddings, p: int, seed: int) -> "LocalOutliers":
        """See `Backend`; nothing is random."""
        # What "auto" comes to at an encoder's width; the trees are of types that skops does not trust.
        return cls(LocalOutlierFactor(n_neighbors=p, algorithm="brute", novelty=True).fit(points(normal)))

    def segment_scores(self, segments: Embeddings) -> np.ndarray:
        """The local outlier factors."""
        return -self.model.score_samples(points(segments))

    def arrays(self) -> Arrays:
        """What it has learned, float32.

        "point" [points, width], "density" and "reach" [points]: the local reachability densities and the distances to
        the p-th neighbours.
        """
        model = self.model
        reach = model._distances_fit_X_[:, model.n_neighbors_ - 1]
        found = {"point": model._fit_X, "density": model._lrd, "reach": reach}
        return {name: np.asarray(value, np.float32) for name, value in found.items()}

    @staticmethod
    def device_segment_scores(arrays: Arrays, outputs: Arrays, product: int, p: int) -> jax.Array:
        """The distances are those of differences."""

        def one(embedding: jax.Array) -> jax.Array:
            distance = jnp.sqrt(jnp.square(embedding - arrays["point"]).sum(1))
            neighbour = _smallest(distance, p)
            density = 1 / (jnp.maximum(distance[neighbour], arrays["reach"][neighbour]).mean() + 1e-10)
            return arrays["density"][neighbour].mean() / density

        # One after the other: all differences at once take more memory.
        return jax.lax.map(one, outputs["embedding"])


def _smallest(values: jax.Array, count: int) -> jax.Array:
    """The places [count] of the smallest of some values; one after the other, since LiteRT has no such operation."""

    def take(left: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        place = jnp.argmin(left)
        return jnp.where(jnp.arange(len(left)) == place, jnp.inf, left), place

    return jax.lax.scan(take, values, length=count)[1]
