"""What a workdir keeps comes back, and another training's is refused by the key that differs."""

import dataclasses
import json

import pytest

from asd_jax.base.errors import UserError
from asd_jax.recipes.keys import as_config, read_recipe
from asd_jax.recipes.workdir import Summary, Workdir
from asd_jax.sound.features import WaveStatistics
from configs import autoencoder, multitask
from tests.built import workdir_of

SUMMARY = Summary(9, 2, 4, 3, 0, (("fan", "00"),), ("a.wav",), {"fan": WaveStatistics(0.5, 2.0)}, {"fan/00": 1}, "x")


def test_recipe_summary_and_surroundings_come_back(tmp_path):
    workdir = workdir_of(tmp_path / "w", multitask, machine_type="valve")
    workdir.keep_summary(SUMMARY)
    workdir.keep_surroundings()
    again = Workdir(str(tmp_path / "w"))
    assert again.recipe == workdir.recipe and again.recipe.inlier_p == 32  # of Table I
    assert again.summary == SUMMARY and again.surroundings["devices"] >= 1
    assert again.exists() and again.has_begun() and not Workdir(tmp_path).exists()


def test_a_config_of_another_version_is_refused_by_name(tmp_path):
    config = {"method": "autoencoder", "data_dir": "d", "machine_type": "fan", "widths": [8, 2, 8]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="config.json is not a config that this version of tools/train.py wrote"):
        Workdir(tmp_path).recipe  # noqa: B018
    (tmp_path / "config.json").write_text(json.dumps(config | {"format": 2}))
    with pytest.raises(UserError, match="config.json is not .*: config.widths is no key of autoencoder"):
        Workdir(tmp_path).recipe  # noqa: B018


@pytest.mark.parametrize(
    ("key", "value"), [("network.bias", 0.5), ("learning_rate", 0.5), ("hop", 3), ("machine_type", "saw")]
)
def test_another_recipe_is_refused_by_its_key(tmp_path, key, value):
    workdir = workdir_of(tmp_path, autoencoder)
    config = as_config(workdir.recipe)
    config.update_from_flattened_dict({key: value})
    with pytest.raises(UserError, match=rf"config\.{key} is {value!r}, but .* was begun with .*: use that value, or"):
        Workdir(tmp_path).keep_recipe(read_recipe(config))
    assert Workdir(tmp_path).recipe == workdir.recipe


def test_keys_that_train_nothing_may_change(tmp_path):
    workdir = workdir_of(tmp_path, multitask)
    changed = dataclasses.replace(workdir.recipe, inlier="lof", inlier_p=7, compilation_cache="")
    Workdir(tmp_path).keep_recipe(changed)
    assert Workdir(tmp_path).recipe == changed


def test_other_data_are_refused_by_what_differs(tmp_path):
    workdir = workdir_of(tmp_path, autoencoder)
    workdir.keep_summary(SUMMARY)
    with pytest.raises(UserError, match=r"\(normal_clips was 3 and is 4\): train into another workdir"):
        Workdir(tmp_path).keep_summary(dataclasses.replace(SUMMARY, normal_clips=4))


def test_what_was_never_begun_is_told(tmp_path):
    with pytest.raises(UserError, match="is not a workdir of tools/train.py: it holds no config.json"):
        Workdir(tmp_path).recipe  # noqa: B018
    with pytest.raises(UserError, match="has not begun"):
        workdir_of(tmp_path, autoencoder).summary  # noqa: B018
    assert Workdir(tmp_path).surroundings == {}


def test_a_summary_of_before_there_were_classes_is_read(tmp_path):
    workdir_of(tmp_path, autoencoder).keep_summary(SUMMARY)
    content = json.loads((tmp_path / "training.json").read_text())
    del content["classes"]
    (tmp_path / "training.json").write_text(json.dumps(content))
    assert Workdir(tmp_path).summary == SUMMARY and SUMMARY.classes == ()
