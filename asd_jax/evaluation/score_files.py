"""The challenge's files of anomaly scores: reading and writing them, and finding the clips' labels."""

import csv
import dataclasses
import io
import math
from collections.abc import Callable, Iterable

from etils import epath

from asd_jax.base.errors import UserError, is_one_line
from asd_jax.base.files import write_atomically
from asd_jax.datasets import DATASETS
from asd_jax.datasets.dataset import Dataset
from asd_jax.datasets.labels import (
    LabelList,
    domain_in_name,
    label_in_name,
    read_label_list,
    read_rows,
    without_extension,
)
from asd_jax.measures.challenge import ScoredClips


@dataclasses.dataclass(frozen=True)
class ScoreSet:
    """The scored test clips of one machine ID or section, and of one domain where each has its own file.

    Attributes:
        machine_type: "fan", "pump", ...
        machine_id: machine ID or section, "00".
        domain: "source" or "target"; None where the file is not of one domain.
        names: [N] clip names without extension, sorted.
        labels: [N], 0 normal, 1 anomaly.
        scores: [N] anomaly scores, larger is more anomalous.
        decisions: [N], 0 normal, 1 anomaly; None where the system made none.
        domains: [N], "source" or "target", where the file is not of one domain.
    """

    machine_type: str
    machine_id: str
    domain: str | None
    names: tuple[str, ...]
    labels: tuple[int, ...]
    scores: tuple[float, ...]
    decisions: tuple[int, ...] | None = None
    domains: tuple[str, ...] = ()

    @property
    def clips(self) -> ScoredClips:
        """What is measured."""
        domains = self.domains or (self.domain or "source",) * len(self.names)
        return ScoredClips(self.labels, self.scores, domains, self.decisions)


