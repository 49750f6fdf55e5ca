"""Preparing: complete, resumable, with the bad clips named."""

import dataclasses
import errno
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asd_jax.base.errors import UserError
from asd_jax.datasets.clips import Clip
from asd_jax.records import prepare as prepare_module
from asd_jax.records import shards as shards_module
from asd_jax.records.manifest import read_manifest
from asd_jax.records.prepare import prepare, prepared_lines
from asd_jax.records.store import open_store, tf
from asd_jax.sound.audio import read_audio
from asd_jax.sound.presets import PRESETS

FAN, PUMP = ("fan", "00"), ("pump", "02")
FANS = (FAN, ("fan", "02"))


class Killed(Exception):
    """Stands for the end of the process."""


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(shards_module, "_SHARD_CLIPS", 4)


def write_clips(folder, machine, train=10, test=3):
    """Clips of noise; every length is different."""
    clips = []
    for split, count in (("train", train), ("test", test)):
        for index in range(count):
            path = folder / f"{'-'.join(machine)}_{split}_{index:02}.wav"
            path.parent.mkdir(exist_ok=True)
            wave = np.random.default_rng([index, len(split)]).uniform(-0.5, 0.5, 3000 + 100 * index)
            soundfile.write(path, wave, 16000)
            label = index % 2 if split == "test" else 0
            clips.append(Clip(*machine, split, str(path), label, group="MIMII"))
    return clips


def stored(data_dir, machine, split):
    return list(open_store(data_dir, "paper1").examples(machine, split))


def names(clips, split):
    return sorted(os.path.basename(clip.path).encode() for clip in clips if clip.split == split)


def test_recordings_of_low_rates_are_told_and_stored(tmp_path):
    clips = write_clips(tmp_path / "raw", FAN, train=6, test=2)
    for clip in clips[:5]:
        wave, _ = soundfile.read(clip.path)
        soundfile.write(clip.path, np.tile(wave, 4), 8000)
    for _ in range(2):  # also where they are there already
        done = prepare(clips, str(tmp_path / "data"), "folder", "paper1", workers=2, say=lambda _: None)
        assert done.manifest.machines[FAN].clips == {"train": 6, "test": 2}
        assert dict(done.manifest.machines[FAN].rates) == {"8000": 5, "16000": 3}
        assert prepared_lines(done)[-1].startswith(
            "Warning: 5 recordings are below 16000 Hz (5 of 8000 Hz): nothing is "
        )
    assert read_manifest(str(tmp_path / "data")).machines[FAN].rates == {"8000": 5, "16000": 3}


def test_all_clips_are_stored_by_name_whatever_order_they_come_in(tmp_path):
    clips = write_clips(tmp_path / "raw", FAN)
    shuffled = [clips[i] for i in np.random.default_rng(0).permutation(len(clips))]
    shuffled[0] = dataclasses.replace(shuffled[0], label=None)
    done = prepare(shuffled, tmp_path / "data", "dcase2020", "paper1")
    assert done.machines == (FAN,)
    assert done.manifest.machines[FAN].clips == {"train": 10, "test": 3}
    seconds = sum(soundfile.info(clip.path).duration for clip in clips)
    assert done.manifest.machines[FAN].seconds == pytest.approx(seconds)
    by_name = {os.path.basename(clip.path).encode(): clip for clip in shuffled}
    for split in ("train", "test"):
        examples = stored(tmp_path / "data", FAN, split)
        assert [example["name"] for example in examples] == names(clips, split)
        for example in examples:
            clip = by_name[example["name"]]
            exact = PRESETS["paper1"].compute(read_audio(clip.path, 16000), "")
            np.testing.assert_array_equal(example["features"], exact.astype(np.float16))
            assert example["label"] == (-1 if clip.label is None else clip.label)
    line = prepared_lines(done)[1].split()
    assert line == ["fan", "1", "10", "3", f"{seconds:.0f}"]


def test_float32_is_stored_unrounded(tmp_path):
    clips = write_clips(tmp_path / "raw", FAN, train=1, test=0)
    prepare(clips, tmp_path / "data", "dcase2020", "paper1", dtype="float32")
    exact = PRESETS["paper1"].compute(read_audio(clips[0].path, 16000), "")
    np.testing.assert_array_equal(stored(tmp_path / "data", FAN, "train")[0]["features"], exact)
    with pytest.raises(UserError, match="as float32, not float16"):
        prepare(clips, tmp_path / "data", "dcase2020", "paper1")


def stop_after(monkeypatch, calls):
    """Makes `_compute` raise after so many calls; returns the list of the clips that it is asked for."""
    asked, compute = [], shards_module.compute_clip

    def stopping(clip, *rest):
        asked.append(clip)
        if len(asked) > calls:
            raise Killed
        return compute(clip, *rest)

    monkeypatch.setattr(shards_module, "compute_clip", stopping)
    return asked


