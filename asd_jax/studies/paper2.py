"""The experiments of paper 2 on prepared data: what is trained and measured for every row of its tables.

OUT/<row>/<machine type>/    workdirs of the trainings
OUT/results.csv              AUC and pAUC of every run, on the test IDs
OUT/table_<N>.md, .csv       harmonic means beside the published figures
OUT/tsne_<type>_<ID>.png     and .svg, clips as the encoders see them
"""

import dataclasses
import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from asd_jax.backends import models
from asd_jax.backends.embeddings import Embeddings
from asd_jax.backends.models import ClipScores
from asd_jax.base.errors import UserError
from asd_jax.evaluation.ensemble import Member, ensemble_scores
from asd_jax.measures import metrics
from asd_jax.recipes.workdir import Workdir
from asd_jax.records.store import Store, open_store
from asd_jax.studies import encoder_pictures, grid, paper2_tables, published, tables, targets
from asd_jax.studies.grid import Training
from asd_jax.studies.paper2_tables import RunMeasure

_FEATURES = "paper2"
_OWN_KEYS = ("data_dir", "machine_type", "machine_id")


@dataclasses.dataclass(frozen=True)
class Study:
    """Which detectors are trained on which data.

    Attributes:
        store: the prepared data.
        out: the folder of all that is written.
        test_ids: machine type -> the machine IDs that the tables are about; see `targets.find_test_ids`.
        rows: keys of `ROWS`.
        overrides: key -> value, for every recipe that has the key.
        recipes: those of configs/.
    """

    store: Store
    out: str
    test_ids: Mapping[str, tuple[str, ...]]
    rows: tuple[str, ...]
    overrides: Mapping[str, Any]
    recipes: grid.Recipes

    def training(self, row: str, recipe: str, variant: str, machine_type: str, machine_id: str = "") -> Training:
        """The training by a variant of a recipe for one machine type, or one machine ID of it.

        Raises:
            UserError: the overrides do not fit the recipe.
        """
        own = dict(zip(_OWN_KEYS, (self.store.data_dir, machine_type, machine_id), strict=True))
        name = "/".join(filter(None, (machine_type, row, machine_id)))
        workdir = os.path.join(self.out, row, machine_type, machine_id).rstrip(os.sep)
        return grid.make_training(row, name, workdir, self.recipes[recipe](variant), self.overrides, own)


class TableRow(NamedTuple):
    """How a row of the tables is made.

    Attributes:
        trainings: (study, machine type) -> what has to be trained; rows may share trainings.
        measures: (study, the row's name, its trainings of one machine type) -> the measures on the test IDs.
    """

    trainings: Callable[[Study, str], list[Training]]
    measures: Callable[[Study, str, Sequence[Training]], list[RunMeasure]]


def _multitask(row: str, variant: str = "") -> Callable[[Study, str], list[Training]]:
    return lambda study, machine_type: [study.training(row, "multitask", variant, machine_type)]


def _one_for_each_id(study: Study, machine_type: str) -> list[Training]:
    ids = study.test_ids[machine_type]
    return [study.training("ddcsad", "ddcsad", "", machine_type, machine_id) for machine_id in ids]


def _of_members(study: Study, machine_type: str) -> list[Training]:
    """The trainings of the rows that the members belong to, in the order of the members."""
    rows = (member.split("/")[0] for member in study.recipes["parallel"]().members)
    return [training for row in rows for training in ROWS[row].trainings(study, machine_type)]


def _evaluated(study: Study, row: str, trainings: Sequence[Training]) -> list[RunMeasure]:
    """What the evaluations of the trainings found."""
    measures = []
    for training in trainings:
        machine_type = training.recipe.machine_type
        for one in training.measured():
            place = (machine_type, row, one["machine_id"], one["domain"] or targets.DOMAIN)
            if one["machine_id"] in study.test_ids[machine_type]:
                measures += [RunMeasure(*place, run, x["AUC"], x["pAUC"]) for run, x in enumerate(one["runs"])]
    return measures


def _without_inlier(study: Study, row: str, trainings: Sequence[Training]) -> list[RunMeasure]:
    """Scores the stored embeddings by how improbable a clip's own product ID is."""
    [training] = trainings
    recipe, measures = training.recipe, []
    for run in range(recipe.num_runs):
        embeddings = Embeddings.load(Workdir(training.workdir).embeddings(run, "test"))
        clips = models.fit(embeddings, "none", recipe.inlier_p, recipe.seed).score(embeddings)
        measures += _measure(study, row, recipe.machine_type, run, clips)
    return measures


