"""Paper 2 from recordings to decisions: a small encoder tells IDs apart, and its inlier models easy faults."""

import csv
import dataclasses
import json
import pathlib
import shutil

import numpy as np
import pytest

from asd_jax.backends import BACKENDS
from asd_jax.backends.embeddings import Embeddings
from asd_jax.base.errors import UserError
from asd_jax.datasets import DATASETS
from asd_jax.evaluation import select_inlier
from asd_jax.evaluation.evaluate import evaluate_workdir
from asd_jax.listening import one_score
from asd_jax.methods import encoder
from asd_jax.methods.recipe import InlierChoice
from asd_jax.recipes.keys import as_config, read_recipe
from asd_jax.recipes.workdir import Workdir
from asd_jax.records.prepare import prepare
from asd_jax.report import excerpts, findings, page
from asd_jax.scoring.detector import load_detector
from asd_jax.scoring.held_back import train_and_keep
from asd_jax.scoring.scorer import inlier_choice
from asd_jax.training.data import load_data
from asd_jax.training.validation import Validation
from configs import multitask
from tests.recordings import write_tone
from tests.tiny_encoder import TinyEncoder

TONES = {("drill", "00"): 500, ("drill", "03"): 1200, ("saw", "00"): 2500}
FAULT = 5000


def write_sections(raw: pathlib.Path, train_clips: int, test_clips: int) -> pathlib.Path:
    """Two machine types in the layout of 2021; a section is a tone, and the drills' faults are another one."""
    for seed, ((machine_type, section), tone) in enumerate(TONES.items()):
        folder = raw / ("dev_data" if section == "00" else "eval_data") / machine_type
        for i in range(train_clips):
            write_tone(folder / f"train/section_{section}_source_train_normal_{i:04}.wav", tone, 1000 * seed + i)
        write_tone(folder / f"train/section_{section}_target_train_normal_0000.wav", tone, 1000 * seed + 999)
        if machine_type == "saw":
            continue
        truth = []
        for i in range(2 * test_clips):
            label = "normal" if i < test_clips else "anomaly"
            name = f"section_{section}_source_test_" + (f"{label}_{i:04}" if section == "00" else f"{i:04}")
            write_tone(folder / f"source_test/{name}.wav", tone if label == "normal" else FAULT, 5000 + 100 * seed + i)
            truth.append(f"{name}.wav,{int(label == 'anomaly')}")
        if section == "03":
            (raw / f"ground_truth_{machine_type}_section_03_source_test.csv").write_text("\n".join(truth))
    return raw


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("paper2")
    raw = write_sections(folder / "raw", train_clips=24, test_clips=10)
    prepare(DATASETS["dcase2021"].list_clips(str(raw)), str(folder / "data"), "dcase2021", "paper2")
    config = multitask.get_config("quicktest,without_mixup")
    config.data_dir, config.machine_type = str(folder / "data"), "drill"
    config.network.width = config.network.depth = 0.1
    config.window, config.batch_size, config.num_epochs = 64, 16, 40
    config.validation_share, config.compilation_cache = 0.25, str(folder / "compiled")
    train_and_keep(config, str(folder / "run"))
    return folder / "run"


def test_the_encoder_tells_the_ids_apart_and_the_mixture_easy_faults(workdir):
    assert "harmonic mean" in evaluate_workdir(str(workdir))
    measured = json.loads((workdir / "metrics.json").read_text())
    assert [(row["machine_id"], row["domain"]) for row in measured["rows"]] == [("00", "source"), ("03", "source")]
    assert [row["mean"]["AUC"] > 0.9 for row in measured["rows"]] == [True, True], measured["rows"]
    held_back = Embeddings.load(Workdir(workdir).embeddings(0, "held_back"))
    assert held_back.probability.mean() > 0.8
    assert len(held_back.clip) == 10 * 2 * 6 and set(held_back.domain) == {"source"}


