"""Trainings side by side: which devices they get, what is kept, and what happens when one fails or all are stopped."""

import dataclasses
import json
import os
import pathlib
import signal
import threading
import time

import pytest

from asd_jax.base.errors import UserError
from asd_jax.recipes.workdir import Workdir
from asd_jax.studies import grid
from configs import proxy_outlier
from tests.fake_devices import DEVICES

OWN = {"data_dir": "D", "machine_type": "fan", "machine_id": "00"}


def trainings(folder, count, num_runs=1):
    overrides = {"num_runs": num_runs}
    return [
        grid.make_training("of", name, str(folder / name), proxy_outlier.get_config("quicktest"), overrides, OWN)
        for name in map(str, range(count))
    ]


@pytest.fixture
def fake(monkeypatch):
    """In the place of training and evaluation: notes what was trained on which devices; `act` may do more."""

    class Fake:
        def __init__(self):
            self.trained, self.act = {}, lambda name, stop: None

        def train(self, recipe, workdir, devices, stop):
            Workdir(workdir).keep_recipe(recipe)
            name = pathlib.Path(workdir).name
            self.trained[name] = tuple(device.id for device in devices)
            self.act(name, stop)

        def evaluate(self, workdir, devices):
            assert self.trained[pathlib.Path(workdir).name] == tuple(device.id for device in devices)
            pathlib.Path(workdir, "metrics.json").write_text(json.dumps({"rows": [], "steps": [4], "num_steps": 4}))
            return f"evaluated {workdir}"

    fake = Fake()
    monkeypatch.setattr(grid, "train_and_keep", fake.train)
    monkeypatch.setattr(grid, "evaluate_workdir", fake.evaluate)
    return fake


@pytest.mark.parametrize(
    ("devices", "num_runs", "count", "expected"),
    [
        (1, 3, 5, [[0]]),
        (4, 1, 9, [[0], [1], [2], [3]]),
        (4, 3, 9, [[0, 1, 2, 3]]),
        (8, 3, 9, [[0, 1, 2, 3], [4, 5, 6, 7]]),
        (8, 1, 2, [[0, 1, 2, 3], [4, 5, 6, 7]]),
        (4, 1, 1, [[0, 1, 2, 3]]),
        (4, 1, 0, [[0, 1, 2, 3]]),
    ],
)
def test_trainings_share_the_devices(devices, num_runs, count, expected):
    assert grid.device_groups(list(range(devices)), num_runs, count) == expected


def test_two_trainings_of_two_runs_run_at_once_on_their_own_devices(tmp_path, fake, four_devices):
    together = threading.Barrier(2, timeout=20)
    fake.act = lambda name, stop: together.wait()
    assert not grid.train_all(trainings(tmp_path, 4, num_runs=2))
    ids = [device.id for device in DEVICES]
    assert set(fake.trained.values()) == {tuple(ids[:2]), tuple(ids[2:])} and len(fake.trained) == 4


def test_no_device_is_given_to_two_trainings_at_a_time(tmp_path, fake, four_devices):
    lock, busy, most = threading.Lock(), set(), []

    def act(name, stop):
        mine = set(fake.trained[name])
        with lock:
            assert not busy & mine
            busy.update(mine)
            most.append(len(busy))
        time.sleep(0.02)
        with lock:
            busy.difference_update(mine)

    fake.act = act
    assert not grid.train_all(trainings(tmp_path, 9))
    assert max(most) == len(DEVICES)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"rows": [', "Expecting value"),
        ('{"rows": [{}], "steps": [4], "num_steps": 4}', "rows 0 machine_type is missing"),
        ('{"rows": [{"machine_type": "fan", "machine_id": "00", "runs": [{}]}]}', "rows 0 runs 0 AUC is missing"),
    ],
)
def test_damaged_measures_are_one_sentence_and_the_others_go_on(tmp_path, fake, capsys, content, said):
    both = trainings(tmp_path, 2)
    assert not grid.train_all(both)
    (tmp_path / "0/metrics.json").write_text(content)
    with pytest.raises(UserError, match=f"metrics.json is damaged .*{said}.*: delete it and run the command again"):
        both[0].measured()
    os.remove(tmp_path / "1/metrics.json")
    assert grid.train_all(trainings(tmp_path, 2)) == {"0"}
    assert "Traceback" not in capsys.readouterr().err and (tmp_path / "1/metrics.json").exists()


def test_what_is_finished_is_kept_and_another_recipe_is_not_taken_for_it(tmp_path, fake, capsys):
    assert not grid.train_all(trainings(tmp_path, 2))
    os.remove(tmp_path / "1/metrics.json")
    fake.trained.clear()
    assert not grid.train_all(trainings(tmp_path, 3))
    assert sorted(fake.trained) == ["1", "2"]
    assert "part 1 of 3 0: finished before" in capsys.readouterr().out
    of_step_3 = {
        "rows": [],
        "steps": [3],
        "num_steps": 4,
    }  # evaluated beside the training, and as older versions wrote it
    for number, metrics in enumerate([of_step_3, {"rows": []}]):
        (tmp_path / f"{number}/metrics.json").write_text(json.dumps(metrics))
    fake.trained.clear()
    assert not grid.train_all(trainings(tmp_path, 3))
    assert sorted(fake.trained) == ["0", "1"]
    assert grid.train_all(trainings(tmp_path, 1, num_runs=2)) == {"0"}  # the workdir refuses it
    assert "part 1 of 1 0 failed: config.num_runs is 2" in capsys.readouterr().out


