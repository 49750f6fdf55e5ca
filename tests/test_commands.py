"""The commands as a user runs them: the demo's journey in small, and mistakes told in one sentence."""

import csv
import json
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
RECIPE = "--config=configs/proxy_outlier.py:quicktest"
_SMALL = ("num_epochs=2", "network.width=4", "window=32", "batch_size=8", "held_back=3")
SMALL = [f"--config.{value}" for value in _SMALL]


def command(tool, *arguments):
    return subprocess.run(
        [sys.executable, f"tools/{tool}.py", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def succeeds(tool, *arguments):
    done = command(tool, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_journey_from_recordings_to_scores(tmp_path):
    raw, data, run = tmp_path / "raw", tmp_path / "data", tmp_path / "run"
    makes = ("make_synthetic", f"--out={raw}", "--machine_types=rotor", "--machine_ids=00,01,02", "--seconds=2")
    succeeds(*makes, "--train_clips=8", "--test_clips=5")
    assert "rotor" in succeeds("prepare", "--dataset=dcase2020", f"--raw_dir={raw}", "--check")
    prepares = ("prepare", "--dataset=dcase2020", f"--raw_dir={raw}", f"--data_dir={data}", "--features=paper1")
    assert str(data) in succeeds(*prepares)
    target = (f"--config.data_dir={data}", "--config.machine_type=rotor", "--config.machine_id=00")
    trains = ("train", RECIPE, f"--workdir={run}", *target, f"--config.compilation_cache={tmp_path / 'cache'}", *SMALL)
    assert "Trained 1 run(s)" in succeeds(*trains)
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 2
    assert list((run / "tensorboard" / "run_0").glob("events.*"))
    assert any((tmp_path / "cache").iterdir())

    shown = succeeds("evaluate", f"--workdir={run}")
    with open(run / "scores" / "anomaly_score_rotor_id_00.csv") as file:
        scores = list(csv.reader(file))
    assert [name for name, _ in scores] == sorted(p.name for p in (raw / "dev_data/rotor/test").glob("*_id_00_*"))
    measured = json.loads((run / "metrics.json").read_text())
    [of_id] = measured["rows"]
    assert f"{100 * of_id['mean']['AUC']:.2f}" in shown
    assert "rotor" in succeeds("evaluate", f"--scores={run / 'scores'}")
    averages = [line for line in (run / "scores" / "result.csv").read_text().splitlines() if line.startswith("Average")]
    assert averages == [f"Average,{of_id['mean_score']['AUC']},{of_id['mean_score']['pAUC']}"]

    name, score = scores[0]
    clip, output = raw / "dev_data/rotor/test" / name, tmp_path / "new.csv"
    succeeds("score", f"--workdir={run}", f"--input={clip}", f"--output={output}", "--target_fpr=0.2")
    header, row = output.read_text().splitlines()
    assert header == "file,score,decision"
    assert float(row.split(",")[1]) == pytest.approx(float(score), abs=0.02)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ("train", RECIPE, "--workdir=W", "--config.machine_typ=fan"),
            "no key 'machine_typ'. Did you mean \"machine_type\"",
        ),
        (("train", RECIPE, "--workdir=W", "--config.width=4"), "no key 'width'. Did you mean \"network.width\"?"),
        (("train", RECIPE, "--workdir=W", "--config.batch_size=many"), "--config.batch_size=many"),
        (("train", "--config=configs/proxy_outlier.py:quick", "--workdir=W"), "Unknown variant 'quick'"),
        (("train", "--config=configs/none.py", "--workdir=W"), "configs/none.py"),
        (("train", RECIPE, "--workdir=W"), "config.data_dir is empty"),
        (("evaluate",), "--workdir"),
        (("evaluate", "--workdir=no_such_folder"), "no_such_folder is not a workdir"),
        (("evaluate", "--scores=no_such_folder"), "no_such_folder"),
        (("report", "--workdir=W", "--out=o.html", "--target_fpr=2"), "--target_fpr=2.0 was given"),
        (("prepare", "--dataset=dcase2020", "--raw_dir=no_such_folder", "--data_dir=D"), "no_such_folder"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_a_mistake_is_one_sentence(arguments, sentence):
    done = command(*arguments)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("Error: ")
    assert not (ROOT / "W").exists()
