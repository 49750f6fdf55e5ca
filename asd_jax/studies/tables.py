"""Tables on disk: CSV for programs, Markdown for people."""

import csv
import io
from collections.abc import Iterable, Sequence

from etils import epath

from asd_jax.files import write_atomically

MISSING = "-"


def write_csv(path: epath.PathLike, rows: Iterable[Sequence]) -> None:
    """Writes the rows, the first of which is the header; None is an empty field."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_atomically(path, text.getvalue())


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table; the first column is text, the others are numbers."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def two_digits(value: float | None) -> str:
    """A number as both papers print it, or that there is none."""
    return MISSING if value is None else f"{value:.2f}"