@pytest.mark.parametrize("error", [UserError("The loss is not finite."), RuntimeError("The loss is not finite.")])
def test_a_training_that_fails_is_told_and_the_others_go_on(tmp_path, fake, capsys, error):
    def act(name, stop):
        if name == "1":
            raise error

    fake.act = act
    assert grid.train_all(trainings(tmp_path, 6)) == {"1"}
    said = capsys.readouterr()
    assert "part 2 of 6 1 failed: The loss is not finite." in said.out
    assert ("Traceback" in said.err) == isinstance(error, RuntimeError)
    assert len(fake.trained) == 6 and f"evaluated {tmp_path / '5'}" in said.out


@pytest.mark.parametrize(("groups", "left"), [(1, ["20 min", "10 min", "0 s"]), (2, ["10 min", "5 min", "0 s"])])
def test_the_time_left_is_that_of_the_trainings_so_far_shared_by_the_groups(
    tmp_path, capsys, monkeypatch, groups, left
):
    monkeypatch.setattr(grid, "_train", lambda training, free, stop: (600.0, "found"))
    monkeypatch.setattr(grid, "device_groups", lambda devices, num_runs, trainings: [devices] * groups)
    assert not grid.train_all(trainings(tmp_path, 3))
    said = [line.split(": ")[1] for line in capsys.readouterr().out.splitlines() if line.startswith("part")]
    assert said == [f"took 10 min, about {one} left" for one in left]


def test_a_method_not_yet_seen_is_taken_to_last_as_long_as_the_others(tmp_path):
    first, second = trainings(tmp_path, 2)
    second = dataclasses.replace(second, recipe=dataclasses.replace(second.recipe, method="other"))
    assert grid._expected([first, first, second], {"proxy_outlier": [10, 20]}) == 45
    assert grid._expected([first, second], {"proxy_outlier": [10, 20], "other": [3]}) == 18


@pytest.mark.parametrize(
    ("number", "raised"), [(signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)], ids=lambda x: str(x)
)
def test_a_signal_stops_those_under_way_and_begins_no_other(tmp_path, fake, number, raised, four_devices):
    """Four are under way; none of the other five is begun, and no one is taken for finished."""
    under_way, saved = threading.Barrier(4, timeout=20), []

    def act(name, stop):
        if under_way.wait() == 0:
            os.kill(os.getpid(), number)
        for _ in range(1000):
            if stop.came:
                saved.append(name)
                raise SystemExit(143)
            time.sleep(0.01)

    fake.act = act
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(raised):
        grid.train_all(trainings(tmp_path, 9))
    assert len(fake.trained) == 4 and sorted(saved) == sorted(fake.trained)
    assert not list(tmp_path.glob("*/metrics.json"))
    assert signal.getsignal(signal.SIGTERM) is before


def test_sigterm_at_the_end_of_a_training_leaves_its_evaluation_for_the_next_time(tmp_path, fake):
    fake.act = lambda name, stop: setattr(stop, "came", True)
    with pytest.raises(SystemExit):
        grid.train_all(trainings(tmp_path, 1))
    assert not (tmp_path / "0/metrics.json").exists()


def test_overrides_are_values_or_words():
    assert [grid.parse_override(text) for text in ("a=0.5", "b=lof", "c=3")] == [("a", 0.5), ("b", "lof"), ("c", 3)]
    with pytest.raises(UserError, match="--override=width was given: expected key=value"):
        grid.parse_override("width")


def test_an_override_goes_to_recipes_that_have_the_key_and_own_values_win(tmp_path):
    recipe = proxy_outlier.get_config()
    given = {"network.width": 3, "unknown": 1, "machine_id": "07"}
    made = grid.make_training("of", "n", str(tmp_path), recipe, given, OWN)
    assert (made.recipe.network.width, made.recipe.machine_id) == (3, "00")
    grid.check_overrides({"network.width": 3}, [made], OWN)
    of_detector = {"network.width": 3, "of.network.width": 4, "other.network.width": 5}
    assert grid.make_training("of", "n", str(tmp_path), recipe, of_detector, OWN).recipe.network.width == 4
    grid.check_overrides({"of.network.width": 4}, [made], OWN)
    for wrong in ("other.network.width", "of.network.widht", "width"):
        with pytest.raises(UserError, match=f"No recipe of the study has the key '{wrong}'"):
            grid.check_overrides({wrong: 4}, [made], OWN)
    with pytest.raises(UserError, match="No recipe of the study has the key 'machine_id'"):
        grid.check_overrides({"machine_id": 3}, [made], OWN)
    with pytest.raises(UserError, match="network.width='wide' does not fit the recipe of of"):
        grid.make_training("of", "n", str(tmp_path), proxy_outlier.get_config(), {"network.width": "wide"}, OWN)