def test_a_stopped_run_goes_on_with_what_is_missing(tmp_path, monkeypatch):
    clips = write_clips(tmp_path / "raw", FAN) + write_clips(tmp_path / "raw", PUMP)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        stop_after(patch, 18)  # fan is complete (13 clips), of pump the first file of 4
        prepare(clips, tmp_path / "data", "dcase2020", "paper1", workers=1)
    store = open_store(tmp_path / "data", "paper1")
    assert set(store.machines) == {FAN}
    assert len(stored(tmp_path / "data", FAN, "train")) == 10
    assert not list((tmp_path / "data" / "records").glob("*pump*"))
    asked = stop_after(monkeypatch, 9)
    done = prepare(clips, tmp_path / "data", "dcase2020", "paper1", workers=1)
    assert done.already_there == (FAN,)
    assert (len(asked), done.computed) == (9, 9)
    assert {clip.machine for clip in asked} == {PUMP}
    for machine in (FAN, PUMP):
        for split in ("train", "test"):
            mine = [clip for clip in clips if clip.machine == machine]
            examples = stored(tmp_path / "data", machine, split)
            assert [example["name"] for example in examples] == names(mine, split)
            assert [example["index"] for example in examples] == list(range(len(examples)))
    assert not list((tmp_path / "data" / "partial").rglob("*.*"))


def test_a_second_writer_where_locks_do_not_work_shifts_nothing(tmp_path, monkeypatch):
    clips, shards = write_clips(tmp_path / "raw", FAN), []
    find_shards, write = shards_module.make_shards, shards_module.write

    def noted(*arguments):
        shards[:] = find_shards(*arguments)
        return shards

    def write_beside(manifest, shard, results, tick):
        write(manifest, shard, results, tick)
        if shard is shards[0]:  # the other process finishes the next one meanwhile
            write(manifest, shards[1], (shards_module.compute_clip(clip, manifest) for clip in shards[1].clips), tick)

    monkeypatch.setattr(shards_module, "make_shards", noted)
    monkeypatch.setattr(shards_module, "write", write_beside)
    prepare(clips, tmp_path / "data", "dcase2020", "paper1", dtype="float32")
    for split in ("train", "test"):
        found = {one["name"].decode(): one["features"] for one in stored(tmp_path / "data", FAN, split)}
        assert len(found) == sum(clip.split == split for clip in clips)
        for name, log_mel in found.items():
            wave = read_audio(str(tmp_path / "raw" / name), 16000)
            np.testing.assert_array_equal(log_mel, PRESETS["paper1"].compute(wave, ""))


@pytest.mark.parametrize("step", ["store_machine", "write_manifest"])
def test_stopped_just_before_a_machine_is_listed(tmp_path, monkeypatch, step):
    clips = write_clips(tmp_path / "raw", FAN)
    owner = prepare_module

    def stopping(*_):
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(owner, step, stopping)
        prepare(clips, tmp_path / "data", "dcase2020", "paper1")
    with pytest.raises(UserError, match="no prepared data"):
        open_store(tmp_path / "data", "paper1")
    prepare(clips, tmp_path / "data", "dcase2020", "paper1")
    assert [example["name"] for example in stored(tmp_path / "data", FAN, "train")] == names(clips, "train")


def test_stored_machines_are_kept_and_changed_ones_prepared_again(tmp_path):
    clips = write_clips(tmp_path / "raw", FAN) + write_clips(tmp_path / "raw", PUMP)
    prepare(clips, tmp_path / "data", "dcase2020", "paper1")
    again = prepare(
        [dataclasses.replace(clip, group="lab") for clip in clips], tmp_path / "data", "dcase2020", "paper1"
    )
    assert (again.computed, again.already_there) == (0, (FAN, PUMP))
    assert open_store(tmp_path / "data", "paper1").groups() == {FAN: "lab", PUMP: "lab"}

    fewer = [clip for clip in clips if clip.machine == PUMP][1:]
    said = []
    changed = prepare(fewer, tmp_path / "data", "dcase2020", "paper1", say=said.append)
    assert (changed.computed, changed.already_there) == (12, ())
    assert "pump/02: the raw folder holds other clips" in said[0]
    assert [example["name"] for example in stored(tmp_path / "data", PUMP, "train")] == names(fewer, "train")
    assert len(stored(tmp_path / "data", FAN, "train")) == 10

    relabelled = [dataclasses.replace(clip, label=None) for clip in fewer]
    prepare(relabelled, tmp_path / "data", "dcase2020", "paper1")
    assert [example["label"] for example in stored(tmp_path / "data", PUMP, "test")] == [-1, -1, -1]


