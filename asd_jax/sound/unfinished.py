"""Recordings whose header nobody finished: its length is 0 or a placeholder, and the sound goes on to the file's end.

So are the files of a recorder that was killed, and of programs that write to a pipe. libsndfile knows some of the
placeholders itself; this mends the others, in what is read and not on disk.
"""

import io
import os
import struct
from collections.abc import Iterator
from typing import BinaryIO

_NEAR = 0x1000  # the header counts in some placeholders and not in others


def is_placeholder(size: int) -> bool:
    """Whether a length in bytes stands for "not known": 0x7FFFF000, 0x7FFFFFFF, 0x80000000, all ones, and near them."""
    return any(abs(size - one) <= _NEAR for one in (0x7FFFF000, 0x80000000, 2**32 - 1, 2**64 - 1))


def mended(path: str) -> BinaryIO | None:
    """The file, with a length in its header; None where there is nothing to mend."""
    with open(path, "rb") as file:
        try:
            patches = _patches(file, os.path.getsize(path))
        except struct.error:  # it ends within its header
            return None
    return _Patched(path, patches) if patches else None


def _patches(file: BinaryIO, end: int) -> dict[int, bytes]:
    """Place in the file -> other bytes."""
    begin = file.read(12)
    if begin[:4] in (b"RIFF", b"RIFX", b"RF64") and begin[8:] == b"WAVE":
        return _of_wav(file, end, begin[:4])
    if begin[:4] == b".snd" and begin[8:] == bytes(4):
        return {8: b"\xff" * 4}
    if begin[:4] == b"caff":
        for name, at, size in _chunks(file, 8, end, ">4sQ"):
            if name == b"data" and (size == 0 or is_placeholder(size)):
                return {at - 8: struct.pack(">Q", end - at)}
    return {}


def _of_wav(file: BinaryIO, end: int, kind: bytes) -> dict[int, bytes]:
    order = ">" if kind == b"RIFX" else "<"
    ds64 = frame = None
    for name, at, size in _chunks(file, 12, end, f"{order}4sI"):
        if name == b"ds64":
            ds64 = at
        elif name == b"fmt ":
            file.seek(at + 12)
            [frame] = struct.unpack(f"{order}H", file.read(2))
        elif name == b"data":
            if ds64 is not None:
                file.seek(ds64 + 8)
                [size] = struct.unpack("<Q", file.read(8))
            if not (size == 0 or is_placeholder(size)) or _is_chunks(file, at, end, order):
                return {}
            if ds64 is None:
                return {0: b"RIFX" if kind == b"RIFX" else b"RIFF", 4: b"\xff" * 4, at - 4: b"\xff" * 4}
            return {ds64: struct.pack("<QQQ", end - 8, end - at, (end - at) // (frame or 1)), at - 4: b"\xff" * 4}
    return {}


def _chunks(file: BinaryIO, at: int, end: int, header: str) -> Iterator[tuple[bytes, int, int]]:
    """Name, place of the content and its size of every chunk that begins before the end, up to what is no name."""
    length = struct.calcsize(header)
    while at + length <= end:
        file.seek(at)
        name, size = struct.unpack(header, file.read(length))
        if not all(32 <= byte < 127 for byte in name):
            return
        yield name, at + length, size
        at += length + size + (size % 2 if length == 8 else 0)


def _is_chunks(file: BinaryIO, at: int, end: int, order: str) -> bool:
    """Whether further chunks, and no sound, fill the file to its end; a byte may fill up the last one."""
    for _, content, size in _chunks(file, at, end, f"{order}4sI"):
        at = content + size
    return abs(end - at) <= 1


class _Patched(io.RawIOBase):
    """A file that is read with some of its bytes replaced."""

    def __init__(self, path: str, patches: dict[int, bytes]) -> None:
        self.name, self.patches, self.file = path, patches, open(path, "rb")  # noqa: SIM115  closed with this one

    def readinto(self, buffer: memoryview) -> int:
        start, count, view = self.file.tell(), self.file.readinto(buffer), memoryview(buffer).cast("B")
        for at, new in self.patches.items():
            for place, byte in enumerate(new, at - start):
                if 0 <= place < count:
                    view[place] = byte
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self.file.seek(offset, whence)

    def tell(self) -> int:
        return self.file.tell()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        self.file.close()
        super().close()
