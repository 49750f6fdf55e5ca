"""One channel of recordings with several: named once when they are prepared, taken from then on by every command."""

import csv
import dataclasses
import json
import pathlib
import threading

import numpy as np
import pytest
import soundfile

from asd_jax.base.errors import UserError
from asd_jax.datasets import DATASETS, folder
from asd_jax.export.example import read_wav
from asd_jax.listening import follow
from asd_jax.listening.along_time import score_live
from asd_jax.listening.one_score import score_recordings
from asd_jax.recipes.workdir import Workdir
from asd_jax.records.prepare import prepare
from asd_jax.records.store import open_store
from asd_jax.scoring.detector import load_detector
from asd_jax.scoring.held_back import train_and_keep
from asd_jax.sound.pieces import raw_sound
from tests.conftest import tiny_recipe
from tests.recordings import HIGH, LOW, write_tone


def write_stereo(path, frequency, seed):
    """The tone on channel 1, something else on channel 0; the tone alone in a folder `mono` beside."""
    mono = path.parent / "mono" / path.name
    write_tone(mono, frequency, seed)
    tone, rate = soundfile.read(mono, dtype="int16")
    other = np.random.default_rng(seed).integers(-9000, 9000, tone.size, dtype=np.int16)
    soundfile.write(path, np.stack([other, tone], 1), rate)


@pytest.fixture(scope="module")
def new(tmp_path_factory):
    folder = tmp_path_factory.mktemp("new")
    for seed, tone in enumerate((LOW, HIGH)):
        write_stereo(folder / f"{seed}.wav", tone, 100 + seed)
    return folder


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    raw = tmp_path_factory.mktemp("channel")
    rows = []
    for seed in range(16):
        write_stereo(raw / f"{seed}.wav", (LOW, HIGH)[seed % 2], seed)
        rows.append([f"{seed}.wav", ("drill", "saw")[seed % 2], "00", "train", 0, 1])
    with open(raw / "manifest.csv", "w", newline="") as file:
        csv.writer(file).writerows([[*folder.COLUMNS, folder.CHANNEL], *rows])
    prepare(DATASETS["folder"].list_clips(str(raw)), str(raw / "data"), "folder", "paper1")
    config = tiny_recipe(raw / "data", tmp_path_factory)
    config.outlier_set, config.num_epochs, config.held_back = "all", 1, 3
    train_and_keep(config, str(raw / "run"))
    return str(raw / "run")


def test_every_command_takes_the_channel_that_was_prepared(workdir, new, tmp_path):
    detector = load_detector(workdir, 0.1)
    assert detector.channel == 1
    stereo = score_recordings(workdir, [str(new)], str(tmp_path / "stereo.csv"), 0.1)
    outcome = dict(zip(stereo.files, stereo.scores, strict=False))
    # The mono files in the folder below have no channel 1.
    assert [file for file in stereo.files if "mono" not in file] == stereo.files and len(stereo.problems) == 2
    assert "has 1 channel(s), and channel 1 was asked for" in stereo.problems[0]

    alone = dataclasses.replace(detector, channel=None)
    for file, score in outcome.items():
        mono = str(new / "mono" / file.rsplit("/", 1)[1])
        assert alone.score_alone(mono, alone.features(alone.read(mono), mono)) == pytest.approx(score, abs=1e-5)
        with open(file, "rb") as pipe:
            pipe.seek(44)
            [live] = score_live(detector, raw_sound(pipe, 16000, 2), 2.0, 2.0)
        assert live.score == pytest.approx(score, abs=1e-5)
        np.testing.assert_array_equal(read_wav(file, 16000, 32000, 1), read_wav(mono, 16000, 32000, None))
    arrived = list(follow.follow(detector, str(new), str(tmp_path / "arrived.csv"), 0.1, stop_after(2.0)))
    assert {one.name: pytest.approx(one.score, abs=1e-5) for one in arrived if not one.problem} == {
        file.rsplit("/", 1)[1]: score for file, score in outcome.items()
    }


def stop_after(seconds):
    stop = threading.Event()
    threading.Timer(seconds, stop.set).start()
    return stop


def test_the_log_mels_are_those_of_the_channel(workdir, tmp_path):
    raw = str(Workdir(workdir).recipe.data_dir).removesuffix("/data")
    mono = [dataclasses.replace(clip, channel=None) for clip in DATASETS["folder"].list_clips(raw)]
    mono = [dataclasses.replace(clip, path=clip.path.replace("/channel0/", "/channel0/mono/")) for clip in mono]
    prepare(mono, str(tmp_path / "data"), "folder", "paper1")
    stores = [open_store(data_dir, "paper1") for data_dir in (f"{raw}/data", str(tmp_path / "data"))]
    assert [store.find(("drill", "00")).channel for store in stores] == [1, None]
    for (clip, log_mel), (_, other) in zip(*(store.clips(("drill", "00"), "train") for store in stores), strict=True):
        np.testing.assert_array_equal(log_mel, other, err_msg=clip.name)


def test_an_exported_example_refuses_what_it_cannot_take(tmp_path):
    wave = np.arange(-16000, 16000, dtype=np.int16)
    soundfile.write(tmp_path / "balanced.wav", np.stack([wave, -wave], 1), 16000)
    with pytest.raises(ValueError, match="channels that cancel"):
        read_wav(str(tmp_path / "balanced.wav"), 16000, 32000, None)
    with pytest.raises(ValueError, match="takes channel 2"):
        read_wav(str(tmp_path / "balanced.wav"), 16000, 32000, 2)


def test_a_workdir_and_data_of_before_know_no_channel(workdir, data_dir, tmp_path):
    summary = json.loads((pathlib.Path(workdir) / "training.json").read_text())
    assert summary.pop("channels") == {"drill/00": 1}
    (tmp_path / "training.json").write_text(json.dumps(summary))
    assert Workdir(tmp_path).summary.channels is None
    manifest = json.loads((data_dir / "manifest.json").read_text())
    for machine in manifest["machines"]:
        del machine["channel"]
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    assert open_store(str(tmp_path), "paper1").find(("drill", "00")).channel is None


def test_several_channels_of_one_machine_are_refused(tmp_path):
    for seed in range(2):
        write_stereo(tmp_path / f"{seed}.wav", LOW, seed)
    header = ",".join([*folder.COLUMNS, folder.CHANNEL])
    (tmp_path / "manifest.csv").write_text(f"{header}\n0.wav,drill,1,train,0,0\n1.wav,drill,1,train,0,1\n")
    with pytest.raises(UserError, match=r"drill/1 are of several channels \(0, 1\): expected one"):
        prepare(DATASETS["folder"].list_clips(str(tmp_path)), str(tmp_path / "data"), "folder", "paper1")
    (tmp_path / "manifest.csv").write_text(f"{header}\n0.wav,drill,1,train,0,left\n")
    with pytest.raises(UserError, match="line 2: the channel is 'left'; expected a number from 0"):
        DATASETS["folder"].list_clips(str(tmp_path))
