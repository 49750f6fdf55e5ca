"""What paper 1's study measured: one line for each run of a detector on a machine, and means of these."""

import dataclasses
import os
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from asd_jax.base.files import write_atomically
from asd_jax.datasets.clips import Machine
from asd_jax.studies import published, tables
from asd_jax.studies.tables import MISSING, two_digits

BASELINES = {
    "autoencoder": "autoencoder",
    "dcase2020_baseline": "DCASE 2020 baseline",
    "maf": "MAF",
}
"""The detectors without outliers, and what they are called in tables and pictures."""

SET_NAMES = {
    "a": "(a) same type",
    "b": "(b) other types",
    "c": "(c) both",
    "d": "(d) other machines",
    "e": "(e) TAU scenes",
    "f": "(f) AudioSet",
}
"""The sets of the paper: a, b and c hold machines recorded as the target was, the others anything else."""


class Setting(NamedTuple):
    """A detector, and where it needs outliers: of which set, and how many clips of it (None: all)."""

    detector: str
    outlier_set: str = ""
    size: int | None = None

    @property
    def label(self) -> str:
        """What tables and pictures call it."""
        label = BASELINES.get(self.detector) or SET_NAMES[self.outlier_set]
        return label if self.size is None else f"{label}, {self.size} clips"


class RunResult(NamedTuple):
    """AUC and pAUC of one run on one machine."""

    machine: Machine
    setting: Setting
    run: int
    auc: float
    pauc: float


class MeanAuc(NamedTuple):
    """Mean and standard deviation over the runs, in percent; the latter is 0 for a single run."""

    mean: float
    deviation: float

    def __str__(self) -> str:
        return two_digits(self.mean) + (f" ± {two_digits(self.deviation)}" if self.deviation else "")


@dataclasses.dataclass(frozen=True)
class RunResults:
    """All results, and what they are about.

    Attributes:
        test_ids: machine type -> the machine IDs that are measured.
        results: in any order.
    """

    test_ids: Mapping[str, Sequence[str]]
    results: Sequence[RunResult]

    @property
    def settings(self) -> list[Setting]:
        """Those measured, in the order of their first result."""
        return list(dict.fromkeys(result.setting for result in self.results))

    def score(self, setting: Setting, machine_types: Iterable[str], measure: str = "auc") -> MeanAuc | None:
        """The mean over the machine types of the mean over their IDs; None where one has not been measured.

        `measure` is "auc" or "pauc".
        """
        machine_types = list(machine_types)
        machines = {(machine_type, one) for machine_type in machine_types for one in self.test_ids[machine_type]}
        runs: dict[int, dict[Machine, float]] = {}
        for result in self.results:
            if result.setting == setting and result.machine in machines:
                runs.setdefault(result.run, {})[result.machine] = 100 * getattr(result, measure)
        if not runs or any(found.keys() != machines for found in runs.values()):
            return None
        means = [
            statistics.fmean(
                statistics.fmean(found[machine_type, one] for one in self.test_ids[machine_type])
                for machine_type in machine_types
            )
            for found in runs.values()
        ]
        return MeanAuc(statistics.fmean(means), statistics.stdev(means) if len(means) > 1 else 0.0)


def write_results(path: str, results: Iterable[RunResult]) -> None:
    """Writes a CSV file with a line for every result; `size` is the number of clips asked for, empty for all."""
    header = ("machine_type", "machine_id", "detector", "outlier_set", "size", "run", "AUC", "pAUC")
    rows = [(*r.machine, *r.setting, r.run, r.auc, r.pauc) for r in results]
    tables.write_csv(path, [header, *rows])


def write_table(folder: str, results: RunResults, about: str) -> str:
    """Writes FOLDER/table_1.md and .csv: baselines and whole outlier sets by machine type, in percent.

    Below the challenge's baseline come its published figures. `about` goes under the table. Returns what stands in the
    .md file.
    """
    columns = {machine_type: [machine_type] for machine_type in results.test_ids}
    if len(columns) > 1:
        columns["average"] = list(results.test_ids)
    text = ["# Detectors of Primus et al., DCASE workshop 2020, by machine type"]
    lines = []
    for measure, title in (("auc", "AUC"), ("pauc", "pAUC")):
        rows = []
        for setting in results.settings:
            if setting.size is not None:
                continue
            scores = [results.score(setting, types, measure) for types in columns.values()]
            rows.append([setting.label, *(MISSING if score is None else str(score) for score in scores)])
            lines.append([setting.label, title, *(value for score in scores for value in score or (None, None))])
            if setting.detector == "dcase2020_baseline":
                theirs = [_published(results, types, measure) for types in columns.values()]
                rows.append([f"{setting.label} (published)", *map(two_digits, theirs)])
                lines.append([f"{setting.label} (published)", title, *(v for one in theirs for v in (one, None))])
        text += ["", f"{title} in %", "", *tables.markdown(["detector", *columns], rows)]
    text += ["", about, ""]
    write_atomically(os.path.join(folder, "table_1.md"), "\n".join(text))
    header = ["detector", "measure", *(name for column in columns for name in (column, f"{column} std"))]
    tables.write_csv(os.path.join(folder, "table_1.csv"), [header, *lines])
    return "\n".join(text)


def _published(results: RunResults, machine_types: Sequence[str], measure: str) -> float | None:
    """The mean of the challenge's figures over the same machines; None where it has none of one."""
    means = []
    for machine_type in machine_types:
        figures = published.DCASE2020_BASELINE.get(machine_type, {})
        if not figures.keys() >= set(results.test_ids[machine_type]):
            return None
        place = ("auc", "pauc").index(measure)
        means.append(statistics.fmean(figures[one][place] for one in results.test_ids[machine_type]))
    return statistics.fmean(means)
