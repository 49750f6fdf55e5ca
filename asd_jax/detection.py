"""From a trained workdir to the scores of clips, and to the thresholds that decide on them.

A system either scores windows itself, and a clip's score is their mean; or it gives embeddings, which inlier models
score (`asd_jax.inlier`). Those are fitted to the clips that the training held back:

WORKDIR/held_back_scores.json                       of a system that scores itself: machine -> file -> score, and
                                                    the step of every run that gave them;
                                                    with the suffix of `Trained` those by other windows
WORKDIR/embeddings/run_N/{held_back,test}.npz       of the others: embeddings,
WORKDIR/inlier/run_N/                               the models, and held_back_scores.json
WORKDIR/inlier_choice.json                          which models, where `tools/select_inlier.py` chose them
"""

import errno
import json
import logging
import os
from collections.abc import Iterable, Iterator, Sequence

import jax
import numpy as np
import scipy.special
from etils import epath

from asd_jax import experiment, hosts, inlier, metrics, records
from asd_jax.clips import Machine, StoredClip
from asd_jax.embeddings import Embeddings
from asd_jax.errors import UserError
from asd_jax.files import write_atomically
from asd_jax.log_mels import LogMels
from asd_jax.scoring import Trained, load_trained
from asd_jax.stored_json import read_json

HeldBackScores = dict[str, dict[str, float]]
"""Machine, as "type/ID" -> file name -> score of a normal clip that training did not see, the mean over the runs."""

INLIER_CHOICE = "inlier_choice.json"
"""What tools/select_inlier.py chose; it goes where a training is asked for other inlier models."""

_HELD_BACK = "held_back_scores.json"


def clip_scores(
    trained: Trained,
    workdir: str,
    clips: Sequence[StoredClip],
    log_mels: Iterable[np.ndarray],
    total: int | None = None,
    keep_embeddings: bool = False,
) -> np.ndarray:
    """Anomaly scores [runs, clips] of log-mels [frames, mels], each at least one window long.

    Args:
        trained: what scores them.
        workdir: where its inlier models are, if it has some.
        clips: what the log-mels are of; may be filled while they are drawn.
        log_mels: of the clips.
        total: their number, where known, for a progress bar.
        keep_embeddings: in the workdir, as those of "test".

    Raises:
        UserError: the inlier models cannot be fitted, or there is none for a clip's machine ID.
    """
    if "inlier" not in trained.config:
        scores = [outputs["score"].mean(axis=1) for outputs in trained.outputs(_of_machines(log_mels, clips), total)]
        return _finite(np.stack(scores, axis=1), clips) if scores else np.zeros((trained.config.num_runs, 0))
    runs = embed(trained, clips, log_mels, total)
    if not runs:
        return np.zeros((trained.config.num_runs, 0))
    if keep_embeddings:
        for run, embeddings in enumerate(runs):
            embeddings.save(embeddings_file(workdir, run, "test"))
    scores = [score_embeddings(workdir, run, embeddings).score for run, embeddings in enumerate(runs)]
    return _finite(np.stack(scores), clips)


def _finite(scores: np.ndarray, clips: Sequence[StoredClip]) -> np.ndarray:
    """The scores [runs, clips]; a UserError names the first clip whose score is no number."""
    if not (finite := np.isfinite(scores).all(0)).all():
        first = clips[int(finite.argmin())]
        raise UserError(
            f"{(~finite).sum()} clips have a score that is not finite, the first is {first.name} of "
            f"{'/'.join(first.machine)}: prepare its log-mels again with tools/prepare.py, or train again."
        )
    return scores


def _of_machines(log_mels: Iterable[np.ndarray], clips: Sequence[StoredClip]) -> Iterator[tuple[np.ndarray, Machine]]:
    """Log-mels, and which machines they are of; `clips` may be filled while they are drawn."""
    for number, log_mel in enumerate(log_mels):
        yield log_mel, clips[number].machine


