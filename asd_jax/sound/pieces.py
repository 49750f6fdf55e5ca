"""Sound of any length in blocks, from a file or a pipe -> pieces, each a clip of its own; memory does not grow."""

import contextlib
import dataclasses
import itertools
import re
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import numpy as np

from asd_jax.base.errors import UserError
from asd_jax.sound import audio

_READ = 1 << 16  # bytes of a pipe
_HEADER = 16  # bytes, by which the kind of a file is recognised
_FILES = {
    "WAV": re.compile(rb"(RIFF|RIFX|RF64|BW64)....WAVE|riff\x2e\x91\xcf\x11", re.DOTALL),
    "FLAC": re.compile(rb"fLaC"),
    "Ogg": re.compile(rb"OggS\0"),
    "AIFF": re.compile(rb"FORM....AIF[FC]", re.DOTALL),
    "CAF": re.compile(rb"caff\0[\1\2]"),
    "AU": re.compile(rb"\.snd\0|dns\.[^\0]"),
    "MP3": re.compile(rb"ID3[\2-\4]\0"),
    "MP4": re.compile(rb"....ftyp", re.DOTALL),
}
"""Kind of file -> how it begins."""


@dataclasses.dataclass
class Sound:
    """Sound that is being read.

    Attributes:
        rate: samples a second.
        seconds: its length, where known beforehand.
        blocks: [samples, channels] each, int16 or float32.
        problem: one sentence about why it ended too early; known after the last block.
    """

    rate: int
    seconds: float | None
    blocks: Iterator[np.ndarray]
    problem: str | None = None

    def __post_init__(self) -> None:
        """Keeps for later what ends the blocks."""
        self.blocks = self._whatever_comes(self.blocks)

    def _whatever_comes(self, blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        try:
            yield from blocks
        except UserError as error:
            self.problem = str(error)


class Piece(NamedTuple):
    """Samples [samples, channels] from `start` to `end`, in seconds."""

    start: float
    end: float
    samples: np.ndarray


@contextlib.contextmanager
def open_sound(path: str) -> Iterator[Sound]:
    """A recording, read second by second. Raises UserError where it is no audio."""
    with audio.open_audio(path) as file:
        yield Sound(file.samplerate, file.frames / file.samplerate, audio.read_blocks(file, file.samplerate))


def raw_sound(pipe: BinaryIO, rate: int, channels: int) -> Sound:
    """Raw little-endian 16-bit PCM, channels interleaved, as soon as it arrives; the header of a file is no such."""

    def blocks() -> Iterator[np.ndarray]:
        begin, rest = b"", b""
        while len(begin) < _HEADER and (read := pipe.read1(_READ)):
            begin += read
        if kind := next((kind for kind, header in _FILES.items() if header.match(begin)), None):
            raise UserError(
                f"The input begins as a {kind} file does, and --stdin takes samples without a header: score a file "
                "by --input, or take its header off, as by 'sox FILE -t raw -e signed -b 16 -'."
            )
        for read in itertools.chain([begin], iter(lambda: pipe.read1(_READ), b"")):
            read = rest + read
            whole = len(read) - len(read) % (2 * channels)
            rest = read[whole:]
            if whole:
                yield np.frombuffer(read[:whole], "<i2").astype(np.int16).reshape(-1, channels)
        if rest:
            raise UserError(
                f"The input ended within a sample: {len(rest)} bytes are left, {channels} channel(s) of 16 bit take "
                f"{2 * channels}; check --channels and the format."
            )

    return Sound(rate, None, blocks())


def cut(sound: Sound, piece: float, hop: float) -> Iterator[Piece]:
    """Pieces of `piece` seconds, one every `hop` seconds (at most `piece`).

    The last one ends where the sound ends, so that no sample is left out; sound that is shorter is one piece.
    """
    length, number, start = round(piece * sound.rate), 0, 0
    waiting, begin, end, done = [], 0, 0, 0  # the samples from `begin` to `end`; those before `done` were in a piece

    def at(start: int, samples: np.ndarray) -> Piece:
        return Piece(start / sound.rate, (start + len(samples)) / sound.rate, samples)

    for block in sound.blocks:
        waiting.append(block)
        end += len(block)
        if end < start + length:
            continue
        samples = np.concatenate(waiting)
        while start + length <= end:
            yield at(start, samples[start - begin :][:length])
            done = start + length
            number += 1
            start = round(number * hop * sound.rate)
        kept = min(start, end - length)  # for the last piece
        waiting, begin = [samples[kept - begin :]], kept
    if end > done:
        first = max(0, end - length)
        yield at(first, np.concatenate(waiting)[first - begin :])
