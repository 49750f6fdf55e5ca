"""What scores embeddings: one file a kind, each fitted by scikit-learn on the host and the same as a JAX function.

backend: what every kind has.
embeddings: of the segments of clips, and the file that keeps them.
gmm: Gaussian mixtures.
lof: the local outlier factor.
models: the backends of several machines together.
own_id: how improbable a clip's own machine ID is.
"""

from asd_jax.backends.backend import Backend
from asd_jax.backends.gmm import GaussianMixtures
from asd_jax.backends.lof import LocalOutliers
from asd_jax.backends.own_id import OwnId

BACKENDS: dict[str, type[Backend]] = {"gmm": GaussianMixtures, "lof": LocalOutliers, "none": OwnId}

__all__ = ["BACKENDS", "Backend"]
