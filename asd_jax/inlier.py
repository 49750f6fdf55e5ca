"""The inlier models of Kuroyanagi et al., EUSIPCO 2022: how far a clip's embeddings lie from normal ones.

For every product ID, a Gaussian mixture ("gmm") or a local outlier factor ("lof") is fitted to the embeddings of normal
clips that the encoder was not trained on. `p` is its number of components or of neighbours.
"""

import dataclasses
import itertools
import json

import numpy as np
import skops.io
from etils import epath
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import LocalOutlierFactor

from asd_jax.embeddings import Embeddings
from asd_jax.errors import UserError
from asd_jax.files import write_atomically

COLLAPSED = 1e-5
"""A spread (see `spread`) below this one is float rounding."""

_CLASSES = {"gmm": GaussianMixture, "lof": LocalOutlierFactor}
KINDS = tuple(_CLASSES)
SUMMARY = "inlier.json"
"""The file without which stored models are not whole."""


@dataclasses.dataclass(frozen=True)
class ClipScores:
    """The scores of some clips, in the order of their first embeddings, and what is known of the clips.

    Attributes:
        clip, machine_id, label, domain, part: [clips] as in `Embeddings`.
        score: [clips] anomaly scores, larger is more anomalous.
    """

    clip: np.ndarray
    machine_id: np.ndarray
    label: np.ndarray
    domain: np.ndarray
    part: np.ndarray
    score: np.ndarray


@dataclasses.dataclass(frozen=True)
class InlierModels:
    """The inlier models of some product IDs.

    Attributes:
        kind: "gmm" or "lof".
        p: components of a mixture, or neighbours.
        seed: of the mixtures' initialisation.
        models: product ID -> fitted model.
        step: of the training, whose embeddings they are fitted to; None where that is not known.
    """

    kind: str
    p: int
    seed: int
    models: dict[str, GaussianMixture | LocalOutlierFactor]
    step: int | None = None

    def segment_scores(self, embeddings: Embeddings) -> np.ndarray:
        """[rows] The anomaly score of every segment, by the model of its own product ID.

        It is the negative log-likelihood (gmm) or the local outlier factor (lof).

        Raises:
            UserError: a product ID has no model.
        """
        segment_scores = np.empty(len(embeddings.clip))
        for product_id in embeddings.product_ids():
            if product_id not in self.models:
                there = ", ".join(self.models) or "none"
                raise UserError(
                    f"Machine ID {product_id} has no inlier model (there are: {there}): fit one for it too."
                )
            mine = embeddings.machine_id == product_id
            segment_scores[mine] = -self.models[product_id].score_samples(_points(embeddings, mine))
        return segment_scores

    def score(self, embeddings: Embeddings) -> ClipScores:
        """Scores every clip by those of its segments, which `clip_score` puts together.

        Errors as in `segment_scores`.
        """
        segment_scores = self.segment_scores(embeddings)
        first_rows, clip_of_row = embeddings.clips()
        segment_scores = segment_scores[np.argsort(clip_of_row, kind="stable")]
        ends = np.cumsum(np.bincount(clip_of_row))
        scores = [clip_score(self.kind, segment_scores[a:b]) for a, b in itertools.pairwise([0, *ends])]
        return _clip_scores(embeddings, first_rows, np.array(scores))

    def save(self, folder: epath.PathLike) -> None:
        """Writes `<product ID>.skops` for every model, and `inlier.json`, without which they are not whole."""
        folder = epath.Path(folder)
        (folder / SUMMARY).unlink(missing_ok=True)
        for product_id, model in self.models.items():
            write_atomically(folder / f"{product_id}.skops", skops.io.dumps(model))
        summary = {"kind": self.kind, "p": self.p, "seed": self.seed, "step": self.step}
        summary["product_ids"] = list(self.models)
        write_atomically(folder / SUMMARY, json.dumps(summary, indent=2) + "\n")

    @classmethod
    def load(cls, folder: epath.PathLike) -> "InlierModels":
        """Reads what `save` wrote; nothing but scikit-learn's own types is let in.

        Raises:
            UserError: there are no models, or a file is damaged or something else.
        """
        path = epath.Path(folder) / SUMMARY
        if not path.exists():
            raise UserError(f"There are no inlier models in {folder}: fit and save them first.")
        try:
            summary = json.loads(path.read_text())
            kind, models = summary["kind"], {}
            for product_id in summary["product_ids"]:
                path = epath.Path(folder) / f"{product_id}.skops"
                models[product_id] = skops.io.loads(path.read_bytes())
                if not isinstance(models[product_id], _CLASSES[kind]):
                    raise TypeError(f"found a {type(models[product_id]).__name__} for {kind}")
            return cls(kind, summary["p"], summary["seed"], models, summary.get("step"))
        except Exception as error:  # skops raises many types for damaged files
            raise UserError(f"{path} is no stored inlier model or is damaged ({error}): fit and save anew.") from error


