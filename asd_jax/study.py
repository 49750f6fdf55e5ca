"""The experiments of paper 2 on prepared data: what is trained and measured for every row of its tables.

OUT/<row>/<machine type>/    workdirs of the trainings
OUT/results.csv              AUC and pAUC of every run, on the test IDs
OUT/table_<N>.md, .csv       harmonic means beside the published figures
OUT/tsne_<type>_<ID>.png     and .svg, clips as the encoders see them
"""

import ast
import dataclasses
import itertools
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import ml_collections
import numpy as np

from asd_jax import detection, experiment, inlier, metrics, published, records, study_pictures, tables
from asd_jax.clips import Machine, StoredClip
from asd_jax.embeddings import Embeddings
from asd_jax.ensemble import Member, ensemble_scores
from asd_jax.errors import UserError
from asd_jax.evaluation import evaluate_workdir
from asd_jax.tables import Measure
from asd_jax.train import train
from configs import ddcsad, multitask, parallel

_FEATURES = "paper2"
_DOMAINS = ("source",)
_OWN_KEYS = ("data_dir", "machine_type", "machine_id")


@dataclasses.dataclass(frozen=True)
class Training:
    """A training for a row of the tables: its recipe, and the workdir that keeps it."""

    row: str
    workdir: str
    config: ml_collections.ConfigDict

    @property
    def name(self) -> str:
        """Such as "fan/proposed"; with a machine ID where it is for that one alone."""
        return "/".join(filter(None, (self.config.machine_type, self.row, self.config.machine_id)))

    @property
    def metrics_file(self) -> str:
        """Written last: without it the training is not finished."""
        return os.path.join(self.workdir, "metrics.json")

    def fits_workdir(self) -> bool:
        """Whether the workdir was begun with this recipe."""
        return _content(experiment.load_config(self.workdir)) == _content(self.config)


def _content(config: ml_collections.ConfigDict) -> dict:
    content = json.loads(config.to_json_best_effort())
    return {key: value for key, value in content.items() if key != "compilation_cache"}


@dataclasses.dataclass(frozen=True)
class Study:
    """Which detectors are trained on which data.

    Attributes:
        store: the prepared data.
        out: the folder of all that is written.
        test_ids: machine type -> the machine IDs that the tables are about; see `find_test_ids`.
        rows: keys of `ROWS`.
        overrides: key -> value, for every recipe that has the key.
    """

    store: records.Store
    out: str
    test_ids: Mapping[str, tuple[str, ...]]
    rows: tuple[str, ...]
    overrides: Mapping[str, Any]

    def training(
        self, row: str, recipe: ml_collections.ConfigDict, machine_type: str, machine_id: str = ""
    ) -> Training:
        """The training of a recipe for one machine type, or one machine ID of it.

        Raises:
            UserError: the overrides do not fit the recipe.
        """
        own = dict(zip(_OWN_KEYS, (self.store.data_dir, machine_type, machine_id), strict=True))
        for key, value in {**self.overrides, **own}.items():
            try:
                if key in recipe:
                    recipe[key] = value
            except TypeError as error:
                raise UserError(f"{key}={value!r} does not fit the recipe of {row}: {error}.") from error
        config = experiment.resolve(recipe)
        experiment.check(config)
        return Training(row, os.path.join(self.out, row, machine_type, machine_id).rstrip(os.sep), config)


class Row(NamedTuple):
    """How a row of the tables is made.

    Attributes:
        trainings: (study, machine type) -> what has to be trained; rows may share trainings.
        measures: (study, the row's name, its trainings of one machine type) -> the measures on the test IDs.
    """

    trainings: Callable[[Study, str], list[Training]]
    measures: Callable[[Study, str, Sequence[Training]], list[Measure]]


def _multitask(row: str, variant: str = "") -> Callable[[Study, str], list[Training]]:
    return lambda study, machine_type: [study.training(row, multitask.get_config(variant), machine_type)]


def _one_for_each_id(study: Study, machine_type: str) -> list[Training]:
    ids = study.test_ids[machine_type]
    return [study.training("ddcsad", ddcsad.get_config(), machine_type, machine_id) for machine_id in ids]


def _of_members(study: Study, machine_type: str) -> list[Training]:
    """The trainings of the rows that the members belong to, in the order of the members."""
    rows = (member.split("/")[0] for member in parallel.get_config().members)
    return [training for row in rows for training in ROWS[row].trainings(study, machine_type)]


