"""One command at a time writes to a folder; a second one is refused, with the name of the first.

The kernel holds the lock: a process that ends in whatever way frees it, and no clock is asked. Not in the cloud (gs://),
and not on network drives that know no locks: there, nobody is refused.
"""

import contextlib
import datetime
import fcntl
import json
import logging
import os
import socket
from collections.abc import Iterator
from typing import IO

from etils import epath

from asd_jax.base.errors import UserError

_NAME = ".in_use"


@contextlib.contextmanager
def held(folder: epath.PathLike, what: str) -> Iterator[None]:
    """Inside, no other process enters this with the same folder, which is made where there is none.

    Args:
        folder: what is written to.
        what: what is done there, as "training"; the one who is refused reads it.

    Raises:
        UserError: another process is there; it names the host, the process and since when.
    """
    path = epath.Path(folder)
    if "://" in os.fspath(path):
        yield
        return
    made = not path.exists()
    path.mkdir(parents=True, exist_ok=True)
    file = _locked(os.path.join(path, _NAME), folder)
    try:
        _write_holder(file, what)
        yield
    finally:
        with contextlib.suppress(OSError):
            os.unlink(file.name)  # while it is locked: whoever has it open sees that it is gone
        file.close()
        if made:
            with contextlib.suppress(OSError):
                os.rmdir(path)  # where nothing came of it


def holder(folder: epath.PathLike) -> str | None:
    """Who is writing to a folder, as "a training, process 12 on host h since ..."; None where nobody is."""
    try:
        with open(os.path.join(epath.Path(folder), _NAME)) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read_holder(os.path.join(epath.Path(folder), _NAME))
    except OSError:
        return None
    return None


def _locked(path: str, folder: epath.PathLike) -> IO[str]:
    while True:
        file = open(path, "a+")  # noqa: SIM115
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                return file
        except BlockingIOError as error:
            file.close()
            raise UserError(
                f"{folder} is in use by {_read_holder(path)}: wait for its end, or name another folder."
            ) from error
        except FileNotFoundError:
            pass  # the one before has just left
        except OSError as error:
            logging.warning("%s cannot be locked (%s): see yourself that one command writes to it.", folder, error)
            return file
        file.close()


def _write_holder(file: IO[str], what: str) -> None:
    now = datetime.datetime.now().astimezone().isoformat(" ", "seconds")
    file.truncate(0)
    json.dump({"what": what, "host": socket.gethostname(), "process": os.getpid(), "since": now}, file)
    file.flush()


def _read_holder(path: str) -> str:
    try:
        with open(path) as file:
            found = json.load(file)
        return f"a {found['what']}, process {found['process']} on host {found['host']} since {found['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"  # which has just come
