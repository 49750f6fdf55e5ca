"""The challenge's files of anomaly scores: reading and writing them, and finding the clips' labels."""

import csv
import dataclasses
import io
import math
import re
from collections.abc import Callable, Iterable

from etils import epath

from asd_jax.base.errors import UserError, is_one_line
from asd_jax.base.files import write_atomically
from asd_jax.datasets.clips import Machine
from asd_jax.datasets.labels import LabelList, label_in_name, read_label_list, read_rows, without_extension

_LAYOUT_2021 = re.compile(
    r"anomaly_score_(?P<type>.+)_(?P<prefix>section_(?P<id>.+)_(?P<domain>source|target)_test)\.csv"
)
_LAYOUT_2020 = re.compile(r"anomaly_score_(?P<type>.+)_(?P<prefix>id_(?P<id>.+))\.csv")
_LAYOUTS = "anomaly_score_<type>_id_<ID>.csv or anomaly_score_<type>_section_<section>_<source|target>_test.csv"


@dataclasses.dataclass(frozen=True)
class ScoreSet:
    """The scored test clips of one machine ID (DCASE 2020), or of one section and domain (DCASE 2021).

    Attributes:
        machine_type: "fan", "pump", ...
        machine_id: machine ID or section, "00".
        domain: "source" or "target"; None in the layout of 2020, which knows no domains.
        names: [N] clip names without extension, sorted.
        labels: [N], 0 normal, 1 anomaly.
        scores: [N] anomaly scores, larger is more anomalous.
        decisions: [N], 0 normal, 1 anomaly; None where the system made none.
    """

    machine_type: str
    machine_id: str
    domain: str | None
    names: tuple[str, ...]
    labels: tuple[int, ...]
    scores: tuple[float, ...]
    decisions: tuple[int, ...] | None = None


def file_name(what: str, machine: Machine, domain: str | None) -> str:
    """What the file of "anomaly_score" or "decision_result" of a machine's test clips is called.

    In the layout of 2021 where there is a domain, else in that of 2020.
    """
    machine_type, machine_id = machine
    end = f"section_{machine_id}_{domain}_test.csv" if domain else f"id_{machine_id}.csv"
    return f"{what}_{machine_type}_{end}"


def write_scores(path: epath.PathLike, rows: Iterable[tuple[str, float]]) -> None:
    """Writes `file name,score` lines without a header, sorted by file name; the file appears whole or not at all.

    The scores, or decisions 0 and 1, are plain numbers.
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(sorted(rows))
    write_atomically(path, text.getvalue())


def read_score_directory(folder: epath.PathLike, labels_csv: epath.PathLike | None = None) -> list[ScoreSet]:
    """All score files of a folder, in the layout of DCASE 2020 (by ID) or 2021 (by section and domain).

    A clip's label is the one in `labels_csv`, else the first `normal` or `anomaly` between the underscores of its name.
    Decisions are read from `decision_result_...csv` beside `anomaly_score_...csv`. Clips match by name without
    extension, so that the scores of `.flac` files fit a list of `.wav` files.

    Args:
        folder: holds `anomaly_score_<type>_id_<ID>.csv` or `anomaly_score_<type>_section_<section>_<domain>_test.csv`.
        labels_csv: `eval_data_list.csv`, see `read_label_list`.

    Raises:
        UserError: no score file, mixed layouts, a row that is not `name,number`, a clip twice, without a label, or
            listed and not scored; decisions for a part of the files or clips only.
    """
    folder = epath.Path(folder)
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}: name one that holds {_LAYOUTS}.")
    listed = {} if labels_csv is None else read_label_list(labels_csv)
    paths = sorted(folder.glob("anomaly_score_*.csv"))
    if not paths:
        raise UserError(f"No score file in {folder}: expected {_LAYOUTS}.")
    score_sets = [_read_score_set(path, listed, labels_csv) for path in paths]
    _check_alike(folder, paths, [s.domain is not None for s in score_sets], "has a section and a domain in its name")
    _check_alike(folder, paths, [s.decisions is not None for s in score_sets], "has a decision_result file beside it")
    return score_sets


def _read_score_set(path: epath.Path, listed: LabelList, labels_csv: epath.PathLike | None) -> ScoreSet:
    # The layout of 2021 first, and greedy types: a machine type may itself hold "_id_" or "_section_".
    match = _LAYOUT_2021.fullmatch(path.name) or _LAYOUT_2020.fullmatch(path.name)
    if match is None or not is_one_line(path.name):
        raise UserError(f"The file name {path} does not fit the layout: expected {_LAYOUTS}.")
    machine_type, prefix = match["type"], match["prefix"]
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
    missing = [name for name in listed_clips if name.startswith(f"{prefix}_") and name not in scores]
    if missing:
        raise UserError(
            f"{path} lacks {len(missing)} of the clips that {labels_csv} lists, such as {missing[0]}: score them all."
        )
    return ScoreSet(
        machine_type,
        machine_id=match["id"],
        domain=match.groupdict().get("domain"),
        names=names,
        labels=tuple(labels),
        scores=tuple(scores[name] for name in names),
        decisions=_read_decisions(path, names),
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