def _evaluated(study: Study, row: str, trainings: Sequence[Training]) -> list[Measure]:
    """What the evaluations of the trainings found."""
    measures = []
    for training in trainings:
        machine_type = training.config.machine_type
        with open(training.metrics_file) as file:
            found = json.load(file)["rows"]
        for one in found:
            place = (machine_type, row, one["machine_id"], one["domain"] or "source")
            if one["machine_id"] in study.test_ids[machine_type]:
                measures += [Measure(*place, run, x["AUC"], x["pAUC"]) for run, x in enumerate(one["runs"])]
    return measures


def _without_inlier(study: Study, row: str, trainings: Sequence[Training]) -> list[Measure]:
    """Scores the stored embeddings by how improbable a clip's own product ID is."""
    [training] = trainings
    config, measures = training.config, []
    for run in range(config.num_runs):
        embeddings = Embeddings.load(detection.embeddings_file(training.workdir, run, "test"))
        measures += _measure(study, row, config.machine_type, run, inlier.improbability(embeddings))
    return measures


def _ensemble(study: Study, row: str, trainings: Sequence[Training]) -> list[Measure]:
    """Averages the members' scores."""
    members = []
    for member, training in zip(parallel.get_config().members, trainings, strict=True):
        _, kind, p = member.split("/")
        members.append(Member(training.workdir, kind, int(p)))
    config = trainings[0].config
    scored = [ensemble_scores(members, run) for run in range(config.num_runs)]
    return [m for run, clips in enumerate(scored) for m in _measure(study, row, config.machine_type, run, clips)]


def _measure(study: Study, row: str, machine_type: str, run: int, clips: inlier.ClipScores) -> Iterator[Measure]:
    """AUC and pAUC of every test ID from its clips' scores."""
    for machine_id, domain in itertools.product(study.test_ids[machine_type], _DOMAINS):
        mine = (clips.machine_id == machine_id) & (clips.domain == domain) & np.isin(clips.label, (0, 1))
        values = clips.label[mine], clips.score[mine]
        yield Measure(machine_type, row, machine_id, domain, run, metrics.auc(*values), metrics.pauc(*values))


ROWS = {
    "proposed": Row(_multitask("proposed"), _evaluated),
    "without_mixup": Row(_multitask("without_mixup", "without_mixup"), _evaluated),
    "without_inlier": Row(_multitask("proposed"), _without_inlier),
    "only_product_ids": Row(_multitask("only_product_ids", "only_product_ids"), _evaluated),
    "ddcsad": Row(_one_for_each_id, _evaluated),
    "parallel": Row(_of_members, _ensemble),
}


def open_study(
    data_dir: str, out: str, machine_types: Sequence[str], rows: Sequence[str], overrides: Mapping[str, Any]
) -> Study:
    """A study on prepared data, of all labelled machine types and all rows where none are named.

    Raises:
        UserError: the data, a name, or an override do not fit.
    """
    for row in rows:
        if row not in ROWS:
            raise UserError(f"There is no row {row!r}: expected some of {', '.join(ROWS)}.")
    store = records.open_store(data_dir, _FEATURES)
    study = Study(store, out, find_test_ids(store, machine_types), tuple(rows or ROWS), dict(overrides))
    known = {key for training in _trainings(study) for key in training.config} - {*_OWN_KEYS}
    for key in overrides:
        if key not in known:
            raise UserError(f"No recipe of the rows has the key {key!r}: expected some of {', '.join(sorted(known))}.")
    return study


def parse_override(text: str) -> tuple[str, Any]:
    """("width", 0.5) from "width=0.5"."""
    key, found, value = text.partition("=")
    if not found:
        raise UserError(f"--override={text} was given: expected key=value, joined by commas.")
    try:
        return key, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return key, value


