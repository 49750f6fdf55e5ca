"""The ablation without inlier models: how improbable a clip's own machine ID is, as the encoder itself says."""

import jax
import numpy as np

from asd_jax.backends.backend import Arrays, Backend
from asd_jax.backends.embeddings import Embeddings


class OwnId(Backend):
    """Minus the probability of the own ID; nothing is learned from embeddings."""

    tunable = False

    @classmethod
    def needs(cls, p: int) -> int:
        """No embedding."""
        return 0

    @classmethod
    def fit(cls, normal: Embeddings, p: int, seed: int) -> "OwnId":
        """See `Backend`."""
        return cls()

    def segment_scores(self, segments: Embeddings) -> np.ndarray:
        """Minus the probabilities of the own IDs."""
        return -segments.probability

    def arrays(self) -> Arrays:
        """None."""
        return {}

    @staticmethod
    def device_segment_scores(arrays: Arrays, outputs: Arrays, product: int, p: int) -> jax.Array:
        """The network's logit of the own ID says it."""
        return -jax.nn.sigmoid(outputs["product"][:, product])
