"""What every method keeps to when it is trained, by being in `METHODS`: on one tiny workdir of each."""

import jax
import numpy as np
import optax
import pytest

from asd_jax.base.errors import UserError
from asd_jax.devices.mesh import make_mesh
from asd_jax.devices.stopping import Stop
from asd_jax.evaluation.evaluate import evaluate_workdir
from asd_jax.evaluation.score_files import read_scores
from asd_jax.export import folder as export
from asd_jax.methods import METHODS, encoder
from asd_jax.methods.recipe import HalfOutliers
from asd_jax.recipes.build import make_method
from asd_jax.recipes.keys import read_recipe
from asd_jax.recipes.workdir import Workdir
from asd_jax.records.store import open_store
from asd_jax.scoring.held_back import train_and_keep
from asd_jax.scoring.scorer import Scorer
from asd_jax.scoring.trained import load_trained, newest_states
from asd_jax.sound.presets import PRESETS
from asd_jax.training import input_pipeline
from asd_jax.training.data import load_data
from asd_jax.training.run import train
from tests.conftest import compiled_programs
from tests.methods.tiny import config_of
from tests.steps import take_steps
from tests.tiny_encoder import TinyEncoder


@pytest.fixture(scope="module", autouse=True)
def tiny_encoder():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoder, "Encoder", lambda products, axis_name, **_: TinyEncoder(products, axis_name))
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("contract")


@pytest.fixture(scope="module", params=METHODS)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def config(name, folder, tmp_path_factory):
    return config_of(name, folder, compiled_programs(tmp_path_factory))


@pytest.fixture(scope="module")
def workdir(name, config, folder):
    path = folder / f"{name}_run"
    train_and_keep(config, str(path))
    return path


class StopsAfter(Stop):
    """As if Ctrl-C came during the steps of that number."""

    def __init__(self, steps):
        super().__init__()
        self.left = steps

    def now(self):
        self.left -= 1
        return self.left <= 0


def sgd(values):
    """Adam's first steps make a sign of each rounding error."""
    return optax.sgd(values["learning_rate"])


def batches(recipe, data, steps):
    """The first ones of a training, their windows made up: what is stored is in decibel, and gradients are large."""
    sampler, rng = data.sampler(recipe), np.random.default_rng(0)
    shape = (1, recipe.batch_size, recipe.window, *PRESETS[recipe.features].frame_shape)
    options = {"seed": 0, "runs": [0], "first_step": 0, "num_epochs": 1 + steps // sampler.epoch_steps, "steps": 1}
    blocks = input_pipeline.blocks(sampler, window=None, **options)
    for _, block in zip(range(steps), blocks, strict=False):
        labels = {name: array[0] for name, array in block.arrays.items() if name != "first"}
        yield labels | {"features": rng.normal(size=shape).astype(np.float32)}


def test_one_device_and_four_take_the_same_steps(config):
    recipe = read_recipe(config)
    data = load_data(recipe)
    method, found = make_method(recipe, len(data.machines), len(data.classes)), []
    for devices in (1, 4):
        states, metrics, mesh = take_steps(method, sgd, batches(recipe, data, 3), devices=devices, learning_rate=1e-3)
        found.append((metrics, jax.device_get((states.params, states.batch_stats))))
    assert mesh.shape == {"run": 1, "data": 4}
    for name, value in found[0][0].items():
        rtol = 1e-3 if name == "gradient_norm" else 1e-4  # a unit at its threshold may fall to either side
        np.testing.assert_allclose(value, found[1][0][name], rtol, 1e-5 * np.abs(value).max(), err_msg=name)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), found[0][1], found[1][1])


def state_of(workdir):
    found = Workdir(workdir)
    recipe, summary = found.recipe, found.summary
    method = make_method(recipe, len(summary.machines), len(summary.classes))
    steps, [state] = newest_states(found, recipe, method, make_mesh(1, recipe.batch_size))
    assert steps == (summary.num_steps,)
    return jax.device_get(state)


def test_a_training_that_was_stopped_goes_on_to_the_same_weights(config, workdir, tmp_path):
    stopped = Workdir(tmp_path / "stopped")
    with pytest.raises(SystemExit):
        train(config, stopped, stop=StopsAfter(2))
    train(config, stopped, stop=Stop())
    jax.tree.map(np.testing.assert_array_equal, state_of(stopped.path), state_of(workdir))


def test_batches_are_as_the_recipe_says(config):
    recipe = read_recipe(config)
    data = load_data(recipe)
    for batch in batches(recipe, data, 3):
        product = batch["product"][0]
        assert product.shape == (recipe.batch_size,) and product.max() < len(data.machines)
        if isinstance(recipe.sampler, HalfOutliers):
            half = recipe.batch_size // 2
            assert (product[:half] >= 0).all() and (product[half:] == -1).all()
        else:
            assert (product >= 0).all()
        if recipe.class_of is not None:
            assert ((batch["class"][0] >= 0) == (product >= 0)).all() and batch["class"].max() < len(data.classes)
    held, shown = ({(c.machine, c.name) for c in part.clips} for part in (data.held_back, data.target))
    assert not held & shown and len(held) == len(data.held_back)


def test_scores_are_written_read_and_given_again_alike(workdir):
    assert "AUC" in evaluate_workdir(str(workdir))
    scorer = Scorer(load_trained(Workdir(workdir)))
    recipe = scorer.trained.recipe
    store = open_store(recipe.data_dir, recipe.features)
    for machine in scorer.trained.machines:
        clips, scores = scorer.clip_scores(store.clips(machine, "test"))
        written = read_scores(workdir / "scores" / f"anomaly_score_{machine[0]}_id_{machine[1]}.csv")
        assert dict(zip((clip.name for clip in clips), scores.mean(0).tolist(), strict=True)) == written
        assert len(set(written.values())) == 6
        expected = [len(scorer.trained.method.starts(len(features))) for _, features in store.clips(machine, "test")]
        assert [len(one) for _, one in scorer.window_scores(store.clips(machine, "test"))] == expected


def test_what_is_exported_scores_as_the_library(workdir, folder, tmp_path):
    clips = str(folder / "raw/dev_data/drill/test")
    several = len(Workdir(workdir).summary.machines) > 1
    model = export.export_workdir(
        str(workdir), str(tmp_path / "out"), 0.1, ["cpu"], machine_id="00" if several else None, check=clips
    )
    assert model["check"]["share_of_range"] <= export.TOLERANCE and len(model["check"]["clips"]) == 12
    assert model["threshold"] is not None


def test_a_key_that_was_trained_with_is_not_changed(config, workdir):
    changed = config.copy_and_resolve_references()
    changed.seed = config.seed + 1
    with pytest.raises(UserError, match="config.seed is 1, but .* was begun with 0"):
        train_and_keep(changed, str(workdir))
