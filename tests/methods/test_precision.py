"""bfloat16 activations find faults as well as float32 ones do."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.metrics import roc_auc_score

from asd_jax.datasets.synthetic_sound import made_up_sound
from asd_jax.methods.proxy_outlier import ProxyOutlier
from asd_jax.models.autoencoder import DenseAutoencoder
from asd_jax.models.resnet import ResNet
from asd_jax.sound.presets import PRESETS
from tests.steps import take_steps

WINDOW = 33


def adam(values):
    return optax.adam(values["learning_rate"])


@pytest.fixture(scope="module")
def sounds():
    """Log-mels [clips, frames, mels]: normal ones of a machine, another machine, normal and faulty ones to be told."""

    def clips(machine_type, split, label, count):
        preset = PRESETS["paper1"]
        waves = (made_up_sound(0, machine_type, "00", split, label, i, 2.0) for i in range(count))
        return np.stack([preset.compute(wave / np.float32(2**15), "clip") for wave in waves])

    other = clips("rotor", "train", 0, 24)
    return clips("belt", "train", 0, 24), other, clips("belt", "test", 0, 30), clips("belt", "test", 1, 30)


def auc(method, sounds, steps, learning_rate):
    normal, other, good, bad = sounds
    rng = np.random.default_rng(0)

    def windows(clips):
        first = rng.integers(0, clips.shape[1] - WINDOW + 1, 8)
        return np.stack([clips[i, f : f + WINDOW] for i, f in zip(rng.integers(0, len(clips), 8), first, strict=True)])

    def batch():
        log_mel = np.concatenate([windows(normal), windows(other)])[None].astype(np.float16)
        return {"features": log_mel, "product": np.repeat(np.int32([[0, -1]]), 8, 1)}

    states, metrics, _ = take_steps(method, adam, (batch() for _ in range(steps)), learning_rate=learning_rate)
    kept = {x.dtype.name for x in jax.tree.leaves((states.params, states.batch_stats, states.opt_state))}
    assert kept <= {"float32", "int32"}
    assert metrics["loss"].dtype == np.float32
    params, batch_stats = jax.tree.map(lambda x: x[0], (states.params, states.batch_stats))
    first = method.starts(good.shape[1])
    cut = np.concatenate([good, bad])[:, first[:, None] + np.arange(method.window)]
    product = np.zeros(cut.shape[0] * len(first), np.int32)
    outputs = jax.jit(method.outputs)(params, batch_stats, cut.reshape(-1, *cut.shape[2:]), product)
    scores = np.asarray(outputs["score"]).reshape(len(cut), -1).mean(1)
    return roc_auc_score(np.repeat([0, 1], len(good)), scores)


def test_bfloat16_tells_faults_as_well_as_float32(sounds):
    def method(dtype):
        return ProxyOutlier(ResNet((1, 1, 1), 8, dtype, "data"), WINDOW, 128, hop=10)

    exact, rounded = (auc(method(dtype), sounds, 120, 3e-3) for dtype in (jnp.float32, jnp.bfloat16))
    noise = 0.08  # standard error of an AUC near 0.8 of 30 against 30 clips
    assert exact > 0.6
    assert abs(exact - rounded) < noise


def test_the_autoencoder_s_results_stay_float32():
    x = jax.random.normal(jax.random.key(0), (16, 40))
    exact, rounded = (DenseAutoencoder((8, 4), dtype=dtype) for dtype in (jnp.float32, jnp.bfloat16))
    variables = exact.init(jax.random.key(1), x, train=False)
    y = rounded.apply(variables, x, train=False)
    assert y.dtype == jnp.float32
    difference = jnp.abs(y - exact.apply(variables, x, train=False)).max()
    assert 0 < difference < 0.05
