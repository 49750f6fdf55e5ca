"""DDCSAD's losses by hand, its score, and its steps on any number of devices."""

import jax
import jax.numpy as jnp
import numpy as np

from asd_jax.methods.ddcsad import Ddcsad
from asd_jax.models.norms import DATA
from tests.tiny_encoder import TinyEncoder

TINY = Ddcsad(TinyEncoder(1, DATA), window=32, n_mels=32)


def test_losses_by_hand():
    embedding = jnp.array([[1.0, 0.0], [0.0, 1.0]])
    centroids = jnp.array([[2.0, 0.0], [3.0, 0.0]])  # both point along the first axis
    logits, positive = jnp.array([0.0, np.log(3.0)]), jnp.array([1.0, 0.0])
    total, metrics = TINY._losses(logits, embedding, positive, centroids)
    np.testing.assert_allclose(metrics["cross_entropy"], (np.log(2) + np.log(4)) / 2, rtol=1e-6)
    # The positive is on both centroids: 0 + (2 - 0). The negative is at right angles to both: 2 + 0.
    np.testing.assert_allclose(metrics["metric_loss"], 2.0, atol=1e-5)
    np.testing.assert_allclose(total, metrics["cross_entropy"] + metrics["metric_loss"], rtol=1e-6)


def test_centroids_follow_the_classes_and_the_score_grows_with_distance_and_improbability():
    params, batch_stats = jax.jit(TINY.init)(jax.random.key(0))
    log_mels = jax.random.normal(jax.random.key(1), (4, 32, 32))
    outputs = TINY.network.apply({"params": params, "batch_stats": batch_stats["network"]}, log_mels, train=False)
    unit = outputs["embedding"] / jnp.linalg.norm(outputs["embedding"], axis=1, keepdims=True)
    for centroid, distance in ((unit[0], 0.0), (-unit[0], 1.0)):
        stats = batch_stats | {"centroids": jnp.stack([5 * centroid, unit[1]])}
        found = TINY.outputs(params, stats, log_mels, jnp.zeros(4, int))
        np.testing.assert_allclose(found["score"][0], 0.5 * distance + 0.5 / (1 + np.exp(found["logit"][0])), atol=1e-5)
