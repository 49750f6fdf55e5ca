"""The choice of the inlier model on development machines (Kuroyanagi et al., EUSIPCO 2022, Table I)."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from asd_jax.backends import BACKENDS, models
from asd_jax.backends.embeddings import Embeddings
from asd_jax.base.errors import UserError
from asd_jax.datasets.clips import Machine
from asd_jax.measures import metrics

POINTS = (1, 2, 4, 8, 16, 32, 64)
"""The values of p that are tried."""


@dataclasses.dataclass(frozen=True)
class GridRow:
    """How well one inlier model separates the development clips.

    Attributes:
        kind: a key of `BACKENDS`.
        p: components or neighbours.
        auc: machine -> AUC; empty where the model could not be fitted.
        pauc: machine -> pAUC, likewise.
        mean: harmonic mean of all AUCs and pAUCs; None where the model could not be fitted.
        reason: why it could not; otherwise empty.
    """

    kind: str
    p: int
    auc: dict[Machine, float]
    pauc: dict[Machine, float]
    mean: float | None
    reason: str = ""


def grid(fit_on: Embeddings, dev: Embeddings, seed: int) -> list[GridRow]:
    """Tries every kind of inlier model with every p, smallest p first.

    Args:
        fit_on: embeddings of normal clips that the encoder was not trained on; IDs that `dev` lacks are not used.
        dev: embeddings of labelled test clips of the development IDs.
        seed: of the models' initialisation.

    Raises:
        UserError: an ID of `dev` is not in `fit_on`, or has clips of one label only.
    """
    fit_on = fit_on.select(np.any([fit_on.rows_of(machine) for machine in dev.machines()], axis=0))
    kinds = [kind for kind, backend in BACKENDS.items() if backend.tunable]
    return [_measure(fit_on, dev, kind, p, seed) for p in POINTS for kind in kinds]


def best(rows: Sequence[GridRow]) -> GridRow:
    """The row with the highest mean; among equal ones, the first.

    Raises:
        UserError: none of the models could be fitted.
    """
    fitted = [row for row in rows if row.mean is not None]
    if not fitted:
        raise UserError(f"None of the inlier models could be fitted: {rows[0].reason}")
    return max(fitted, key=lambda row: row.mean)


def _measure(fit_on: Embeddings, dev: Embeddings, kind: str, p: int, seed: int) -> GridRow:
    try:
        fitted = models.fit(fit_on, kind, p, seed)
    except UserError as error:
        return GridRow(kind, p, {}, {}, None, str(error))
    clips = fitted.score(dev)
    auc, pauc = {}, {}
    for machine in dev.machines():
        mine = (clips.machine_type == machine[0]) & (clips.machine_id == machine[1])
        auc[machine] = metrics.auc(clips.label[mine], clips.score[mine])
        pauc[machine] = metrics.pauc(clips.label[mine], clips.score[mine])
    mean = metrics.harmonic_mean_of_all(list(auc.values()), list(pauc.values()))
    return GridRow(kind, p, auc, pauc, mean)