def _ensemble(study: Study, row: str, trainings: Sequence[Training]) -> list[RunMeasure]:
    """Averages the members' scores."""
    members = []
    for member, training in zip(study.recipes["parallel"]().members, trainings, strict=True):
        _, kind, p = member.split("/")
        members.append(Member(training.workdir, kind, int(p)))
    recipe = trainings[0].recipe
    scored = [ensemble_scores(members, run) for run in range(recipe.num_runs)]
    return [m for run, clips in enumerate(scored) for m in _measure(study, row, recipe.machine_type, run, clips)]


def _measure(study: Study, row: str, machine_type: str, run: int, clips: ClipScores) -> Iterator[RunMeasure]:
    """AUC and pAUC of every test ID from its clips' scores."""
    for machine_id in study.test_ids[machine_type]:
        mine = (clips.machine_id == machine_id) & (clips.domain == targets.DOMAIN) & np.isin(clips.label, (0, 1))
        values = clips.label[mine], clips.score[mine]
        yield RunMeasure(
            machine_type, row, machine_id, targets.DOMAIN, run, metrics.auc(*values), metrics.pauc(*values)
        )


ROWS = {
    "proposed": TableRow(_multitask("proposed"), _evaluated),
    "without_mixup": TableRow(_multitask("without_mixup", "without_mixup"), _evaluated),
    "without_inlier": TableRow(_multitask("proposed"), _without_inlier),
    "only_product_ids": TableRow(_multitask("only_product_ids", "only_product_ids"), _evaluated),
    "ddcsad": TableRow(_one_for_each_id, _evaluated),
    "parallel": TableRow(_of_members, _ensemble),
}


def open_study(
    data_dir: str,
    out: str,
    recipes: grid.Recipes,
    machine_types: Sequence[str],
    rows: Sequence[str],
    overrides: Mapping[str, Any],
) -> Study:
    """A study on prepared data by the recipes of configs/, of all labelled machine types and all rows by default.

    Raises:
        UserError: the data, a name, or an override do not fit.
    """
    for row in rows:
        if row not in ROWS:
            raise UserError(f"There is no row {row!r}: expected some of {', '.join(ROWS)}.")
    store = open_store(data_dir, _FEATURES)
    test_ids = targets.find_test_ids(store, "eval", machine_types)
    study = Study(store, out, test_ids, tuple(rows or ROWS), dict(overrides), recipes)
    grid.check_overrides(overrides, _trainings(study), _OWN_KEYS)
    return study


def reproduce(study: Study) -> bool:
    """Trains and measures what is not finished, writes tables and pictures; returns whether nothing failed.

    A part that fails is reported, and the others go on.
    """
    failed = grid.train_all(_trainings(study))
    measures = []
    for machine_type, row in itertools.product(study.test_ids, study.rows):
        trainings = ROWS[row].trainings(study, machine_type)
        if failed.isdisjoint(training.name for training in trainings):
            try:
                measures += ROWS[row].measures(study, row, trainings)
            except UserError as error:
                print(f"{machine_type}/{row} failed: {error}")
                failed.add(f"{machine_type}/{row}")
    paper2_tables.write_measures(os.path.join(study.out, tables.RESULTS), measures)
    for table in published.PAPER_2:
        print(paper2_tables.write_table(study.out, table, list(study.test_ids), measures, _about(study)))
    for machine_type, ids in study.test_ids.items():
        encoders = [
            (training.detector.replace("_", " "), training.workdir)
            for training in _trainings(study)
            if training.recipe.machine_type == machine_type
            and training.recipe.inlier_choice
            and training.name not in failed
        ]
        if encoders:
            encoder_pictures.draw(study.store, study.out, machine_type, ids, encoders)
    print(f"Wrote results.csv, the tables and the pictures to {study.out}")
    return not failed


def _trainings(study: Study) -> list[Training]:
    """All trainings of a study, each once."""
    pairs = itertools.product(study.test_ids, study.rows)
    trainings = (training for machine_type, row in pairs for training in ROWS[row].trainings(study, machine_type))
    return list({training.workdir: training for training in trainings}.values())


def _about(study: Study) -> str:
    """The line under the tables."""
    trainings = _trainings(study)
    epochs = {training.detector: training.recipe.num_epochs for training in trainings}
    ids = "; ".join(f"{machine_type} {', '.join(ids)}" for machine_type, ids in study.test_ids.items())
    return (
        f"Ours: mean over {trainings[0].recipe.num_runs} run(s); epochs: "
        f"{', '.join(f'{row} {count}' for row, count in epochs.items())}; measured on the machine IDs {ids}."
    )
