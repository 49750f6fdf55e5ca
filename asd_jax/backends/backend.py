"""What a backend is: a model of one machine's normal embeddings, and the scores that it gives others."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import jax
import numpy as np
import skops.io

from asd_jax.backends.embeddings import Embeddings

Arrays = dict[str, np.ndarray | jax.Array]


class Backend(ABC):
    """The fitted model of one machine.

    Attributes:
        tunable: whether `p` (components, neighbours) says anything to it.
        model: of scikit-learn; None for a backend that learns nothing.
    """

    tunable: ClassVar[bool] = True
    model_type: ClassVar[type] = type(None)

    def __init__(self, model: Any = None) -> None:
        self.model = model

    @classmethod
    @abstractmethod
    def needs(cls, p: int) -> int:
        """How many embeddings it must be fitted to."""

    @classmethod
    @abstractmethod
    def fit(cls, normal: Embeddings, p: int, seed: int) -> "Backend":
        """Fits it to the embeddings of one machine's normal clips; a ValueError says why that is not possible."""

    @abstractmethod
    def segment_scores(self, segments: Embeddings) -> np.ndarray:
        """The anomaly scores [rows] of segments; larger is more anomalous."""

    def clip_score(self, segment_scores: np.ndarray) -> float:
        """The score of a clip from those of its segments [segments]: their mean."""
        return float(segment_scores.mean())

    @abstractmethod
    def arrays(self) -> Arrays:
        """What it has learned, float32, for `device_segment_scores`."""

    @staticmethod
    @abstractmethod
    def device_segment_scores(arrays: Arrays, outputs: Arrays, product: int, p: int) -> jax.Array:
        """The same scores [segments] as a part of a JAX program, of the network's outputs [segments, ...].

        scikit-learn computes in float64, this in float32: what would lose digits is done first, in `arrays`.
        """

    @staticmethod
    def device_clip_score(segment_scores: jax.Array) -> jax.Array:
        """`clip_score` as a part of a JAX program."""
        return segment_scores.mean()

    def dumps(self) -> bytes:
        """What a file keeps of it."""
        return skops.io.dumps(self.model)

    @classmethod
    def loads(cls, content: bytes) -> "Backend":
        """Reads what `dumps` gave; nothing but scikit-learn's own types is let in, a TypeError says what was found."""
        model = skops.io.loads(content)
        if not isinstance(model, cls.model_type):
            raise TypeError(f"found a {type(model).__name__}, expected a {cls.model_type.__name__}")
        return cls(model)


def points(embeddings: Embeddings) -> np.ndarray:
    """The embeddings as float64: covariances of few points in many dimensions cannot be inverted in float32."""
    return embeddings.embedding.astype(np.float64)
