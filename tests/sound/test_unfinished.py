"""Headers that nobody finished: the sound is read to the end of the file; a truncated file is told all the same."""

import io
import struct

import numpy as np
import pytest
import soundfile

from asd_jax.base.errors import UserError
from asd_jax.datasets.check import check
from asd_jax.sound import unfinished
from asd_jax.sound.audio import read_audio
from asd_jax.sound.pieces import open_sound

WAVE = np.random.default_rng(0).integers(-9000, 9000, 16000, dtype=np.int16)
PCM = WAVE.astype("<i2").tobytes()
ALL = 2**32 - 1


def wav(data, riff, tag=b"RIFF", extra=b"", after=b""):
    """A mono WAV of `WAVE` whose header says so many bytes."""
    fmt = struct.pack("<IHHIIHH", 16, 1, 1, 16000, 32000, 2, 16)
    return (
        tag
        + struct.pack("<I", riff)
        + b"WAVE"
        + extra
        + b"fmt "
        + fmt
        + b"data"
        + struct.pack("<I", data)
        + PCM
        + after
    )


def ds64(riff, data, count):
    return b"ds64" + struct.pack("<IQQQI", 28, riff, data, count, 0)


def other(kind, at, new):
    """The same in another format, with other bytes in its header: so many after a name, or from the beginning."""
    file = io.BytesIO()
    soundfile.write(file, WAVE, 16000, "PCM_16", format=kind)
    content = bytearray(file.getvalue())
    start = content.index(at) + len(at) if isinstance(at, bytes) else at
    content[start : start + len(new)] = new
    return bytes(content)


def streamed_flac():
    content = bytearray(other("FLAC", 0, b"fLaC"))
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    return bytes(content)


UNFINISHED = {
    "of a pipe (ffmpeg)": wav(ALL, ALL),
    "of a pipe (sox)": wav(0x7FFFF000, 0x7FFFF024),
    "arecord, killed": wav(0x80000000, 0x80000024),
    "older arecord": wav(0x7FFFFFFF, 0x7FFFFFFF),
    "without the header": wav(0x7FFFFFD8, 0x7FFFFFFF),
    "all but the header": wav(0xFFFFFFDB, ALL),
    "never closed": wav(0, 0),
    "never closed, length of the header": wav(0, 36),
    "never closed, length of the file": wav(0, 36 + len(PCM)),
    "RF64, empty ds64": wav(ALL, ALL, b"RF64", ds64(0, 0, 0)),
    "RF64, ds64 of ones": wav(ALL, ALL, b"RF64", ds64(2**64 - 1, 2**64 - 1, 2**64 - 1)),
    "RF64 without ds64": wav(ALL, ALL, b"RF64"),
    "RF64, unfinished, JUNK": wav(0, 0, b"RIFF", b"JUNK" + struct.pack("<I", 28) + bytes(28)),
    "AU, 0": other("AU", 8, bytes(4)),
    "AU, ones": other("AU", 8, b"\xff" * 4),
    "CAF, ones": other("CAF", b"data", b"\xff" * 8),
    "CAF, 0": other("CAF", b"data", bytes(8)),
    "AIFF, 0": other("AIFF", b"SSND", bytes(4)),
}


@pytest.mark.parametrize("case", UNFINISHED)
def test_a_recording_whose_header_has_no_length_is_read_to_its_end(tmp_path, case):
    path = tmp_path / "fan/00/train/a.wav"
    path.parent.mkdir(parents=True)
    path.write_bytes(UNFINISHED[case])
    [row] = check(str(tmp_path), "folder", 16000).rows
    read = read_audio(str(path), 16000) * 2**15
    skipped = len(WAVE) - len(read)
    assert 0 <= skipped <= 2  # a CAF counts four bytes of its own as sound, of which libsndfile makes samples
    np.testing.assert_array_equal(read[: 16000 - skipped], WAVE[: 16000 - skipped])
    assert row.seconds == pytest.approx(1) and not row.problems
    with open_sound(str(path)) as sound:
        np.testing.assert_array_equal(np.concatenate(list(sound.blocks))[:, 0], WAVE[: 16000 - skipped])
        assert sound.problem is None


@pytest.mark.parametrize(
    "content",
    [
        wav(2 * len(PCM), 36 + 2 * len(PCM)),
        wav(len(PCM) + 2, 38 + len(PCM)),
        wav(ALL, ALL, b"RF64", ds64(72 + 2 * len(PCM), 2 * len(PCM), len(PCM))),
        *(other(kind, 0, b"")[:20000] for kind in ("W64", "AU", "AIFF", "FLAC")),
    ],
    ids=["WAV", "WAV, one sample", "RF64", "W64", "AU", "AIFF", "FLAC"],
)
def test_a_recording_that_ends_before_the_length_it_claims_is_truncated(tmp_path, content):
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(UserError, match="a.wav is truncated"):
        read_audio(str(tmp_path / "a.wav"), 16000)


def test_a_streamed_flac_is_told(tmp_path):
    (tmp_path / "a.flac").write_bytes(streamed_flac())
    with pytest.raises(UserError, match="a.flac was streamed, and its header does not say how long it is: convert it"):
        read_audio(str(tmp_path / "a.flac"), 16000)


def test_an_empty_recording_stays_empty(tmp_path):
    header = wav(0, 36)[:44]
    listed = b"LIST" + struct.pack("<I", 12) + b"INFOIART" + bytes(4)
    for content in (header, header + listed, header[:4] + struct.pack("<I", 36 + len(listed)) + header[8:] + listed):
        (tmp_path / "a.wav").write_bytes(content)
        with pytest.raises(UserError, match="a.wav holds no samples"):
            read_audio(str(tmp_path / "a.wav"), 16000)


@pytest.mark.parametrize("cut", range(12, 84, 4))  # 80 bytes are the header
def test_a_file_that_ends_within_its_header_is_one_sentence(tmp_path, cut):
    (tmp_path / "a.wav").write_bytes(wav(ALL, ALL, b"RF64", ds64(0, 0, 0))[:cut])
    with pytest.raises(UserError, match="a.wav (is no audio|holds no samples)"):
        read_audio(str(tmp_path / "a.wav"), 16000)


def test_a_header_followed_by_zeros_alone_takes_no_time(tmp_path, monkeypatch):
    """As a recorder that lost its power leaves them."""
    looked = []
    chunks = unfinished._chunks
    monkeypatch.setattr(unfinished, "_chunks", lambda *a: (looked.append(one) or one for one in chunks(*a)))
    (tmp_path / "a.wav").write_bytes(b"RIFF" + bytes(4) + b"WAVE" + bytes(100_000))
    with pytest.raises(UserError, match="a.wav is no audio"):
        read_audio(str(tmp_path / "a.wav"), 16000)
    assert len(looked) <= 1
