"""Every backend as a JAX function against itself on the host."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from asd_jax.backends import BACKENDS
from tests.embeddings import make, normal


@pytest.mark.parametrize("kind", BACKENDS)
@pytest.mark.parametrize("p", [1, 3, 4])
def test_scores_are_those_of_the_host_as_fitted_and_as_stored(kind, p):
    # Far from zero, and in one direction hardly spread: what float32 loses first.
    scale = np.array([1, 1, 1, 1e-2])
    fitted = BACKENDS[kind].fit(make(20 + scale * normal((30, 2, 4))), p, 0)
    new = (20 + scale * normal((25, 4), 1) * np.linspace(0.1, 10, 25)[:, None]).astype(np.float32)
    logits = normal((25, 2), 2).astype(np.float32)
    segments = dataclasses.replace(make(new[:, None]), probability=scipy.special.expit(logits[:, 1]))
    expected = fitted.segment_scores(segments)
    np.testing.assert_array_equal(BACKENDS[kind].loads(fitted.dumps()).segment_scores(segments), expected)
    arrays = fitted.arrays()
    assert all(values.dtype == np.float32 for values in arrays.values())

    def on_device(outputs):
        return fitted.device_segment_scores(jax.tree.map(jnp.asarray, arrays), outputs, 1, p)

    found = jax.jit(on_device)({"embedding": new, "product": logits})
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.ptp(expected))


@pytest.mark.parametrize("kind", BACKENDS)
@pytest.mark.parametrize("count", [1, 2, 5, 10])
def test_clip_scores_are_those_of_the_host(kind, count):
    segments = normal(count).astype(np.float32)
    found = BACKENDS[kind].device_clip_score(jnp.asarray(segments))
    np.testing.assert_allclose(found, BACKENDS[kind]().clip_score(segments), rtol=1e-5, atol=1e-6)
