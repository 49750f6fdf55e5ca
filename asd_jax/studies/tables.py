"""Tables on disk: CSV for programs, Markdown for people."""

import csv
import io
from collections.abc import Iterable, Sequence

from etils import epath

from asd_jax.base.errors import UserError
from asd_jax.base.files import check_own, write_atomically

MISSING = "-"

RESULTS = "results.csv"
"""In the folder of a study: what every training measured; the first file that a study writes there."""


def check_folder(out: epath.PathLike) -> None:
    """Raises a UserError for a folder with files that no study has written: they could be written over."""
    out = epath.Path(out)
    check_own(out / RESULTS, "--out", rb"machine_type,(machine_id,detector|row,machine_id)", "table of results")
    if not out.is_dir() or (out / RESULTS).exists():
        return
    files = sorted(path.name for path in out.iterdir() if path.is_file() and not path.name.startswith("."))
    if files:
        found = ", ".join(files[:3]) + (" and others" if len(files) > 3 else "")
        raise UserError(
            f"--out: {out} holds {found}, but no {RESULTS} of a study: name a new folder, or one of an earlier run."
        )


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
