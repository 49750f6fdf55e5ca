"""Results of scored test clips: the measures, the challenge's `result.csv`, a table for the terminal."""

import csv
import dataclasses
import io
from collections.abc import Sequence

from etils import epath

from asd_jax.base.errors import UserError
from asd_jax.base.files import check_own, write_atomically
from asd_jax.evaluation import metrics
from asd_jax.evaluation.score_files import ScoreSet, read_score_directory

_COLUMNS = ("AUC", "pAUC", "precision", "recall", "F1 score")
_OVER_ALL = "over all machine types, sections, and domains"


@dataclasses.dataclass(frozen=True)
class Row:
    """The measures of one machine ID, or of one section and domain; None where there are no decisions."""

    machine_type: str
    machine_id: str
    domain: str | None
    auc: float
    pauc: float
    precision: float | None = None
    recall: float | None = None
    f1: float | None = None

    @property
    def values(self) -> list[float]:
        """The measures that are there, in the order of `Results.columns`."""
        return [v for v in (self.auc, self.pauc, self.precision, self.recall, self.f1) if v is not None]


@dataclasses.dataclass(frozen=True)
class Means:
    """Means over several rows, in the order of `Results.columns`."""

    arithmetic: list[float]
    harmonic: list[float]


@dataclasses.dataclass(frozen=True)
class Results:
    """What `evaluate` finds.

    Attributes:
        columns: names of the measures: AUC and pAUC, and where there are decisions precision, recall, F1 score.
        rows: sorted by machine type, domain and machine ID.
        machine_means: means over the rows of each machine type.
        means: means over all rows.
        official_score: harmonic mean of all AUCs and pAUCs (DCASE 2021 Task 2).
    """

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    machine_means: dict[str, Means]
    means: Means
    official_score: float

    @property
    def has_domains(self) -> bool:
        """Whether these are results by section and domain (2021), not by machine ID (2020)."""
        return self.rows[0].domain is not None

    def rows_of(self, machine_type: str) -> list[Row]:
        """The rows of one machine type."""
        return [row for row in self.rows if row.machine_type == machine_type]


def evaluate_directory(folder: epath.PathLike, labels_csv: epath.PathLike | None = None) -> Results:
    """Results of all score files in a folder; arguments and errors as in `read_score_directory` and `evaluate`."""
    return evaluate(read_score_directory(folder, labels_csv))


def evaluate(score_sets: Sequence[ScoreSet]) -> Results:
    """Measures every set (at least one; all with domains and decisions, or none) and takes the challenge's means.

    Raises:
        UserError: a set holds normal clips only or anomalous clips only.
    """
    order = sorted(score_sets, key=lambda s: (s.machine_type, s.domain or "", s.machine_id))
    rows = tuple(_measure(score_set) for score_set in order)
    by_machine = {row.machine_type: [r for r in rows if r.machine_type == row.machine_type] for row in rows}
    return Results(
        columns=_COLUMNS[: len(rows[0].values)],
        rows=rows,
        machine_means={machine_type: _means(its_rows) for machine_type, its_rows in by_machine.items()},
        means=_means(rows),
        official_score=metrics.official_score([row.auc for row in rows], [row.pauc for row in rows]),
    )


def write_result_csv(results: Results, path: epath.PathLike) -> None:
    """Writes the results in the layout of the challenge's evaluator of 2020 (by ID) or 2021 (by section and domain).

    The latter ends with one line more than the challenge's own file, the official score.
    """
    check_own(path, "--result", rb"[^\n]*\n(id|section,domain),", "file of results")
    lines: list[list] = []
    for machine_type, means in results.machine_means.items():
        rows = results.rows_of(machine_type)
        lines.append([machine_type])
        if results.has_domains:
            lines.append(["section", "domain", *results.columns])
            lines += [[row.machine_id, row.domain, *row.values] for row in rows]
            lines.append(["arithmetic mean", "", *means.arithmetic])
            lines.append(["harmonic mean", "", *means.harmonic])
        else:
            lines.append(["id", *results.columns])
            lines += [[row.machine_id, *row.values] for row in rows]
            lines.append(["Average", *means.arithmetic])
        lines.append([])
    if results.has_domains:
        lines.append(["", "", *results.columns])
        lines.append([f"arithmetic mean {_OVER_ALL}", "", *results.means.arithmetic])
        lines.append([f"harmonic mean {_OVER_ALL}", "", *results.means.harmonic])
        lines.append([])
        lines.append(["official score", "", results.official_score])
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    write_atomically(path, text.getvalue())


def results_table(results: Results) -> str:
    """The results as a table for the terminal, in percent."""
    place = ["machine type", "section", "domain"] if results.has_domains else ["machine type", "ID"]
    blank = [""] * (len(place) - 2)
    rows = []
    for machine_type, means in results.machine_means.items():
        for row in results.rows_of(machine_type):
            rows.append([machine_type, row.machine_id, *([row.domain] * len(blank)), *row.values])
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


def _measure(score_set: ScoreSet) -> Row:
    place = (score_set.machine_type, score_set.machine_id, score_set.domain)
    try:
        ranking = metrics.auc(score_set.labels, score_set.scores), metrics.pauc(score_set.labels, score_set.scores)
        if score_set.decisions is None:
            return Row(*place, *ranking)
        return Row(*place, *ranking, *metrics.precision_recall_f1(score_set.labels, score_set.decisions))
    except UserError as error:
        raise UserError(f"Scores of {' '.join(word for word in place if word)}: {error}") from None


def _means(rows: Sequence[Row]) -> Means:
    values = [row.values for row in rows]
    return Means(metrics.arithmetic_mean(values), metrics.harmonic_mean(values))
