"""Log-mels in memory: what is read, from older data too, and that it is held once."""

import json
import shutil
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from asd_jax.base.errors import UserError
from asd_jax.datasets.clips import Clip
from asd_jax.records.prepare import prepare
from asd_jax.records.store import open_store
from asd_jax.training import clip_features
from tests.recordings import LOW, write_tone

MACHINES = [("drill", "00"), ("drill", "01")]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("log_mels")
    clips = []
    for i in range(12):
        machine_id, domain, split = f"0{i % 2}", ("source", "target")[i % 3 == 0], ("train", "test")[i > 8]
        write_tone(folder / f"{i}.wav", LOW, i, seconds=0.3 if i == 4 else 1 + i / 10)
        clips.append(Clip("drill", machine_id, split, str(folder / f"{i}.wav"), 0, domain=domain, group="g"))
    prepare(clips, str(folder / "data"), "dcase2021", "paper1")
    return folder / "data"


def older(data, folder):
    """The same as an earlier version prepared it: nobody counted the frames."""
    shutil.copytree(data, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    for machine in manifest["machines"]:
        del machine["frames"], machine["rates"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.mark.parametrize("domains", [None, ("source",), ("target",)])
@pytest.mark.parametrize("split", ["train", "test"])
def test_every_clip_of_a_split_and_its_domains_is_there_and_those_of_before_too(data, tmp_path, domains, split, capsys):
    store = open_store(str(data), "paper1")
    expected = {
        clip.name: log_mel
        for machine in MACHINES
        for clip, log_mel in store.clips(machine, split)
        if (domains is None or clip.domain in domains) and len(log_mel) >= 16
    }
    of_machine = [
        sum(count for name, count in store.find(m).frames.items() if name.startswith(split)) for m in MACHINES
    ]
    assert sum(of_machine) == sum(len(log_mel) for m in MACHINES for _, log_mel in store.clips(m, split))
    for one in (store, open_store(str(older(data, tmp_path / "older")), "paper1")):
        loaded = clip_features.join(clip_features.load_features(one, MACHINES, split, 16, domains))
        assert sorted(loaded.names) == sorted(expected)
        for name, log_mel in zip(loaded.names, loaded, strict=True):
            np.testing.assert_array_equal(log_mel, expected[name])
        said = capsys.readouterr().out
        assert ("Left out 1 clips of drill/00 that are shorter" in said) == (
            split == "train" and domains != ("target",)
        )


def test_listing_clips_decodes_no_log_mel(data):
    store = open_store(str(data), "paper1")
    assert list(store.listed(MACHINES[0], "train")) == [clip for clip, _ in store.clips(MACHINES[0], "train")]
    assert set(store.read(MACHINES[0], "train", fields=("name", "label")).element_spec) == {"name", "label"}


def test_they_are_held_once(data):
    store = open_store(str(data), "paper1")
    tracemalloc.start()
    loaded = clip_features.join(clip_features.load_features(store, MACHINES, "train", 1))
    held, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held > loaded.frames.shape[0] * 256 and np.asarray(loaded.frames).ctypes.data % 64 == 0
    assert most < 2e6


def test_more_records_than_the_manifest_counts_are_told(data, tmp_path):
    folder = older(data, tmp_path / "data")
    manifest = json.loads((folder / "manifest.json").read_text())
    for machine in manifest["machines"]:
        machine["frames"] = {"train source": 20}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="counts fewer frames of drill/00 than are there: prepare it again"):
        clip_features.load_features(open_store(str(folder), "paper1"), MACHINES, "train", 1)


MEMORY = """
import resource
import numpy as np
from asd_jax.training import input_pipeline
from asd_jax.training import clip_features
from asd_jax.datasets.clips import StoredClip
from asd_jax.sound.presets import PRESETS

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

class Store:
    data_dir, preset, dtype = "D", PRESETS["paper1"], "float16"

    def find(self, machine):
        return type("Stored", (), {"frames": {"train source": COUNT * FRAMES}, "clips": {"train": COUNT}})

    def clips(self, machine, split):
        log_mel = np.ones((FRAMES, 128), np.float16)
        for i in range(COUNT):
            yield StoredClip(machine, str(i), 0, "source", "dev"), log_mel

def steps(count):
    global COUNT, FRAMES
    COUNT, FRAMES = count, 1000
    [clips] = clip_features.load_features(Store(), [("a", "0")], "train", 10)
    sampler = input_pipeline.EveryWindowSampler(clips, {"product": np.zeros(count, np.int32)}, 64, 10, 50)
    options = dict(first_step=0, num_epochs=1, steps=1, window=10, rows=None, seed=0, runs=(0,))
    next(iter(input_pipeline.blocks(sampler, **options)))

steps(10)  # what TensorFlow takes once
before = peak()
steps(2000)
print((peak() - before) / (2000 * 1000 * 256))
"""


def test_batches_are_cut_out_of_that_memory():
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 1.3, "times the log-mels"