def write_scores(path: epath.PathLike, rows: Iterable[tuple[str, float]]) -> None:
    """Writes `file name,score` lines without a header, sorted by file name; the file appears whole or not at all.

    The scores, or decisions 0 and 1, are plain numbers.
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(sorted(rows))
    write_atomically(path, text.getvalue())


def read_score_directory(
    folder: epath.PathLike, labels_csv: epath.PathLike | None = None
) -> tuple[Dataset, list[ScoreSet]]:
    """All score files of a folder, and the data set whose names they bear.

    A clip's label is the one in `labels_csv`, else the first `normal` or `anomaly` between the underscores of its name.
    Decisions are read from `decision_result_...csv` beside `anomaly_score_...csv`. Clips match by name without
    extension, so that the scores of `.flac` files fit a list of `.wav` files.

    Args:
        folder: holds `anomaly_score_<type>_...csv` as a data set's `score_files` say.
        labels_csv: `eval_data_list.csv`, see `read_label_list`.

    Raises:
        UserError: no score file, mixed layouts, a row that is not `name,number`, a clip twice, without a label, or
            listed and not scored; decisions for a part of the files or clips only.
    """
    folder = epath.Path(folder)
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}: name one that holds {_expected()}.")
    listed = {} if labels_csv is None else read_label_list(labels_csv)
    paths = sorted(folder.glob("anomaly_score_*.csv"))
    if not paths:
        raise UserError(f"No score file in {folder}: expected {_expected()}.")
    datasets = [_dataset_of(path) for path in paths]
    if others := [path for path, one in zip(paths, datasets, strict=True) if one != datasets[0]]:
        raise UserError(
            f"In {folder}, {paths[0].name} is called as the score files of {datasets[0].name} and {others[0].name} is "
            "not: make all score files alike."
        )
    score_sets = [_read_score_set(path, datasets[0], listed, labels_csv) for path in paths]
    _check_alike(folder, paths, [s.decisions is not None for s in score_sets], "has a decision_result file beside it")
    return datasets[0], score_sets


def _expected() -> str:
    return " or ".join(dict.fromkeys(dataset.score_files.expected for dataset in DATASETS.values()))


def _dataset_of(path: epath.Path) -> Dataset:
    """The first data set whose score files are called so, the longest names first."""
    # A machine type may itself hold "_id_" or "_section_".
    for dataset in sorted(DATASETS.values(), key=lambda dataset: -len(dataset.score_files.name)):
        if dataset.score_files.parse(path.name) and is_one_line(path.name):
            return dataset
    raise UserError(f"The file name {path} does not fit the layout: expected {_expected()}.")


def _read_score_set(
    path: epath.Path, dataset: Dataset, listed: LabelList, labels_csv: epath.PathLike | None
) -> ScoreSet:
    machine_type, machine_id, domain = dataset.score_files.parse(path.name)
    prefix = dataset.score_files.clips_begin(machine_id, domain)
    scores = read_scores(path, without_extension)
    names = tuple(sorted(scores))
    listed_clips = listed.get(machine_type, {})
    labels = [listed_clips.get(name, label_in_name(name)) for name in names]
    if None in labels:
        name = names[labels.index(None)]
        if labels_csv is None:
            advice = "give the list of labels (eval_data_list.csv) or name clips normal_... and anomaly_..."
        else:
            advice = f"neither its name nor the {machine_type} rows of {labels_csv} say whether it is normal"
        raise UserError(f"Clip {name} in {path} has no label: {advice}.")
    missing = [name for name in listed_clips if name.startswith(prefix) and name not in scores]
    if missing:
        raise UserError(
            f"{path} lacks {len(missing)} of the clips that {labels_csv} lists, such as {missing[0]}: score them all."
        )
    return ScoreSet(
        machine_type,
        machine_id,
        domain,
        names=names,
        labels=tuple(labels),
        scores=tuple(scores[name] for name in names),
        decisions=_read_decisions(path, names),
        domains=() if domain or not dataset.by_domain else tuple(map(domain_in_name, names)),
    )


def _read_decisions(score_path: epath.Path, names: tuple[str, ...]) -> tuple[int, ...] | None:
    path = score_path.with_name(score_path.name.replace("anomaly_score_", "decision_result_", 1))
    if not path.exists():
        return None
    decisions = read_scores(path, without_extension)
    differing = sorted(decisions.keys() ^ set(names))
    if differing:
        raise UserError(
            f"Clip {differing[0]} is in only one of {score_path} and {path.name}: expected the same clips in both."
        )
    for name, decision in decisions.items():
        if decision not in (0, 1):
            raise UserError(f"{path} decides {decision:g} for clip {name}: expected 0 (normal) or 1 (anomaly).")
    return tuple(int(decisions[name]) for name in names)


def read_scores(path: epath.Path, name_of: Callable[[str], str] = str) -> dict[str, float]:
    """Clip name -> the number in its row; `name_of` makes the name of what is written.

    Raises:
        UserError: a row does not fit, a clip is there twice, or there is none.
    """
    numbers = {}
    for line, row in read_rows(path):
        try:
            name, number = row[0], float(row[1])
        except (IndexError, ValueError):
            number = None
        if number is None or len(row) != 2 or not row[0].strip():
            raise UserError(f"{path} line {line} is '{','.join(row)}': expected 'file name,number'.")
        if not math.isfinite(number):
            raise UserError(f"{path} line {line} gives {number} for {name}: expected a finite number.")
        clip = name_of(name)
        if clip in numbers:
            raise UserError(f"{path} line {line} names {name} a second time: expected every clip once.")
        numbers[clip] = number
    if not numbers:
        raise UserError(f"{path} is empty: expected rows 'file name,number'.")
    return numbers


def _check_alike(folder: epath.Path, paths: list[epath.Path], flags: list[bool], what: str) -> None:
    if any(flags) and not all(flags):
        with_it, without_it = paths[flags.index(True)].name, paths[flags.index(False)].name
        raise UserError(f"In {folder}, {with_it} {what} and {without_it} does not: make all score files alike.")
