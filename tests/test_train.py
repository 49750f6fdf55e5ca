"""Training: it learns what can be learned and nothing else, and stopping it changes no number."""

import errno
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading
import time

import jax
import numpy as np
import pytest

from asd_jax import checkpoints, evaluation, experiment, parallel, recordings, records, scoring, train
from asd_jax.errors import UserError
from configs import proxy_outlier
from tests.recordings import HIGH, LOW, prepare_machines, write_machines, write_tone

ROOT = pathlib.Path(__file__).parent.parent


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("machines")
    return prepare_machines(write_machines(folder / "raw", train_clips=11, test_clips=6), folder / "data")


@pytest.fixture
def config(data_dir, tmp_path_factory):
    """Three steps an epoch, six epochs, tiny network."""
    config = proxy_outlier.get_config("quicktest")
    config.data_dir, config.machine_type, config.machine_id = str(data_dir), "drill", "00"
    config.blocks, config.width, config.window = (1, 1, 1), 4, 32
    config.batch_size, config.num_epochs, config.held_back, config.checkpoint_epochs = 8, 6, 0, 2
    config.compilation_cache = str(tmp_path_factory.getbasetemp() / "compiled")
    return config


def weights(workdir, runs=1):
    trained = scoring.load_trained(str(workdir))
    return jax.device_get([(s.params, s.batch_stats, s.opt_state) for s in trained.states])


def epochs(workdir):
    return [json.loads(line) for line in pathlib.Path(workdir, "metrics.jsonl").read_text().splitlines()]


def same(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_the_networks_sizes_are_the_papers():
    for variant, size in (("", 894_658), ("as_released", 530_626)):
        method = experiment.make_method(proxy_outlier.get_config(variant))
        params, _ = jax.eval_shape(method.init, jax.random.key(0))
        assert sum(x.size for x in jax.tree.leaves(params)) == size


def test_a_stopped_training_goes_on_to_the_same_weights(config, tmp_path):
    train.train(config, str(tmp_path / "whole"))
    stopped = str(tmp_path / "stopped")

    def stop_soon():
        while not os.path.exists(f"{stopped}/metrics.jsonl"):  # written after the first epoch
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop_soon, daemon=True).start()
    with pytest.raises(SystemExit) as stop:
        train.train(config, stopped)
    assert stop.value.code == 128 + signal.SIGTERM
    [step] = checkpoints.RunCheckpoints(stopped, 0).steps()[-1:]
    assert 3 <= step < 18
    train.train(config, stopped)
    same(weights(tmp_path / "whole"), weights(stopped))
    assert sorted(entry["epoch"] for entry in epochs(stopped)) == [1, 2, 3, 4, 5, 6]
    before = os.stat(f"{stopped}/metrics.jsonl").st_mtime
    train.train(config, stopped)  # finished: nothing left to do
    assert os.stat(f"{stopped}/metrics.jsonl").st_mtime == before