def find_test_ids(store: records.Store, machine_types: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The machine IDs of every type that the tables are about; says which.

    They are those of the evaluation part, as in the paper (sections 03 to 05 of DCASE 2021), if it has test clips
    labelled normal and anomalous, or else all IDs that have them. Types without any are left out.

    Raises:
        UserError: a type that was named has none, or no type has any.
    """
    found = {}
    for machine_type in machine_types or sorted({machine_type for machine_type, _ in store.groups()}):
        machines = sorted(machine for machine in store.machines if machine[0] == machine_type)
        evaluation = [machine for machine in machines if "eval" in store.find(machine).parts]
        for candidates, why in ((evaluation, "evaluation part"), (machines, "all that are labelled")):
            if ids := [machine[1] for machine in candidates if _is_labelled(store, machine)]:
                print(f"{machine_type}: measured on {', '.join(ids)} ({why})")
                found[machine_type] = tuple(ids)
                break
        else:
            what = f"{store.data_dir} holds no test clips of {machine_type} labelled normal and anomalous"
            if machine_types:
                raise UserError(f"{what}: prepare some or leave the type out.")
            print(f"{machine_type}: left out, {what}")
    if not found:
        raise UserError(f"{store.data_dir} holds no test clips labelled normal and anomalous: prepare some.")
    return found


def _is_labelled(store: records.Store, machine: Machine) -> bool:
    return {0, 1} <= {clip.label for clip, _ in _test_clips(store, machine)}


def _test_clips(store: records.Store, machine: Machine) -> Iterator[tuple[StoredClip, np.ndarray]]:
    if store.find(machine).clips.get("test"):
        yield from ((clip, log_mel) for clip, log_mel in store.clips(machine, "test") if clip.domain in _DOMAINS)


def reproduce(study: Study) -> bool:
    """Trains and measures what is not finished, writes tables and pictures; returns whether nothing failed.

    A part that fails is told, and the others go on.
    """
    failed = _train_all(_trainings(study))
    measures = []
    for machine_type, row in itertools.product(study.test_ids, study.rows):
        trainings = ROWS[row].trainings(study, machine_type)
        if failed.isdisjoint(training.name for training in trainings):
            try:
                measures += ROWS[row].measures(study, row, trainings)
            except UserError as error:
                print(f"{machine_type}/{row} failed: {error}")
                failed.add(f"{machine_type}/{row}")
    tables.write_measures(os.path.join(study.out, "results.csv"), measures)
    for table in published.PAPER_2:
        print(tables.write_table(study.out, table, list(study.test_ids), measures, _about(study)))
    for machine_type, ids in study.test_ids.items():
        encoders = [
            (training.row.replace("_", " "), training.workdir)
            for training in _trainings(study)
            if training.config.machine_type == machine_type
            and "inlier" in training.config
            and training.name not in failed
        ]
        if encoders:
            study_pictures.draw(study.store, study.out, machine_type, ids, encoders)
    print(f"Wrote results.csv, the tables and the pictures to {study.out}")
    return not failed


def _trainings(study: Study) -> list[Training]:
    """All trainings of a study, each once."""
    pairs = itertools.product(study.test_ids, study.rows)
    trainings = (training for machine_type, row in pairs for training in ROWS[row].trainings(study, machine_type))
    return list({training.workdir: training for training in trainings}.values())


def _train_all(trainings: Sequence[Training]) -> set[str]:
    """Trains and evaluates what is not finished; returns the names of those that failed, having said why."""
    failed, took = set(), []
    for number, training in enumerate(trainings, 1):
        part = f"part {number} of {len(trainings)} {training.name}"
        began = time.perf_counter()
        try:
            if os.path.exists(training.metrics_file) and training.fits_workdir():
                print(f"{part}: finished before")
                continue
            train(training.config, training.workdir)  # it refuses a workdir of other weights
            print(evaluate_workdir(training.workdir))
        except UserError as error:
            print(f"{part} failed: {error}")
            failed.add(training.name)
            continue
        took.append(time.perf_counter() - began)
        unfinished = sum(not os.path.exists(other.metrics_file) for other in trainings[number:])
        print(f"{part}: took {_duration(took[-1])}, about {_duration(unfinished * statistics.fmean(took))} left")
    return failed


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def _about(study: Study) -> str:
    """The line under the tables."""
    trainings = _trainings(study)
    epochs = {training.row: training.config.num_epochs for training in trainings}
    ids = "; ".join(f"{machine_type} {', '.join(ids)}" for machine_type, ids in study.test_ids.items())
    return (
        f"Ours: mean over {trainings[0].config.num_runs} run(s); epochs: "
        f"{', '.join(f'{row} {count}' for row, count in epochs.items())}; measured on the machine IDs {ids}."
    )
