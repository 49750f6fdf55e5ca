"""What a trained workdir says of its test clips: their scores, labels, threshold; and what follows from these."""

import dataclasses
import functools
import itertools
import os
import statistics
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from etils import epath

from asd_jax.base.errors import UserError
from asd_jax.datasets import DATASETS
from asd_jax.datasets.clips import DOMAINS, Machine, StoredClip
from asd_jax.datasets.labels import LabelList, label_in_name, read_label_list, without_extension
from asd_jax.evaluation.evaluate import evaluate_workdir, is_scored
from asd_jax.evaluation.score_files import read_scores
from asd_jax.measures import metrics
from asd_jax.methods import Recipe
from asd_jax.recipes.workdir import Summary, Workdir
from asd_jax.records.store import UNLABELLED, Store, open_store
from asd_jax.scoring.held_back import held_back_scores
from asd_jax.scoring.scorer import Scorer
from asd_jax.scoring.thresholds import gamma_threshold
from asd_jax.scoring.trained import load_trained
from asd_jax.training.epoch_log import read_epochs


class OverRuns(NamedTuple):
    """AUC or pAUC of every run: their mean and standard deviation; and that of the mean scores of the runs."""

    mean: float
    std: float
    of_mean_score: float


class Decisions(NamedTuple):
    """How many clips a limit decides rightly: anomalous clips found and missed, normal clips passed and accused."""

    found: int
    missed: int
    passed: int
    false_alarms: int


