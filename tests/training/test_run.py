"""Training: it learns what can be learned and nothing else, and stopping it changes no number."""

import errno
import itertools
import json
import os
import pathlib
import shutil
import signal
import time

import jax
import ml_collections
import numpy as np
import pytest

from asd_jax.base import locks
from asd_jax.base.errors import UserError
from asd_jax.devices import checkpoints
from asd_jax.devices.mesh import make_mesh
from asd_jax.recipes.build import make_method
from asd_jax.recipes.keys import read_recipe
from asd_jax.recipes.workdir import Workdir
from asd_jax.scoring.held_back import train_and_keep
from asd_jax.scoring.trained import load_trained, newest_states
from asd_jax.training import feed
from asd_jax.training.epoch_log import EpochLog
from asd_jax.training.run import group_runs
from configs import autoencoder, proxy_outlier
from tests.built import method_of
from tests.fake_devices import DEVICES
from tests.recordings import prepare_machines, write_machines

ROOT = pathlib.Path(__file__).parents[2]


def weights(workdir, runs=1):
    found = Workdir(workdir)
    method = make_method(found.recipe, len(found.summary.machines))
    _, states = newest_states(found, found.recipe, method, make_mesh(1, found.recipe.batch_size))
    return jax.device_get([(s.params, s.batch_stats, s.opt_state, s.best) for s in states])


def epochs(workdir):
    return [json.loads(line) for line in pathlib.Path(workdir, "metrics.jsonl").read_text().splitlines()]


def same(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_the_networks_sizes_are_the_papers():
    for variant, size in (("", 894_658), ("as_released", 530_626)):
        method = method_of(proxy_outlier.get_config(variant))
        params, _ = jax.eval_shape(method.init, jax.random.key(0))
        assert sum(x.size for x in jax.tree.leaves(params)) == size


def test_a_stopped_training_goes_on_to_the_same_weights_whatever_the_clock_says(config, tmp_path, monkeypatch):
    train_and_keep(config, str(tmp_path / "whole"))
    stopped = str(tmp_path / "stopped")

    add = EpochLog.add

    def stop_after_an_epoch(log, first_step, *rest, **named):
        if first_step == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return add(log, first_step, *rest, **named)

    with monkeypatch.context() as patch, pytest.raises(SystemExit) as stop:
        patch.setattr(EpochLog, "add", stop_after_an_epoch)
        train_and_keep(config, stopped)
    assert stop.value.code == 128 + signal.SIGINT
    [step] = checkpoints.RunCheckpoints(stopped, 0).steps()[-1:]
    assert 3 <= step < 18
    clock = itertools.count(2e9, -3600)
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: next(clock))  # it is set back an hour at every look
        train_and_keep(config, stopped)
    same(weights(tmp_path / "whole"), weights(stopped))
    assert sorted(entry["epoch"] for entry in epochs(stopped)) == [1, 2, 3, 4, 5, 6]
    assert all(0 < entry["seconds"] < 60 for entry in epochs(stopped))
    before = os.stat(f"{stopped}/metrics.jsonl").st_mtime
    train_and_keep(config, stopped)  # finished: nothing left to do
    assert os.stat(f"{stopped}/metrics.jsonl").st_mtime == before


def test_a_training_moves_to_another_number_of_devices(data_dir, tmp_path):
    config = autoencoder.get_config()
    config.data_dir, config.machine_type, config.compilation_cache = str(data_dir), "drill", ""
    config.network.widths, config.batch_size, config.steps_per_dispatch = (8, 2, 8), 64, 8
    config.num_runs, config.num_epochs, config.checkpoint_epochs = 2, 2, 1
    train_and_keep(config, str(tmp_path / "four"), DEVICES)
    config.num_epochs = 1
    train_and_keep(config, str(tmp_path / "moved"), DEVICES)
    for name in ("config.json", "training.json"):  # as if stopped half-way
        shutil.copy(tmp_path / "four" / name, tmp_path / "moved" / name)
    config.num_epochs = 2
    train_and_keep(config, str(tmp_path / "moved"), DEVICES[:1])
    trained = load_trained(Workdir(tmp_path / "moved"))
    assert len(trained.states) == 2 and trained.steps == (42, 42)
    losses = [{(e["run"], e["epoch"]): e["loss"] for e in epochs(tmp_path / name)} for name in ("four", "moved")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3) and len(losses[0]) == 4


def test_a_damaged_last_checkpoint_is_trained_again(config, tmp_path):
    config.num_epochs, config.checkpoint_epochs = 2, 1
    train_and_keep(config, str(tmp_path))
    whole = weights(tmp_path)
    largest = max((tmp_path / "checkpoints/run_0/6").rglob("*"), key=lambda p: p.stat().st_size * p.is_file())
    largest.write_bytes(largest.read_bytes()[:-7])
    assert load_trained(Workdir(tmp_path)).steps == (3,)
    train_and_keep(config, str(tmp_path))
    same(weights(tmp_path), whole)