def embed(
    trained: Trained, clips: Sequence[StoredClip], log_mels: Iterable[np.ndarray], total: int | None
) -> list[Embeddings]:
    """The embeddings that every run gives for the segments of clips; none without a clip.

    Arguments as in `clip_scores`.
    """
    embedding, probability = [], []
    for outputs in trained.outputs(_of_machines(log_mels, clips), total):
        product = trained.product(clips[len(embedding)].machine)
        embedding.append(outputs["embedding"])
        if product >= 0:
            probability.append(scipy.special.expit(outputs["product"][..., product]))
        else:
            probability.append(np.full(outputs["machine"].shape, np.nan, np.float32))
    if not embedding:
        return []
    counts = [one.shape[1] for one in embedding]
    columns = {
        "clip": [clip.name for clip in clips],
        "machine_type": [clip.machine[0] for clip in clips],
        "machine_id": [clip.machine[1] for clip in clips],
        "label": [clip.label for clip in clips],
        "domain": [clip.domain for clip in clips],
        "part": [clip.part for clip in clips],
    }
    columns = {name: np.repeat(np.array(values), counts) for name, values in columns.items()}
    segment = np.concatenate([np.arange(count) for count in counts])
    embedding, probability = (np.concatenate(parts, axis=1) for parts in (embedding, probability))
    return [
        Embeddings(embedding[run], segment=segment, probability=probability[run], **columns, step=trained.steps[run])
        for run in range(trained.config.num_runs)
    ]


def window_scores(
    trained: Trained, workdir: str, clips: Sequence[StoredClip], log_mels: Iterable[np.ndarray]
) -> list[np.ndarray]:
    """Of every clip, the anomaly scores [windows] of its windows, the mean over the runs.

    Arguments and errors as in `clip_scores`.
    """
    if "inlier" not in trained.config:
        return [outputs["score"].mean(0) for outputs in trained.outputs(_of_machines(log_mels, clips))]
    runs = embed(trained, clips, log_mels, None)
    if not runs:
        return []
    scores = np.mean([_segment_scores(workdir, run, embeddings) for run, embeddings in enumerate(runs)], axis=0)
    return np.split(scores, np.flatnonzero(runs[0].segment == 0)[1:])


def _segment_scores(workdir: str, run: int, embeddings: Embeddings) -> np.ndarray:
    kind, p, seed = inlier_choice(workdir)
    if kind == "none":
        return -embeddings.probability
    return inlier_models(workdir, run, kind, p, seed, embeddings.step).segment_scores(embeddings)


def embeddings_file(workdir: str, run: int, what: str) -> str:
    """Where the embeddings of a run are kept; `what` is "held_back" or "test"."""
    return os.path.join(workdir, "embeddings", f"run_{run}", f"{what}.npz")


def load_embeddings(workdir: str, run: int) -> tuple[Embeddings, Embeddings]:
    """The embeddings of a run's held-back and test clips, by the same weights.

    Raises:
        UserError: they are not there, or not of the same step of the training.
    """
    held_back, test = (Embeddings.load(embeddings_file(workdir, run, what)) for what in ("held_back", "test"))
    if held_back.step is None or held_back.step != test.step:
        raise UserError(
            f"The embeddings of run {run} in {workdir} are of {_named(held_back.step)} (held-back clips) and of "
            f"{_named(test.step)} (test clips): run tools/train.py with the same config, then tools/evaluate.py again."
        )
    return held_back, test


def score_embeddings(workdir: str, run: int, embeddings: Embeddings) -> inlier.ClipScores:
    """The scores of clips by the run's inlier models; without any, how improbable their own product ID is."""
    kind, p, seed = inlier_choice(workdir)
    if kind == "none":
        return inlier.improbability(embeddings)
    return inlier_models(workdir, run, kind, p, seed, embeddings.step).score(embeddings)


def inlier_choice(workdir: str) -> tuple[str, int, int]:
    """(kind, p, seed) of the inlier models: those that were selected, or else those of the config."""
    config = experiment.load_config(workdir)
    path = epath.Path(workdir) / INLIER_CHOICE
    if path.exists() and config.inlier != "none":
        choice = read_json(path, {"kind": str, "p": int}, "delete it and run tools/select_inlier.py again")
        return choice["kind"], choice["p"], config.seed
    return config.inlier, config.inlier_p, config.seed


def forget_choice(workdir: str) -> None:
    """From now on the config's inlier models are taken again."""
    path = epath.Path(workdir) / INLIER_CHOICE
    if path.exists():
        path.unlink()
        print(f"Removed {path}: the inlier models that were asked for are taken.")


def tell_inlier(trained: Trained, workdir: str) -> None:
    """Prints by which inlier models clips are scored; nothing where there are none."""
    if "inlier" in trained.config:
        kind, p, _ = inlier_choice(workdir)
        chosen = (epath.Path(workdir) / INLIER_CHOICE).exists()
        by = "tools/select_inlier.py chose them" if chosen else "by the training's config"
        print("Inlier models: none" if kind == "none" else f"Inlier models: {kind} with p={p} ({by})")


