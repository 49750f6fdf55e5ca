"""AudioSet: clips of many classes once each, segments that are listed and there, and mistakes."""

import numpy as np
import pytest
import soundfile

from asd_jax.base.errors import UserError
from asd_jax.datasets import DATASETS, audioset
from asd_jax.datasets.clips import Clip
from asd_jax.records.prepare import prepare
from asd_jax.records.store import UNLABELLED, open_store
from tests.recordings import write_tone

AUDIOSET = ("AudioSet", "all")
HEADER = (
    "# Segments csv created Sun Mar  5 10:54:31 2017\n"
    "# num_ytids=4, num_segs=4, num_unique_labels=3, num_positive_labels=6\n"
    "# YTID, start_seconds, end_seconds, positive_labels\n"
)
IDS = ("--4gqARaEJE", "__p-iA312kg", "Y2-xXEUXcTs", "a_b_30-00_c")
SEGMENTS = HEADER + "".join(f'{ytid}, 30.000, 40.000, "/m/068hy,/m/0bt9lr"\n' for ytid in IDS)


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def names(root, clips):
    return [clip.path.removeprefix(f"{root}/") for clip in clips]


@pytest.mark.parametrize("below", ["", "audiosetdata/"])
def test_a_clip_in_several_class_folders_is_one_clip(tmp_path, below):
    files = [f"{below}{name}" for name in ("Dog/one.wav", "Engine/two.flac", "Speech/one.wav", "Speech/three.WAV")]
    touch(tmp_path, *files, f"{below}Dog/._one.wav", f"{below}__MACOSX/four.wav", "class_labels_indices.csv")
    assert audioset.list_clips(str(tmp_path)) == [
        Clip(*AUDIOSET, "train", f"{tmp_path}/{name}", None, group="AudioSet") for name in (files[0], *files[1::2])
    ]


def test_the_listed_segments_that_are_there_and_how_many_are_not(tmp_path, capsys):
    (tmp_path / audioset.SEGMENTS).write_text(SEGMENTS)
    first, second, third, _ = IDS
    there = [f"{first}.wav", f"Y{second}_30.000_40.000.wav", f"{third}_30.flac"]
    touch(tmp_path, *there, "of_another_.wav", "music.wav", "dog_barking.wav", "rain.wav")
    assert names(tmp_path, audioset.list_clips(str(tmp_path))) == sorted(there)
    missing, others = capsys.readouterr().out.splitlines()
    assert missing.startswith(f"1 of the 4 segments in {tmp_path}/balanced_train_segments.csv have no file: ")
    assert others.startswith("4 files are left out, since ")
    assert others.count(".wav") == 3 and others.endswith(" and others.")
    problems = []
    audioset.list_clips(str(tmp_path), misfits=problems)
    assert problems == [missing, others]


def test_ids_that_look_like_anything_are_found_in_folders_too(tmp_path, capsys):
    (tmp_path / audioset.SEGMENTS).write_text(SEGMENTS)
    touch(tmp_path, *(f"audio/{ytid}.wav" for ytid in IDS), f"more/{IDS[0]}.wav")
    clips = audioset.list_clips(str(tmp_path))
    assert names(tmp_path, clips) == sorted(f"audio/{ytid}.wav" for ytid in IDS)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("id,start\n", "line 4 begins with 'id': expected a YouTube ID of 11 characters"),
        ("--4gqARaEJE;30;40\n", "line 4 begins with '--4gqARaEJE;30;40'"),
        ("", "No recordings found"),
    ],
)
def test_a_list_that_does_not_fit_is_told(tmp_path, text, expected):
    touch(tmp_path, f"{IDS[0]}.wav")
    (tmp_path / audioset.SEGMENTS).write_text(HEADER + text)
    with pytest.raises(UserError, match=expected):
        audioset.list_clips(str(tmp_path))


def test_an_empty_folder_or_another_machine_type_is_told(tmp_path):
    for raw in (tmp_path / "missing", tmp_path):
        with pytest.raises(UserError, match=f"No recordings found in {raw}: expected audio files in a folder for each"):
            audioset.list_clips(str(raw))
    touch(tmp_path, "audioset.zip")
    with pytest.raises(UserError, match=r"\(audioset.zip lies there: unzip it first\)"):
        audioset.list_clips(str(tmp_path))
    touch(tmp_path, "Dog/one.wav")
    with pytest.raises(UserError, match="No machine type Dog in .*: it holds AudioSet"):
        audioset.list_clips(str(tmp_path), machine_types=["Dog"])


@pytest.mark.parametrize("preset", ["paper1", "paper2"])
def test_it_is_prepared_and_a_clip_of_zeros_is_left_out(tmp_path, preset):
    for seed, name in enumerate(("Dog/one", "Engine/two", "Speech/one")):
        write_tone(tmp_path / f"raw/{name}.wav", 700, seed, seconds=1.0)
    write_zeros(tmp_path / "raw/Speech/silence.wav")
    clips = DATASETS["audioset"].list_clips(str(tmp_path / "raw"))
    done = prepare(clips, str(tmp_path / "data"), "audioset", preset)
    [sentence] = done.left_out
    assert "silence.wav is silent" in sentence
    store = open_store(str(tmp_path / "data"), preset)
    stored = [(clip.name, clip.label) for clip, _ in store.clips(AUDIOSET, "train")]
    assert stored == [("Dog/one.wav", UNLABELLED), ("Engine/two.wav", UNLABELLED)]


def write_zeros(path):
    soundfile.write(path, np.zeros((44100, 2)), 44100, subtype="PCM_24")
