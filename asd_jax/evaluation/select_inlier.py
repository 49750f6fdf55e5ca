"""The inlier model of a trained workdir, chosen on its development machines, and the best of several workdirs."""

import csv
import io
import json
from collections.abc import Sequence

from asd_jax.base.errors import UserError
from asd_jax.base.files import write_atomically
from asd_jax.datasets.clips import Machine
from asd_jax.evaluation import inlier_grid
from asd_jax.evaluation.results import format_table
from asd_jax.measures import metrics
from asd_jax.recipes.workdir import Workdir
from asd_jax.scoring.scorer import load_embeddings


def select(workdirs: Sequence[str]) -> str:
    """Chooses for every workdir, and between them; returns what to show.

    Writes WORKDIR/inlier_grid.csv, a row for every inlier model, and WORKDIR/inlier_choice.json.

    Raises:
        UserError: a workdir has no embeddings of labelled development clips, or no inlier model can be fitted.
    """
    shown, chosen = [], []
    for workdir in map(Workdir, workdirs):
        rows = _grid(workdir)
        best = inlier_grid.best(rows)
        chosen.append(best)
        machines = list(best.auc)
        ids = [machine_id for _, machine_id in machines]
        header = ["h", "p", "harmonic mean", *(f"{measure} {i}" for i in ids for measure in ("AUC", "pAUC")), "why not"]
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([header, *(_cells(row, machines) for row in rows)])
        write_atomically(workdir.file("inlier_grid.csv"), text.getvalue())
        choice = {"kind": best.kind, "p": best.p, "mean": best.mean, "machine_ids": ids}
        write_atomically(workdir.inlier_choice, json.dumps(choice, indent=2) + "\n")
        fitted = sorted((row for row in rows if row.mean is not None), key=lambda row: -row.mean)
        table = format_table(["h", "p", "harmonic mean"], [[row.kind, str(row.p), row.mean] for row in fitted])
        shown.append(
            f"{table}\nChose {best.kind} with p={best.p} on {', '.join(ids)}; {len(rows) - len(fitted)} of {len(rows)} "
            f"could not be fitted. Wrote inlier_grid.csv and inlier_choice.json to {workdir}"
        )
    if len(workdirs) > 1:
        weights = [Workdir(workdir).recipe.product_weight for workdir in workdirs]
        lines = sorted(zip((row.mean for row in chosen), weights, workdirs, strict=True), reverse=True)
        table = [[workdir, f"{weight:g}", mean] for mean, weight, workdir in lines]
        shown.append(format_table(["workdir", "lambda", "harmonic mean"], table))
        shown.append(f"Best: {lines[0][2]}")
    return "\n".join(shown)


def _grid(workdir: Workdir) -> list[inlier_grid.GridRow]:
    """The grid, with the measures' means over the runs."""
    recipe = workdir.recipe
    if recipe.inlier_choice is None:
        raise UserError(f"{workdir} was trained with {recipe.method}, which has no inlier model to choose.")
    grids = []
    for run in range(recipe.num_runs):
        held_back, test = load_embeddings(workdir, run)
        development = test.select((test.part == "dev") & (test.label >= 0))
        if not len(development.clip):
            raise UserError(f"{workdir} has no labelled test clips of development machines to choose by.")
        grids.append(inlier_grid.grid(held_back, development, recipe.seed))
    return [_over_runs(rows) for rows in zip(*grids, strict=True)]


def _over_runs(rows: Sequence[inlier_grid.GridRow]) -> inlier_grid.GridRow:
    if failed := next((row for row in rows if row.mean is None), None):
        return failed
    auc, pauc = (
        {i: metrics.arithmetic_mean([[getattr(row, name)[i]] for row in rows])[0] for i in rows[0].auc}
        for name in ("auc", "pauc")
    )
    mean = metrics.harmonic_mean_of_all(list(auc.values()), list(pauc.values()))
    return inlier_grid.GridRow(rows[0].kind, rows[0].p, auc, pauc, mean)


def _cells(row: inlier_grid.GridRow, machines: Sequence[Machine]) -> list:
    measures = [measure.get(machine, "") for machine in machines for measure in (row.auc, row.pauc)]
    return [row.kind, row.p, "" if row.mean is None else row.mean, *measures, row.reason]
