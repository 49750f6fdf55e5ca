"""Records: what is stored is read back; what is absent, foreign or damaged is named."""

import json
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds

from asd_jax.base.errors import UserError
from asd_jax.records import store as store_module
from asd_jax.records.manifest import MachineRecords, Manifest, read_manifest, write_manifest
from asd_jax.records.store import features, open_store, partial_folder, shard_writer, store_machine
from asd_jax.sound.presets import PRESETS

PAPER1 = PRESETS["paper1"]
FAN = ("fan", "00")
ODD = ("my-machine_2.0/éa b", "id_1.5")  # nothing that a folder may be called is refused


def log_mel(clip):
    return np.random.default_rng(clip).normal(-30, 20, (300 + clip, 128)).astype(np.float16)


def store_clips(data_dir, machine, clips, shard=3, kept=None):
    """Stores `clips` training clips and two test clips, in files of `shard` clips; of each what is `kept`, renamed."""
    entry = MachineRecords("dcase2020", *machine, "MIMII", ("dev",), ("source",), {}, 10.0, (), "digest")
    manifest = read_manifest(data_dir) or Manifest(str(data_dir), PAPER1, "float16", {})
    serialize = features(PAPER1, "float16").serialize_example
    shards = {}
    for split, count in (("train", clips), ("test", 2)):
        for first in range(0, count, shard):
            path = partial_folder(data_dir, entry) / f"{split}{first}"
            indices = range(first, min(first + shard, count))
            with shard_writer(path) as writer:
                for index in indices:
                    clip = {
                        "label": index % 2,
                        "name": f"{index}.wav",
                        "part": "dev",
                        "domain": "source",
                        "attributes": f"vel_{index}",
                        "index": index,
                        "features": log_mel(index),
                    }
                    writer.write(serialize(clip if kept is None else {kept[name]: clip[name] for name in kept}))
            shards.setdefault(split, []).append((path, len(indices)))
    store_machine(manifest, entry, shards)
    stored = MachineRecords(**vars(entry) | {"clips": {"train": clips, "test": 2}})
    write_manifest(Manifest(str(data_dir), PAPER1, "float16", manifest.machines | {machine: stored}))


@pytest.mark.parametrize("machine", [FAN, ODD])
def test_what_was_stored_is_read_in_order_again_and_again(tmp_path, machine):
    store_clips(tmp_path, machine, 8)
    store = open_store(tmp_path, "paper1")
    assert store.preset == PAPER1
    for _ in range(2):
        clips = list(store.examples(machine, "train"))
        assert [clip["index"] for clip in clips] == list(range(8))
        for index, clip in enumerate(clips):
            np.testing.assert_array_equal(clip["features"], log_mel(index))
            assert clip["features"].dtype == np.float16
            assert (clip["label"], clip["name"], clip["domain"]) == (index % 2, b"%d.wav" % index, b"source")
    assert len(list(store.read(machine, "test"))) == 2


def test_attributes_are_kept(tmp_path):
    store_clips(tmp_path, FAN, 3)
    store = open_store(tmp_path, "paper1")
    assert [clip.attributes for clip, _ in store.clips(FAN, "train")] == ["vel_0", "vel_1", "vel_2"]
    assert [clip.attributes for clip in store.listed(FAN, "train")] == ["vel_0", "vel_1", "vel_2"]


def test_what_an_earlier_version_stored_is_read_and_replaced_as_a_whole(tmp_path, monkeypatch):
    kept = {name: name for name in ("label", "name", "part", "domain", "index")} | {"features": "log_mel"}
    now = features(PAPER1, "float16")

    def earlier(preset, dtype):
        return tfds.features.FeaturesDict({kept[name]: now[name] for name in kept})

    with monkeypatch.context() as before:
        before.setattr(sys.modules[__name__], "features", earlier)
        before.setattr(store_module, "features", earlier)
        before.setattr(store_module.Records, "name", "log_mel_records")
        before.setattr(store_module.Records, "VERSION", tfds.core.Version("1.0.0"))
        store_clips(tmp_path, FAN, 4, kept=kept)
    store = open_store(tmp_path, "paper1")
    for index, (clip, found) in enumerate(store.clips(FAN, "train")):
        np.testing.assert_array_equal(found, log_mel(index))
        assert (clip.name, clip.domain, clip.attributes) == (f"{index}.wav", "source", "")
    assert index == 3 and [clip.attributes for clip in store.listed(FAN, "test")] == ["", ""]
    assert not (tmp_path / "records").exists()
    store_clips(tmp_path, FAN, 2)
    assert [clip.attributes for clip, _ in open_store(tmp_path, "paper1").clips(FAN, "train")] == ["vel_0", "vel_1"]
    assert not list((tmp_path / "log_mel_records").rglob("*.tfrecord*"))


