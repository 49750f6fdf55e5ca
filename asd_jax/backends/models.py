"""The backends of some machines together: fitted to normal clips, kept in a folder, scoring clips (EUSIPCO 2022)."""

import dataclasses
import itertools
import json

import numpy as np
from etils import epath

from asd_jax.backends import BACKENDS, Backend
from asd_jax.backends.embeddings import Embeddings
from asd_jax.base.errors import UserError
from asd_jax.base.files import write_atomically
from asd_jax.base.stored_json import read_json
from asd_jax.datasets.clips import Machine

COLLAPSED = 1e-5
"""A spread (see `spread`) below this one is float rounding."""

_SUMMARY = "inlier.json"
"""The file without which stored models are not whole."""


@dataclasses.dataclass(frozen=True)
class ClipScores:
    """The scores of some clips, in the order of their first embeddings, and what is known of the clips.

    Attributes:
        clip, machine_type, machine_id, label, domain, part: [clips] as in `Embeddings`.
        score: [clips] anomaly scores, larger is more anomalous.
    """

    clip: np.ndarray
    machine_type: np.ndarray
    machine_id: np.ndarray
    label: np.ndarray
    domain: np.ndarray
    part: np.ndarray
    score: np.ndarray


@dataclasses.dataclass(frozen=True)
class InlierModels:
    """A backend for every machine.

    Attributes:
        kind: a key of `BACKENDS`.
        p: components of a mixture, or neighbours.
        seed: of what is random in fitting.
        models: the machines' fitted backends.
        step: of the training, whose embeddings they are fitted to; None where that is not known.
    """

    kind: str
    p: int
    seed: int
    models: dict[Machine, Backend]
    step: int | None = None

    def segment_scores(self, embeddings: Embeddings) -> np.ndarray:
        """[rows] The anomaly score of every segment, by the model of its own machine.

        Raises:
            UserError: a machine has no model.
        """
        segment_scores = np.empty(len(embeddings.clip))
        for machine in embeddings.machines():
            if machine not in self.models:
                there = ", ".join("/".join(one) for one in self.models) or "none"
                raise UserError(
                    f"Machine {'/'.join(machine)} has no inlier model (there are: {there}): fit one for it too."
                )
            mine = embeddings.rows_of(machine)
            segment_scores[mine] = self.models[machine].segment_scores(embeddings.select(mine))
        return segment_scores

    def score(self, embeddings: Embeddings) -> ClipScores:
        """Scores every clip by those of its segments. Errors as in `segment_scores`."""
        segment_scores = self.segment_scores(embeddings)
        first_rows, clip_of_row = embeddings.clips()
        segment_scores = segment_scores[np.argsort(clip_of_row, kind="stable")]
        ends = np.cumsum(np.bincount(clip_of_row))
        of_clip = [self.models[machine] for machine in embeddings.select(first_rows).row_machines()]
        bounds = itertools.pairwise([0, *ends])
        scores = [model.clip_score(segment_scores[a:b]) for model, (a, b) in zip(of_clip, bounds, strict=True)]
        return _clip_scores(embeddings, first_rows, np.array(scores))

    def save(self, folder: epath.PathLike) -> None:
        """Writes `<type>_<ID>.skops` for every model, and `inlier.json`, without which they are not whole."""
        folder = epath.Path(folder)
        (folder / _SUMMARY).unlink(missing_ok=True)
        for machine, model in self.models.items():
            write_atomically(_file(folder, machine), model.dumps())
        summary = {"kind": self.kind, "p": self.p, "seed": self.seed, "step": self.step}
        summary["machines"] = [list(machine) for machine in self.models]
        write_atomically(folder / _SUMMARY, json.dumps(summary, indent=2) + "\n")

    @classmethod
    def load(cls, folder: epath.PathLike) -> "InlierModels":
        """Reads what `save` wrote; nothing but scikit-learn's own types is let in.

        Raises:
            UserError: there are no models, or a file is damaged or something else.
        """
        path, fit_anew = epath.Path(folder) / _SUMMARY, "delete it, and fit and save anew"
        if not path.exists():
            raise UserError(f"There are no inlier models in {folder}: fit and save them first.")
        kind = {"kind": str, "p": int, "seed": int, "step": int | None, "machines": list[Machine]}
        summary = read_json(path, kind, fit_anew)
        try:
            models, backend = {}, BACKENDS[summary["kind"]]
            for machine in summary["machines"]:
                path = _file(epath.Path(folder), machine)
                models[machine] = backend.loads(path.read_bytes())
        except Exception as error:  # skops raises many types for damaged files
            raise UserError(f"{path} is no stored inlier model or is damaged ({error}): {fit_anew}.") from error
        return cls(summary["kind"], summary["p"], summary["seed"], models, summary["step"])


