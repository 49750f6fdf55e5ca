"""Networks and backends of a workdir together: features -> anomaly scores of clips.

A system either scores windows itself, and a clip's score is their mean; or it gives embeddings, which backends score
(`asd_jax.backends`). Those are fitted to the clips that the training held back:

WORKDIR/embeddings/run_N/{held_back,test}.npz   embeddings
WORKDIR/inlier/run_N/                           the fitted backends
WORKDIR/inlier_choice.json                      which ones, where `tools/select_inlier.py` chose them
"""

import functools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import scipy.special
from etils import epath

from asd_jax.backends import models
from asd_jax.backends.embeddings import Embeddings
from asd_jax.backends.models import InlierModels
from asd_jax.base.errors import UserError
from asd_jax.base.stored_json import read_json
from asd_jax.datasets.clips import StoredClip
from asd_jax.methods.recipe import InlierChoice
from asd_jax.recipes.workdir import Workdir
from asd_jax.scoring.trained import Trained

Clips = Iterable[tuple[StoredClip, np.ndarray]]
"""Clips and their features [frames, ...], each at least one window long."""


class Scorer:
    """What gives clips their scores, read once.

    Attributes:
        trained: the networks of all runs.
        choice: which backends score their embeddings; None where the networks give scores.
    """

    def __init__(self, trained: Trained) -> None:
        self.trained = trained
        self.choice = inlier_choice(trained.workdir) if trained.recipe.inlier_choice else None

    @functools.cached_property
    def models(self) -> list[InlierModels]:
        """The backends of every run."""
        return [stored_models(self.trained.workdir, run, step) for run, step in enumerate(self.trained.steps)]

    @property
    def origin(self) -> dict:
        """What is stored beside every result: the step of every run, the windows and the inlier models."""
        found: dict = {"steps": list(self.trained.steps)}
        if self.trained.recipe.score_hop is not None:
            found["score_hop"] = self.trained.recipe.score_hop
        if self.choice:
            found |= {"inlier": self.choice.kind, "inlier_p": self.choice.p}
        return found

    def describe(self) -> None:
        """Prints by which inlier models clips are scored; nothing where there are none."""
        if self.choice:
            chosen = self.trained.workdir.inlier_choice.exists()
            by = "tools/select_inlier.py chose them" if chosen else "by the training's config"
            kind, p = self.choice.kind, self.choice.p
            print("Inlier models: none" if kind == "none" else f"Inlier models: {kind} with p={p} ({by})")

    def clip_scores(
        self, clips: Clips, total: int | None = None, keep_embeddings: bool = False, batch_size: int | None = None
    ) -> tuple[list[StoredClip], np.ndarray]:
        """The clips and their anomaly scores [runs, clips].

        Args:
            clips: to score.
            total: their number, where known, for a progress bar.
            keep_embeddings: in the workdir, as those of "test".
            batch_size: windows that go through the networks together; the recipe's where None.

        Raises:
            UserError: the inlier models cannot be fitted, or there is none for a clip's machine.
        """
        if self.choice is None:
            found = self.trained.outputs(clips, total, batch_size)
            pairs = [(clip, outputs["score"].mean(axis=1)) for clip, outputs in found]
            scored, scores = [clip for clip, _ in pairs], [score for _, score in pairs]
            scores = np.stack(scores, axis=1) if scores else np.zeros((self.trained.recipe.num_runs, 0))
            return scored, _finite(scores, scored)
        scored, runs = embed(self.trained, clips, total, batch_size)
        if not runs:
            return scored, np.zeros((self.trained.recipe.num_runs, 0))
        if keep_embeddings:
            for run, embeddings in enumerate(runs):
                embeddings.save(self.trained.workdir.embeddings(run, "test"))
        scores = [mine.score(embeddings).score for mine, embeddings in zip(self.models, runs, strict=True)]
        return scored, _finite(np.stack(scores), scored)

    def window_scores(self, clips: Clips) -> Iterator[tuple[StoredClip, np.ndarray]]:
        """Every clip and the anomaly scores [windows] of its windows, the mean over the runs."""
        if self.choice is None:
            for clip, outputs in self.trained.outputs(clips):
                yield clip, outputs["score"].mean(0)
            return
        scored, runs = embed(self.trained, clips)
        if runs:
            scores = [mine.segment_scores(embeddings) for mine, embeddings in zip(self.models, runs, strict=True)]
            ends = np.flatnonzero(runs[0].segment == 0)[1:]
            yield from zip(scored, np.split(np.mean(scores, axis=0), ends), strict=True)


