"""What paper 2's study measured: as one list, and as the paper's tables, beside the published figures."""

import os
import statistics
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from asd_jax.base.files import write_atomically
from asd_jax.measures import metrics
from asd_jax.studies import published, tables
from asd_jax.studies.tables import two_digits


class RunMeasure(NamedTuple):
    """How well one run of a detector separates the anomalies of one machine ID and domain from its normal sound."""

    machine_type: str
    row: str
    machine_id: str
    domain: str
    run: int
    auc: float
    pauc: float


def write_measures(path: str, measures: Iterable[RunMeasure]) -> None:
    """Writes a CSV file with a line for every measure."""
    header = ("machine_type", "row", "machine_id", "domain", "run", "AUC", "pAUC")
    tables.write_csv(path, [header, *measures])


def write_table(
    folder: str, table: published.Table, machine_types: Sequence[str], measures: Sequence[RunMeasure], about: str
) -> str:
    """Writes FOLDER/<name>.md and .csv: a column for every machine type, then "All"; in percent, ours (published).

    Ours in the column "All" needs measures of all `machine_types`, the published figure that they are the paper's.
    `about` goes under the table. Returns what stands in the .md file.
    """
    columns = [*machine_types, "All"]
    lines = [(line.method, _cells(line, machine_types, measures)) for line in table.lines]
    text = [f"# {table.title}", "", "Harmonic means of AUC and pAUC in %: ours (published).", ""]
    rows = [[method, *(f"{ours} ({theirs})" for ours, theirs in cells)] for method, cells in lines]
    text += tables.markdown(["method", *columns], rows)
    text += ["", about, *(["", table.note] if table.note else []), ""]
    stem = os.path.join(folder, table.name)
    write_atomically(f"{stem}.md", "\n".join(text))
    header = ["method", *(name for column in columns for name in (column, f"{column} published"))]
    values = [[method, *(value for cell in cells for value in cell)] for method, cells in lines]
    tables.write_csv(f"{stem}.csv", [header, *values])
    return "\n".join(text)


def _cells(line: published.Line, machine_types: Sequence[str], measures: Sequence[RunMeasure]) -> list[tuple[str, str]]:
    """(ours, published) for every machine type and for all."""
    theirs = dict(zip(published.TYPES_2021, line.figures, strict=True))
    mine = {kind: [m for m in measures if (m.row, m.machine_type) == (line.row, kind)] for kind in machine_types}
    cells = [(_ours(mine[kind]), two_digits(theirs.get(kind))) for kind in machine_types]
    everything = [measure for found in mine.values() for measure in found] if all(mine.values()) else []
    overall = line.overall if set(machine_types) == set(theirs) else None
    return [*cells, (_ours(everything), two_digits(overall))]


def _ours(measures: Sequence[RunMeasure]) -> str:
    """The mean over the runs of the harmonic mean of all AUCs and pAUCs."""
    runs = [[m for m in measures if m.run == run] for run in sorted({m.run for m in measures})]
    scores = [metrics.harmonic_mean_of_all([m.auc for m in run], [m.pauc for m in run]) for run in runs]
    return two_digits(100 * statistics.fmean(scores) if scores else None)
