"""The experiments of paper 1 on prepared data: its detector by outlier set and by number of outliers, and its rivals.

OUT/<detector>/...           workdirs of the trainings
OUT/results.csv              AUC and pAUC of every run on every machine
OUT/table_1.md, .csv         means by machine type
OUT/figure_3.png, .svg       the same as bars
OUT/figure_4.png, .svg       AUC by the number of outliers
OUT/claims.md                whether what the paper says of its results holds
"""

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import ml_collections

from asd_jax.base.errors import UserError
from asd_jax.base.files import write_atomically
from asd_jax.datasets.clips import Machine
from asd_jax.records.store import Store, open_store
from asd_jax.studies import claims, figures, grid, paper1_results, tables, targets
from asd_jax.studies.grid import Training
from asd_jax.studies.paper1_pictures import SWEPT_SET, figure_3, figure_4
from asd_jax.studies.paper1_results import SET_NAMES, RunResult, RunResults, Setting
from asd_jax.training.outliers import FIGURE_4_SIZES, outlier_machines

_OWN_KEYS = ("data_dir", "features", "machine_type", "machine_id", "outlier_set", "num_outliers")


class DetectorKind(NamedTuple):
    """What the trainings of a detector are.

    Attributes:
        recipe: a file of configs/, and the words after its colon.
        trained_on: target machine -> the config's machine type and ID, where empty ones mean all.
    """

    recipe: tuple[str, str]
    trained_on: Callable[[Machine], Machine]


DETECTORS = {
    "autoencoder": DetectorKind(("autoencoder", ""), lambda machine: machine),
    "dcase2020_baseline": DetectorKind(("autoencoder", "dcase2020_baseline"), lambda machine: (machine[0], "")),
    "maf": DetectorKind(("maf", ""), lambda machine: ("", "")),
    "proxy_outlier": DetectorKind(("proxy_outlier", ""), lambda machine: machine),
}


class GridCell(NamedTuple):
    """A machine on which a setting is measured, and the training that does; cells may share one."""

    setting: Setting
    machine: Machine
    training: Training


@dataclasses.dataclass(frozen=True)
class Study:
    """What is trained and measured.

    Attributes:
        out: the folder of all that is written.
        test_ids: machine type -> the machine IDs that are measured.
        cells: setting by setting.
    """

    out: str
    test_ids: Mapping[str, tuple[str, ...]]
    cells: tuple[GridCell, ...]

    @property
    def trainings(self) -> list[Training]:
        """Each once."""
        return list({cell.training.workdir: cell.training for cell in self.cells}.values())


@dataclasses.dataclass(frozen=True)
class _Data:
    """The prepared data by their features, the machines to measure, and the recipes of configs/."""

    recipes: grid.Recipes
    stores: Mapping[str, Store]
    test_ids: Mapping[str, tuple[str, ...]]

    def recipe(self, detector: str) -> ml_collections.ConfigDict:
        name, variant = DETECTORS[detector].recipe
        return self.recipes[name](variant)

    @property
    def paper1(self) -> Store:
        return self.stores["paper1"]

    def machines(self, machine_type: str) -> list[Machine]:
        return [(machine_type, machine_id) for machine_id in self.test_ids[machine_type]]

    def outlier_clips(self, outlier_set: str, machine_type: str) -> dict[Machine, int]:
        """How many clips the set holds for every machine of the type; a UserError where it is empty."""
        groups, store = self.paper1.groups(), self.paper1
        return {
            machine: sum(store.find(one).clips["train"] for one in outlier_machines(outlier_set, machine, groups))
            for machine in self.machines(machine_type)
        }


def open_study(
    data_dir: str,
    out: str,
    recipes: grid.Recipes,
    *,
    baseline_data_dir: str = "",
    machine_types: Sequence[str] = (),
    machine_ids: Sequence[str] = (),
    detectors: Sequence[str] = (),
    outlier_sets: Sequence[str] = (),
    sizes: Sequence[int] = (),
    overrides: Mapping[str, Any],
) -> Study:
    """A study on prepared data; where none are named, of all labelled machines, detectors and outlier sets that exist.

    Args:
        data_dir: prepared with the features paper1.
        out: the folder to write to.
        recipes: those of configs/.
        baseline_data_dir: prepared with the features dcase2020_baseline, which that detector needs.
        machine_types: of the targets.
        machine_ids: of the targets.
        detectors: keys of `DETECTORS`.
        outlier_sets: of the detector proxy_outlier, which trains on each as a whole.
        sizes: numbers of clips of set c, on which it trains as well. Those above the whole set are left out, but for
            the smallest of them, which stands for the whole set.
        overrides: key -> value, for every recipe that has the key.

    Raises:
        UserError: the data, a name, or an override do not fit.
    """
    _check_names("detector", detectors, DETECTORS)
    _check_names("outlier set", outlier_sets, SET_NAMES)
    if detectors and "proxy_outlier" not in detectors and (outlier_sets or sizes):
        raise UserError("Outlier sets and sizes are for the detector proxy_outlier: name it as well or leave them out.")
    stores = {"paper1": open_store(data_dir, "paper1")}
    if baseline_data_dir:
        stores["dcase2020_baseline"] = open_store(baseline_data_dir, "dcase2020_baseline")
    data = _Data(recipes, stores, targets.find_test_ids(stores["paper1"], "dev", machine_types, machine_ids))
    cells = []
    for detector in detectors or DETECTORS:
        features = data.recipe(detector).features
        if features not in stores:
            needs = f"{detector} needs data prepared with --features={features} (--baseline_data_dir)"
            if detectors:
                raise UserError(f"{needs}: give them or leave the detector out.")
            print(f"{detector} is left out: {needs}.")
        elif detector == "proxy_outlier":
            asked = [*_whole_sets(data, outlier_sets), *_sizes_of_set(data, sizes)]
            cells += [_cell(data, out, overrides, *one) for one in asked]
        else:
            machines = [machine for machine_type in data.test_ids for machine in data.machines(machine_type)]
            cells += [_cell(data, out, overrides, Setting(detector), machine) for machine in machines]
    if not cells:
        raise UserError(f"Nothing is left to train: {data_dir} holds no outliers for any machine.")
    study = Study(out, data.test_ids, tuple(cells))
    grid.check_overrides(overrides, study.trainings, _OWN_KEYS)
    return study


