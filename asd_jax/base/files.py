"""Writing files that nobody ever sees half-written."""

import contextlib
import os
import re
import socket
import uuid
from collections.abc import Iterator

from etils import epath

from asd_jax.base.errors import UserError

_BEGIN = 1000  # bytes, by which a file is recognised

unfinished: set[epath.Path] = set()
"""What is being written, to be removed where the process ends before."""


_looked_at: set[epath.Path] = set()


@contextlib.contextmanager
def whole_file(path: epath.PathLike) -> Iterator[epath.Path]:
    """Gives a name to write to, with its folder: what is there at the end replaces `path`, at once for every reader.

    Several processes may write one file: each has a name of its own, and the last one stays. What killed processes of
    this host have left in the folder is removed at the first file, but not in the cloud.
    """
    path = epath.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_left(path.parent)
    mine = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.{uuid.uuid4().hex}.tmp")
    unfinished.add(mine)
    try:
        yield mine
        mine.replace(path)
    finally:
        mine.unlink(missing_ok=True)
        unfinished.discard(mine)


def _remove_left(folder: epath.Path) -> None:
    """Removes what killed processes of this host have left in a folder, at its first file: looking takes long."""
    if folder in _looked_at or "://" in os.fspath(folder):
        return
    _looked_at.add(folder)
    left = re.compile(rf"\..+\.{re.escape(socket.gethostname())}\.(\d+)\.[0-9a-f]{{32}}\.tmp")
    for name in os.listdir(folder):
        found = left.fullmatch(name)
        if found and not _is_alive(int(found[1])):
            (folder / name).unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        pass
    return True


def check_own(path: epath.PathLike, flag: str, begins: bytes, what: str) -> None:
    """Refuses to write over what this program did not make.

    Args:
        path: of a file that will be written.
        flag: that names it, such as "--output".
        begins: how the files of this program begin, a regular expression; an empty file may be written over too.
        what: such a file is, such as "table of scores".

    Raises:
        UserError: there is something else.
    """
    path = epath.Path(path)
    if path.is_dir():
        raise UserError(f"{flag}: {path} is a folder; name a file.")
    if not path.exists():
        return
    with path.open("rb") as file:
        begin = file.read(_BEGIN)
    if begin and not re.match(begins, begin, re.DOTALL):
        raise UserError(f"{flag}: {path} is there and is no {what} of asd_jax, it is left as it is; name another file.")


def write_atomically(path: epath.PathLike, content: str | bytes) -> None:
    """Writes a file, with its folder: readers see the old file or the whole new one."""
    with whole_file(path) as file:
        file.write_bytes(content.encode() if isinstance(content, str) else content)
