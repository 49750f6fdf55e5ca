"""Preparing on Apache Beam stores what the local way stores."""

import functools
import importlib
import os
import sys
from pathlib import Path

import pytest

from asd_jax.base.errors import UserError
from asd_jax.records import shards as shards_module
from asd_jax.records.manifest import read_manifest
from asd_jax.records.prepare import prepare
from asd_jax.records.store import shard_writer, tf
from tests.records.test_prepare import FAN, PUMP, write_clips

IN_MEMORY = ("runner=FnApiRunner",)  # what DirectRunner runs on, without its search for a server in the internet


@pytest.fixture
def write_on_beam():
    pytest.importorskip("apache_beam", reason="Apache Beam is not installed: pip install 'asd_jax[beam]'")
    from asd_jax.records.beam import write_on_beam

    return write_on_beam


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(shards_module, "_SHARD_CLIPS", 4)


@pytest.fixture
def clips(tmp_path):
    """Of a fan and a pump; one is damaged."""
    clips = [clip for machine in (FAN, PUMP) for clip in write_clips(tmp_path / "raw", machine)]
    Path(clips[5].path).write_bytes(b"no audio")
    return clips


def files(folder):
    """What all files hold; the fields of a stored clip have another order in every process."""
    found = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
    return {name: examples(path) if ".tfrecord" in path.name else path.read_bytes() for name, path in found.items()}


def examples(path):
    return [tf.train.Example.FromString(record) for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator()]


@pytest.mark.parametrize(
    ("preset", "options"),
    [
        ("paper1", IN_MEMORY),
        ("paper2", (*IN_MEMORY, "direct_running_mode=multi_processing", "direct_num_workers=2")),
    ],
)
def test_every_file_equals_that_of_the_local_way(tmp_path, clips, write_on_beam, preset, options):
    local = prepare(clips, tmp_path / "local", "dcase2020", preset)
    done = prepare(
        clips, tmp_path / "beam", "dcase2020", preset, write_elsewhere=functools.partial(write_on_beam, options)
    )
    assert files(tmp_path / "beam") == files(tmp_path / "local")
    assert len(files(tmp_path / "beam")) > 8
    assert (done.machines, done.computed, done.left_out) == (local.machines, local.computed, local.left_out)
    assert len(done.left_out) == 1 and clips[5].path in done.left_out[0]


def test_finished_shards_are_kept_and_stored_machines_too(tmp_path, clips, write_on_beam):
    written = []

    def some(manifest, shards):
        written.append([shard.path.name for shard in shards])
        write_on_beam(IN_MEMORY, manifest, shards[:3] if len(written) == 1 else shards)
        if len(written) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(clips, tmp_path / "beam", "dcase2020", "paper1", write_elsewhere=some)
    assert read_manifest(tmp_path / "beam") is None
    for computed in (16, 0):  # the three files that are finished hold 4, 4 and 2 of the 26 clips
        assert prepare(clips, tmp_path / "beam", "dcase2020", "paper1", write_elsewhere=some).computed == computed
    prepare(clips, tmp_path / "local", "dcase2020", "paper1")
    assert files(tmp_path / "beam") == files(tmp_path / "local")
    assert written[1] == written[0][3:] and not written[2]


def test_a_shard_that_is_written_again_meanwhile_stays_whole(tmp_path, clips):
    def twice(manifest, shards):
        for shard in shards:
            shards_module.write_shard(manifest, shard)
            shards_module.write_shard(manifest, shard)
            with pytest.raises(RuntimeError), shard_writer(shard.path) as writer:  # a worker that fails
                writer.write(b"half")
                raise RuntimeError

    prepare(clips, tmp_path / "twice", "dcase2020", "paper1", write_elsewhere=twice)
    prepare(clips, tmp_path / "local", "dcase2020", "paper1")
    assert files(tmp_path / "twice") == files(tmp_path / "local")


def test_a_failing_pipeline_is_told_in_one_sentence(tmp_path, clips, write_on_beam, monkeypatch):
    def start(*options):
        prepare(
            clips,
            tmp_path / "beam",
            "dcase2020",
            "paper1",
            write_elsewhere=functools.partial(write_on_beam, [*IN_MEMORY, *options]),
        )

    with pytest.raises(UserError, match="^The Beam pipeline failed .*Unexpected pipeline runner: nonsense"):
        start("runner=nonsense")
    exists = os.path.exists
    with monkeypatch.context() as patch, pytest.raises(UserError, match=r"failed \(.*wav is not on this worker"):
        patch.setattr(os.path, "exists", lambda path: not str(path).endswith(".wav") and exists(path))
        start()
    with monkeypatch.context() as patch, pytest.raises(UserError, match=r"wrote 8 files that are not here.*data_dir"):
        patch.setattr("asd_jax.records.beam.write_shard", lambda *_: None)
        start()


def test_without_beam_it_is_told_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    monkeypatch.delitem(sys.modules, "asd_jax.records.beam", raising=False)
    with pytest.raises(UserError, match=r"pip install 'asd_jax\[beam\]'"):
        importlib.import_module("asd_jax.records.beam")
