"""No command writes over a file that it did not make; its own of before it replaces."""

import pathlib
import shutil

import numpy as np
import pytest
import soundfile

from asd_jax.base.errors import UserError
from asd_jax.base.files import check_own
from asd_jax.datasets import synthetic
from asd_jax.evaluation.results import evaluate_directory, write_result_csv
from asd_jax.export import folder as export
from asd_jax.listening.along_time import score_along_time
from asd_jax.listening.one_score import score_recordings
from asd_jax.report.page import write_page
from asd_jax.scoring.detector import load_detector
from asd_jax.scoring.held_back import train_and_keep
from asd_jax.studies import tables
from tests.conftest import tiny_recipe
from tests.recordings import LOW, write_tone
from tests.test_commands import RECIPE, command


@pytest.fixture(scope="module")
def workdir(data_dir, tmp_path_factory):
    config = tiny_recipe(data_dir, tmp_path_factory)
    config.num_epochs, config.held_back, config.score_hop = 1, 3, 3
    folder = tmp_path_factory.mktemp("own")
    train_and_keep(config, str(folder / "run"))
    return str(folder / "run")


@pytest.fixture
def sound(tmp_path):
    write_tone(tmp_path / "in/a.wav", LOW, 1)
    write_tone(tmp_path / "in/b.wav", LOW, 2)
    return tmp_path / "in"


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_scores_replace_no_recording_and_no_picture_of_others(workdir, sound, tmp_path):
    before = contents(sound)
    for output in (sound / "a.wav", sound / "b.wav"):
        with pytest.raises(UserError, match=f"--output: {output} is there and is no table of scores of asd_jax, it is"):
            score_recordings(workdir, [str(sound)], str(output), 0.1)
    with pytest.raises(UserError, match=f"--output: {sound} is a folder; name a file"):
        score_recordings(workdir, [str(sound)], str(sound), 0.1)
    detector = load_detector(workdir, 0.1)
    for taken in ("p.png", "p_stretches.csv", "p.csv"):
        shutil.copy(sound / "a.wav", tmp_path / taken)
        with pytest.raises(UserError, match=f"--output.*{taken} is there and is no"):
            score_along_time(detector, [str(sound)], str(tmp_path / "p.csv"), 2, 2)
        (tmp_path / taken).unlink()
    assert contents(sound) == before and not list(tmp_path.glob("p*"))
    for _ in range(2):
        score_along_time(detector, [str(sound)], str(tmp_path / "p.csv"), 2, 2)
        score_recordings(workdir, [str(sound)], str(tmp_path / "s.csv"), 0.1)
    score_recordings(workdir, [str(sound)], str(tmp_path / "p.csv"), 0.1)


def test_a_page_replaces_a_page_alone(workdir, tmp_path):
    (tmp_path / "mine.html").write_text("<!DOCTYPE html>\n<html>mine</html>")
    with pytest.raises(UserError, match="--out: .*mine.html is there and is no page of asd_jax"):
        write_page([workdir], str(tmp_path / "mine.html"))
    for _ in range(2):
        write_page([workdir], str(tmp_path / "page.html"))


def test_an_export_replaces_an_export_alone(workdir, tmp_path, monkeypatch):
    out = tmp_path / "out"
    for _ in range(2):
        export.export_workdir(workdir, str(out), 0.1, platforms=("cpu",))
    (out / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="out holds notes.txt beside an export: move that"):
        export.export_workdir(workdir, str(out), 0.1, platforms=("cpu",))
    assert (out / "notes.txt").exists()
    other = tmp_path / "other"
    other.mkdir()
    (other / "model.json").write_text('{"layers": []}')
    monkeypatch.chdir(other)
    for name, said in (
        (".", "is no export, its model.json is none"),
        (str(tmp_path), "exists and is no export"),
        ("/", "of its own"),
    ):
        with pytest.raises(UserError, match=said):
            export.export_workdir(workdir, name, 0.1, platforms=("cpu",))
    assert [path.name for path in other.iterdir()] == ["model.json"]


def test_results_and_lists_of_others_stay(tmp_path):
    for name in ("anomaly_score_fan_id_00.csv",):
        (tmp_path / name).write_text("normal_id_00_0.wav,1\nanomaly_id_00_1.wav,2\n")
    results = evaluate_directory(tmp_path, None)
    for _ in range(2):
        write_result_csv(results, tmp_path / "result.csv")
    (tmp_path / "mine.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="--result: .*mine.csv is there and is no file of results"):
        write_result_csv(results, tmp_path / "mine.csv")
    (tmp_path / "eval_data_list.csv").write_text("fan\nid_01_0.wav,normal_id_01_0.wav,0\n")
    with pytest.raises(UserError, match="--out: .*eval_data_list.csv is there and is no list of labels"):
        synthetic.generate(tmp_path, machine_types=["belt"], machine_ids=["00"], train_clips=1, test_clips=1, seconds=1)
    assert (tmp_path / "eval_data_list.csv").read_text().startswith("fan") and not (tmp_path / "dev_data").exists()
    for _ in range(2):
        synthetic.generate(tmp_path / "s", machine_types=["belt"], machine_ids=["00"], train_clips=1, test_clips=1)


@pytest.mark.parametrize(
    ("tool", "arguments", "name"),
    [
        ("benchmark", [RECIPE, "--out={}"], "b.json"),
        ("reproduce", ["--paper=1", "--data_dir=D", "--out={}/.."], "results.csv"),
    ],
)
def test_commands_ask_before_they_work(tmp_path, tool, arguments, name):
    folder = tmp_path / "x"
    folder.mkdir()
    path = (tmp_path if ".." in arguments[-1] else folder) / name
    path.write_text("mine,1")
    done = command(tool, *(one.format(folder if ".." in one else path) for one in arguments))
    assert done.returncode == 2 and "is there and is no" in done.stderr and path.read_text() == "mine,1"


def test_a_study_takes_no_folder_with_files_of_others(tmp_path):
    (tmp_path / "proposed" / "fan").mkdir(parents=True)  # stopped before its first table
    (tmp_path / ".reproduction.lock").touch()
    tables.check_folder(tmp_path)
    (tmp_path / "table_1.md").write_text("mine")
    with pytest.raises(UserError, match=r"--out: .* holds table_1.md, but no results.csv of a study: name a new"):
        tables.check_folder(tmp_path)
    tables.write_csv(tmp_path / "results.csv", [["machine_type", "row", "machine_id"]])
    tables.check_folder(tmp_path)
    tables.check_folder(tmp_path / "new")


def test_an_empty_file_may_be_written_over(tmp_path):
    path = pathlib.Path(tmp_path / "a")
    path.touch()
    check_own(path, "--out", b"x", "file")
    soundfile.write(tmp_path / "a.wav", np.zeros(10), 16000)
    with pytest.raises(UserError):
        check_own(tmp_path / "a.wav", "--out", b"x", "file")
