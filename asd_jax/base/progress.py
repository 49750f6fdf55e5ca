"""Progress bars; in a log file, where nobody watches, a line every half minute with the rate and the time left."""

import sys
from collections.abc import Iterable
from typing import Any

import tqdm as library

_SECONDS = 30.0

say = library.tqdm.write
"""Prints a line above the bars."""


def tqdm(iterable: Iterable | None = None, **options: Any) -> library.tqdm:  # noqa: ANN401  as tqdm takes them
    """As `tqdm.tqdm`; what takes less than half a minute writes nothing to a log file."""
    if not sys.stderr.isatty():
        options |= {"file": _Lines(), "delay": _SECONDS, "mininterval": _SECONDS, "maxinterval": _SECONDS}
    return library.tqdm(iterable, **options)


class _Lines:
    """Takes what is meant to be written over itself; writes it to the standard error as lines."""

    def write(self, text: str) -> None:
        if text.strip():
            sys.stderr.write(text.strip() + "\n")

    def flush(self) -> None:
        sys.stderr.flush()
