"""Results of scored test clips: the measures, the challenge's `result.csv`, a table for the terminal."""

import csv
import dataclasses
import io
from collections.abc import Sequence

from etils import epath

from asd_jax.base.errors import UserError
from asd_jax.base.files import check_own, write_atomically
from asd_jax.datasets.dataset import Dataset
from asd_jax.evaluation.score_files import ScoreSet, read_score_directory
from asd_jax.measures import metrics
from asd_jax.measures.challenge import Measures

_OVER_ALL = "over all machine types, sections, and domains"


@dataclasses.dataclass(frozen=True)
class Row:
    """The measures of one score file, in the order of `Results.columns`."""

    machine_type: str
    machine_id: str
    domain: str | None
    values: tuple[float, ...]

    @property
    def place(self) -> list[str]:
        """The machine ID or section, and the domain where the file is of one."""
        return [self.machine_id, *([self.domain] if self.domain else [])]


@dataclasses.dataclass(frozen=True)
class Means:
    """Means over several rows, in the order of `Results.columns`."""

    arithmetic: list[float]
    harmonic: list[float]


@dataclasses.dataclass(frozen=True)
class Results:
    """What `evaluate` finds.

    Attributes:
        columns: names of the measures, where there are decisions those of them too.
        place: heads of the columns that say which score file a row is of.
        harmonic: whether result.csv has harmonic means too, and means over all machine types.
        rows: sorted by machine type, domain and machine ID.
        machine_means: means over the rows of each machine type.
        means: means over all rows.
        official_score: the challenge's.
    """

    columns: tuple[str, ...]
    place: tuple[str, ...]
    harmonic: bool
    rows: tuple[Row, ...]
    machine_means: dict[str, Means]
    means: Means
    official_score: float

    def rows_of(self, machine_type: str) -> list[Row]:
        """The rows of one machine type."""
        return [row for row in self.rows if row.machine_type == machine_type]


def evaluate_directory(folder: epath.PathLike, labels_csv: epath.PathLike | None = None) -> Results:
    """Results of all score files in a folder; arguments and errors as in `read_score_directory` and `evaluate`."""
    return evaluate(*read_score_directory(folder, labels_csv))


def evaluate(dataset: Dataset, score_sets: Sequence[ScoreSet]) -> Results:
    """Measures every set (at least one; all with decisions, or none) as the data set's challenge does.

    Raises:
        UserError: a set holds normal clips only or anomalous clips only.
    """
    order = sorted(score_sets, key=lambda s: (s.machine_type, s.domain or "", s.machine_id))
    rows, measures = tuple(_measure(dataset.measures, score_set) for score_set in order), dataset.measures
    by_machine = {row.machine_type: [r for r in rows if r.machine_type == row.machine_type] for row in rows}
    return Results(
        columns=(*measures.columns, *measures.decided)[: len(rows[0].values)],
        place=dataset.score_files.place,
        harmonic=measures.harmonic,
        rows=rows,
        machine_means={machine_type: _means(its_rows) for machine_type, its_rows in by_machine.items()},
        means=_means(rows),
        official_score=measures.official_score([row.values[: len(measures.columns)] for row in rows]),
    )


def write_result_csv(results: Results, path: epath.PathLike) -> None:
    """Writes the results as the challenge's evaluator of 2020 does, or as that of 2021 where means are harmonic too.

    The latter ends with one line more than the challenge's own file, the official score.
    """
    check_own(path, "--result", rb"[^\n]*\n(id|section)[^\n]*,AUC", "file of results")
    lines: list[list] = []
    rest = [""] * (len(results.place) - 1)
    for machine_type, means in results.machine_means.items():
        rows = results.rows_of(machine_type)
        lines.append([machine_type])
        lines.append([*results.place, *results.columns])
        lines += [[*row.place, *row.values] for row in rows]
        if results.harmonic:
            lines.append(["arithmetic mean", *rest, *means.arithmetic])
            lines.append(["harmonic mean", *rest, *means.harmonic])
        else:
            lines.append(["Average", *rest, *means.arithmetic])
        lines.append([])
    if results.harmonic:
        lines.append(["", *rest, *results.columns])
        lines.append([f"arithmetic mean {_OVER_ALL}", *rest, *results.means.arithmetic])
        lines.append([f"harmonic mean {_OVER_ALL}", *rest, *results.means.harmonic])
        lines.append([])
        lines.append(["official score", *rest, results.official_score])
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    write_atomically(path, text.getvalue())


def results_table(results: Results) -> str:
    """The results as a table for the terminal, in percent."""
    place = ["machine type", *("ID" if head == "id" else head for head in results.place)]
    blank = [""] * (len(place) - 2)
    rows = []
    for machine_type, means in results.machine_means.items():
        for row in results.rows_of(machine_type):
            rows.append([machine_type, *row.place, *row.values])
        rows.append([machine_type, "arithmetic mean", *blank, *means.arithmetic])
        rows.append([machine_type, "harmonic mean", *blank, *means.harmonic])
    rows.append(["all", "arithmetic mean", *blank, *results.means.arithmetic])
    rows.append(["all", "harmonic mean", *blank, *results.means.harmonic])
    return f"{format_table([*place, *results.columns], rows)}\nofficial score: {100 * results.official_score:.2f}"


def format_table(header: Sequence[str], rows: Sequence[Sequence[str | float]]) -> str:
    """An aligned text table: texts to the left, fractions to the right as percent with two decimals."""
    numeric = [any(isinstance(row[i], float) for row in rows) for i in range(len(header))]
    lines = [list(header)]
    lines += [[f"{100 * cell:.2f}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    aligned = [
        [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ]
        for line in lines
    ]
    aligned.insert(1, ["-" * width for width in widths])
    return "\n".join("  ".join(line).rstrip() for line in aligned)


def _measure(measures: Measures, score_set: ScoreSet) -> Row:
    place = (score_set.machine_type, score_set.machine_id, score_set.domain)
    try:
        values = measures.measure(score_set.clips)
        if score_set.decisions is not None:
            values += measures.measure_decisions(score_set.clips)
        return Row(*place, values)
    except UserError as error:
        raise UserError(f"Scores of {' '.join(word for word in place if word)}: {error}") from None


def _means(rows: Sequence[Row]) -> Means:
    values = [row.values for row in rows]
    return Means(metrics.arithmetic_mean(values), metrics.harmonic_mean(values))
