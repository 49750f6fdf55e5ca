"""Scores along time are those of pieces saved as files; live ones too, from a pipe or a watched folder."""

import csv
import json
import os
import pathlib
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest
import soundfile

from asd_jax.base.errors import UserError
from asd_jax.listening import along_time
from asd_jax.listening.along_time import Stretch, clock_time, find_stretches, score_along_time, score_live
from asd_jax.listening.follow import Arrivals, follow
from asd_jax.listening.one_score import score_recordings
from asd_jax.scoring.detector import load_detector
from asd_jax.scoring.held_back import train_and_keep
from asd_jax.sound.pieces import open_sound
from tests.conftest import tiny_recipe
from tests.recordings import HIGH, LOW, write_tone

RATE = 22050


@pytest.fixture(scope="module")
def workdir(data_dir, tmp_path_factory):
    config = tiny_recipe(data_dir, tmp_path_factory)
    config.num_epochs, config.held_back, config.score_hop = 1, 3, 3
    folder = tmp_path_factory.mktemp("along_time")
    train_and_keep(config, str(folder / "run"))
    return str(folder / "run")


@pytest.fixture(scope="module")
def detector(workdir):
    return load_detector(workdir, 0.1)


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """Stereo, 41 s: a tone that rises, silent from 10 to 13 s."""
    rng = np.random.default_rng(0)
    time = np.arange(41 * RATE) / RATE
    wave = 0.1 * np.sin(2 * np.pi * (500 + 40 * time) * time)[:, None] + 0.02 * rng.normal(size=(len(time), 2))
    wave[10 * RATE : 13 * RATE] = 0
    path = tmp_path_factory.mktemp("long") / "Halle Süd 1.WAV"
    soundfile.write(path, wave, RATE, subtype="PCM_16")
    return path