def test_kill_9_loses_only_what_came_after_the_last_checkpoint(config, tmp_path):
    config.num_epochs = 200
    config.checkpoint_epochs = 10
    given = json.loads(config.to_json_best_effort())
    flags = [f"--config.{key}={value}" for key, value in given.items() if value is not None]
    workdir = tmp_path / "killed"
    command = [sys.executable, "tools/train.py", "--config=configs/proxy_outlier.py:quicktest", f"--workdir={workdir}"]
    flags = [flag.replace("[", "(").replace("]", ")") for flag in flags]
    process = subprocess.Popen([*command, *flags], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    folder = workdir / "checkpoints" / "run_0"
    while not any(p.name.isdigit() for p in folder.glob("*")):
        assert process.poll() is None, process.stdout.read().decode()
        time.sleep(0.01)
    process.kill()
    process.wait()
    found = checkpoints.RunCheckpoints(str(workdir), 0).steps()
    assert found and found[-1] % 30 == 0 and found[-1] < 600
    train.train(config, str(workdir))
    train.train(config, str(tmp_path / "whole"))
    same(weights(tmp_path / "whole"), weights(workdir))


def test_runs_are_the_same_on_one_device_and_side_by_side_on_four(config, tmp_path, monkeypatch):
    config.num_runs, config.num_epochs = 2, 2
    train.train(config, str(tmp_path / "four"))
    one = jax.devices()[:1]
    monkeypatch.setattr(parallel.jax, "devices", lambda *_: one)
    train.train(config, str(tmp_path / "one"))
    lines = [
        {(entry["run"], entry["epoch"]): entry["loss"] for entry in epochs(tmp_path / name)} for name in ("four", "one")
    ]
    assert lines[0].keys() == lines[1].keys() == {(0, 1), (0, 2), (1, 1), (1, 2)}
    assert lines[0] == pytest.approx(lines[1], rel=1e-3)
    assert lines[0][0, 1] != pytest.approx(lines[0][1, 1], rel=1e-3)


def test_a_training_moves_to_another_number_of_devices(config, tmp_path, monkeypatch):
    config.num_runs, config.num_epochs = 2, 4
    train.train(config, str(tmp_path / "four"))
    config.num_epochs = 2
    train.train(config, str(tmp_path / "moved"))
    for name in ("config.json", "training.json"):  # as if stopped half-way
        shutil.copy(tmp_path / "four" / name, tmp_path / "moved" / name)
    config.num_epochs = 4
    one = jax.devices()[:1]
    monkeypatch.setattr(parallel.jax, "devices", lambda *_: one)
    train.train(config, str(tmp_path / "moved"))
    trained = scoring.load_trained(str(tmp_path / "moved"))
    assert [int(state.step[0]) for state in trained.states] == [12, 12]
    losses = [{(e["run"], e["epoch"]): e["loss"] for e in epochs(tmp_path / name)} for name in ("four", "moved")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3) and len(losses[0]) == 8


def test_a_damaged_last_checkpoint_is_trained_again(config, tmp_path):
    config.num_epochs, config.checkpoint_epochs = 2, 1
    train.train(config, str(tmp_path))
    whole = weights(tmp_path)
    largest = max((tmp_path / "checkpoints/run_0/6").rglob("*"), key=lambda p: p.stat().st_size * p.is_file())
    largest.write_bytes(largest.read_bytes()[:-7])
    assert scoring.load_trained(str(tmp_path)).states[0].step[0] == 3
    train.train(config, str(tmp_path))
    same(weights(tmp_path), whole)


def test_a_workdir_begun_on_other_clips_is_refused(config, tmp_path):
    config.num_epochs = 1
    train.train(config, str(tmp_path / "run"))
    raw = write_machines(tmp_path / "raw", train_clips=12, test_clips=1)
    config.data_dir = str(prepare_machines(raw, tmp_path / "data"))
    stored = json.loads((tmp_path / "run" / "config.json").read_text())
    (tmp_path / "run" / "config.json").write_text(json.dumps(stored | {"data_dir": config.data_dir}))
    with pytest.raises(UserError, match="not those that .* was begun with .normal_clips was 11 and is 12"):
        train.train(config, str(tmp_path / "run"))


def test_a_full_disk_is_told(config, tmp_path, monkeypatch):
    def full(*_, **__):
        raise ValueError("OUT_OF_RANGE: Failed writing [os_error_code='28']")

    monkeypatch.setattr(checkpoints.ocp.CheckpointManager, "save", full)
    with pytest.raises(OSError, match="No space left") as told:
        train.train(config, str(tmp_path))
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
    assert train.group_runs(steps, width) == groups


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_checkpoint(config, tmp_path, monkeypatch):
    train.train(config, str(tmp_path))  # six epochs
    real = train.input_pipeline.proxy_outlier_batches

    def poisoned(*args, **options):
        for step, batch in enumerate(real(*args, **options)):
            if step == 7:
                batch["log_mel"] = batch["log_mel"] * np.float16(np.inf)
            yield batch

    monkeypatch.setattr(train.input_pipeline, "proxy_outlier_batches", poisoned)
    with pytest.raises(UserError, match="Step 8 of run 0"):
        train.train(config, str(tmp_path / "poisoned"))
    assert checkpoints.RunCheckpoints(str(tmp_path / "poisoned"), 0).steps() == [6]
    for leaf in jax.tree.leaves(weights(tmp_path / "poisoned")):
        assert np.isfinite(leaf).all()


def test_a_changed_config_is_refused_by_its_key(config, tmp_path):
    experiment.store_config(config, str(tmp_path))
    config.learning_rate = 0.5
    with pytest.raises(UserError, match="config.learning_rate is 0.5"):
        experiment.store_config(config, str(tmp_path))


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
        ("batch_size", 0, "above 0"),
        ("num_outliers", -1, "num_outliers"),
        ("held_back", 11, "held_back=11"),
        ("held_back", 1, "at least 2"),
        ("blocks", (4, 4), "three numbers"),
        ("learning_rate", float("inf"), "learning_rate=inf"),
        ("method", "autoencoder", "proxy_outlier"),
        ("data_dir", "", "config.data_dir is empty"),
        ("window", 4, "window=4"),
        ("window", 640, "640 frames"),
    ],
)
def test_values_that_cannot_be_used_are_told_before_anything_is_written(config, tmp_path, key, value, message):
    config[key] = value
    with pytest.raises(UserError, match=message):
        train.train(config, str(tmp_path / "workdir"))
    assert not (tmp_path / "workdir").exists()


def auc_of(config, folder, shuffled):
    raw = write_machines(folder / "raw", train_clips=24, test_clips=16, shuffled=shuffled)
    config.data_dir = str(prepare_machines(raw, folder / "data"))
    config.num_epochs, config.batch_size, config.learning_rate, config.num_runs = 20, 16, 5e-3, 3
    train.train(config, str(folder / "run"))
    evaluation.evaluate_workdir(str(folder / "run"))
    return json.loads((folder / "run" / "metrics.json").read_text())["mean"]["AUC"]


