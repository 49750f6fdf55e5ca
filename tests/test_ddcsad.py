"""DDCSAD's losses by hand, its score, and its steps on any number of devices."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from asd_jax import parallel
from asd_jax.methods.ddcsad import Ddcsad
from tests.tiny_encoder import TinyEncoder

TINY = Ddcsad(TinyEncoder(1, parallel.DATA), window=32, n_mels=32)


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
        found = TINY.outputs(params, stats, log_mels)
        np.testing.assert_allclose(found["score"][0], 0.5 * distance + 0.5 / (1 + np.exp(found["logit"][0])), atol=1e-5)


def test_one_device_and_four_take_the_same_steps():
    rng = np.random.default_rng(0)
    batch = {
        "log_mel": rng.normal(size=(1, 8, 32, 32)).astype(np.float32),
        "product": np.array([[0] * 4 + [-1] * 4], np.int32),
    }
    found = []
    for devices in (1, 4):
        mesh = parallel.make_mesh(1, 8, jax.devices()[:devices])
        optimizer = optax.sgd(0.05)
        states = parallel.init_states(mesh, TINY.init, optimizer, 0)(jnp.arange(1))
        step = parallel.train_step(mesh, TINY.loss, optimizer, lambda _: 0.05, 3)
        for _ in range(3):
            states, metrics = step(states, parallel.put_batch(mesh, batch))
        found.append(jax.device_get((metrics["loss"], states.batch_stats["centroids"])))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-5)
    np.testing.assert_allclose(found[0][1], found[1][1], atol=1e-5)
    assert np.abs(found[0][1]).max() > 0.01
