"""Which files are recordings: what is found below a folder, and what score.py calls it."""

import pytest

from asd_jax.base.errors import UserError
from asd_jax.datasets import folder
from asd_jax.listening.follow import Arrivals
from asd_jax.listening.one_score import find_recordings
from asd_jax.sound import audio_files


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def found_in(root):
    found = [str(path.relative_to(root)) for path in audio_files.audio_files(root)]
    assert found == sorted(found)
    return found


def test_linked_folders_and_files_count_once(tmp_path):
    raw, far = tmp_path / "raw", tmp_path / "far"
    touch(raw, "a/1.wav", "a/deep/2.WAV", "b/3.flac")
    touch(far, "4.wav", "5.wav")
    (raw / "a" / "deep" / "up").symlink_to("../..")  # to a folder above
    (raw / "0_a").symlink_to("a")  # sorts before what it points to
    (raw / "far").symlink_to(far)
    (far / "back").symlink_to(raw)
    (raw / "b" / "latest.wav").symlink_to("3.flac")
    (raw / "b" / "outside.wav").symlink_to(far / "4.wav")
    (raw / "b" / "gone.wav").symlink_to("nowhere.wav")  # told when it is read
    assert found_in(raw) == ["a/1.wav", "a/deep/2.WAV", "b/3.flac", "b/gone.wav", "far/4.wav", "far/5.wav"]


def test_what_is_hidden_or_left_by_a_system_does_not_count(tmp_path):
    touch(tmp_path, "a.wav", "._a.wav", ".b/c.wav", "__MACOSX/a.wav", "__d.wav", "__e/f.wav", "notes.txt")
    assert found_in(tmp_path) == ["__d.wav", "__e/f.wav", "a.wav"]
    assert found_in(tmp_path / "nowhere") == []


def test_all_commands_find_the_same(tmp_path):
    raw, far = tmp_path / "raw", tmp_path / "far"
    touch(raw, "drill/1/train/a.wav", "drill/1/train/.b.wav", "drill/1/train/.hidden/c.wav")
    touch(far, "d.wav")
    (raw / "drill/1/train/far").symlink_to(far)
    (raw / "drill/1/train/up").symlink_to("..")
    expected = ["drill/1/train/a.wav", "drill/1/train/far/d.wav"]
    assert [clip.path for clip in folder.list_clips(str(raw))] == [f"{raw}/{name}" for name in expected]
    assert [name for name, _ in find_recordings([str(raw)])] == expected
    arrivals = Arrivals(str(raw), 1, set())
    assert arrivals.finished(0) == [] and arrivals.finished(1) == [f"{raw}/{name}" for name in expected]


def test_what_several_recordings_are_called(tmp_path):
    touch(tmp_path, "a/1.wav", "b/1.wav", "b/c/2.wav", "3.xyz")
    one, two = str(tmp_path / "a"), str(tmp_path / "b")
    assert [name for name, _ in find_recordings([two])] == ["1.wav", "c/2.wav"]
    assert find_recordings([f"{two}/1.wav"]) == [(f"{two}/1.wav", f"{two}/1.wav")]
    names = [f"{two}/1.wav", f"{one}/1.wav", f"{two}/c/2.wav", f"{tmp_path}/3.xyz"]
    sources = [f"{two}/1.wav", one, two, f"{tmp_path}/3.xyz"]  # one of them again in a folder
    assert find_recordings(sources) == [(name, name) for name in names]
    with pytest.raises(UserError, match="There is no .*/gone: expected an audio file or a folder of them"):
        find_recordings([one, str(tmp_path / "gone")])
