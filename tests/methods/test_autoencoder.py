"""Paper 1's reconstruction baseline: its sizes, its error by hand, and what it learns."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.evaluation.evaluate import evaluate_workdir
from asd_jax.methods.autoencoder import Autoencoder
from asd_jax.models.autoencoder import DenseAutoencoder
from asd_jax.models.norms import DATA
from asd_jax.recipes.workdir import Workdir
from asd_jax.scoring.held_back import train_and_keep
from asd_jax.scoring.scorer import Scorer
from asd_jax.scoring.thresholds import thresholds
from asd_jax.scoring.trained import load_trained
from configs import autoencoder
from tests.built import method_of
from tests.recordings import prepare_machines, write_machines

TINY = Autoencoder(DenseAutoencoder((6, 2, 6), axis_name=DATA), window=3, n_mels=4)


@pytest.mark.parametrize(("variant", "size", "layers"), [("", 234_392, 8), ("dcase2020_baseline", 267_928, 10)])
def test_sizes_are_those_of_paper_and_challenge(variant, size, layers):
    method = method_of(autoencoder.get_config(variant))
    params, _ = jax.eval_shape(method.init, jax.random.key(0))
    assert sum(x.size for x in jax.tree.leaves(params)) == size
    assert sum(name.startswith("Dense") for name in params) == layers


def test_weights_before_training_are_the_released_codes():
    params, _ = method_of(autoencoder.get_config()).init(jax.random.key(0))
    first = params["Dense_0"]
    bound = np.sqrt(2) * np.sqrt(6 / (640 + 128))
    assert 0.97 * bound < jnp.abs(first["kernel"]).max() <= bound
    np.testing.assert_allclose(first["bias"], 0.01)


def plain(params, batch_stats, x, eps=1e-5):
    """The network written out, in evaluation mode."""
    for i in range(3):
        x = x @ params[f"Dense_{i}"]["kernel"] + params[f"Dense_{i}"]["bias"]
        stats, norm = batch_stats[f"BatchNorm_{i}"], params[f"BatchNorm_{i}"]
        x = (x - stats["mean"]) / np.sqrt(stats["var"] + eps) * norm["scale"] + norm["bias"]
        x = np.maximum(x, 0)
    return x @ params["Dense_3"]["kernel"] + params["Dense_3"]["bias"]


def test_the_score_is_the_mean_squared_error_of_a_window():
    params, batch_stats = TINY.init(jax.random.key(0))
    batch_stats = jax.tree.map(lambda x: x + 0.5, batch_stats)
    log_mels = np.random.default_rng(0).normal(size=(5, 3, 4)).astype(np.float16)
    score = TINY.outputs(params, batch_stats, log_mels, None)["score"]
    x = log_mels.reshape(5, 12).astype(np.float32)
    np.testing.assert_allclose(score, ((plain(params, batch_stats, x) - x) ** 2).mean(1), rtol=1e-5)


def test_every_window_of_a_clip_is_scored():
    assert TINY.starts(313).tolist() == list(range(311))
    assert method_of(autoencoder.get_config()).starts(313).size == 309


def test_it_learns_a_machines_sound(tmp_path):
    data_dir = prepare_machines(write_machines(tmp_path / "raw", 10, 6), tmp_path / "data")
    config = autoencoder.get_config("quicktest")
    config.data_dir, config.machine_type, config.machine_id = str(data_dir), "drill", "00"
    config.batch_size, config.num_epochs, config.held_back, config.learning_rate = 64, 40, 3, 2e-2
    config.compilation_cache = ""
    workdir = str(tmp_path / "run")
    train_and_keep(config, workdir)
    said = evaluate_workdir(workdir)
    assert "drill" in said and float(said.split("run 0")[1].split()[0]) > 90
    assert set(thresholds(Scorer(load_trained(Workdir(workdir))), 0.1)) == {"drill/00"}