def origin(trained: Trained, workdir: str) -> dict:
    """What is stored beside every result: the step of every run, the windows and the inlier models."""
    found = {"steps": list(trained.steps)}
    if "score_hop" in trained.config:
        found["score_hop"] = trained.config.score_hop
    if "inlier" in trained.config:
        found["inlier"], found["inlier_p"], _ = inlier_choice(workdir)
    return found


def inlier_models(workdir: str, run: int, kind: str, p: int, seed: int, step: int | None) -> inlier.InlierModels:
    """The run's inlier models: those that are stored, or else newly fitted ones, which are stored.

    Raises:
        UserError: the held-back embeddings are not those after `step`, or no model can be fitted to them.
    """
    folder = epath.Path(workdir) / "inlier" / f"run_{run}"
    if (folder / inlier.SUMMARY).exists():
        models = inlier.InlierModels.load(folder)
        if (models.kind, models.p, models.seed, models.step) == (kind, p, seed, step):
            return models
    held_back = _held_back_embeddings(workdir, run, step)
    models = inlier.fit(held_back, kind, p, seed)
    (folder / _HELD_BACK).unlink(missing_ok=True)
    models.save(folder)
    return models


def _held_back_embeddings(workdir: str, run: int, step: int | None) -> Embeddings:
    found = Embeddings.load(embeddings_file(workdir, run, "held_back"))
    if found.step != step:
        raise UserError(
            f"The held-back embeddings of run {run} in {workdir} are of {_named(found.step)}, its weights of "
            f"{_named(step)}: run tools/train.py with the same config again."
        )
    return found


def _named(step: int | None) -> str:
    return "an unknown step" if step is None else f"step {step}"


def keep_held_back(workdir: str, clips: LogMels, devices: Sequence[jax.Device] | None = None) -> None:
    """Keeps what later commands need of a finished training's held-back clips: scores, or embeddings and models.

    Of several processes the first one scores.

    `devices`: of this process, to score on; all where None.
    """
    if not len(clips):
        return
    config = experiment.load_config(workdir)
    steps = (experiment.load_summary(workdir)["num_steps"],) * config.num_runs
    if "inlier" not in config:
        path = epath.Path(workdir) / _HELD_BACK
        if not path.exists() or _read_scores(path)[0] != steps:
            trained = load_trained(workdir, devices)  # by all processes together
            if hosts.is_first():
                _keep_scores(path, trained, workdir, clips.clips, clips)
        return
    paths = [embeddings_file(workdir, run, "held_back") for run in range(config.num_runs)]
    if not all(epath.Path(path).exists() and Embeddings.load(path).step == steps[0] for path in paths):
        trained = load_trained(workdir, devices)
        if not hosts.is_first():
            return
        for path, embeddings in zip(paths, embed(trained, clips.clips, clips, len(clips)), strict=True):
            embeddings.save(path)
    if not hosts.is_first():
        return
    for run in range(config.num_runs):
        spreads = inlier.spread(_held_back_embeddings(workdir, run, steps[run]))
        print(
            f"Spread of the held-back embeddings of run {run}: " + ", ".join(f"{i} {s:.3g}" for i, s in spreads.items())
        )
        kind, p, seed = inlier_choice(workdir)
        if kind != "none":
            try:
                inlier_models(workdir, run, kind, p, seed, steps[run])
            except UserError as error:  # the training is done; the models may be chosen anew
                print(f"No inlier models yet: {error}")


def _keep_scores(
    path: str | epath.Path, trained: Trained, workdir: str, clips: Sequence[StoredClip], log_mels: Iterable[np.ndarray]
) -> None:
    scores = clip_scores(trained, workdir, clips, log_mels, len(clips)).mean(0).tolist()
    by_machine = _by_machine([clip.machine for clip in clips], [clip.name for clip in clips], scores)
    write_atomically(path, json.dumps({"steps": trained.steps, "scores": by_machine}, indent=2) + "\n")


