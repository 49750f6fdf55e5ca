"""Gaussian mixtures of the embeddings (Kuroyanagi et al., EUSIPCO 2022): the less probable, the more anomalous."""

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.mixture import GaussianMixture

from asd_jax.backends.backend import Arrays, Backend, points
from asd_jax.backends.embeddings import Embeddings


class GaussianMixtures(Backend):
    """A mixture of `p` components with full covariances, to whose diagonals 1e-6 is added."""

    model_type = GaussianMixture

    @classmethod
    def needs(cls, p: int) -> int:
        """A point for each component."""
        return max(p, 2)

    @classmethod
    def fit(cls, normal: Embeddings, p: int, seed: int) -> "GaussianMixtures":
        """See `Backend`."""
        return cls(GaussianMixture(p, covariance_type="full", random_state=seed).fit(points(normal)))

    def segment_scores(self, segments: Embeddings) -> np.ndarray:
        """The negative log-likelihoods."""
        return -self.model.score_samples(points(segments))

    def clip_score(self, segment_scores: np.ndarray) -> float:
        """The mean of the upper half of the segments' scores: of those that are not below the median."""
        return float(segment_scores[segment_scores >= np.median(segment_scores)].mean())

    def arrays(self) -> Arrays:
        """What the mixture has learned, float32.

        "mean", with "mean_rest" that float32 leaves of it [p, width]; "whitening" [p, width, width]; "log_scale" [p],
        of its weights and densities.
        """
        model = self.model
        width = model.means_.shape[1]
        log_determinant = np.log(np.diagonal(model.precisions_cholesky_, axis1=1, axis2=2)).sum(1)
        found = {
            "mean": model.means_,
            "mean_rest": model.means_ - model.means_.astype(np.float32),
            "whitening": model.precisions_cholesky_,
            "log_scale": np.log(model.weights_) + log_determinant - 0.5 * width * np.log(2 * np.pi),
        }
        return {name: np.asarray(value, np.float32) for name, value in found.items()}

    @staticmethod
    def device_segment_scores(arrays: Arrays, outputs: Arrays, product: int, p: int) -> jax.Array:
        """The means are taken from the embeddings first."""
        centred = (outputs["embedding"][:, None] - arrays["mean"]) - arrays["mean_rest"]
        white = jnp.einsum("spi,pij->spj", centred, arrays["whitening"], precision=jax.lax.Precision.HIGHEST)
        return -jax.nn.logsumexp(arrays["log_scale"] - 0.5 * jnp.square(white).sum(-1), axis=1)

    @staticmethod
    def device_clip_score(segment_scores: jax.Array) -> jax.Array:
        """Without sorting, which LiteRT cannot."""
        upper = (segment_scores <= segment_scores[:, None]).sum(1) > len(segment_scores) // 2
        return jnp.where(upper, segment_scores, 0).sum() / upper.sum()
