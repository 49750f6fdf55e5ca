"""Reading recordings: values, rates, channels, and every kind of bad file."""

import numpy as np
import pytest
import soundfile

from asd_jax.base.errors import UserError
from asd_jax.sound.audio import read_audio
from asd_jax.sound.pieces import open_sound


def tone(frequency, rate, seconds=1.0, amplitude=0.5):
    return amplitude * np.sin(2 * np.pi * frequency * np.arange(round(rate * seconds)) / rate)


@pytest.mark.parametrize("name", ["clip.wav", "clip.flac"])
def test_reads_what_was_written(tmp_path, name):
    wave = np.random.default_rng(0).uniform(-0.9, 0.9, 5000)
    soundfile.write(tmp_path / name, wave, 16000)
    read = read_audio(str(tmp_path / name), 16000)
    assert read.dtype == np.float32
    np.testing.assert_allclose(read, wave, atol=2 / 2**15)


def test_channels_are_averaged(tmp_path):
    left, right = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 4000))
    soundfile.write(tmp_path / "clip.wav", np.stack([left, right], 1), 16000, subtype="FLOAT")
    np.testing.assert_allclose(read_audio(str(tmp_path / "clip.wav"), 16000), (left + right) / 2, atol=1e-6)


def test_a_gsm_recording_is_read(tmp_path):
    wave = np.sin(np.arange(8000) / 9).astype(np.float32) / 2
    soundfile.write(tmp_path / "a.wav", wave, 8000, subtype="GSM610")
    read = read_audio(str(tmp_path / "a.wav"), 8000)
    assert 8000 <= len(read) <= 8320 and np.corrcoef(read[:8000], wave)[0, 1] > 0.98  # blocks of 320
    with open_sound(str(tmp_path / "a.wav")) as sound:
        assert sum(map(len, sound.blocks)) == len(read) and sound.problem is None


def test_one_silent_channel_is_fine_and_one_channel_can_be_taken(tmp_path):
    left, right = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 4000))
    path = str(tmp_path / "clip.wav")
    soundfile.write(path, np.stack([left, 0 * left], 1), 16000, subtype="FLOAT")
    np.testing.assert_allclose(read_audio(path, 16000), left / 2, atol=1e-6)
    for channels in ((left, -left), (left, right)):
        soundfile.write(path, np.stack(channels, 1), 16000, subtype="FLOAT")
        for channel, wave in enumerate(channels):
            np.testing.assert_allclose(read_audio(path, 16000, channel), wave, atol=1e-6)
    with pytest.raises(UserError, match=r"has 2 channel\(s\), and channel 2 was asked for, counted from 0"):
        read_audio(path, 16000, 2)


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_resampling_keeps_pitch_level_and_duration(tmp_path, rate):
    soundfile.write(tmp_path / "clip.wav", tone(1000, rate), rate, subtype="FLOAT")
    read = read_audio(str(tmp_path / "clip.wav"), 16000)
    assert abs(len(read) - 16000) <= 1
    middle = slice(1000, -1000)
    np.testing.assert_allclose(read[middle], tone(1000, 16000)[: len(read)][middle], atol=1e-3)


def damaged(path, kind):
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, 16000)
    if kind == "no audio":
        path.write_text("what is this")
    elif kind == "nothing":
        path.write_bytes(b"")
    elif kind.startswith("truncated"):
        whole = path.with_suffix("." + kind.split()[1])
        soundfile.write(whole, wave, 16000)
        path.write_bytes(whole.read_bytes()[:20000])
    else:
        wave = {
            "empty": wave[:0],
            "silent": np.zeros(16000),
            "constant": np.full(16000, 0.1),
            "rounding": 0.9 + 1e-7 * (wave > 0),
            "cancelled": np.stack([wave, -wave], 1),
            "nearly cancelled": np.stack([wave, 1e-4 - 0.999 * wave], 1),
            "NaN": np.where(np.arange(16000) == 7, np.nan, wave),
            "infinite": np.where(np.arange(16000) == 7, np.inf, wave),
        }[kind]
        soundfile.write(path, wave, 16000, subtype="FLOAT")


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("no audio", "is no audio"),
        ("nothing", "is no audio"),
        ("absent", "is no audio"),
        ("truncated wav", "is truncated"),
        ("truncated aiff", "is truncated"),
        ("truncated flac", "is truncated"),
        ("empty", "no samples"),
        ("silent", "silent"),
        ("constant", "silent"),
        ("rounding", "silent"),
        ("cancelled", "2 channels that cancel"),
        ("nearly cancelled", "2 channels that cancel"),
        ("NaN", "NaN or infinite"),
        ("infinite", "NaN or infinite"),
    ],
)
def test_bad_files_are_named(tmp_path, kind, said):
    path = tmp_path / "bad.wav"
    if kind != "absent":
        damaged(path, kind)
    with pytest.raises(UserError, match=said) as told:
        read_audio(str(path), 16000)
    assert str(path) in str(told.value)


def test_length_unknown_when_recording_began_is_no_damage(tmp_path):
    path = tmp_path / "streamed.wav"
    soundfile.write(path, tone(440, 16000), 16000)
    content = bytearray(path.read_bytes())
    at = content.index(b"data") + 4
    content[at : at + 4] = content[4:8] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    assert len(read_audio(str(path), 16000)) == 16000


def test_names_in_other_scripts_and_with_wide_spaces_are_fine(tmp_path):
    path = tmp_path / "ファン\u3000音\u00a0é.wav"
    soundfile.write(path, tone(440, 16000), 16000)
    assert len(read_audio(str(path), 16000)) == 16000
