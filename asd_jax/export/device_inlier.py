"""Fitted inlier models (`asd_jax.inlier`) as arrays, and the scores that they give as a part of a JAX program.

scikit-learn computes in float64, this in float32. What would lose digits is done first: a mixture's means are taken
from the embeddings, and distances are those of differences.
"""

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import LocalOutlierFactor

from asd_jax.inlier import InlierModels

Arrays = dict[str, np.ndarray | jax.Array]


def arrays(models: InlierModels, product_id: str) -> Arrays:
    """What the model of a product ID has learned, float32.

    Of a mixture: "mean", with "mean_rest" that float32 leaves of it [p, width]; "whitening" [p, width, width];
    "log_scale" [p], of its weights and densities. Of a local outlier factor: "point" [points, width], "density" and
    "reach" [points], the local reachability densities and the distances to the p-th neighbours.
    """
    model = models.models[product_id]
    found = _of_mixture(model) if models.kind == "gmm" else _of_lof(model)
    return {name: np.asarray(value, np.float32) for name, value in found.items()}


def _of_mixture(model: GaussianMixture) -> dict[str, np.ndarray]:
    width = model.means_.shape[1]
    log_determinant = np.log(np.diagonal(model.precisions_cholesky_, axis1=1, axis2=2)).sum(1)
    return {
        "mean": model.means_,
        "mean_rest": model.means_ - model.means_.astype(np.float32),
        "whitening": model.precisions_cholesky_,
        "log_scale": np.log(model.weights_) + log_determinant - 0.5 * width * np.log(2 * np.pi),
    }


def _of_lof(model: LocalOutlierFactor) -> dict[str, np.ndarray]:
    return {"point": model._fit_X, "density": model._lrd, "reach": model._distances_fit_X_[:, model.n_neighbors_ - 1]}


def segment_scores(model: Arrays, embedding: jax.Array, p: int) -> jax.Array:
    """The anomaly scores [segments] of embeddings [segments, width]; larger is more anomalous.

    The negative log-likelihood by a mixture, or the local outlier factor among `p` neighbours.
    """
    return _by_mixture(model, embedding) if "mean" in model else _by_lof(model, embedding, p)


def _by_mixture(model: Arrays, embedding: jax.Array) -> jax.Array:
    centred = (embedding[:, None] - model["mean"]) - model["mean_rest"]
    white = jnp.einsum("spi,pij->spj", centred, model["whitening"], precision=jax.lax.Precision.HIGHEST)
    return -jax.nn.logsumexp(model["log_scale"] - 0.5 * jnp.square(white).sum(-1), axis=1)


def _by_lof(model: Arrays, embedding: jax.Array, p: int) -> jax.Array:
    def one(embedding: jax.Array) -> jax.Array:
        distance = jnp.sqrt(jnp.square(embedding - model["point"]).sum(1))
        neighbour = _smallest(distance, p)
        density = 1 / (jnp.maximum(distance[neighbour], model["reach"][neighbour]).mean() + 1e-10)
        return model["density"][neighbour].mean() / density

    return jax.lax.map(one, embedding)  # one after the other: all differences at once take more memory


def _smallest(values: jax.Array, count: int) -> jax.Array:
    """The places [count] of the smallest of some values; one after the other, since LiteRT has no such operation."""

    def take(left: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        place = jnp.argmin(left)
        return jnp.where(jnp.arange(len(left)) == place, jnp.inf, left), place

    return jax.lax.scan(take, values, length=count)[1]


def clip_score(kind: str, segment_scores: jax.Array) -> jax.Array:
    """The score [] of a clip from those of its segments [segments], as `inlier.clip_score` gives it."""
    if kind != "gmm":
        return segment_scores.mean()
    # Those that are not below the median, without sorting, which LiteRT cannot.
    upper = (segment_scores <= segment_scores[:, None]).sum(1) > len(segment_scores) // 2
    return jnp.where(upper, segment_scores, 0).sum() / upper.sum()