def test_scores_and_decisions_are_files_of_the_challenge(workdir):
    evaluate_workdir(str(workdir))
    names = sorted(path.name for path in (workdir / "scores").glob("*.csv"))
    ends = [f"drill_section_{section}_source_test.csv" for section in ("00", "03")]
    assert names == [f"anomaly_score_{e}" for e in ends] + [f"decision_result_{e}" for e in ends] + ["result.csv"]
    with open(workdir / "scores" / f"decision_result_{ends[1]}") as file:
        decided = dict(csv.reader(file))
    with open(workdir / "scores" / f"anomaly_score_{ends[1]}") as file:
        scores = dict(csv.reader(file))
    threshold = json.loads((workdir / "threshold.json").read_text())["thresholds"]["drill/03"]
    assert decided == {name: str(int(float(score) > threshold)) for name, score in scores.items()}
    assert list(decided)[0] == "section_03_source_test_0000.wav" and len(decided) == 20
    result = (workdir / "scores" / "result.csv").read_text()
    assert "official score" in result and "F1 score" in result


def test_the_scores_of_segments_make_up_those_of_clips_and_are_shown(workdir, tmp_path):
    assert page.write_page([str(workdir)], str(tmp_path / "page.html")) == []
    text = (tmp_path / "page.html").read_text()
    assert text.count("t-SNE of the embeddings") == 2 and text.count("Scores of 10 windows along time") >= 2 * 6
    found = findings.read_findings(str(workdir), None, 0.1, None)
    decided = json.loads((workdir / "threshold.json").read_text())["thresholds"]
    for part in found.parts:
        assert part.threshold == pytest.approx(decided["/".join(part.machine)])
        for name, excerpt in excerpts.cut_excerpts(found, part, part.names[:4], None).items():
            score = BACKENDS[found.recipe.inlier]().clip_score(excerpt.scores)
            assert score == pytest.approx(part.scores[part.names.index(name)], rel=1e-3)


def test_the_best_epoch_is_kept_and_no_clip_is_in_both_parts(workdir):
    epochs = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    losses = [epoch["validation_loss"] for epoch in epochs]
    assert len(losses) == 40
    training = json.loads((workdir / "training.json").read_text())
    data = load_data(Workdir(workdir).recipe)
    for one, other in ((data.target, data.held_back), (data.outliers, data.held_back_outliers)):
        keys = [{(clip.machine, clip.name) for clip in clips.clips} for clips in (one, other)]
        assert not keys[0] & keys[1] and all(keys)
    assert sorted({clip.machine for clip in data.held_back.clips}) == [("drill", "00"), ("drill", "03")]
    assert [clip.machine[1] for clip in data.held_back.clips].count("00") == 6
    assert training["machines"] == [["drill", "00"], ["drill", "03"]] and training["normal_clips"] == 36


def test_new_recordings_need_to_be_told_whose_they_are(workdir, tmp_path):
    for i in range(4):
        write_tone(tmp_path / "new" / f"good_{i}.wav", TONES["drill", "03"], 7000 + i)
        write_tone(tmp_path / "new" / f"bad_{i}.wav", FAULT, 8000 + i)
    arguments = (str(workdir), [str(tmp_path / "new")], str(tmp_path / "scores.csv"), 0.1)
    with pytest.raises(UserError, match=r"knows several machines \(00, 03\): say which one by --machine_id"):
        one_score.score_recordings(*arguments)
    outcome = one_score.score_recordings(*arguments, machine_id="03")
    assert outcome.threshold is not None
    of = dict(zip([pathlib.Path(file).name for file in outcome.files], outcome.decisions, strict=True))
    assert all(of[f"bad_{i}.wav"] == "anomalous" for i in range(4))
    assert np.min(outcome.scores[:4]) > np.max(outcome.scores[4:])  # bad_... come first


def test_inlier_models_asked_for_go_before_those_that_were_chosen(workdir, tmp_path, capsys):
    run = str(shutil.copytree(workdir, tmp_path / "run"))
    config = as_config(Workdir(run).recipe)
    evaluate_workdir(run)
    assert "Inlier models: gmm with p=2 (by the training's config)" in capsys.readouterr().out
    select_inlier.select([run])
    kind, p = dataclasses.astuple(inlier_choice(Workdir(run)))
    assert (kind, p) != ("gmm", 2)
    findings.read_findings(run, None, 0.1, None)
    said = capsys.readouterr().out
    assert "are not scored by its newest weights and inlier models yet: scoring them" in said
    assert f"Inlier models: {kind} with p={p} (tools/select_inlier.py chose them)" in said
    measured = json.loads((tmp_path / "run/metrics.json").read_text())
    assert (measured["inlier"], measured["inlier_p"]) == (kind, p)
    findings.read_findings(run, None, 0.1, None)
    assert "scoring them" not in capsys.readouterr().out

    train_and_keep(config, run)  # asks for nothing in particular
    assert inlier_choice(Workdir(run)) == InlierChoice(kind, p)
    config.inlier, config.inlier_p = "lof", 5
    train_and_keep(config, run, new_inlier=True)
    assert inlier_choice(Workdir(run)) == InlierChoice("lof", 5) and "Removed " in capsys.readouterr().out
    one_score.score_recordings(run, [str(excerpts_of(tmp_path))], str(tmp_path / "s.csv"), 0.1, machine_id="03")
    assert "Inlier models: lof with p=5 (by the training's config)" in capsys.readouterr().out
    assert json.loads((tmp_path / "run/threshold.json").read_text())["inlier"] == "lof"


