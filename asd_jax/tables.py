"""What a study measured: as one list, and as the tables of a paper, beside the published figures."""

import csv
import io
import os
import statistics
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from asd_jax import metrics, published
from asd_jax.files import write_atomically

_MISSING = "-"


class Measure(NamedTuple):
    """How well one run of a detector tells the anomalies of one machine ID and domain from its normal sound."""

    machine_type: str
    row: str
    machine_id: str
    domain: str
    run: int
    auc: float
    pauc: float


def write_measures(path: str, measures: Iterable[Measure]) -> None:
    """Writes a CSV file with a line for every measure."""
    header = ("machine_type", "row", "machine_id", "domain", "run", "AUC", "pAUC")
    _write_csv(path, [header, *measures])


def write_table(
    folder: str, table: published.Table, machine_types: Sequence[str], measures: Sequence[Measure], about: str
) -> str:
    """Writes FOLDER/<name>.md and .csv: a column for every machine type, then "All"; in percent, ours (published).

    Ours in the column "All" needs measures of all `machine_types`, the published figure that they are the paper's.
    `about` goes under the table. Returns what stands in the .md file.
    """
    columns = [*machine_types, "All"]
    lines = [(line.method, _cells(line, machine_types, measures)) for line in table.lines]
    text = [f"# {table.title}", "", "Harmonic means of AUC and pAUC in %: ours (published).", ""]
    text += [_markdown(["method", *columns]), _markdown(["---"] + ["---:"] * len(columns))]
    text += [_markdown([method, *(f"{ours} ({theirs})" for ours, theirs in cells)]) for method, cells in lines]
    text += ["", about, *(["", table.note] if table.note else []), ""]
    stem = os.path.join(folder, table.name)
    write_atomically(f"{stem}.md", "\n".join(text))
    header = ["method", *(name for column in columns for name in (column, f"{column} published"))]
    _write_csv(f"{stem}.csv", [header, *([method, *(v for cell in cells for v in cell)] for method, cells in lines)])
    return "\n".join(text)


def _cells(line: published.Line, machine_types: Sequence[str], measures: Sequence[Measure]) -> list[tuple[str, str]]:
    """(ours, published) for every machine type and for all."""
    theirs = dict(zip(published.MACHINE_TYPES, line.figures, strict=True))
    mine = {kind: [m for m in measures if (m.row, m.machine_type) == (line.row, kind)] for kind in machine_types}
    cells = [(_ours(mine[kind]), _percent(theirs.get(kind))) for kind in machine_types]
    everything = [measure for found in mine.values() for measure in found] if all(mine.values()) else []
    overall = line.overall if set(machine_types) == set(theirs) else None
    return [*cells, (_ours(everything), _percent(overall))]


def _ours(measures: Sequence[Measure]) -> str:
    """The mean over the runs of the harmonic mean of all AUCs and pAUCs."""
    runs = [[m for m in measures if m.run == run] for run in sorted({m.run for m in measures})]
    scores = [metrics.official_score([m.auc for m in run], [m.pauc for m in run]) for run in runs]
    return _percent(100 * statistics.fmean(scores) if scores else None)


def _percent(value: float | None) -> str:
    return _MISSING if value is None else f"{value:.2f}"


def _markdown(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _write_csv(path: str, rows: Iterable[Sequence]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_atomically(path, text.getvalue())
