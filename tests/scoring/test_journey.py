"""From recordings to scores and decisions: what was learned shows, and only that."""

import json
import os
import pathlib

import numpy as np
import pytest

from asd_jax.base.errors import UserError
from asd_jax.evaluation.evaluate import evaluate_workdir
from asd_jax.listening import one_score
from asd_jax.recipes.workdir import Workdir
from asd_jax.records.store import open_store
from asd_jax.scoring.held_back import held_back_scores, train_and_keep
from asd_jax.scoring.scorer import Scorer
from asd_jax.scoring.trained import load_trained
from tests.recordings import HIGH, LOW, prepare_machines, write_machines, write_tone


def auc_of(config, folder, shuffled):
    raw = write_machines(folder / "raw", train_clips=24, test_clips=16, shuffled=shuffled)
    config.data_dir = str(prepare_machines(raw, folder / "data"))
    config.num_epochs, config.batch_size, config.learning_rate, config.num_runs = 20, 16, 5e-3, 3
    train_and_keep(config, str(folder / "run"))
    evaluate_workdir(str(folder / "run"))
    return json.loads((folder / "run" / "metrics.json").read_text())["rows"][0]["mean"]["AUC"]


def test_separable_sounds_are_told_apart_and_new_recordings_decided(config, tmp_path):
    config.held_back = 4
    assert auc_of(config, tmp_path, shuffled=False) > 0.9
    assert sorted(p.name for p in (tmp_path / "run" / "scores").iterdir()) == [
        "anomaly_score_drill_id_00.csv",
        "origin.json",
        "result.csv",
        "run_0",
        "run_1",
        "run_2",
    ]
    for i in range(6):
        write_tone(tmp_path / "new" / f"low_{i}.wav", LOW, 5000 + i)
        write_tone(tmp_path / "new" / f"high_{i}.wav", HIGH, 6000 + i)
    write_tone(tmp_path / "new" / "short.wav", LOW, 1, seconds=0.5)
    outcome = one_score.score_recordings(str(tmp_path / "run"), [str(tmp_path / "new")], str(tmp_path / "out.csv"), 0.1)
    assert len(outcome.files) == 12 and len(outcome.problems) == 1
    assert "short.wav" in outcome.problems[0] and "too short" in outcome.problems[0]
    decided = dict(line.split(",")[::2] for line in (tmp_path / "out.csv").read_text().splitlines()[1:])
    assert all(decided[f"high_{i}.wav"] == "anomalous" for i in range(6))
    assert sum(decided[f"low_{i}.wav"] == "normal" for i in range(6)) >= 4
    found = json.loads((tmp_path / "run" / "threshold.json").read_text())
    assert found["thresholds"] == {"drill/00": outcome.threshold}
    trained_on = json.loads((tmp_path / "run" / "training.json").read_text())
    assert trained_on["normal_clips"] == 20 and sorted(trained_on["held_back"]) == sorted(
        found["scores_of_held_back_normal_clips"]["drill/00"]
    )
    assert len(trained_on["held_back"]) == 4


def test_shuffled_labels_teach_nothing(config, tmp_path):
    assert 0.1 < auc_of(config, tmp_path, shuffled=True) < 0.9


def test_held_back_clips_that_are_not_scored_yet_are_told(config, tmp_path):
    config.num_epochs, config.held_back = 1, 2
    train_and_keep(config, str(tmp_path))
    scorer = Scorer(load_trained(Workdir(tmp_path)))
    scores = held_back_scores(scorer)
    kept = tmp_path / "held_back_scores.json"
    of_other_steps = json.dumps(json.loads(kept.read_text()) | {"steps": [1]})
    for stale in ("", of_other_steps, json.dumps(scores)):  # gone, of other weights, as older versions wrote them
        kept.write_text(stale) if stale else kept.unlink()
        with pytest.raises(UserError, match="not scored by these weights yet"):
            held_back_scores(scorer)
        train_and_keep(config, str(tmp_path))
        assert held_back_scores(scorer) == scores
    assert held_back_scores(scorer) == scores and len(scores["drill/00"]) == 2


def test_clips_without_a_label_are_scored_and_not_measured(config, tmp_path):
    raw = write_machines(tmp_path / "raw", train_clips=6, test_clips=4)
    for i in range(2):
        write_tone(raw / f"eval_data/drill/train/normal_id_02_{i:08d}.wav", LOW, i)
        write_tone(raw / f"eval_data/drill/test/id_02_{i:08d}.wav", LOW, i)
    config.data_dir, config.num_epochs = str(prepare_machines(raw, tmp_path / "data")), 1
    config.machine_id = "02"
    train_and_keep(config, str(tmp_path / "run"))
    assert "Not measured" in evaluate_workdir(str(tmp_path / "run"))
    assert len((tmp_path / "run/scores/anomaly_score_drill_id_02.csv").read_text().splitlines()) == 2
    assert not (tmp_path / "run/metrics.json").exists()
    (tmp_path / "list.csv").write_text("drill\nid_02_00000000.wav,normal_x.wav,0\nid_02_00000001.wav,anomaly_x.wav,1\n")
    assert "AUC" in evaluate_workdir(str(tmp_path / "run"), str(tmp_path / "list.csv"))


def test_without_held_back_clips_there_is_no_threshold(config, data_dir, tmp_path):
    config.num_epochs = 1
    train_and_keep(config, str(tmp_path / "run"))
    clip = sorted(pathlib.Path(data_dir).parent.glob("raw/dev_data/drill/test/*.wav"))[0]
    outcome = one_score.score_recordings(str(tmp_path / "run"), [str(clip)], str(tmp_path / "out.csv"), 0.1)
    assert outcome.threshold is None
    assert (tmp_path / "out.csv").read_text().startswith("file,score\n")


def test_new_recordings_score_as_the_same_clips_from_records(config, data_dir, tmp_path):
    config.num_epochs = 1
    train_and_keep(config, str(tmp_path / "run"))
    raw = pathlib.Path(data_dir).parent / "raw/dev_data/drill/test"
    outcome = one_score.score_recordings(str(tmp_path / "run"), [str(raw)], str(tmp_path / "out.csv"), 0.1)
    store = open_store(str(data_dir), "paper1")
    scorer = Scorer(load_trained(Workdir(tmp_path / "run")))
    clips, stored = scorer.clip_scores(store.clips(("drill", "00"), "test"))
    assert [os.path.basename(f) for f in outcome.files] == [clip.name for clip in clips]
    np.testing.assert_allclose(outcome.scores, stored[0], atol=0.02)  # records are rounded to float16