def rows_of(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_piece_scores_as_if_it_were_a_file(detector, workdir, recording, tmp_path):
    outcome = score_along_time(detector, [str(recording)], str(tmp_path / "out.csv"), 2.0, 1.5)
    rows = rows_of(tmp_path / "out.csv")
    samples, _ = soundfile.read(recording, dtype="int16")
    (tmp_path / "saved").mkdir()
    for i, row in enumerate(rows):
        begin, end = (round(float(row[key]) * RATE) for key in ("start", "end"))
        soundfile.write(tmp_path / "saved" / f"{i:03d}.wav", samples[begin:end], RATE)
    alone = score_recordings(workdir, [str(tmp_path / "saved")], str(tmp_path / "alone.csv"), 0.1)
    assert len(rows) == 27 and float(rows[-1]["end"]) == 41
    silent = [i for i, row in enumerate(rows) if not row["score"]]
    assert silent == [7] and "silent" in alone.problems[0] and (rows[7]["start"], rows[7]["decision"]) == ("10.500", "")
    assert outcome.silences == [
        f"{recording}: 1 of 27 pieces have no score, the first at 0:00:10: the piece is silent (all samples are equal)."
    ]
    scores = [float(row["score"]) for row in rows if row["score"]]
    assert np.ptp(scores) > 1e-3
    np.testing.assert_allclose(scores, alone.scores, atol=1e-5)
    assert [row["decision"] for row in rows if row["score"]] == list(alone.decisions)

    with open_sound(str(recording)) as sound:
        live = list(score_live(detector, sound, 2.0, 1.5))
    np.testing.assert_allclose([one.score for one in live], outcome.recordings[0].scores, atol=1e-5)
    assert [one.start for one in live] == [bounds[0] for bounds in outcome.recordings[0].bounds]


def test_what_is_written_beside_the_table(detector, recording, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    shutil.copy(recording, folder / "whole.wav")
    (folder / "cut.wav").write_bytes(recording.read_bytes()[:800_000])
    (folder / "none.wav").write_text("no audio")
    write_tone(folder / "short.wav", LOW, 0, seconds=0.5)
    outcome = score_along_time(detector, [str(folder)], str(tmp_path / "new" / "out.csv"), 2.0, 2.0)
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["out.csv", "out.png", "out_stretches.csv"]
    assert [one.name for one in outcome.recordings] == ["cut.wav", "short.wav", "whole.wav"]
    assert ["truncated" in outcome.problems[0], "no audio" in outcome.problems[1], len(outcome.problems)] == [
        True
    ] * 2 + [2]
    [_, short, whole] = outcome.recordings
    assert np.isnan(short.scores).all() and any("short.wav" in one and "too short" in one for one in outcome.silences)
    expected = find_stretches(whole.bounds, whole.scores, detector.threshold)
    rows = [row for row in rows_of(tmp_path / "new" / "out_stretches.csv") if row["file"] == "whole.wav"]
    assert [(float(row["start"]), float(row["highest_score"])) for row in rows] == [
        (one.start, one.highest_score) for one in expected
    ]
    assert (tmp_path / "new" / "out.png").read_bytes().startswith(b"\x89PNG")


def test_pieces_above_the_threshold_that_touch_are_one_stretch():
    bounds = np.array([[0, 2], [2, 4], [4, 6], [6, 8], [7, 9]], float)
    assert find_stretches(bounds, np.array([1.5, 2, 1, np.nan, 3]), 1.0) == [Stretch(0, 4, 2), Stretch(7, 9, 3)]
    assert find_stretches(bounds, np.array([0, 0, 2, 3, 1.5]), 1.0) == [Stretch(4, 9, 3)]
    assert find_stretches(bounds, np.zeros(5), 1.0) == []
    assert [clock_time(s) for s in (0, 59.99, 3661, 360000)] == ["0:00:00", "0:00:59", "1:01:01", "100:00:00"]


def test_a_picture_has_a_panel_for_each_of_the_highest(monkeypatch):
    def one(i):
        return along_time.ScoredRecording(f"{i}", np.array([[0.0, 2.0], [2.0, 4.0]]), np.array([np.nan, i]), [])

    recordings = [one(i) for i in (3, 9, *range(10, 17))]
    figure = along_time.picture(recordings, 4.0)
    assert [axis.get_title() for axis in figure.axes] == ["9", *map(str, range(10, 17))]
    assert all(4.0 in axis.lines[1].get_ydata() for axis in figure.axes)
    silent = along_time.ScoredRecording("silent", np.array([[0.0, 2.0]]), np.array([np.nan]), [])
    assert len(along_time.picture([silent], None).axes[0].lines) == 1 and along_time.picture([], 1.0)


@pytest.mark.parametrize(
    ("piece", "hop", "said"), [(0.9, 0.9, "one window .* takes 0.99 s"), (2, 3, "piece_hop=3"), (2, 0, "piece_hop=0")]
)
def test_pieces_that_cannot_be_are_refused(detector, recording, tmp_path, piece, hop, said):
    with pytest.raises(UserError, match=said):
        score_along_time(detector, [str(recording)], str(tmp_path / "out.csv"), piece, hop)


def test_a_stopped_run_leaves_the_old_table(detector, recording, tmp_path, monkeypatch):
    (tmp_path / "out.csv").write_text("file,start,end,score\n")

    def stopped(*_):
        yield along_time.ScoredPiece(0, 2, 1.0, None)
        raise KeyboardInterrupt

    monkeypatch.setattr(along_time, "score_pieces", stopped)
    with pytest.raises(KeyboardInterrupt):
        score_along_time(detector, [str(recording)], str(tmp_path / "out.csv"), 2, 2)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("out.csv", "file,start,end,score\n")]


def test_arrivals_are_finished_when_they_have_stayed_the_same(tmp_path):
    arrivals = Arrivals(str(tmp_path), 2.0, {"done.wav"})
    for name in ("done.wav", "a.WAV", ".hidden.wav", "note.txt", "a.wav.part"):
        (tmp_path / name).write_text("x")

    def finished(now):
        return [os.path.basename(file) for file in arrivals.finished(now)]

    assert [finished(now) for now in (100, 101.9, 102, 103, 110)] == [[], [], ["a.WAV"], [], []]
    (tmp_path / "2026-11-23").mkdir()
    growing = tmp_path / "2026-11-23" / "b.wav"
    growing.write_text("x")
    assert finished(111) == []
    growing.write_text("xx")
    (tmp_path / "a.WAV").write_text("another")  # was tried, and has changed
    assert [finished(now) for now in (112, 113.5, 114)] == [[], [], ["a.WAV", "b.wav"]][:2] + [["b.wav", "a.WAV"]]
    (tmp_path / "a.WAV").unlink()
    assert finished(120) == []


def test_a_watched_folder_is_scored_once_and_goes_on_after_a_crash(detector, workdir, tmp_path):
    folder, output, stop = tmp_path / "in", tmp_path / "out.csv", threading.Event()
    late = threading.Timer(60, stop.set)  # rather than wait for ever
    late.daemon = True
    late.start()
    write_tone(folder / "ä 1.wav", LOW, 1)
    (folder / "bad.wav").write_text("no audio")
    arrived = follow(detector, str(folder), str(output), 0.1, stop)
    first = [next(arrived), next(arrived)]
    assert [one.name for one in first] == ["bad.wav", "ä 1.wav"] and "no audio" in first[0].problem
    write_tone(folder / "bad.wav", HIGH, 2)
    assert next(arrived).name == "bad.wav"
    stop.set()
    assert list(arrived) == []

    output.write_text(output.read_text() + "half,0.", encoding="utf-8")
    write_tone(folder / "half.wav", LOW, 3)
    stop.clear()
    arrived = follow(detector, str(folder), str(output), 0.1, stop)
    assert next(arrived).name == "half.wav"
    stop.set()
    assert list(arrived) == []
    score_recordings(workdir, [str(folder)], str(tmp_path / "all.csv"), 0.1)
    rows, expected = ({row.pop("file"): row for row in rows_of(path)} for path in (output, tmp_path / "all.csv"))
    assert output.read_text().count("\n") == 4 and rows.keys() == expected.keys()
    for name, row in rows.items():
        assert float(row["score"]) == pytest.approx(float(expected[name]["score"]), abs=1e-5)
        assert row["decision"] == expected[name]["decision"]

    (tmp_path / "other.csv").write_text("mine")
    with pytest.raises(UserError, match="another table"):
        next(follow(detector, str(folder), str(tmp_path / "other.csv"), 0.1, stop))
    assert (tmp_path / "other.csv").read_text() == "mine"


def test_recordings_of_low_rates_and_unread_formats_are_told_and_what_is_read_is_scored(
    detector, workdir, tmp_path, capsys
):
    for seed, rate in enumerate((8000, 11025, 8000, 16000)):
        wave = np.random.default_rng(seed).uniform(-0.1, 0.1, 2 * rate)
        (tmp_path / "in").mkdir(exist_ok=True)
        soundfile.write(tmp_path / "in" / f"{seed}.wav", wave, rate)
    (tmp_path / "in" / "a.m4a").write_bytes(b"x")
    low = "Warning: 3 recordings are below 16000 Hz (2 of 8000 Hz, 1 of 11025 Hz): nothing is heard of them above half"
    unread = "Warning: 1 files are of a format that is not read (1 .m4a; the first is "
    outcome = score_recordings(workdir, [str(tmp_path / "in")], str(tmp_path / "all.csv"), 0.1)
    assert len(outcome.scores) == 4 and not outcome.problems
    for said in (capsys.readouterr().out, along_time_says(detector, tmp_path, capsys)):
        assert low in said and unread in said
    stop = threading.Event()
    threading.Timer(1, stop.set).start()
    assert len(list(follow(detector, str(tmp_path / "in"), str(tmp_path / "arrived.csv"), 0.1, stop))) == 4
    assert low in capsys.readouterr().out


def along_time_says(detector, tmp_path, capsys):
    score_along_time(detector, [str(tmp_path / "in")], str(tmp_path / "pieces.csv"), 2.0, 2.0)
    return capsys.readouterr().out


def test_a_pipe_gives_a_line_of_json_a_piece(workdir, recording):
    command = [sys.executable, "tools/score.py", f"--workdir={workdir}", "--stdin", f"--sample_rate={RATE}"]
    samples, _ = soundfile.read(recording, dtype="int16", frames=14 * RATE)
    done = subprocess.run(  # of one device
        [*command, "--channels=2", "--piece=2"],
        input=samples.astype("<i2").tobytes(),
        capture_output=True,
        check=False,
        cwd=pathlib.Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr.decode()
    lines = [json.loads(line) for line in done.stdout.decode().splitlines()]
    assert [(line["start"], line["end"]) for line in lines] == [(2 * i, 2 * i + 2) for i in range(7)]
    assert lines[5]["score"] is None and "silent" in lines[5]["problem"]
    assert {line.get("decision") for line in lines if line["score"]} <= {"normal", "anomalous"}
    assert b"Scored 7 pieces in 14.0 s of sound" in done.stderr and b"Traceback" not in done.stderr
