"""Sound in pieces: no sample is lost or moved, whatever blocks it comes in, and memory does not grow."""

import io
import tracemalloc

import numpy as np
import pytest
import soundfile

from asd_jax.sound.pieces import Sound, cut, open_sound, raw_sound


def in_blocks(samples, seed=0):
    rng = np.random.default_rng(seed)
    ends = np.sort(rng.integers(0, len(samples), 9))
    return [part for part in np.split(samples, ends) if len(part)]


@pytest.mark.parametrize(("piece", "hop"), [(1.0, 1.0), (1.0, 0.3), (0.7, 0.7), (4.0, 0.5), (9.0, 9.0)])
@pytest.mark.parametrize("count", [4000, 4001, 3999, 400])
def test_pieces_are_where_they_say_and_leave_nothing_out(piece, hop, count):
    rate = 1000
    samples = np.arange(count, dtype=np.int16)[:, None] * [1, -1]
    found = list(cut(Sound(rate, None, iter(in_blocks(samples))), piece, hop))
    for one in found:
        assert one.samples.shape == (min(round(piece * rate), count), 2)
        np.testing.assert_array_equal(one.samples[:, 0], np.arange(round(one.start * rate), round(one.end * rate)))
    starts = [one.start for one in found]
    assert found[-1].end == count / rate and starts == sorted(set(starts))
    regular = [i * hop for i in range(len(found)) if i * hop + piece <= count / rate + 1e-9]
    assert starts[: len(regular)] == pytest.approx(regular) and len(found) - len(regular) in (0, 1)
    assert all(later.start <= one.end for one, later in zip(found, found[1:], strict=False))


def test_a_piece_comes_as_soon_as_it_is_complete():
    given = []

    def blocks():
        for i in range(100):
            given.append(i)
            yield np.zeros((10, 1), np.int16)

    pieces = cut(Sound(100, None, blocks()), 2.0, 1.0)
    assert [len(given) for _ in zip(range(3), pieces, strict=False)] == [20, 30, 40]


def test_memory_does_not_grow_with_the_length():
    def peak(seconds):
        tracemalloc.start()
        sound = Sound(8000, None, (np.zeros((8000, 1), np.int16) for _ in range(seconds)))
        assert sum(1 for _ in cut(sound, 10, 5)) == seconds // 5 - 1
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(2000) < 1.2 * peak(50) < 2e6


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_raw_samples_arrive_whole_however_the_pipe_splits_them(channels):
    samples = np.random.default_rng(0).integers(-(2**15), 2**15, (5000, channels)).astype("<i2")

    class Pipe(io.BytesIO):
        def read1(self, size):
            return super().read1(min(size, 1001))

    sound = raw_sound(Pipe(samples.tobytes()), 8000, channels)
    np.testing.assert_array_equal(np.concatenate(list(sound.blocks)), samples)
    assert sound.problem is None
    sound = raw_sound(Pipe(samples.tobytes() + b"x"), 8000, channels)
    np.testing.assert_array_equal(np.concatenate(list(sound.blocks)), samples)
    assert "1 bytes are left" in sound.problem


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_a_truncated_recording_is_read_to_where_it_ends(tmp_path, suffix):
    path = tmp_path / f"long.{suffix}"
    samples = np.random.default_rng(0).integers(-9999, 9999, 16000 * 20).astype(np.int16)
    soundfile.write(path, samples, 16000)
    with open_sound(str(path)) as sound:
        whole = list(cut(sound, 2, 2))
        assert sound.problem is None and sound.seconds == 20 and len(whole) == 10
    path.write_bytes(path.read_bytes()[:400_000])
    with open_sound(str(path)) as sound:
        found = list(cut(sound, 2, 2))
    assert "truncated" in sound.problem and str(path) in sound.problem
    assert 5 <= len(found) < 10
    for one in found:
        np.testing.assert_array_equal(one.samples[:, 0], samples[round(one.start * 16000) :][: 2 * 16000])


@pytest.mark.parametrize(
    "kind",
    [("WAV", "PCM_24"), ("WAV", "PCM_16"), ("RF64", "PCM_16"), ("W64", "PCM_16"), ("FLAC", "PCM_16")]
    + [("OGG", "VORBIS"), ("AIFF", "PCM_16"), ("CAF", "PCM_16"), ("AU", "PCM_16")],
)
@pytest.mark.parametrize("at_once", [3, 1 << 16])
def test_the_header_of_a_file_is_no_sound(tmp_path, kind, at_once):
    soundfile.write(tmp_path / "a", np.random.default_rng(0).uniform(-1, 1, 8000), 16000, kind[1], format=kind[0])
    name = {"RF64": "WAV", "W64": "WAV", "OGG": "Ogg"}.get(kind[0], kind[0])
    sound = raw_sound(Pipe((tmp_path / "a").read_bytes(), at_once), 16000, 1)
    assert list(sound.blocks) == [] and f"The input begins as a {name} file does" in sound.problem


class Pipe(io.BytesIO):
    """Gives little at once."""

    def __init__(self, content, at_once):
        super().__init__(content)
        self.at_once = at_once

    def read1(self, size=-1):
        return self.read(min(size, self.at_once))


@pytest.mark.parametrize("count", [0, 1, 5, 7, 8, 9, 4000])
def test_sound_is_taken_however_short_and_however_it_begins(count):
    samples = np.frombuffer(b"RIFFxxxxWAVx" + bytes(8000), "<i2")[:count]  # no header
    sound = raw_sound(Pipe(samples.tobytes(), 3), 16000, 1)
    found = [*sound.blocks, np.zeros((0, 1), np.int16)]
    np.testing.assert_array_equal(np.concatenate(found)[:, 0], samples)
    assert sound.problem is None
