"""Preparing where all clips of a machine type are standardised together."""

import os

import numpy as np
import pytest
import soundfile

from asd_jax.base.errors import UserError
from asd_jax.records import prepare as prepare_module
from asd_jax.records import shards as shards_module
from asd_jax.records.manifest import read_manifest
from asd_jax.records.prepare import prepare
from asd_jax.records.store import open_store
from asd_jax.sound.audio import read_audio
from asd_jax.sound.presets import PRESETS
from tests.records.test_prepare import FAN, FANS, PUMP, Killed, stop_after, write_clips


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(shards_module, "_SHARD_CLIPS", 4)


@pytest.fixture
def clips(tmp_path):
    """Clips of two fans and a pump."""
    return [clip for machine in (*FANS, PUMP) for clip in write_clips(tmp_path / "raw", machine, train=5)]


@pytest.fixture
def data(tmp_path):
    return tmp_path / "data"


@pytest.fixture
def measured(monkeypatch):
    """The machine types that are measured, in order."""
    seen, measure = [], prepare_module.measure

    def counted(preset, training, workers):
        seen.extend(training)
        return measure(preset, training, workers)

    monkeypatch.setattr(prepare_module, "measure", counted)
    return seen


def prepare_paper2(clips, data, **options):
    return prepare(clips, data, "dcase2020", "paper2", dtype="float32", **options)


def write_another(clip):
    soundfile.write(clip.path, np.random.default_rng(9).uniform(-0.1, 0.2, 5000), 16000)


def training_samples(clips, machine_type):
    return np.concatenate(
        [read_audio(c.path, 16000) for c in clips if (c.machine_type, c.split) == (machine_type, "train")]
    )


def check_standardised(clips, data):
    """Everything is stored as its own machine type's training clips, as they are now, standardise it."""
    manifest = read_manifest(data)
    assert set(manifest.machines) == {clip.machine for clip in clips}
    for clip in clips:
        waves, statistics = training_samples(clips, clip.machine_type), manifest.wave_statistics(clip.machine_type)
        assert (statistics.mean, statistics.std) == pytest.approx((waves.mean(), waves.std()), rel=1e-5)
        examples = open_store(data, "paper2").examples(clip.machine, clip.split)
        by_name = {example["name"].decode(): example["features"] for example in examples}
        expected = PRESETS["paper2"].compute(read_audio(clip.path, 16000), "", statistics)
        np.testing.assert_array_equal(by_name[os.path.basename(clip.path)], expected)


def test_paper2_standardises_all_clips_by_the_training_clips_of_their_type(clips, data, measured):
    write_another(clips[0])
    assert prepare_paper2(clips, data).computed == len(clips)
    check_standardised(clips, data)
    assert prepare_paper2(clips, data).computed == 0
    assert measured == ["fan", "pump"]


def test_a_type_without_a_training_clip_is_named(clips, data):
    some = [clip for clip in clips if clip.machine != PUMP or clip.split == "test"]
    with pytest.raises(UserError, match="^pump has no training clip that can be read.*'paper2'"):
        prepare_paper2(some, data)


def test_a_changed_training_clip_changes_all_machines_of_its_type(clips, data, measured):
    prepare_paper2(clips, data)
    write_another(clips[0])
    again = prepare_paper2(clips, data)
    assert again.already_there == (PUMP,)
    assert measured == ["fan", "pump", "fan"]
    check_standardised(clips, data)


def test_a_changed_test_clip_changes_its_own_machine_only(clips, data, measured):
    prepare_paper2(clips, data)
    write_another(next(clip for clip in clips if clip.machine == FAN and clip.split == "test"))
    assert prepare_paper2(clips, data).already_there == (FANS[1], PUMP)
    assert measured == ["fan", "pump"]
    check_standardised(clips, data)


def test_a_type_whose_stored_machines_are_not_all_found_keeps_its_statistics(clips, data):
    prepare_paper2(clips, data)
    with pytest.raises(UserError, match="holds fan/02, standardised by other training clips of fan.*all machine IDs"):
        prepare_paper2([clip for clip in clips if clip.machine == FAN], data)
    assert prepare_paper2([clip for clip in clips if clip.machine == PUMP], data).already_there == (PUMP,)
    check_standardised(clips, data)


def test_another_data_set_is_refused_before_anything_is_dropped(clips, data):
    prepare_paper2(clips, data)
    write_another(clips[0])
    with pytest.raises(UserError, match="of the data set 'dcase2020'"):
        prepare(clips, data, "folder", "paper2", dtype="float32")
    assert set(read_manifest(data).machines) == {*FANS, PUMP}


def test_a_run_stopped_while_measuring_or_after_never_mixes_statistics(clips, data, monkeypatch):
    def stopping(*_):
        raise Killed

    for owner, step in ((prepare_module, "measure"), (shards_module, "compute_clip")):
        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(owner, step, stopping)
            prepare_paper2(clips, data)
        assert read_manifest(data) is None
    prepare_paper2(clips, data)
    write_another(clips[0])
    for calls, there in ((0, {PUMP}), (10, {FAN, PUMP})):  # a fan has 8 clips
        with monkeypatch.context() as patch, pytest.raises(Killed):
            stop_after(patch, calls)
            prepare_paper2(clips, data, workers=1)
        assert set(read_manifest(data).machines) == there
    prepare_paper2(clips, data)
    check_standardised(clips, data)


def test_a_type_that_was_not_prepared_has_no_statistics(clips, data):
    manifest = prepare_paper2(clips, data).manifest
    with pytest.raises(UserError, match="machine type 'valve': fan, pump are there"):
        manifest.wave_statistics("valve")
