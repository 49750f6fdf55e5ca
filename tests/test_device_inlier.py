"""Inlier models on the device against scikit-learn's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax import inlier
from asd_jax.export import device_inlier
from tests.embeddings import make, normal


@pytest.mark.parametrize(("kind", "p"), [("gmm", 1), ("gmm", 3), ("lof", 1), ("lof", 4)])
def test_scores_are_those_of_the_fitted_model(kind, p):
    # Far from zero, and in one direction hardly spread: what float32 loses first.
    scale = np.array([1, 1, 1, 1e-2])
    models = inlier.fit(make(20 + scale * normal((30, 2, 4))), kind, p, 0)
    new = (20 + scale * normal((25, 4), 1) * np.linspace(0.1, 10, 25)[:, None]).astype(np.float32)
    expected = -models.models["00"].score_samples(new.astype(np.float64))
    arrays = device_inlier.arrays(models, "00")
    found = jax.jit(lambda new: device_inlier.segment_scores(jax.tree.map(jnp.asarray, arrays), new, p))(new)
    assert all(values.dtype == np.float32 for values in arrays.values())
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.ptp(expected))


@pytest.mark.parametrize("kind", ["gmm", "lof"])
@pytest.mark.parametrize("count", [1, 2, 5, 10])
def test_clip_scores_are_those_of_the_host(kind, count):
    segments = normal(count).astype(np.float32)
    found = device_inlier.clip_score(kind, jnp.asarray(segments))
    np.testing.assert_allclose(found, inlier.clip_score(kind, segments), rtol=1e-5, atol=1e-6)