def test_a_workdir_begun_on_other_clips_is_refused(config, tmp_path):
    config.num_epochs = 1
    train_and_keep(config, str(tmp_path / "run"))
    raw = write_machines(tmp_path / "raw", train_clips=12, test_clips=1)
    config.data_dir = str(prepare_machines(raw, tmp_path / "data"))
    stored = json.loads((tmp_path / "run" / "config.json").read_text())
    (tmp_path / "run" / "config.json").write_text(json.dumps(stored | {"data_dir": config.data_dir}))
    with pytest.raises(UserError, match="not those that .* was begun with .normal_clips was 11 and is 12"):
        train_and_keep(config, str(tmp_path / "run"))


def test_a_full_disk_is_told(config, tmp_path, monkeypatch):
    def full(*_, **__):
        raise ValueError("OUT_OF_RANGE: Failed writing [os_error_code='28']")

    monkeypatch.setattr(checkpoints.ocp.CheckpointManager, "save", full)
    with pytest.raises(OSError, match="No space left") as told:
        train_and_keep(config, str(tmp_path))
    assert told.value.errno == errno.ENOSPC


@pytest.mark.parametrize(
    ("steps", "width", "groups"),
    [
        ({0: set(), 1: set(), 2: set()}, 2, [[0, 1], [2]]),
        ({1: {40}, 2: set(), 3: set()}, 3, [[2, 3], [1]]),  # a run that is further does not go back to the start
        ({0: {95, 100}, 1: {90, 95}}, 2, [[1, 0]]),  # killed between the two: both go on from 95
        ({0: {95, 100}, 1: {80, 85}}, 2, [[1], [0]]),
    ],
)
def test_runs_train_side_by_side_where_they_can_start_together(steps, width, groups):
    assert group_runs(steps, width) == groups


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_checkpoint(config, tmp_path, monkeypatch):
    train_and_keep(config, str(tmp_path))  # six epochs
    real = feed.input_pipeline.blocks

    def poisoned(*args, **options):
        for block in real(*args, **options):
            if block.first_step == 7:
                block.arrays["features"] = block.arrays["features"] * np.float16(np.inf)
            yield block

    monkeypatch.setattr(feed.input_pipeline, "blocks", poisoned)
    with pytest.raises(UserError, match="Step 8 of run 0"):
        train_and_keep(config, str(tmp_path / "poisoned"))
    assert checkpoints.RunCheckpoints(str(tmp_path / "poisoned"), 0).steps() == [6]
    for leaf in jax.tree.leaves(weights(tmp_path / "poisoned")):
        assert np.isfinite(leaf).all()


def test_a_changed_config_is_refused_by_its_key(config, tmp_path):
    Workdir(tmp_path).keep_recipe(read_recipe(config))
    for name, value in (("learning_rate", 0.5), ("network.width", 5)):
        changed = config.copy_and_resolve_references()
        changed.update_from_flattened_dict({name: value})
        with pytest.raises(UserError, match=f"config.{name} is {value}"):
            Workdir(tmp_path).keep_recipe(read_recipe(changed))
    config.compilation_cache = "elsewhere"  # has no say in what is trained
    Workdir(tmp_path).keep_recipe(read_recipe(config))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("machine_type", "drll", "drill"),
        ("machine_id", "09", "00"),
        ("outlier_set", "x", "outlier_set"),
        ("outlier_set", "d", "d"),
        ("outlier_set", "b", "b"),
        ("precision", "float64", "float32"),
        ("batch_size", 7, "even"),
        ("batch_size", 0, "from 2 to"),
        ("num_outliers", -1, "num_outliers"),
        ("held_back", 11, "Holding back 11 clips"),
        ("held_back", 1, "at least 2"),
        ("network.blocks", (4, 4), "3 entries"),
        ("learning_rate", float("inf"), "learning_rate=inf"),
        ("method", "proxyoutlier", "proxy_outlier"),
        ("method", "autoencoder", "config.num_outliers is no key of autoencoder: expected some of method, "),
        ("data_dir", "", "config.data_dir is empty"),
        ("window", 4, "window=4"),
        ("network.width", 0, "config.network.width=0 was given: expected a number from 1 to 16,384"),
        ("network.width", 2.5, "config.network.width=2.5 was given: expected a whole number"),
        ("machine_type", "", "config.machine_type is empty"),
        ("window", 640, "640 frames"),
    ],
)
def test_values_that_cannot_be_used_are_told_before_anything_is_written(config, tmp_path, key, value, message):
    config = ml_collections.ConfigDict(config.to_dict(), type_safe=False)  # as a file of one's own may give it
    config.update_from_flattened_dict({key: value})
    with pytest.raises(UserError, match=message):
        train_and_keep(config, str(tmp_path / "workdir"))
    assert not (tmp_path / "workdir").exists()


def test_the_second_training_on_a_workdir_is_refused_and_the_first_one_s_is_left_alone(config, tmp_path):
    workdir = tmp_path / "workdir"
    with locks.held(workdir, "training"), pytest.raises(UserError, match=f"process {os.getpid()} on host .* since 2"):
        train_and_keep(config, str(workdir))
    assert not workdir.exists()
