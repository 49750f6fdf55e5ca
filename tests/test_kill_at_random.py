"""A command that is killed and run again leaves what an undisturbed one does; `tests/kill_at_random.py` in small."""

import random

import pytest

from asd_jax.datasets import DATASETS
from asd_jax.records.prepare import prepare
from tests import kill_at_random
from tests.kill_at_random import make_data, places, try_command

pytestmark = pytest.mark.usefixtures("ends")


@pytest.fixture(scope="module")
def commands(tmp_path_factory):
    folder = tmp_path_factory.mktemp("killed")
    make_data(folder / "raw", clips=6)
    prepare(DATASETS["dcase2020"].list_clips(str(folder / "raw")), str(folder / "data"), "dcase2020", "paper1")
    return folder, places(folder, folder / "data", folder / "trained")


def test_a_killed_training_goes_on_to_the_same_end(commands, monkeypatch, capsys):
    folder, makes = commands
    monkeypatch.setattr(kill_at_random, "_IMPORTS", 0)
    try_command("train", makes["train"], folder, kills=1, rng=random.Random(3))
    assert "train: killed 1 times" in capsys.readouterr().out


def test_outputs_that_differ_are_found(tmp_path):
    for name, score in (("one", 1.0), ("other", 2.0)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "scores.csv").write_text(f"a.wav,{score}\n")
    with pytest.raises(AssertionError, match="scores.csv differs"):
        kill_at_random.compare("score", tmp_path / "one", tmp_path / "other")
    kill_at_random.compare("score", tmp_path / "one", tmp_path / "one")
    (tmp_path / "one" / ".scores.csv.1.tmp").touch()
    with pytest.raises(AssertionError, match="left over"):
        kill_at_random.compare("score", tmp_path / "one", tmp_path / "one")
