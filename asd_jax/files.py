"""Writing files that nobody ever sees half-written."""

import contextlib
import uuid
from collections.abc import Iterator

from etils import epath

unfinished: set[epath.Path] = set()
"""What is being written, to be removed where the process ends before."""


@contextlib.contextmanager
def whole_file(path: epath.PathLike) -> Iterator[epath.Path]:
    """Gives a name to write to, with its folder: what is there at the end replaces `path`, at once for every reader.

    Several processes may write one file: each has a name of its own, and the last one stays.
    """
    path = epath.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    mine = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    unfinished.add(mine)
    try:
        yield mine
        mine.replace(path)
    finally:
        mine.unlink(missing_ok=True)
        unfinished.discard(mine)


def write_atomically(path: epath.PathLike, content: str | bytes) -> None:
    """Writes a file, with its folder: readers see the old file or the whole new one."""
    with whole_file(path) as file:
        file.write_bytes(content.encode() if isinstance(content, str) else content)
