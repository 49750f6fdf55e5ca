"""Paper 1's density baseline: what its scores are, and one model for several machines."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np

from asd_jax.evaluation.evaluate import evaluate_workdir
from asd_jax.methods.maf import Maf
from asd_jax.models.maf import MAF
from asd_jax.models.norms import DATA
from asd_jax.recipes.keys import read_recipe
from asd_jax.recipes.workdir import Workdir
from asd_jax.scoring.held_back import train_and_keep
from asd_jax.scoring.trained import load_trained
from asd_jax.training.data import load_data
from configs import maf
from tests.built import method_of
from tests.recordings import prepare_machines, write_machines

TINY = Maf(MAF(3, blocks=2, hidden=6, axis_name=DATA), window=2, n_mels=3, hop=2)
ALL_IDS = Maf(TINY.network, window=2, n_mels=3, hop=2, score="all_ids")


def variables():
    params, batch_stats = TINY.init(jax.random.key(0))
    params = jax.tree.map(lambda x: x + 0.1, params)
    bands = {"mean": jnp.array([1.0, 0.0, -1.0]), "std": jnp.array([2.0, 1.0, 0.5])}
    return params, batch_stats | {"bands": bands}


def log_mels(rows=5):
    return np.random.default_rng(0).normal(size=(rows, 2, 3)).astype(np.float32)


def test_the_size_is_the_papers():
    method = method_of(maf.get_config(), 41)
    params, _ = jax.eval_shape(method.init, jax.random.key(0))
    assert sum(x.size for x in jax.tree.leaves(params)) == 29_720_576


def test_snippets_do_not_overlap():
    assert method_of(maf.get_config("quicktest"), 2).starts(313).tolist() == list(range(0, 309, 4))


def test_the_score_is_the_negative_log_density_of_the_log_mels_themselves():
    """By the change of variables: the bands' standardisation is part of the map."""
    params, batch_stats = variables()
    product = np.array([0, 1, 2, 1, 0], np.int32)

    def to_normal(x, condition):
        x = (x.reshape(2, 3) - batch_stats["bands"]["mean"]) / batch_stats["bands"]["std"]
        network = {"params": params, "batch_stats": batch_stats["network"]}
        return TINY.network.apply(network, x.T.reshape(1, -1), condition[None], train=False)[0][0]

    scores = TINY.outputs(params, batch_stats, log_mels(), product)["score"]
    for x, condition, score in zip(log_mels(), product, scores, strict=True):
        z = to_normal(x.ravel(), condition)
        jacobian = jax.jacobian(to_normal)(x.ravel(), condition)
        expected = 0.5 * (z @ z + 6 * np.log(2 * np.pi)) - np.linalg.slogdet(jacobian)[1]
        np.testing.assert_allclose(score, expected, rtol=1e-4)


def test_all_ids_scores_by_the_mean_density():
    params, batch_stats = variables()
    each = [TINY.outputs(params, batch_stats, log_mels(), np.full(5, y, np.int32))["score"] for y in range(3)]
    assert np.std(each, axis=0).min() > 1e-4
    found = ALL_IDS.outputs(params, batch_stats, log_mels(), np.zeros(5, np.int32))["score"]
    np.testing.assert_allclose(found, -np.log(np.mean(np.exp(-np.array(each)), axis=0)), rtol=1e-5)


def test_a_training_begins_with_the_bands_of_its_clips_where_they_are_standardised():
    fresh = TINY.init(jax.random.key(0))
    recipe = read_recipe(maf.get_config(), complete=False)
    params, batch_stats = recipe.begin(*fresh, lambda: (np.arange(3.0), np.ones(3)))
    assert params is fresh[0] and batch_stats["network"] is fresh[1]["network"]
    np.testing.assert_array_equal(batch_stats["bands"]["mean"], [0, 1, 2])
    assert dataclasses.replace(recipe, standardise_bands=False).begin(*fresh, None) == fresh


def test_one_model_learns_the_sound_of_all_machines(tmp_path, capsys):
    data_dir = prepare_machines(write_machines(tmp_path / "raw", 12, 6), tmp_path / "data")
    config = maf.get_config("quicktest")
    config.data_dir, config.compilation_cache = str(data_dir), ""
    config.window = config.hop = config.network.blocks = 1
    config.batch_size, config.network.hidden, config.num_epochs, config.validation_share = 32, 64, 6, 0.2
    workdir = str(tmp_path / "run")
    train_and_keep(config, workdir)
    told = capsys.readouterr().out
    assert "drill/00, drill/01: 20 normal clips, 4 held back" in told
    losses = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert losses[-1]["loss"] < losses[0]["loss"]
    trained = load_trained(Workdir(workdir))
    best = min(losses, key=lambda epoch: epoch["validation_loss"])
    assert trained.steps == (6 * best["steps"],) and trained.states[0].best == {}
    low, high = ("drill", "00"), ("drill", "01")
    data = load_data(trained.recipe)
    clips = list(zip(data.target.clips, data.target, strict=True))
    swapped = [
        (dataclasses.replace(clip, machine=high if clip.machine == low else low), log_mel) for clip, log_mel in clips
    ]
    own, other = (np.mean([one["score"].mean() for _, one in trained.outputs(x)]) for x in (clips, swapped))
    assert own < other
    evaluate_workdir(workdir)
    [row] = json.loads((tmp_path / "run/metrics.json").read_text())["rows"]
    assert (row["machine_type"], row["machine_id"]) == low
