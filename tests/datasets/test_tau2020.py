"""TAU Urban Acoustic Scenes 2020 Mobile: every file of `audio`, into the data_dir of the machines."""

import numpy as np
import pytest
import soundfile

from asd_jax.base.errors import UserError
from asd_jax.datasets import DATASETS, tau2020
from asd_jax.datasets.clips import Clip
from asd_jax.records.prepare import prepare
from asd_jax.records.store import UNLABELLED, open_store
from asd_jax.sound.audio import read_audio
from asd_jax.sound.presets import PRESETS
from asd_jax.training.outliers import outlier_machines
from tests.recordings import write_tone

TAU = ("TAU2020", "all")
NAMES = ("airport-barcelona-0-0-a.wav", "park-vienna-90-2700-s3.wav", "tram-lyon-1-1-b.flac")


def touch(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()


def write_scene(path, seed, seconds=1.0):
    """Noise as the data set has it: 44.1 kHz, 24 bits, mono."""
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = np.random.default_rng(seed).uniform(-0.5, 0.5, int(44100 * seconds))
    soundfile.write(path, wave, 44100, subtype="PCM_24")


@pytest.mark.parametrize("below", [".", tau2020.FOLDER])
def test_every_recording_is_a_training_clip_without_a_label(tmp_path, below):
    folder = tmp_path / below
    touch(folder / "audio", *NAMES, ".DS_Store", "._park.wav", "notes.txt")
    touch(folder, "meta.csv", "not_in_audio.wav")
    touch(tmp_path / "TAU-urban-acoustic-scenes-2020-mobile-evaluation/audio", "0.wav")
    assert tau2020.list_clips(str(tmp_path)) == [
        Clip(*TAU, "train", str(folder / "audio" / name), None, group="TAU2020") for name in NAMES
    ]


def test_only_its_own_machine_type_can_be_named(tmp_path):
    touch(tmp_path / "audio", *NAMES)
    assert len(tau2020.list_clips(str(tmp_path), machine_types=["TAU2020"])) == 3
    with pytest.raises(UserError, match="No machine type fan in .*: it holds TAU2020"):
        tau2020.list_clips(str(tmp_path), machine_types=["fan"])


def test_an_empty_folder_says_what_was_expected_and_names_zips(tmp_path):
    for raw in (tmp_path / "missing", tmp_path):
        with pytest.raises(UserError, match="No recordings found in .*/audio: expected .* Acoustic Scenes 2020 Mobile"):
            tau2020.list_clips(str(raw))
    touch(tmp_path, f"{tau2020.FOLDER}.audio.1.zip")
    with pytest.raises(UserError, match=r"audio\.1\.zip lies there: unzip it first"):
        tau2020.list_clips(str(tmp_path))


def write_fans(raw):
    for machine_id in ("00", "02"):
        write_tone(raw / f"dev_data/fan/train/normal_id_{machine_id}_00000000.wav", 700, int(machine_id))
    return DATASETS["dcase2020"].list_clips(str(raw))


@pytest.mark.parametrize("preset", ["paper1", "paper2"])
def test_it_is_prepared_beside_machines_and_serves_as_set_e(tmp_path, preset):
    data = str(tmp_path / "data")
    fans = write_fans(tmp_path / "raw")
    for seed, name in enumerate(NAMES):
        write_scene(tmp_path / "tau/audio" / name, seed)
    scenes = DATASETS["tau2020"].list_clips(str(tmp_path / "tau"))
    prepare(fans, data, "dcase2020", preset)
    prepare(scenes, data, "tau2020", preset)
    store = open_store(data, preset)
    assert outlier_machines("e", ("fan", "00"), store.groups()) == [TAU]
    assert outlier_machines("all", ("fan", "00"), store.groups()) == [("fan", "02")]
    statistics = store.wave_statistics("TAU2020")
    stored = list(store.clips(TAU, "train"))
    assert [(clip.name, clip.label) for clip, _ in stored] == [(name, UNLABELLED) for name in NAMES]
    for clip, (_, log_mel) in zip(scenes, stored, strict=True):
        wave = read_audio(clip.path, 16000)
        assert len(wave) == 16000
        exact = PRESETS[preset].compute(wave, "", statistics)
        np.testing.assert_array_equal(log_mel, exact.astype(np.float16))