def test_machines_whose_names_run_together_stay_apart(tmp_path):
    store_clips(tmp_path, ("a.b", "c"), 3)
    store_clips(tmp_path, ("a", "b.c"), 5)
    store = open_store(tmp_path, "paper1")
    assert len(list(store.examples(("a.b", "c"), "train"))) == 3
    assert len(list(store.examples(("a", "b.c"), "train"))) == 5
    assert store.groups() == {("a.b", "c"): "MIMII", ("a", "b.c"): "MIMII"}


def test_unprepared_folder(tmp_path):
    with pytest.raises(UserError, match="holds no prepared data"):
        open_store(tmp_path / "nowhere", "paper1")


def test_something_else_called_manifest(tmp_path):
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(UserError, match=r"manifest\.json is not a manifest"):
        open_store(tmp_path, "paper1")


def test_another_preset_is_refused_by_name(tmp_path):
    store_clips(tmp_path, FAN, 1)
    with pytest.raises(UserError, match="'nothing'.*paper1"):
        open_store(tmp_path, "nothing")
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps(manifest | {"preset": manifest["preset"] | {"hop": 256}}))
    with pytest.raises(UserError, match="hop=256"):
        open_store(tmp_path, "paper1")
    (tmp_path / "manifest.json").write_text(json.dumps(manifest | {"preset": manifest["preset"] | {"name": "other"}}))
    with pytest.raises(UserError, match="preset 'other', and there are paper1"):
        open_store(tmp_path, "paper1")


def test_a_manifest_from_before_there_were_statistics_is_read(tmp_path):
    store_clips(tmp_path, FAN, 1)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    del manifest["statistics"], manifest["preset"]["standardise"]
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    store = open_store(tmp_path, "paper1")
    assert (store.preset, store.statistics) == (PAPER1, {})
    assert store.wave_statistics("fan") is None


def test_what_is_not_stored_is_told_with_what_is(tmp_path):
    store_clips(tmp_path, FAN, 1)
    store_clips(tmp_path, ("pump", "04"), 1)
    store = open_store(tmp_path, "paper1")
    with pytest.raises(UserError, match="'fam': fan, pump are there; did you mean 'fan'"):
        store.read(("fam", "00"), "train")
    with pytest.raises(UserError, match="ID of fan '04': 00 are there"):
        store.read(("fan", "04"), "train")
    with pytest.raises(UserError, match="no validation clips of fan/00"):
        store.read(FAN, "validation")


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut_in_a_record(path):
    path.write_bytes(path.read_bytes()[:-5])


def cut_between_records(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [flip_a_bit, cut_in_a_record, cut_between_records, lambda path: path.unlink()])
def test_a_damaged_file_is_named(tmp_path, damage):
    store_clips(tmp_path, FAN, 8)
    path = next(tmp_path.rglob("*-train.tfrecord-00001-of-00003"))
    damage(path)
    store = open_store(tmp_path, "paper1")
    with pytest.raises(UserError, match=f"{path} is damaged or missing.*prepare fan/00 again"):
        list(store.examples(FAN, "train"))
    assert len(list(store.examples(FAN, "test"))) == 2


def test_records_deleted_behind_the_manifest(tmp_path):
    store_clips(tmp_path, FAN, 1)
    next(tmp_path.rglob("dataset_info.json")).unlink()
    with pytest.raises(UserError, match="is missing or damaged: prepare fan/00 again"):
        list(open_store(tmp_path, "paper1").examples(FAN, "train"))
