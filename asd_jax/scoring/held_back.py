"""The scores of normal clips that training did not see.

WORKDIR/held_back_scores.json           of a system that scores windows itself: machine -> file -> score, and the step
                                        of every run that gave them; with the suffix of `Trained` those by other windows
WORKDIR/inlier/run_N/held_back_scores.json   of the others
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from etils import epath

from asd_jax.backends import models
from asd_jax.backends.embeddings import Embeddings
from asd_jax.base.errors import UserError
from asd_jax.base.files import write_atomically
from asd_jax.base.stored_json import read_json
from asd_jax.datasets.clips import StoredClip
from asd_jax.devices import hosts
from asd_jax.devices.stopping import Stop
from asd_jax.methods import Recipe
from asd_jax.recipes.workdir import Workdir
from asd_jax.records.store import open_store
from asd_jax.scoring.scorer import (
    Clips,
    Scorer,
    cross_scores_file,
    embed,
    forget_choice,
    held_back_embeddings,
    stored_models,
)
from asd_jax.scoring.trained import Trained, load_trained
from asd_jax.training.clip_features import ClipFeatures
from asd_jax.training.run import train

HeldBackScores = dict[str, dict[str, float]]
"""Machine, as "type/ID" -> file name -> score of a normal clip that training did not see, the mean over the runs."""


def train_and_keep(
    config: Mapping[str, Any] | Recipe,
    workdir: str,
    devices: Sequence[jax.Device] | None = None,
    stop: Stop | None = None,
    new_inlier: bool = False,
) -> None:
    """Trains (see `train`), and keeps what later commands need of the clips that the training held back.

    `new_inlier`: the config's inlier models are asked for, whatever tools/select_inlier.py has chosen.
    """
    folder = Workdir(workdir)
    held_back = train(config, folder, devices, stop)
    if new_inlier and hosts.is_first():
        forget_choice(folder)
    keep_held_back(folder, held_back, jax.local_devices() if devices is None else devices)


def keep_held_back(workdir: Workdir, clips: ClipFeatures, devices: Sequence[jax.Device] | None = None) -> None:
    """Keeps what later commands need of a finished training's held-back clips: scores, or embeddings and models.

    Of several processes the first one scores.

    `devices`: of this process, to score on; all where None.
    """
    if not len(clips):
        return
    recipe = workdir.recipe
    steps = (workdir.summary.num_steps,) * recipe.num_runs
    if recipe.inlier_choice is None:
        path = workdir.held_back_scores()
        if not path.exists() or _read_scores(path)[0] != steps:
            trained = load_trained(workdir, devices)  # by all processes together
            if hosts.is_first():
                _keep_scores(path, trained, zip(clips.clips, clips, strict=True), len(clips))
        return
    paths = [workdir.embeddings(run, "held_back") for run in range(recipe.num_runs)]
    if not all(path.exists() and Embeddings.load(path).step == steps[0] for path in paths):
        trained = load_trained(workdir, devices)
        if not hosts.is_first():
            return
        _, runs = embed(trained, zip(clips.clips, clips, strict=True), len(clips))
        for path, embeddings in zip(paths, runs, strict=True):
            embeddings.save(path)
    if not hosts.is_first():
        return
    for run in range(recipe.num_runs):
        spreads = models.spread(held_back_embeddings(workdir, run, steps[run]))
        found = ", ".join(f"{'/'.join(machine)} {spread:.3g}" for machine, spread in spreads.items())
        print(f"Spread of the held-back embeddings of run {run}: {found}")
        try:
            stored_models(workdir, run, steps[run])
        except UserError as error:  # the training is done; the models may be chosen anew
            print(f"No inlier models yet: {error}")


def _keep_scores(path: epath.Path, trained: Trained, clips: Clips, total: int) -> None:
    scored, scores = Scorer(trained).clip_scores(clips, total)
    by_machine = _by_machine(scored, scores.mean(0).tolist())
    write_atomically(path, json.dumps({"steps": trained.steps, "scores": by_machine}, indent=2) + "\n")


def held_back_scores(scorer: Scorer) -> HeldBackScores:
    """The scores, by these weights, of the normal clips that training did not see; empty where it saw all.

    Inlier models are fitted to those very clips: each is scored by models that were fitted without it. Where the
    scorer takes other windows than the recipe, the clips are scored by these, once.

    Raises:
        UserError: they have not been scored by these weights yet, or are too few for that, or are not in the prepared
            data any more.
    """
    trained, workdir = scorer.trained, scorer.trained.workdir
    if scorer.choice:
        runs = [_cross_scores(scorer, run) for run in range(trained.recipe.num_runs)]
        return {
            machine: {name: float(np.mean([run[machine][name] for run in runs])) for name in scores}
            for machine, scores in runs[0].items()
        }
    path = workdir.held_back_scores()
    if path.exists():
        steps, scores = _read_scores(path)
        if steps == trained.steps:
            return _scored_again(trained, scores) if trained.suffix else scores
    if workdir.summary.held_back:
        raise UserError(
            f"The held-back clips of {workdir} are not scored by these weights yet: run tools/train.py with the same "
            "config again."
        )
    return {}


def _scored_again(trained: Trained, of_recipe: HeldBackScores) -> HeldBackScores:
    """The scores of the same clips by the windows that `trained` takes."""
    path = trained.workdir.held_back_scores(trained.suffix)
    if not path.exists() or _read_scores(path)[0] != trained.steps:
        store = open_store(trained.recipe.data_dir, trained.recipe.features)
        names = {machine: of_recipe.get("/".join(machine), {}) for machine in trained.machines}
        found = [one for machine in names for one in store.clips(machine, "train") if one[0].name in names[machine]]
        if len(found) < sum(map(len, names.values())):
            raise UserError(
                f"Held-back clips of {trained.workdir} are missing in {trained.recipe.data_dir}: prepare them again."
            )
        _keep_scores(path, trained, found, len(found))
    return _read_scores(path)[1]


def _cross_scores(scorer: Scorer, run: int) -> HeldBackScores:
    workdir, step = scorer.trained.workdir, scorer.trained.steps[run]
    mine = scorer.models[run]  # where the models are new, the scores by older ones are gone
    path = cross_scores_file(workdir, run)
    if not path.exists():
        found = models.cross_scores(held_back_embeddings(workdir, run, step), mine.kind, mine.p, mine.seed)
        scores: HeldBackScores = {}
        columns = (found.machine_type.tolist(), found.machine_id.tolist(), found.clip.tolist(), found.score.tolist())
        for machine_type, machine_id, name, score in zip(*columns, strict=True):
            scores.setdefault(f"{machine_type}/{machine_id}", {})[name] = score
        write_atomically(path, json.dumps({"steps": [step], "scores": scores}, indent=2) + "\n")
    return _read_scores(path)[1]


def _read_scores(path: epath.Path) -> tuple[tuple[int, ...] | None, HeldBackScores]:
    """The steps that gave the scores, and these; (None, nothing) where the file does not say the steps."""
    kind = {"steps": tuple[int, ...] | None, "scores": HeldBackScores | None}
    content = read_json(path, kind, "delete it and run tools/train.py with the same config again")
    return content["steps"], content["scores"] or {}


def _by_machine(clips: Sequence[StoredClip], scores: Sequence[float]) -> HeldBackScores:
    found: HeldBackScores = {}
    for clip, score in zip(clips, scores, strict=True):
        found.setdefault("/".join(clip.machine), {})[clip.name] = score
    return found
