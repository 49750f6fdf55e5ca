"""Ctrl-C ends a command at once and with one line. The commands in `tools/` import this before anything else.

A KeyboardInterrupt would come out of imports, compilers and callbacks as a traceback or a crash, or be lost there. What
is on disk is whole at any moment, and a training takes Ctrl-C itself once it has something to save.
"""

import contextlib
import os
import signal
import sys
from typing import NoReturn


def end(*_: object) -> NoReturn:
    """Says that the command was stopped, removes what is half-written, and ends the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(Exception):
        sys.stdout.flush()
    for path in getattr(sys.modules.get("asd_jax.base.files"), "unfinished", ()):
        with contextlib.suppress(Exception):
            path.unlink(missing_ok=True)
    os.write(2, b"\nStopped.\n" if os.isatty(2) else b"Stopped.\n")  # below a progress bar
    os._exit(128 + signal.SIGINT)


if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as a shell starts what runs in the background
    signal.signal(signal.SIGINT, end)
