"""What the library does not have yet (`tests.not_yet`) comes in by a line in a dictionary, and goes the whole way."""

import csv
import json
import pathlib

import jax
import pytest

from asd_jax.backends import BACKENDS
from asd_jax.datasets import DATASETS, check, synthetic
from asd_jax.evaluation import results
from asd_jax.evaluation.evaluate import evaluate_workdir
from asd_jax.export import folder as export
from asd_jax.listening.one_score import score_recordings
from asd_jax.methods import METHODS, encoder
from asd_jax.recipes.keys import as_config
from asd_jax.records.prepare import prepare
from asd_jax.records.store import open_store
from asd_jax.report.page import write_page
from asd_jax.scoring.held_back import train_and_keep
from asd_jax.sound.presets import PRESETS
from configs import multitask
from tests.not_yet import year
from tests.not_yet.backend import NearestOfDomains
from tests.not_yet.prototypes import SAMPLES, PrototypesRecipe
from tests.not_yet.statistic import StatisticRecipe
from tests.tiny_encoder import TinyEncoder


@pytest.fixture(scope="module", autouse=True)
def lines():
    """The line that each takes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DATASETS, year.NAME, year.DATASET)
        patch.setitem(BACKENDS, "nearest", NearestOfDomains)
        patch.setitem(PRESETS, SAMPLES.name, SAMPLES)
        patch.setitem(METHODS, "prototypes", PrototypesRecipe)
        patch.setitem(METHODS, "statistic", StatisticRecipe)
        yield


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    return year.write(tmp_path_factory.mktemp("year") / "raw")


def prepared(raw, features):
    folder = raw.parent / features
    clips = DATASETS[year.NAME].list_clips(str(raw))
    prepare(clips, str(folder), year.NAME, features, "float32" if features == "samples" else "float16")
    return str(folder)


def go_all_the_way(config, raw, tmp_path, machine_id, capsys):
    """Trains, evaluates, scores recordings, exports and shows; what the training printed, and its measures."""
    workdir, out = str(tmp_path / "run"), str(tmp_path / "out")
    config.compilation_cache = ""
    train_and_keep(config, workdir, jax.devices())
    printed = capsys.readouterr().out
    evaluate_workdir(workdir)
    measured = json.loads(pathlib.Path(workdir, "metrics.json").read_text())
    official = results.evaluate_directory(f"{workdir}/scores").official_score  # of the files as they are read back
    assert measured["harmonic_mean"]["mean_score"]["official score"] == pytest.approx(official)
    with open(f"{workdir}/scores/result.csv") as file:
        rows = list(csv.reader(file))
    assert ["section", *year.TwoDomains.columns] == [cell for cell in rows[1] if cell not in year.TwoDomains.decided]
    assert float(rows[-1][-1]) == pytest.approx(official)
    drills = str(raw / "dev_data/drill/test")
    found = score_recordings(workdir, [drills], str(tmp_path / "scores.csv"), 0.1, machine_id)
    assert len(found.scores) == 8 and not found.problems
    model = export.export_workdir(workdir, out, 0.1, ["cpu"], machine_id=machine_id, check=drills)
    assert model["check"]["share_of_range"] <= export.TOLERANCE
    notes = write_page([workdir], str(tmp_path / "page.html"), raw_dir=str(raw))
    page = (tmp_path / "page.html").read_text()
    assert METHODS[config.method].title in page and page.count("data:audio/mpeg") > 4
    return printed, measured, notes


def test_a_year_with_attributes_and_an_official_score_of_its_own_is_listed_checked_and_made_up(raw, tmp_path):
    clips = DATASETS[year.NAME].list_clips(str(raw))
    assert {(clip.domain, clip.attributes) for clip in clips if clip.split == "train"} == {
        ("source", "vel_1"),
        ("source", "vel_2"),
        ("target", "vel_3"),
    }
    assert check.check(str(raw), year.NAME, 16000).all_problems == []
    stored = open_store(prepared(raw, "paper1"), "paper1")
    assert [clip.attributes for clip in stored.listed(("saw", "00"), "train")].count("vel_3") == 2
    sizes = {"train_clips": 2, "test_clips": 1, "seconds": 1, "machine_ids": ["00"]}
    written = synthetic.generate(tmp_path, layout=year.NAME, machine_types=["rotor"], **sizes)
    assert written == len(DATASETS[year.NAME].list_clips(str(tmp_path)))


def test_a_method_of_waveforms_and_attributes_of_all_types_with_nothing_held_back(raw, tmp_path, capsys):
    config = as_config(PrototypesRecipe())
    config.data_dir, config.num_epochs, config.num_runs = prepared(raw, "samples"), 8, 2
    config.learning_rate, config.batch_size = 0.02, 16
    printed, measured, notes = go_all_the_way(config, raw, tmp_path, "drill/00", capsys)
    assert "drill/00, saw/00: 16 normal clips, 0 held back; 6 classes; 1,542 parameters;" in printed
    assert [row["machine_type"] for row in measured["rows"]] == ["drill", "saw"]
    assert all(row["mean"]["AUC (source)"] > 0.9 for row in measured["rows"]), measured
    assert any("held no normal clips back" in note for note in notes)


def test_a_method_without_weights_and_steps(raw, tmp_path, capsys):
    config = as_config(StatisticRecipe())
    config.data_dir, config.machine_type, config.num_runs = prepared(raw, "paper1"), "drill", 2
    printed, measured, notes = go_all_the_way(config, raw, tmp_path, "00", capsys)
    assert "drill/00: 8 normal clips to compare with; no steps: nothing is trained" in printed
    [row] = measured["rows"]
    assert row["mean"]["AUC (source)"] == row["mean"]["AUC (target)"] == 1.0 and notes == []
    assert "none: nothing is trained" in (tmp_path / "page.html").read_text()
    train_and_keep(config, str(tmp_path / "run"), jax.devices())  # again: nothing is left to do
    assert "Compiled" not in capsys.readouterr().out


def test_a_backend_of_domains_on_the_embeddings_of_a_trained_encoder(raw, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(encoder, "Encoder", lambda products, axis_name, **_: TinyEncoder(products, axis_name))
    config = multitask.get_config("quicktest,without_mixup")
    config.data_dir, config.machine_type, config.domains = prepared(raw, "paper2"), "drill", ()
    config.window, config.batch_size, config.num_epochs, config.validation_share = 64, 8, 1, 0.5
    config.inlier, config.inlier_p = "nearest", 1
    _, measured, _ = go_all_the_way(config, raw, tmp_path, "00", capsys)
    assert measured["inlier"] == "nearest"


def test_features_of_another_rank_are_refused_by_name(raw, tmp_path):
    config = as_config(StatisticRecipe())
    config.data_dir, config.features = str(tmp_path), "samples"
    with pytest.raises(Exception, match="config.features='samples' was given, which statistic cannot take: .*paper1"):
        train_and_keep(config, str(tmp_path / "run"))
