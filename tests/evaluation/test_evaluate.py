"""A workdir by the windows of its recipe and by others: scores, thresholds, times."""

import json
import pathlib
import re
import shutil

import numpy as np
import pytest

from asd_jax.base.errors import UserError
from asd_jax.evaluation.evaluate import evaluate_workdir
from asd_jax.listening import one_score
from asd_jax.recipes.keys import read_recipe
from asd_jax.recipes.workdir import Workdir
from asd_jax.records.store import open_store
from asd_jax.scoring.held_back import held_back_scores, train_and_keep
from asd_jax.scoring.scorer import Scorer
from asd_jax.scoring.thresholds import gamma_threshold
from asd_jax.scoring.trained import load_trained
from configs import maf
from tests.conftest import tiny_recipe
from tests.fake_devices import DEVICES

HOP = 7


@pytest.fixture(scope="module")
def trained_workdir(data_dir, tmp_path_factory):
    config, workdir = tiny_recipe(data_dir, tmp_path_factory), tmp_path_factory.mktemp("evaluation") / "run"
    config.num_epochs, config.held_back, config.score_hop, config.num_runs = 1, 3, 1, 2
    train_and_keep(config, str(workdir), DEVICES[:2])
    return workdir


@pytest.fixture
def workdir(trained_workdir, tmp_path):
    return pathlib.Path(shutil.copytree(trained_workdir, tmp_path / "run"))


def every_nth_window(workdir, data_dir, split, hop):
    """File name -> the mean, over both runs, of every `hop`-th of the scores that the windows of hop 1 have."""
    trained = load_trained(Workdir(workdir))
    clips = list(open_store(str(data_dir), "paper1").clips(("drill", "00"), split))
    outputs = list(trained.outputs(clips))
    assert {one["score"].shape for _, one in outputs} == {(2, len(clips[0][1]) - 31)}
    return {clip.name: one["score"][:, ::hop].mean() for clip, one in outputs}


def scores_in(folder):
    lines = (folder / "anomaly_score_drill_id_00.csv").read_text().splitlines()
    return {name: pytest.approx(float(score), abs=1e-5) for name, score in (line.split(",") for line in lines)}


def test_a_hop_takes_every_nth_window_and_leaves_what_the_recipe_gave(workdir, data_dir):
    said = evaluate_workdir(str(workdir))
    of_recipe = {path: path.read_bytes() for path in workdir.rglob("*.[cj]s*") if "checkpoints" not in path.parts}
    assert every_nth_window(workdir, data_dir, "test", 1) == scores_in(workdir / "scores")

    assert "scores_hop_7" in evaluate_workdir(str(workdir), score_hop=HOP)
    expected = every_nth_window(workdir, data_dir, "test", HOP)
    assert len(expected) == 12 and expected == scores_in(workdir / "scores_hop_7")
    assert json.loads((workdir / "metrics_hop_7.json").read_text())["windows"] == 12 * 5
    assert {path: path.read_bytes() for path in of_recipe} == of_recipe
    assert evaluate_workdir(str(workdir), score_hop=1).splitlines()[-1] == said.splitlines()[-1]


def test_a_threshold_is_of_the_windows_that_recordings_are_scored_by(workdir, data_dir):
    test_clips, output = str(data_dir.parent / "raw/dev_data/drill/test"), str(workdir / "out.csv")
    kept = (workdir / "held_back_scores.json").read_bytes()
    outcome = one_score.score_recordings(str(workdir), [test_clips], output, 0.2, score_hop=HOP)
    of_clips = every_nth_window(workdir, data_dir, "train", HOP)
    held_back = [of_clips[name] for name in json.loads((workdir / "training.json").read_text())["held_back"]]
    assert outcome.threshold == pytest.approx(gamma_threshold(held_back, 0.8), abs=1e-5)
    assert json.loads((workdir / "threshold_hop_7.json").read_text())["thresholds"] == {"drill/00": outcome.threshold}
    np.testing.assert_allclose(
        outcome.scores, list(every_nth_window(workdir, data_dir, "test", HOP).values()), atol=0.02
    )

    of_recipe = one_score.score_recordings(str(workdir), [test_clips], output, 0.2)
    assert of_recipe.threshold != pytest.approx(outcome.threshold, abs=1e-5)
    assert (workdir / "held_back_scores.json").read_bytes() == kept

    # Both rules' thresholds are known now, without the prepared data.
    config = json.loads((workdir / "config.json").read_text())
    (workdir / "config.json").write_text(json.dumps(config | {"data_dir": "nowhere"}))
    again = one_score.score_recordings(str(workdir), [test_clips], output, 0.2, score_hop=HOP)
    assert again.threshold == outcome.threshold


def test_times_are_told(workdir):
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert len(lines) == 2  # of two runs, side by side
    batch = 8
    for line in lines:
        assert line["seconds"] * line["windows_per_second"] == pytest.approx(line["steps"] * batch)
    said = evaluate_workdir(str(workdir))
    measured = json.loads((workdir / "metrics.json").read_text())
    assert measured["windows"] == 12 * 32 and measured["scoring_seconds"] > 0
    assert measured["training_seconds"] == pytest.approx(sum(line["seconds"] for line in lines))
    [told] = re.findall(
        r"Scored 12 clips, 384 windows by 2 runs in (.*) s \((.*) windows/s\); training took (.*) s\.", said
    )
    assert float(told[0]) == pytest.approx(measured["scoring_seconds"], abs=0.051)
    assert float(told[1].replace(",", "")) == pytest.approx(2 * 384 / measured["scoring_seconds"], abs=0.51)
    assert float(told[2]) == pytest.approx(measured["training_seconds"], abs=0.051)

    lines = [{key: value for key, value in line.items() if key != "seconds"} for line in lines]
    (workdir / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert "windows/s).\n" in evaluate_workdir(str(workdir))


def test_hops_that_cannot_be_are_refused(workdir, data_dir):
    with pytest.raises(UserError, match="config.score_hop=0"):
        evaluate_workdir(str(workdir), score_hop=0)
    scorer = Scorer(load_trained(Workdir(workdir), score_hop=HOP))
    kept = json.loads((workdir / "held_back_scores.json").read_text())
    kept["scores"]["drill/00"]["gone.wav"] = 0.0
    (workdir / "held_back_scores.json").write_text(json.dumps(kept))
    with pytest.raises(UserError, match="missing in"):
        held_back_scores(scorer)
    (workdir / "config.json").unlink()
    config = maf.get_config()
    config.data_dir = str(data_dir)
    Workdir(workdir).keep_recipe(read_recipe(config))
    with pytest.raises(UserError, match="--score_hop=7 .* trained with maf"):
        evaluate_workdir(str(workdir), score_hop=HOP)
