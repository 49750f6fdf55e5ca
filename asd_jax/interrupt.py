"""Ctrl-C ends a command with one line. The commands in `tools/` import this before anything else.

Not every library lets a KeyboardInterrupt pass: some make another error of it, and in callbacks it is lost.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType


class _State:
    came, orderly = False, False


def _handle(number: int, frame: FrameType | None) -> None:
    if _State.came or not _State.orderly:
        leave()
    _State.came = True
    raise KeyboardInterrupt


def leave() -> None:
    """Says that the command was stopped, and ends the process: threads and libraries would have more to say."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    os.write(2, b"Stopped.\n")  # the signal may have come in the middle of a print
    jax = sys.modules.get("jax")
    if jax and hasattr(jax, "distributed") and jax.distributed.is_initialized():
        sys.exit(130)  # the other processes are to know
    os._exit(130)


def came() -> bool:
    """Whether Ctrl-C was pressed."""
    return _State.came


@contextlib.contextmanager
def orderly() -> Iterator[None]:
    """Inside, the first Ctrl-C is a KeyboardInterrupt, so that what is being written is put in order."""
    _State.orderly = True
    try:
        yield
    finally:
        _State.orderly = False


def _unraisable(lost: "sys.UnraisableHookArgs") -> None:
    if lost.exc_type is KeyboardInterrupt:
        leave()
    sys.__unraisablehook__(lost)


signal.signal(signal.SIGINT, _handle)
sys.unraisablehook = _unraisable