def test_separable_sounds_are_told_apart_and_new_recordings_decided(config, tmp_path):
    config.held_back = 4
    assert auc_of(config, tmp_path, shuffled=False) > 0.9
    assert sorted(p.name for p in (tmp_path / "run" / "scores").iterdir()) == [
        "anomaly_score_drill_id_00.csv",
        "result.csv",
        "run_0",
        "run_1",
        "run_2",
    ]
    for i in range(6):
        write_tone(tmp_path / "new" / f"low_{i}.wav", LOW, 5000 + i)
        write_tone(tmp_path / "new" / f"high_{i}.wav", HIGH, 6000 + i)
    write_tone(tmp_path / "new" / "short.wav", LOW, 1, seconds=0.5)
    outcome = recordings.score_recordings(str(tmp_path / "run"), str(tmp_path / "new"), str(tmp_path / "out.csv"), 0.1)
    assert len(outcome.files) == 12 and len(outcome.problems) == 1
    assert "short.wav" in outcome.problems[0] and "too short" in outcome.problems[0]
    decided = dict(line.split(",")[::2] for line in (tmp_path / "out.csv").read_text().splitlines()[1:])
    assert all(decided[f"high_{i}.wav"] == "anomalous" for i in range(6))
    assert sum(decided[f"low_{i}.wav"] == "normal" for i in range(6)) >= 4
    found = json.loads((tmp_path / "run" / "threshold.json").read_text())
    assert found["threshold"] == outcome.threshold and len(found["scores_of_held_back_normal_clips"]) == 4
    trained_on = json.loads((tmp_path / "run" / "training.json").read_text())
    assert trained_on["normal_clips"] == 20 and sorted(trained_on["held_back"]) == sorted(
        found["scores_of_held_back_normal_clips"]
    )


def test_shuffled_labels_teach_nothing(config, tmp_path):
    assert 0.1 < auc_of(config, tmp_path, shuffled=True) < 0.9


def test_held_back_clips_that_are_not_scored_yet_are_told(config, tmp_path):
    config.num_epochs, config.held_back = 1, 2
    train.train(config, str(tmp_path))
    scores = scoring.held_back_scores(str(tmp_path))
    (tmp_path / "held_back_scores.json").unlink()
    with pytest.raises(UserError, match="not scored yet"):
        scoring.held_back_scores(str(tmp_path))
    train.train(config, str(tmp_path))
    assert scoring.held_back_scores(str(tmp_path)) == scores and len(scores) == 2


def test_clips_without_a_label_are_scored_and_not_measured(config, tmp_path):
    raw = write_machines(tmp_path / "raw", train_clips=6, test_clips=4)
    for i in range(2):
        write_tone(raw / f"eval_data/drill/train/normal_id_02_{i:08d}.wav", LOW, i)
        write_tone(raw / f"eval_data/drill/test/id_02_{i:08d}.wav", LOW, i)
    config.data_dir, config.num_epochs = str(prepare_machines(raw, tmp_path / "data")), 1
    config.machine_id = "02"
    train.train(config, str(tmp_path / "run"))
    assert "Not measured" in evaluation.evaluate_workdir(str(tmp_path / "run"))
    assert len((tmp_path / "run/scores/anomaly_score_drill_id_02.csv").read_text().splitlines()) == 2
    assert not (tmp_path / "run/metrics.json").exists()
    (tmp_path / "list.csv").write_text("drill\nid_02_00000000.wav,normal_x.wav,0\nid_02_00000001.wav,anomaly_x.wav,1\n")
    assert "AUC" in evaluation.evaluate_workdir(str(tmp_path / "run"), str(tmp_path / "list.csv"))


def test_without_held_back_clips_there_is_no_threshold(config, data_dir, tmp_path):
    config.num_epochs = 1
    train.train(config, str(tmp_path / "run"))
    clip = sorted(pathlib.Path(data_dir).parent.glob("raw/dev_data/drill/test/*.wav"))[0]
    outcome = recordings.score_recordings(str(tmp_path / "run"), str(clip), str(tmp_path / "out.csv"), 0.1)
    assert outcome.threshold is None
    assert (tmp_path / "out.csv").read_text().startswith("file,score\n")


def test_new_recordings_score_as_the_same_clips_from_records(config, data_dir, tmp_path):
    config.num_epochs = 1
    train.train(config, str(tmp_path / "run"))
    raw = pathlib.Path(data_dir).parent / "raw/dev_data/drill/test"
    outcome = recordings.score_recordings(str(tmp_path / "run"), str(raw), str(tmp_path / "out.csv"), 0.1)
    store = records.open_store(str(data_dir), "paper1")
    clips = list(store.examples(("drill", "00"), "test"))
    stored = scoring.load_trained(str(tmp_path / "run")).score([clip["log_mel"] for clip in clips])
    assert [os.path.basename(f) for f in outcome.files] == [clip["name"].decode() for clip in clips]
    np.testing.assert_allclose(outcome.scores, stored[0], atol=0.02)  # records are rounded to float16
