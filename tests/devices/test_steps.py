"""One program on any number of devices: the numbers do not depend on it."""

import jax
import numpy as np
import optax
import pytest

from asd_jax.devices.mesh import describe_mesh, make_mesh
from asd_jax.devices.steps import Steps, init_states, output_step, stack_runs, take_run
from asd_jax.methods.autoencoder import Autoencoder
from asd_jax.models.autoencoder import DenseAutoencoder
from asd_jax.models.norms import DATA
from tests.fake_devices import DEVICES
from tests.steps import take_steps

DENSE = Autoencoder(DenseAutoencoder((8, 2, 8), axis_name=DATA), window=32, n_mels=32)
"""Compiles in a moment, where it does not matter what is trained."""


def sgd(values):
    """Adam's first steps make a sign of each rounding error."""
    return optax.sgd(values["learning_rate"], momentum=0.9)


def plain(values):
    return optax.sgd(values["learning_rate"])


def batches(runs, steps, batch_size=8):
    """Outliers are louder in one band. Run r's batches do not depend on which other runs there are."""
    for step in range(steps):
        log_mel = np.stack([np.random.default_rng((r, step)).normal(size=(batch_size, 32, 32)) for r in runs])
        product = np.repeat(np.int32([0, -1]), batch_size // 2)
        log_mel[:, product < 0, :, 5] += 1
        yield {"features": log_mel.astype(np.float32), "product": np.tile(product, (len(runs), 1))}


def train(runs, devices, steps=4, block=1, method=DENSE):
    states, metrics, mesh = take_steps(method, sgd, batches(runs, steps), runs, devices, seed=1, block=block)
    return jax.device_get(states), metrics["loss"], mesh


def close(one, other, atol):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=atol), one, other)


def test_gradients_of_a_split_batch_equal_those_of_the_whole():
    found = []
    for devices in (1, 4):
        states, _, mesh = take_steps(DENSE, plain, batches([0], 1), devices=devices, seed=1, learning_rate=1.0)
        before = init_states(mesh, DENSE, plain)(1, np.array([0], np.int32))
        found.append(jax.tree.map(lambda a, b: a - b, *jax.device_get((before.params, states.params))))
    size = max(np.abs(x).max() for x in jax.tree.leaves(found[0]))
    close(*found, atol=1e-5 * size)


def test_runs_side_by_side_equal_single_runs():
    together, losses, mesh = train([0, 1], 2, method=DENSE)
    assert mesh.shape == {"run": 2, "data": 1}
    for position, run in enumerate([0, 1]):
        alone, losses_alone, _ = train([run], 1, method=DENSE)
        np.testing.assert_allclose(losses[:, position], losses_alone[:, 0], rtol=1e-6)
        close(jax.tree.map(lambda x: x[position], together.params), jax.tree.map(lambda x: x[0], alone.params), 1e-6)
    assert abs(losses[0, 0] - losses[0, 1]) > 1e-4


def test_scores_of_a_split_batch_equal_those_of_the_whole():
    states, _, mesh = train([0, 1], 2, method=DENSE)
    windows = np.random.default_rng(0).normal(size=(8, 32, 32)).astype(np.float32)
    product = np.zeros(8, np.int32)
    scores = np.asarray(output_step(mesh, DENSE)(states, windows, product)["score"])
    assert scores.shape == (2, 8)
    one = make_mesh(1, 8, DEVICES[:1])
    for run in range(2):
        single = jax.tree.map(lambda x: x[run : run + 1], states)
        alone = np.asarray(output_step(one, DENSE)(single, windows, product)["score"])
        np.testing.assert_allclose(scores[run], alone[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("num_runs", "batch_size", "devices", "shape"),
    [(3, 64, 1, (1, 1)), (3, 64, 4, (3, 1)), (1, 64, 3, (1, 2)), (1, 6, 4, (1, 3)), (2, 64, 4, (2, 2))],
)
def test_the_mesh_fits_any_number_of_devices(num_runs, batch_size, devices, shape):
    mesh = make_mesh(num_runs, batch_size, DEVICES[:devices])
    assert mesh.devices.shape == shape


def test_idle_devices_are_named(four_devices):
    assert str(DEVICES[3]) in describe_mesh(make_mesh(3, 64))
    assert "idle" not in describe_mesh(make_mesh(4, 64))


def test_taking_a_run_out_and_putting_it_back():
    states, _, mesh = train([0, 1], 2, method=DENSE)
    singles = [take_run(mesh)(states, i) for i in range(2)]
    close(stack_runs(mesh, singles), states, 0)


def test_many_steps_at_once_equal_single_steps():
    one, losses_one, _ = train([0, 1], 2, steps=5, method=DENSE)
    many, losses_many, _ = train([0, 1], 2, steps=5, block=3, method=DENSE)  # the last block holds two steps
    assert losses_many.shape == (5, 2)
    np.testing.assert_allclose(losses_one, losses_many, rtol=1e-5)
    close((one.params, one.batch_stats, one.step), (many.params, many.batch_stats, many.step), 1e-5)


def test_windows_cut_out_on_the_devices_equal_those_that_are_given():
    rng = np.random.default_rng(0)
    log_mels = rng.normal(size=(200, 32)).astype(np.float16)
    first = rng.integers(0, 168, (3, 1, 8)).astype(np.int32)
    product = np.tile(np.repeat(np.int32([0, -1]), 4), (1, 1))
    on_host = [{"features": log_mels[one[..., None] + np.arange(32)], "product": product} for one in first]
    on_device = [{"first": one, "product": product} for one in first]
    states, metrics, _ = take_steps(DENSE, sgd, on_host, devices=2)
    other, told, _ = take_steps(DENSE, sgd, on_device, devices=2, block=2, log_mels=log_mels)
    np.testing.assert_allclose(metrics["loss"], told["loss"], rtol=1e-5)
    close(states.params, other.params, 1e-5)


def test_one_program_serves_all_schedules_and_seeds():
    mesh = make_mesh(1, 8, DEVICES[:1])
    shapes = (sgd, False, 1, 8, ("progress", "learning_rate"), ("product",), (32,), None, np.float32)
    assert Steps(mesh, DENSE, *shapes).compile() is Steps(mesh, DENSE, *shapes).compile()