def _check_names(what: str, names: Sequence[str], known: Mapping[str, Any]) -> None:
    for name in names:
        if name not in known:
            raise UserError(f"There is no {what} {name!r}: expected some of {', '.join(known)}.")


def parse_sizes(texts: Sequence[str]) -> tuple[int, ...]:
    """Numbers of outlier clips from words: numbers, or "figure4" for the paper's."""
    sizes: set[int] = set()
    for text in texts:
        if text == "figure4":
            sizes.update(FIGURE_4_SIZES)
        elif text.isdecimal() and int(text) > 0:
            sizes.add(int(text))
        else:
            raise UserError(f"--sizes={text} was given: expected numbers above 0, joined by commas, or figure4.")
    return tuple(sorted(sizes))


def _whole_sets(data: _Data, named: Sequence[str]) -> Iterator[tuple[Setting, Machine]]:
    """Every outlier set with every machine; says which sets are empty for which machine types."""
    for outlier_set in named or SET_NAMES:
        empty: dict[str, str] = {}  # machine type -> why
        for machine_type in data.test_ids:
            try:
                machines = data.outlier_clips(outlier_set, machine_type)
            except UserError as error:
                if named:
                    raise
                empty[machine_type] = str(error)
            else:
                yield from ((Setting("proxy_outlier", outlier_set), machine) for machine in machines)
        if empty:
            print(f"Outlier set {outlier_set} is left out for {', '.join(empty)}. {next(iter(empty.values()))}")


def _sizes_of_set(data: _Data, sizes: Sequence[int]) -> Iterator[tuple[Setting, Machine, int | None]]:
    """Every size with every machine, and how many clips to take; None where the set holds no more than asked for."""
    for machine_type in data.test_ids if sizes else ():
        there = data.outlier_clips(SWEPT_SET, machine_type)
        largest = max(there.values())
        enough = [size for size in sizes if size >= largest]
        if enough:
            print(f"{machine_type}: {enough[0]} outlier clips are all of set {SWEPT_SET}, which holds {largest}")
        for size in (*(size for size in sizes if size < largest), *enough[:1]):
            setting = Setting("proxy_outlier", SWEPT_SET, size)
            yield from ((setting, machine, None if size >= count else size) for machine, count in there.items())


def _cell(
    data: _Data, out: str, overrides: Mapping[str, Any], setting: Setting, machine: Machine, size: int | None = None
) -> GridCell:
    """Raises a UserError where the overrides do not fit the recipe, or the data lack the machine."""
    detector, recipe = DETECTORS[setting.detector], data.recipe(setting.detector)
    store = data.stores[recipe.features]
    store.find(machine)
    machine_type, machine_id = detector.trained_on(machine)
    outliers = setting.outlier_set if size is None else f"{setting.outlier_set}_{size}"
    name = "/".join(filter(None, (setting.detector, outliers, machine_type, machine_id)))
    own = (store.data_dir, recipe.features, machine_type, machine_id, setting.outlier_set, size)
    values = dict(zip(_OWN_KEYS, own, strict=True))
    training = grid.make_training(setting.detector, name, os.path.join(out, name), recipe, overrides, values)
    return GridCell(setting, machine, training)


def reproduce(study: Study) -> bool:
    """Trains and measures what is not finished, writes tables, pictures and verdicts; returns whether nothing failed.

    A training that fails is reported, and the others go on.
    """
    failed = grid.train_all(study.trainings)
    measured = [result for cell in study.cells if cell.training.name not in failed for result in _results(cell)]
    results = RunResults(study.test_ids, measured)
    paper1_results.write_results(os.path.join(study.out, tables.RESULTS), measured)
    print(paper1_results.write_table(study.out, results, _about(study)))
    pictures = {"figure_3": figure_3(results), "figure_4": figure_4(results)}
    for name, figure in pictures.items():
        for kind in ("svg", "png"):
            if figure is not None:
                figures.save(figure, os.path.join(study.out, f"{name}.{kind}"))
    verdicts = claims.verdict_lines(claims.judge(results))
    write_atomically(os.path.join(study.out, "claims.md"), verdicts)
    print(f"{verdicts}\nWrote results.csv, the table, the pictures and claims.md to {study.out}")
    return not failed


def _results(cell: GridCell) -> Iterator[RunResult]:
    """What the evaluation of the training found for the cell's machine."""
    for one in cell.training.measured():
        if (one["machine_type"], one["machine_id"]) == cell.machine and one["domain"] in (None, targets.DOMAIN):
            for run, values in enumerate(one["runs"]):
                yield RunResult(cell.machine, cell.setting, run, values["AUC"], values["pAUC"])


def _about(study: Study) -> str:
    """The line under the table."""
    epochs = {training.detector: training.recipe.num_epochs for training in study.trainings}
    ids = "; ".join(f"{machine_type} {', '.join(ids)}" for machine_type, ids in study.test_ids.items())
    return (
        f"Mean ± standard deviation over {study.trainings[0].recipe.num_runs} run(s); epochs: "
        f"{', '.join(f'{detector} {count}' for detector, count in epochs.items())}; measured on the machine IDs {ids}."
    )