def held_back_scores(workdir: str, trained: Trained) -> HeldBackScores:
    """The scores, by these weights, of the normal clips that training did not see; empty where it saw all.

    Inlier models are fitted to those very clips: each is scored by models that were fitted without it. Where `trained`
    takes other windows than the recipe, the clips are scored by these, once.

    Raises:
        UserError: they have not been scored by these weights yet, or are too few for that, or are not in the prepared
            data any more.
    """
    if "inlier" in trained.config:
        runs = [_cross_scores(workdir, run, step) for run, step in enumerate(trained.steps)]
        return {
            machine: {name: float(np.mean([run[machine][name] for run in runs])) for name in scores}
            for machine, scores in runs[0].items()
        }
    path = epath.Path(workdir) / _HELD_BACK
    if path.exists():
        steps, scores = _read_scores(path)
        if steps == trained.steps:
            return _scored_again(trained, workdir, scores) if trained.suffix else scores
    if experiment.load_summary(workdir)["held_back"]:
        raise UserError(
            f"The held-back clips of {workdir} are not scored by these weights yet: run tools/train.py with the same "
            "config again."
        )
    return {}


def _scored_again(trained: Trained, workdir: str, of_recipe: HeldBackScores) -> HeldBackScores:
    """The scores of the same clips by the windows that `trained` takes."""
    path = epath.Path(workdir) / f"held_back_scores{trained.suffix}.json"
    if not path.exists() or _read_scores(path)[0] != trained.steps:
        store = records.open_store(trained.config.data_dir, trained.config.features)
        names = {machine: of_recipe.get("/".join(machine), {}) for machine in trained.machines}
        found = [one for machine in names for one in store.clips(machine, "train") if one[0].name in names[machine]]
        if len(found) < sum(map(len, names.values())):
            raise UserError(
                f"Held-back clips of {workdir} are missing in {trained.config.data_dir}: prepare them again."
            )
        _keep_scores(path, trained, workdir, *zip(*found, strict=True))
    return _read_scores(path)[1]


def _cross_scores(workdir: str, run: int, step: int) -> HeldBackScores:
    kind, p, seed = inlier_choice(workdir)
    machine_type = experiment.load_config(workdir).machine_type
    embeddings = _held_back_embeddings(workdir, run, step)
    if kind == "none":
        return _of_clips(machine_type, inlier.improbability(embeddings))
    inlier_models(workdir, run, kind, p, seed, step)  # where the models are new, this deletes the scores by older ones
    path = epath.Path(workdir) / "inlier" / f"run_{run}" / _HELD_BACK
    if not path.exists():
        scores = _of_clips(machine_type, inlier.cross_scores(embeddings, kind, p, seed))
        write_atomically(path, json.dumps({"steps": [step], "scores": scores}, indent=2) + "\n")
    return _read_scores(path)[1]


def _read_scores(path: epath.Path) -> tuple[tuple[int, ...] | None, HeldBackScores]:
    """The steps that gave the scores, and these; (None, nothing) where an older version did not keep the steps."""
    kind = {"steps": tuple[int, ...] | None, "scores": HeldBackScores | None}
    content = read_json(path, kind, "delete it and run tools/train.py with the same config again")
    return content["steps"], content["scores"] or {}


def _of_clips(machine_type: str, scores: inlier.ClipScores) -> HeldBackScores:
    machines = [(machine_type, machine_id) for machine_id in scores.machine_id.tolist()]
    return _by_machine(machines, scores.clip.tolist(), scores.score.tolist())


def _by_machine(machines: Sequence[Machine], names: Sequence[str], scores: Sequence[float]) -> HeldBackScores:
    found: HeldBackScores = {}
    for machine, name, score in zip(machines, names, scores, strict=True):
        found.setdefault("/".join(machine), {})[name] = score
    return found


def thresholds(trained: Trained, workdir: str, target_fpr: float) -> dict[str, float]:
    """Machine, as "type/ID" -> the threshold that a share `target_fpr` of normal clips exceeds.

    Empty where no clips were held back. WORKDIR/threshold.json, with the suffix of `trained`, says how they were found.
    """
    scores = held_back_scores(workdir, trained)
    if not scores:
        return {}
    found = {name: metrics.gamma_threshold(list(mine.values()), 1 - target_fpr) for name, mine in scores.items()}
    told = {
        "thresholds": found,
        "target_fpr": target_fpr,
        **origin(trained, workdir),
        "law": f"{1 - target_fpr:g} quantile of a gamma law fitted by moments",
        "scores_of_held_back_normal_clips": scores,
    }
    path = os.path.join(workdir, f"threshold{trained.suffix}.json")
    try:
        write_atomically(path, json.dumps(told, indent=2) + "\n")
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EACCES):
            raise
        logging.warning("%s cannot be written (%s): the thresholds are used all the same.", path, error.strerror)
    return found
