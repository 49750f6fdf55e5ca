"""Which clips a config names, and which of them are held back."""

import numpy as np
import pytest

from asd_jax.base.errors import UserError
from asd_jax.datasets import DATASETS
from asd_jax.recipes.keys import read_recipe
from asd_jax.records.prepare import prepare
from asd_jax.records.store import open_store
from asd_jax.training.data import load_data, target_machines
from configs import autoencoder, maf, multitask, proxy_outlier
from tests.recordings import HIGH, write_machines, write_tone

WINDOW = 32


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two drills of 6 clips, a saw with a single one, and three sounds of other things, one shorter than a window."""
    folder = tmp_path_factory.mktemp("data")
    raw = write_machines(folder / "raw", train_clips=6, test_clips=1)
    write_tone(raw / "dev_data/saw/train/normal_id_00_00000000.wav", HIGH, 1)
    for seed, seconds in enumerate((2.0, 3.0, 0.5)):
        write_tone(folder / f"sounds/class_{seed}/{seed}.wav", HIGH, seed, seconds)
    prepare(DATASETS["dcase2020"].list_clips(str(raw)), str(folder / "data"), "dcase2020", "paper1")
    prepare(DATASETS["audioset"].list_clips(str(folder / "sounds")), str(folder / "data"), "audioset", "paper1")
    return folder


def of(folder, config, machine_id="00", **changes):
    config.data_dir, config.machine_type, config.machine_id = str(folder / "data"), "drill", machine_id
    config.window, config.features = WINDOW, "paper1"
    config.update(changes)
    return load_data(read_recipe(config))


def test_sounds_of_no_machine_are_an_outlier_set_and_nothing_else(folder, capsys):
    data = of(folder, proxy_outlier.get_config(), outlier_set="f")
    assert {clip.machine for clip in data.outliers.clips} == {("AudioSet", "all")} and len(data.outliers) == 2
    assert "Left out 1 clips of AudioSet/all" in capsys.readouterr().out
    for outlier_set in ("a", "b", "c", "all"):
        others = {
            clip.machine[0] for clip in of(folder, proxy_outlier.get_config(), outlier_set=outlier_set).outliers.clips
        }
        assert others <= {"drill", "saw"}
    recipe = read_recipe(maf.get_config(), complete=False)
    there = open_store(str(folder / "data"), "paper1").groups()
    assert target_machines(recipe, there) == [("drill", "00"), ("drill", "01"), ("saw", "00")]


def test_the_released_code_shows_the_last_window_of_such_sounds(folder):
    config = proxy_outlier.get_config("as_released")
    whole, last = (of(folder, proxy_outlier.get_config(v), outlier_set="f").outliers for v in ("", "as_released"))
    np.testing.assert_array_equal(last.length, WINDOW)
    np.testing.assert_array_equal(last.first + WINDOW, whole.first + whole.length)
    machines = of(folder, config, outlier_set="c").outliers
    assert (machines.length > WINDOW).all()


def test_a_model_of_a_type_knows_all_its_ids_and_has_no_outliers(folder):
    data = of(folder, autoencoder.get_config(), machine_id="", held_back=2)
    assert data.machines == (("drill", "00"), ("drill", "01")) and not len(data.outliers)
    assert [len(part) for part in (data.target, data.held_back)] == [8, 4]
    np.testing.assert_array_equal(data.products(data.target), [0] * 4 + [1] * 4)


def test_an_outlier_machine_keeps_its_only_clip_for_the_training_and_a_target_must_have_more(folder):
    data = of(folder, multitask.get_config(), machine_id="", validation_share=0.2)
    assert [len(part) for part in (data.target, data.held_back)] == [10, 2]
    assert [len(part) for part in (data.outliers, data.held_back_outliers)] == [1, 0]
    with pytest.raises(UserError, match="Holding back 1 clips of saw/00 leaves nothing"):
        of(folder, maf.get_config(), machine_type="saw", validation_share=0.2)