def fit(embeddings: Embeddings, kind: str, p: int, seed: int) -> InlierModels:
    """Fits one inlier model for every product ID of one machine type, to embeddings of normal clips.

    A mixture has full covariances, with 1e-6 added to their diagonals.

    Raises:
        UserError: a product ID has too few embeddings for p, its embeddings have collapsed (see `spread`), or the
            model cannot be fitted to them.
    """
    if kind not in KINDS:
        raise UserError(f"Unknown kind of inlier model {kind!r}: expected one of {', '.join(KINDS)}.")
    models = {}
    for product_id, relative in spread(embeddings).items():
        points = _points(embeddings, embeddings.machine_id == product_id)
        check_enough(product_id, len(points), kind, p)
        if relative < COLLAPSED:
            raise UserError(
                f"The embeddings of machine ID {product_id} have collapsed, all {len(points)} are equal but for "
                f"rounding (spread {relative:.1e}): no inlier model can tell its clips apart; train longer, on more "
                "data, or with another learning rate."
            )
        if kind == "gmm":
            model = GaussianMixture(p, covariance_type="full", random_state=seed)
        else:
            # What "auto" comes to at an encoder's width; the trees are of types that skops does not trust.
            model = LocalOutlierFactor(n_neighbors=p, algorithm="brute", novelty=True)
        try:
            models[product_id] = model.fit(points)
        except ValueError as error:  # values that are not finite, or covariances that cannot be inverted
            raise UserError(
                f"{kind} with config.inlier_p={p} cannot be fitted to the embeddings of machine ID {product_id} "
                f"({str(error).splitlines()[0]}): lower config.inlier_p or look at the embeddings."
            ) from error
    return InlierModels(kind, p, seed, models, embeddings.step)


def check_enough(product_id: str, embeddings: int, kind: str, p: int) -> None:
    """Raises a UserError where a product ID has too few embeddings for its inlier model."""
    if p < 1:
        raise UserError(f"config.inlier_p={p} was given: expected at least 1.")
    # A mixture needs a point for each component; a point is not its own neighbour.
    needed = max(p, 2) if kind == "gmm" else p + 1
    if embeddings < needed:
        raise UserError(
            f"Machine ID {product_id} has {embeddings} embeddings to fit its inlier model to: {kind} with "
            f"config.inlier_p={p} needs at least {needed}; lower config.inlier_p or hold back more clips."
        )


def cross_scores(embeddings: Embeddings, kind: str, p: int, seed: int, folds: int = 5) -> ClipScores:
    """Scores the clips that models are fitted to, each by a model fitted without it: as new normal clips would score.

    The clips of every product ID are dealt to the folds evenly, at random by `seed`; where they are fewer than the
    folds, each is a fold of its own.

    Raises:
        UserError: a product ID has a single clip, or what `fit` raises for the clips outside a fold.
    """
    first_rows, clip_of_row = embeddings.clips()
    generator = np.random.default_rng(seed)
    fold = np.empty(len(first_rows), dtype=int)
    for product_id in embeddings.product_ids():
        mine = embeddings.machine_id[first_rows] == product_id
        if mine.sum() < 2:
            raise UserError(f"Machine ID {product_id} has 1 clip to find normal scores from: hold back at least 2.")
        fold[mine] = generator.permutation(mine.sum()) % folds
    scores = np.empty(len(first_rows))
    for held_back in (fold == number for number in np.unique(fold)):
        rows = held_back[clip_of_row]
        models = fit(embeddings.select(~rows), kind, p, seed)
        scores[held_back] = models.score(embeddings.select(rows)).score
    return _clip_scores(embeddings, first_rows, scores)


def improbability(embeddings: Embeddings) -> ClipScores:
    """The scores of the ablation without inlier models: minus the mean probability of a clip's own product ID."""
    first_rows, clip_of_row = embeddings.clips()
    sums = np.bincount(clip_of_row, weights=embeddings.probability)
    return _clip_scores(embeddings, first_rows, -sums / np.bincount(clip_of_row))


def clip_score(kind: str, segment_scores: np.ndarray) -> float:
    """The score of a clip from those of its segments [segments]: their mean (lof), or that of the upper half (gmm).

    The upper half are the scores that are not below the median.
    """
    if kind == "gmm":
        segment_scores = segment_scores[segment_scores >= np.median(segment_scores)]
    return float(segment_scores.mean())


def spread(embeddings: Embeddings) -> dict[str, float]:
    """How far the embeddings of every product ID differ from each other, relative to their size.

    The root mean square distance to their mean, divided by their root mean square norm: 0 where all are equal, 1 where
    their mean is zero.
    """
    spreads = {}
    for product_id in embeddings.product_ids():
        points = _points(embeddings, embeddings.machine_id == product_id)
        size = np.linalg.norm(points)
        spreads[product_id] = float(np.linalg.norm(points - points.mean(0)) / size) if size else 0.0
    return spreads


def _clip_scores(embeddings: Embeddings, first_rows: np.ndarray, scores: np.ndarray) -> ClipScores:
    clips = embeddings.select(first_rows)
    return ClipScores(clips.clip, clips.machine_id, clips.label, clips.domain, clips.part, scores)


def _points(embeddings: Embeddings, rows: np.ndarray) -> np.ndarray:
    # Covariances of few points in many dimensions cannot be inverted in float32.
    return embeddings.embedding[rows].astype(np.float64)
