"""Writing files that nobody ever sees half-written, and reading them."""

import contextlib
import uuid
from collections.abc import Iterator

from etils import epath


@contextlib.contextmanager
def whole_file(path: epath.PathLike) -> Iterator[epath.Path]:
    """Gives a name to write to, with its folder: what is there at the end replaces `path`, at once for every reader.

    Several processes may write one file: each has a name of its own, and the last one stays.
    """
    path = epath.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_atomically(path: epath.PathLike, content: str | bytes) -> None:
    """Writes a file, with its folder: readers see the old file or the whole new one."""
    with whole_file(path) as unfinished:
        unfinished.write_bytes(content.encode() if isinstance(content, str) else content)