@dataclasses.dataclass(frozen=True)
class Part:
    """The scored test clips of one machine, in the layout of 2021 those of one domain.

    Attributes:
        machine: whose.
        domain: "source" or "target"; None in other layouts.
        names: [clips] as in the score files.
        runs: [runs, clips] anomaly scores.
        labels: [clips] 0 normal, 1 anomaly, -1 where nobody has said.
        threshold: above it a clip is decided anomalous; None where no normal clips were held back.
        clips: name -> what the records say of it; empty where they are gone.
    """

    machine: Machine
    domain: str | None
    names: tuple[str, ...]
    runs: np.ndarray
    labels: np.ndarray
    threshold: float | None
    clips: dict[str, StoredClip]

    @property
    def name(self) -> str:
        return " ".join([*self.machine, *([self.domain] if self.domain else [])])

    @functools.cached_property
    def scores(self) -> np.ndarray:
        """[clips] the mean over the runs."""
        return self.runs.mean(0)

    @property
    def is_measured(self) -> bool:
        """Whether there are clips of both labels."""
        return {0, 1} <= set(self.labels.tolist())

    @property
    def counts(self) -> tuple[int, int]:
        """How many clips are labelled normal, and anomalous."""
        return int((self.labels == 0).sum()), int((self.labels == 1).sum())

    def measures(self) -> tuple[OverRuns, OverRuns]:
        """AUC and pAUC of the labelled clips."""
        known = self.labels >= 0
        labels = self.labels[known].tolist()

        def measured(measure: Callable[[Sequence[int], Sequence[float]], float]) -> OverRuns:
            runs = [measure(labels, row[known].tolist()) for row in self.runs]
            std = statistics.stdev(runs) if len(runs) > 1 else 0.0
            return OverRuns(statistics.fmean(runs), std, measure(labels, self.scores[known].tolist()))

        return measured(metrics.auc), measured(metrics.pauc)

    def limit(self) -> float:
        """The lowest score above which at most a share `metrics.MAX_FPR` of the normal test clips lies."""
        normal = np.sort(self.scores[self.labels == 0])[::-1]
        return float(normal[int(metrics.MAX_FPR * len(normal) + 1e-9)])

    def decisions(self, limit: float) -> Decisions:
        """What a limit comes to on the labelled clips."""
        above = self.scores > limit
        normal, anomalous = self.labels == 0, self.labels == 1
        pairs = ((anomalous, above), (anomalous, ~above), (normal, ~above), (normal, above))
        return Decisions(*(int((label & side).sum()) for label, side in pairs))

    def to_show(self, ends: int, wrong: int) -> dict[int, list[str]]:
        """Clips worth looking at, by number, and why each is one of them.

        The `ends` clips of the highest scores and of the lowest; and up to `wrong` that are judged wrongly, by the
        threshold or else by `limit`: those that lie farthest on the wrong side, in turn of both kinds.
        """
        order = np.argsort(-self.scores, kind="stable").tolist()
        ends = min(ends, len(order) // 2)
        reasons = [(clip, "most anomalous") for clip in order[:ends]]
        reasons += [(clip, "most normal") for clip in order[::-1][:ends]]
        if self.is_measured:
            limit = self.limit() if self.threshold is None else self.threshold
            missed = [(clip, "missed") for clip in order[::-1] if self.labels[clip] == 1 and self.scores[clip] <= limit]
            alarms = [(clip, "false alarm") for clip in order if self.labels[clip] == 0 and self.scores[clip] > limit]
            in_turn = (one for pair in itertools.zip_longest(missed, alarms) for one in pair if one)
            reasons += itertools.islice(in_turn, wrong)
        shown: dict[int, list[str]] = {}
        for clip, reason in reasons:
            shown.setdefault(clip, []).append(reason)
        return shown


@dataclasses.dataclass(frozen=True)
class Findings:
    """All that a page shows of one workdir.

    Attributes:
        workdir: its path.
        scorer: the networks, and the recipe.
        summary: training.json.
        surroundings: what it was trained on; empty where nobody kept that.
        epochs: the lines of metrics.jsonl.
        parts: sorted by machine and domain.
        store: the prepared data; None where they are gone.
        notes: sentences about what is missing.
    """

    workdir: str
    scorer: Scorer
    summary: Summary
    surroundings: dict
    epochs: list[dict]
    parts: tuple[Part, ...]
    store: Store | None
    notes: list[str]

    @property
    def recipe(self) -> Recipe:
        return self.scorer.trained.recipe


def read_findings(workdir: str, labels_csv: str | None, target_fpr: float, score_hop: int | None) -> Findings:
    """Reads what was found; a workdir whose test clips are not scored yet is evaluated first.

    Args:
        workdir: of a training.
        labels_csv: eval_data_list.csv, for labels that neither the data nor the clips' names say.
        target_fpr: share of normal clips that the threshold lets be called anomalous.
        score_hop: frames between the windows of a clip; the recipe's where None.

    Raises:
        UserError: it is no workdir, has no checkpoint, or its test clips cannot be scored.
    """
    scorer = Scorer(load_trained(Workdir(workdir), score_hop=score_hop))
    trained, recipe, notes, store, thresholds = scorer.trained, scorer.trained.recipe, [], None, {}
    folder = trained.workdir.scores(trained.suffix)
    if is_scored(scorer):
        scorer.describe()
    else:
        print(f"The test clips of {workdir} are not scored by its newest weights and inlier models yet: scoring them.")
        try:
            print(evaluate_workdir(workdir, labels_csv, score_hop=score_hop))
        except UserError as error:
            raise UserError(
                f"{folder} holds no scores by the newest weights (step {trained.steps}): {error}"
            ) from error
    try:
        store = open_store(recipe.data_dir, recipe.features)
    except UserError as error:
        notes.append(f"No pictures and no sound of single clips: {error}")
    try:
        scores = held_back_scores(scorer)
        thresholds = {name: gamma_threshold(list(mine.values()), 1 - target_fpr) for name, mine in scores.items()}
        if not thresholds:
            notes.append("No threshold and no decisions: the training held no normal clips back (config.held_back).")
    except UserError as error:
        notes.append(f"No threshold and no decisions: {error}")
    listed = {} if labels_csv is None else read_label_list(labels_csv)
    parts = [
        part
        for machine in trained.machines
        for part in _parts(folder, machine, recipe.num_runs, store, listed, thresholds.get("/".join(machine)))
    ]
    if not parts:
        machines = ", ".join("/".join(machine) for machine in trained.machines)
        raise UserError(f"{folder} holds no scores of {machines}: run tools/evaluate.py with this workdir again.")
    found = trained.workdir
    epochs = read_epochs(found)
    return Findings(workdir, scorer, found.summary, found.surroundings, epochs, tuple(parts), store, notes)


def _parts(
    folder: epath.Path,
    machine: Machine,
    runs: int,
    store: Store | None,
    listed: LabelList,
    threshold: float | None,
) -> list[Part]:
    """A machine's parts that are scored."""
    found = []
    known = [DATASETS[store.find(machine).dataset]] if store and machine in store.machines else DATASETS.values()
    layouts = dict.fromkeys(dataset.score_files for dataset in known)
    for files, domain in ((one, domain) for one in layouts for domain in (DOMAINS if one.by_domain else (None,))):
        name = files.file("anomaly_score", *machine, domain)
        if not (folder / name).exists() or any(part.domain == domain for part in found):
            continue
        by_run = [read_scores(folder / f"run_{run}" / name) for run in range(runs)]
        names = tuple(sorted(by_run[0]))
        if differing := next((row.keys() ^ by_run[0].keys() for row in by_run if row.keys() != by_run[0].keys()), None):
            raise UserError(
                f"The runs in {folder} have scores of different clips, such as {min(differing)}: run tools/evaluate.py "
                "with this workdir again."
            )
        scores = np.array([[row[clip] for clip in names] for row in by_run])
        clips = _stored(store, machine, domain, files.paths)
        labels = np.array([_label(clip, listed.get(machine[0], {}), clips.get(clip)) for clip in names])
        found.append(Part(machine, domain, names, scores, labels, threshold, clips))
    return found


def _stored(store: Store | None, machine: Machine, domain: str | None, paths: bool) -> dict[str, StoredClip]:
    """The test clips in the records, by their names in the score files, which may be paths."""
    if store is None or machine not in store.machines or not store.find(machine).clips.get("test"):
        return {}
    clips = [clip for clip in store.listed(machine, "test") if domain in (None, clip.domain)]
    return {clip.name if paths else os.path.basename(clip.name): clip for clip in clips}


def _label(name: str, listed: dict[str, int], clip: StoredClip | None) -> int:
    """The label in the list, or that of the records, or the one in the clip's name."""
    stated = listed.get(without_extension(name), UNLABELLED if clip is None else clip.label)
    if stated == UNLABELLED and clip is None:
        stated = label_in_name(name)
    return UNLABELLED if stated is None else stated