def is_stored(folder: epath.PathLike) -> bool:
    """Whether there are models to load."""
    return (epath.Path(folder) / _SUMMARY).exists()


def _file(folder: epath.Path, machine: Machine) -> epath.Path:
    return folder / f"{'_'.join(machine)}.skops"


def fit(embeddings: Embeddings, kind: str, p: int, seed: int) -> InlierModels:
    """Fits one backend for every machine, to embeddings of normal clips.

    Raises:
        UserError: a machine has too few embeddings for p, its embeddings have collapsed (see `spread`), or the model
            cannot be fitted to them.
    """
    if kind not in BACKENDS:
        raise UserError(f"Unknown kind of inlier model {kind!r}: expected one of {', '.join(BACKENDS)}.")
    models, backend = {}, BACKENDS[kind]
    for machine in embeddings.machines():
        mine = embeddings.select(embeddings.rows_of(machine))
        check_enough(machine, len(mine.clip), kind, p)
        if backend.needs(p) and (relative := spread(mine)[machine]) < COLLAPSED:
            raise UserError(
                f"The embeddings of machine {'/'.join(machine)} have collapsed, all {len(mine.clip)} are equal but for "
                f"rounding (spread {relative:.1e}): no inlier model can separate its clips; train longer, on more "
                "data, or with another learning rate."
            )
        try:
            models[machine] = backend.fit(mine, p, seed)
        except ValueError as error:  # values that are not finite, or covariances that cannot be inverted
            raise UserError(
                f"{kind} with config.inlier_p={p} cannot be fitted to the embeddings of machine {'/'.join(machine)} "
                f"({str(error).splitlines()[0]}): lower config.inlier_p or look at the embeddings."
            ) from error
    return InlierModels(kind, p, seed, models, embeddings.step)


def check_enough(machine: Machine, embeddings: int, kind: str, p: int) -> None:
    """Raises a UserError where a machine has too few embeddings for its inlier model."""
    if p < 1 and BACKENDS[kind].tunable:
        raise UserError(f"config.inlier_p={p} was given: expected at least 1.")
    needed = BACKENDS[kind].needs(p)
    if embeddings < needed:
        raise UserError(
            f"Machine {'/'.join(machine)} has {embeddings} embeddings to fit its inlier model to: {kind} with "
            f"config.inlier_p={p} needs at least {needed}; lower config.inlier_p or hold back more clips."
        )


def cross_scores(embeddings: Embeddings, kind: str, p: int, seed: int, folds: int = 5) -> ClipScores:
    """Scores the clips that models are fitted to, each by a model fitted without it: as new normal clips would score.

    The clips of every machine are dealt to the folds evenly, at random by `seed`; where they are fewer than the folds,
    each is a fold of its own.

    Raises:
        UserError: a machine has a single clip, or what `fit` raises for the clips outside a fold.
    """
    first_rows, clip_of_row = embeddings.clips()
    clips = embeddings.select(first_rows)
    generator = np.random.default_rng(seed)
    fold = np.empty(len(first_rows), dtype=int)
    for machine in embeddings.machines():
        mine = clips.rows_of(machine)
        if mine.sum() < 2:
            raise UserError(f"Machine {'/'.join(machine)} has 1 clip to find normal scores from: hold back at least 2.")
        fold[mine] = generator.permutation(mine.sum()) % folds
    scores = np.empty(len(first_rows))
    for held_back in (fold == number for number in np.unique(fold)):
        rows = held_back[clip_of_row]
        models = fit(embeddings.select(~rows), kind, p, seed)
        scores[held_back] = models.score(embeddings.select(rows)).score
    return _clip_scores(embeddings, first_rows, scores)


def spread(embeddings: Embeddings) -> dict[Machine, float]:
    """How far the embeddings of every machine differ from each other, relative to their size.

    The root mean square distance to their mean, divided by their root mean square norm: 0 where all are equal, 1 where
    their mean is zero.
    """
    spreads = {}
    for machine in embeddings.machines():
        points = embeddings.embedding[embeddings.rows_of(machine)].astype(np.float64)
        size = np.linalg.norm(points)
        spreads[machine] = float(np.linalg.norm(points - points.mean(0)) / size) if size else 0.0
    return spreads


def _clip_scores(embeddings: Embeddings, first_rows: np.ndarray, scores: np.ndarray) -> ClipScores:
    clips = embeddings.select(first_rows)
    columns = {field.name: getattr(clips, field.name) for field in dataclasses.fields(ClipScores)[:-1]}
    return ClipScores(**columns, score=scores)