def test_deleted_records_are_prepared_again(tmp_path):
    clips = write_clips(tmp_path / "raw", FAN)
    prepare(clips, tmp_path / "data", "dcase2020", "paper1")
    path = next((tmp_path / "data").rglob("*-train.tfrecord-00001-of-00003"))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=f"{path} is damaged.*delete {path.parent} and prepare"):
        stored(tmp_path / "data", FAN, "train")
    for file in path.parent.iterdir():
        file.unlink()
    path.parent.rmdir()
    prepare(clips, tmp_path / "data", "dcase2020", "paper1")
    assert len(stored(tmp_path / "data", FAN, "train")) == 10


def test_one_machine_of_two_data_sets_is_refused(tmp_path):
    clips = write_clips(tmp_path / "raw", FAN)
    prepare(clips, tmp_path / "data", "dcase2020", "paper1")
    with pytest.raises(UserError, match="fan/00 of the data set 'dcase2020'.*'folder'"):
        prepare(clips, tmp_path / "data", "folder", "paper1")


def test_bad_clips_are_left_out_and_listed_every_time(tmp_path):
    clips = write_clips(tmp_path / "raw", FAN) + write_clips(tmp_path / "raw", PUMP, train=1, test=0)
    bad = {clips[2].path: b"no audio", clips[11].path: Path(clips[11].path).read_bytes()[:3000], clips[13].path: b""}
    for path, content in bad.items():
        Path(path).write_bytes(content)
    for computed in (14, 0):
        done = prepare(clips, tmp_path / "data", "dcase2020", "paper1")
        assert done.computed == computed
        assert done.machines == (FAN,)  # pump has no clip that can be used
        assert len(done.left_out) == 3
        for path, sentence in zip(sorted(bad), sorted(done.left_out), strict=True):
            assert path in sentence
        examples = stored(tmp_path / "data", FAN, "train")
        assert [example["index"] for example in examples] == [0, 1, 3, 4, 5, 6, 7, 8, 9]
    soundfile.write(clips[2].path, np.random.default_rng(0).uniform(-0.5, 0.5, 3000), 16000)
    assert len(prepare(clips, tmp_path / "data", "dcase2020", "paper1").left_out) == 2
    assert len(stored(tmp_path / "data", FAN, "train")) == 10


def full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def full_for_tensorflow(*_):
    raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")


@pytest.mark.parametrize("failure", [full, full_for_tensorflow])
def test_no_space_left_loses_nothing(tmp_path, monkeypatch, failure):
    prepare(write_clips(tmp_path / "raw", FAN), tmp_path / "data", "dcase2020", "paper1")
    clips = write_clips(tmp_path / "raw", PUMP)
    with monkeypatch.context() as patch, pytest.raises(UserError, match="No space left"):
        patch.setattr(shards_module, "shard_writer", failure)
        prepare(clips, tmp_path / "data", "dcase2020", "paper1")
    assert len(stored(tmp_path / "data", FAN, "train")) == 10
    prepare(clips, tmp_path / "data", "dcase2020", "paper1")
    assert len(stored(tmp_path / "data", PUMP, "train")) == 10


def test_reads_only_a_few_clips_ahead_of_writing(tmp_path, monkeypatch):
    clips = write_clips(tmp_path / "raw", FAN, train=40, test=0)
    compute, write, lock = shards_module.compute_clip, shards_module.write, threading.Lock()
    began, written, farthest = [], [], []

    def counted(*arguments):
        with lock:
            began.append(1)
            farthest.append(len(began) - 4 * len(written))
        return compute(*arguments)

    def slow(*arguments):
        write(*arguments)
        written.append(1)

    monkeypatch.setattr(shards_module, "compute_clip", counted)
    monkeypatch.setattr(shards_module, "write", slow)
    prepare(clips, tmp_path / "data", "dcase2020", "paper1", workers=2)
    assert len(began) == 40
    assert max(farthest) <= 4 + 2 * 2 + 1  # one file being written, and two clips a worker ahead of it


def test_clips_of_one_name_in_two_folders_stay_apart(tmp_path):
    clips = []
    for label, kind in enumerate(("normal", "anomaly")):
        path = tmp_path / "raw" / "test" / kind / "1.wav"
        path.parent.mkdir(parents=True)
        soundfile.write(path, np.random.default_rng(label).uniform(-0.5, 0.5, 4000), 16000)
        clips.append(Clip(*FAN, "test", str(path), label, group="MIMII"))
    prepare(clips, str(tmp_path / "data"), "folder", "paper1")
    found = {clip["name"]: clip["label"] for clip in stored(str(tmp_path / "data"), FAN, "test")}
    assert found == {b"normal/1.wav": 0, b"anomaly/1.wav": 1}