def test_scoring_live_reads_nothing_of_the_workdir_again(workdir, tmp_path):
    run = shutil.copytree(workdir, tmp_path / "run")
    detector = load_detector(str(run), 0.1, machine_id="03")
    log_mel = detector.features(detector.read(str(excerpts_of(tmp_path))), "one")
    score = detector.score_alone("one", log_mel)
    shutil.rmtree(run)
    assert detector.score_alone("one", log_mel) == score


def excerpts_of(tmp_path):
    write_tone(tmp_path / "one.wav", TONES["drill", "03"], 1)
    return tmp_path / "one.wav"


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("inlier_p", 0, "config.inlier_p=0 was given: expected a number from 1 to 10,000"),
        ("inlier_p", 10**9, "config.inlier_p=1000000000 was given: expected a number from 1 to 10,000"),
        ("inlier_p", 100, "Machine drill/00 has 60 embeddings .* gmm with config.inlier_p=100 needs at least 100"),
        (
            "domains",
            ("sorce",),
            "config.domains='sorce' was given: expected one of source, target; did you mean 'source'",
        ),
    ],
)
def test_what_no_training_can_use_is_refused_before_it_starts(workdir, tmp_path, key, value, said):
    config = as_config(Workdir(workdir).recipe)
    config[key] = value
    with pytest.raises(UserError, match=said):
        train_and_keep(config, str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_domain_that_is_not_there_is_named(data_dir):
    config = multitask.get_config("quicktest")
    config.data_dir, config.machine_type, config.features = str(data_dir), "drill", "paper1"
    config.outlier_set, config.domains = "all", ("target",)
    with pytest.raises(
        UserError, match=r"No clip of drill/00 is of config.domains=\('target',\): in .* it has source; "
    ):
        load_data(read_recipe(config))


def test_a_training_stopped_in_the_middle_ends_with_the_same_weights(workdir, tmp_path, monkeypatch):
    monkeypatch.setattr(encoder, "Encoder", lambda products, axis_name, **_: TinyEncoder(products, axis_name))
    config = as_config(Workdir(workdir).recipe)
    config.num_epochs, config.checkpoint_epochs, config.mixup_alpha = 3, 1, 0.2
    train_and_keep(config, str(tmp_path / "whole"))
    losses = Validation.losses
    calls = []

    def stop_in_the_third_epoch(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return losses(*arguments)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Validation, "losses", stop_in_the_third_epoch)
        train_and_keep(config, str(tmp_path / "stopped"))
    train_and_keep(config, str(tmp_path / "stopped"))
    whole, stopped = (
        Embeddings.load(Workdir(tmp_path / name).embeddings(0, "held_back")) for name in ("whole", "stopped")
    )
    np.testing.assert_array_equal(whole.embedding, stopped.embedding)


def test_values_of_table_1_are_taken_by_machine_type_and_can_be_overridden():
    config = multitask.get_config()
    config.machine_type = "gearbox"
    resolved = read_recipe(config, complete=False)
    assert (resolved.batch_size, resolved.product_weight, resolved.inlier, resolved.inlier_p) == (128, 10.0, "gmm", 64)
    config.machine_type, config.batch_size = "ToyTrain", 16
    resolved = read_recipe(config, complete=False)
    assert (resolved.learning_rate, resolved.batch_size, resolved.inlier) == (0.0005, 16, "lof")
    config.machine_type = "drill"
    assert read_recipe(config, complete=False).product_weight == 1.0