def _finite(scores: np.ndarray, clips: Sequence[StoredClip]) -> np.ndarray:
    """The scores [runs, clips]; a UserError names the first clip whose score is no number."""
    if not (finite := np.isfinite(scores).all(0)).all():
        first = clips[int(finite.argmin())]
        raise UserError(
            f"{(~finite).sum()} clips have a score that is not finite, the first is {first.name} of "
            f"{'/'.join(first.machine)}: prepare its features again with tools/prepare.py, or train again."
        )
    return scores


def embed(
    trained: Trained, clips: Clips, total: int | None = None, batch_size: int | None = None
) -> tuple[list[StoredClip], list[Embeddings]]:
    """The clips, and the embeddings that every run gives for their segments; none without a clip."""
    scored, embedding, probability = [], [], []
    for clip, outputs in trained.outputs(clips, total, batch_size):
        product = trained.product(clip.machine)
        scored.append(clip)
        embedding.append(outputs["embedding"])
        if product >= 0 and "product" in outputs:
            probability.append(scipy.special.expit(outputs["product"][..., product]))
        else:
            probability.append(np.full(outputs["embedding"].shape[:2], np.nan, np.float32))
    if not embedding:
        return [], []
    counts = [one.shape[1] for one in embedding]
    columns = {
        "clip": [clip.name for clip in scored],
        "machine_type": [clip.machine[0] for clip in scored],
        "machine_id": [clip.machine[1] for clip in scored],
        "label": [clip.label for clip in scored],
        "domain": [clip.domain for clip in scored],
        "part": [clip.part for clip in scored],
    }
    columns = {name: np.repeat(np.array(values), counts) for name, values in columns.items()}
    segment = np.concatenate([np.arange(count) for count in counts])
    embedding, probability = (np.concatenate(parts, axis=1) for parts in (embedding, probability))
    return scored, [
        Embeddings(embedding[run], segment=segment, probability=probability[run], **columns, step=trained.steps[run])
        for run in range(trained.recipe.num_runs)
    ]


def load_embeddings(workdir: Workdir, run: int) -> tuple[Embeddings, Embeddings]:
    """The embeddings of a run's held-back and test clips, by the same weights.

    Raises:
        UserError: they are not there, or not of the same step of the training.
    """
    held_back, test = (Embeddings.load(workdir.embeddings(run, what)) for what in ("held_back", "test"))
    if held_back.step is None or held_back.step != test.step:
        raise UserError(
            f"The embeddings of run {run} in {workdir} are of {_named(held_back.step)} (held-back clips) and of "
            f"{_named(test.step)} (test clips): run tools/train.py with the same config, then tools/evaluate.py again."
        )
    return held_back, test


def inlier_choice(workdir: Workdir) -> InlierChoice:
    """The inlier models that were selected, or else those of the recipe."""
    asked = workdir.recipe.inlier_choice
    if workdir.inlier_choice.exists() and asked.kind != "none":
        what_to_do = "delete it and run tools/select_inlier.py again"
        chosen = read_json(workdir.inlier_choice, {"kind": str, "p": int}, what_to_do)
        return InlierChoice(chosen["kind"], chosen["p"])
    return asked


def forget_choice(workdir: Workdir) -> None:
    """From now on the recipe's inlier models are taken again."""
    if workdir.inlier_choice.exists():
        workdir.inlier_choice.unlink()
        print(f"Removed {workdir.inlier_choice}: the inlier models that were asked for are taken.")


def stored_models(workdir: Workdir, run: int, step: int | None) -> InlierModels:
    """The run's inlier models: those that are stored, or else newly fitted ones, which are stored.

    Raises:
        UserError: the held-back embeddings are not those after `step`, or no model can be fitted to them.
    """
    folder, choice, seed = workdir.inlier_models(run), inlier_choice(workdir), workdir.recipe.seed
    if models.is_stored(folder):
        found = InlierModels.load(folder)
        if (found.kind, found.p, found.seed, found.step) == (choice.kind, choice.p, seed, step):
            return found
    fitted = models.fit(held_back_embeddings(workdir, run, step), choice.kind, choice.p, seed)
    cross_scores_file(workdir, run).unlink(missing_ok=True)  # by older models
    fitted.save(folder)
    return fitted


def cross_scores_file(workdir: Workdir, run: int) -> epath.Path:
    """The scores of the clips that the models were fitted to, each by models fitted without it."""
    return workdir.inlier_models(run) / "held_back_scores.json"


def held_back_embeddings(workdir: Workdir, run: int, step: int | None) -> Embeddings:
    """The embeddings of the clips that training held back, by the weights after `step`."""
    found = Embeddings.load(workdir.embeddings(run, "held_back"))
    if found.step != step:
        raise UserError(
            f"The held-back embeddings of run {run} in {workdir} are of {_named(found.step)}, its weights of "
            f"{_named(step)}: run tools/train.py with the same config again."
        )
    return found


def _named(step: int | None) -> str:
    return "an unknown step" if step is None else f"step {step}"
