"""A trained workdir on its test clips: score files, AUC and pAUC of every run, and their mean."""

import json
import posixpath
import statistics
import time
from collections.abc import Sequence

import jax
import numpy as np

from asd_jax.base.errors import UserError
from asd_jax.base.files import write_atomically
from asd_jax.base.progress import say, tqdm
from asd_jax.base.stored_json import read_json
from asd_jax.datasets import DATASETS
from asd_jax.datasets.clips import StoredClip
from asd_jax.datasets.labels import read_label_list, without_extension
from asd_jax.evaluation.results import Results, evaluate, format_table, write_result_csv
from asd_jax.evaluation.score_files import ScoreSet, write_scores
from asd_jax.measures import metrics
from asd_jax.recipes.workdir import Workdir
from asd_jax.records.store import Store, open_store
from asd_jax.scoring.scorer import Clips, Scorer
from asd_jax.scoring.thresholds import thresholds
from asd_jax.scoring.trained import Trained, load_trained
from asd_jax.training.epoch_log import read_epochs

ORIGIN = "origin.json"
"""In a folder of score files: the step of every run and the windows that gave them."""

TARGET_FPR = 0.1
"""Of the decisions: the challenge's baselines of 2021 take the 0.9 quantile of normal scores."""

_Group = tuple[str, str, str | None]
"""(machine type, machine ID, domain) of the clips that one score file holds; the layout of 2020 has no domain."""


def evaluate_workdir(
    workdir: str,
    labels_csv: str | None = None,
    devices: Sequence[jax.Device] | None = None,
    score_hop: int | None = None,
) -> str:
    """Scores the test clips of the workdir's machines and measures the scores.

    Writes WORKDIR/scores/anomaly_score_<type>_....csv, the mean of the runs' scores, called as the data set's challenge
    calls them, where it has domains with decisions beside it if normal clips were held back; and result.csv, their
    measures. run_<N>/ beside them holds the same for every run; WORKDIR/metrics.json has all measures, with mean and
    standard deviation over the runs, and how long scoring took, with reading and compiling, and the steps of the
    training. metrics.json and scores/origin.json say after which step of the training each run had the weights. Clips
    without a label, in the data and in `labels_csv`, are scored and not measured.

    Args:
        workdir: of the training.
        labels_csv: eval_data_list.csv, for labels that the data do not say.
        devices: to score on; all where None.
        score_hop: frames between the windows of a clip; the recipe's where None. By another hop it is scores_hop_N and
            metrics_hop_N.json that are written.

    Returns:
        What to show: a table, or why there is none, how long it took, and what was written.
    """
    folder = Workdir(workdir)
    scorer = Scorer(load_trained(folder, devices, score_hop))
    scorer.describe()
    trained, recipe = scorer.trained, scorer.trained.recipe
    store = open_store(recipe.data_dir, recipe.features)
    began, windows = time.perf_counter(), 0

    def test_clips() -> Clips:
        nonlocal windows
        total = sum(store.find(machine).clips.get("test", 0) for machine in trained.machines)
        total = None if recipe.domains else total
        for clip, features in tqdm(_test_clips(store, trained), total=total, unit="clip", desc="scoring"):
            windows += len(trained.method.starts(len(features)))
            yield clip, features

    clips, scores = scorer.clip_scores(test_clips(), keep_embeddings=True)
    times = {
        "windows": windows,
        "scoring_seconds": time.perf_counter() - began,
        "training_seconds": _training_seconds(folder),
    }
    took = _duration(times, len(clips), recipe.num_runs)
    dataset = DATASETS[store.find(clips[0].machine).dataset]
    files = dataset.score_files
    listed = {} if labels_csv is None else read_label_list(labels_csv)
    groups: dict[_Group, list[int]] = {}
    for i, clip in enumerate(clips):
        groups.setdefault((*clip.machine, clip.domain if files.by_domain else None), []).append(i)
    names = [clip.name if files.paths else posixpath.basename(clip.name) for clip in clips]
    labels = [
        listed.get(clip.machine[0], {}).get(without_extension(name), clip.label)
        for name, clip in zip(names, clips, strict=True)
    ]

    of_scores, metrics_file = folder.scores(trained.suffix), folder.metrics(trained.suffix)
    decisions = _decisions(scorer, clips, scores.mean(0)) if dataset.by_domain else None
    for unfinished in (of_scores / ORIGIN, metrics_file):
        unfinished.unlink(missing_ok=True)  # of an earlier call, maybe with other weights or labels
    for (machine_type, machine_id, domain), members in groups.items():
        columns = [(scores.mean(0), of_scores, "anomaly_score")]
        columns += [(row, of_scores / f"run_{run}", "anomaly_score") for run, row in enumerate(scores)]
        columns += [(decisions, of_scores, "decision_result")] if decisions is not None else []
        for column, where, what in columns:
            path = where / files.file(what, machine_type, machine_id, domain)
            write_scores(path, [(names[i], column[i].item()) for i in members])

    write_atomically(of_scores / ORIGIN, json.dumps(scorer.origin, indent=2) + "\n")
    labelled = {group: [i for i in members if labels[i] in (0, 1)] for group, members in groups.items()}
    labelled = {group: members for group, members in labelled.items() if {labels[i] for i in members} == {0, 1}}
    if not labelled:
        (of_scores / "result.csv").unlink(missing_ok=True)  # of an earlier call, which had labels
        machines = ", ".join(sorted({"/".join(clip.machine) for clip in clips}))
        return (
            f"{took}\nNot measured ({machines}): that takes "
            "clips labelled normal and clips labelled anomalous (--labels=eval_data_list.csv).\n"
            f"Wrote {of_scores}"
        )

    def measure(row: np.ndarray, decisions: np.ndarray | None = None) -> Results:
        sets = []
        for (machine_type, machine_id, domain), members in labelled.items():
            columns = [tuple(column[i] for i in members) for column in (names, labels, row.tolist())]
            decided = None if decisions is None else tuple(int(decisions[i]) for i in members)
            domains = tuple(clips[i].domain for i in members)
            sets.append(ScoreSet(machine_type, machine_id, domain, *columns, decided, domains))
        return evaluate(dataset, sets)

    runs, together = [measure(row) for row in scores], measure(scores.mean(0), decisions)
    write_result_csv(together, of_scores / "result.csv")
    for run, results in enumerate(runs):
        write_result_csv(results, of_scores / f"run_{run}" / "result.csv")
    summary = _summary(runs, together, dataset.measures.columns)
    measured = sum(map(len, labelled.values()))
    about = scorer.origin | {"num_steps": folder.summary.num_steps}
    about |= {"clips": len(clips), "labelled_clips": measured}
    write_atomically(metrics_file, json.dumps(about | times | summary, indent=2) + "\n")
    return f"{_table(summary, dataset.measures.columns)}\n{took}\nWrote {of_scores} and {metrics_file}"


def is_scored(scorer: Scorer) -> bool:
    """Whether the workdir holds scores of its test clips by these very weights, windows and inlier models."""
    path = scorer.trained.workdir.scores(scorer.trained.suffix) / ORIGIN
    return path.exists() and read_json(path, {}, "delete it and evaluate again") == scorer.origin


def _training_seconds(workdir: Workdir) -> float | None:
    """What the training steps of all runs took together; None where an epoch does not say."""
    seconds = [entry.get("seconds") for entry in read_epochs(workdir)]
    return sum(seconds) if seconds and None not in seconds else None


def _duration(times: dict, clips: int, runs: int) -> str:
    seconds = times["scoring_seconds"]
    by_runs = f" by {runs} runs" if runs > 1 else ""
    sentence = (
        f"Scored {clips} clips, {times['windows']:,} windows{by_runs} in {seconds:.1f} s "
        f"({times['windows'] * runs / seconds:,.0f} windows/s)"
    )
    training = times["training_seconds"]
    return f"{sentence}." if training is None else f"{sentence}; training took {training:.1f} s."


def _test_clips(store: Store, trained: Trained) -> Clips:
    """The test clips of all target machines that have some, in the domains of the config, and their features."""
    recipe, found, short = trained.recipe, False, []
    tested = [machine for machine in trained.machines if store.find(machine).clips.get("test")]
    for machine in tested or trained.machines:
        for clip, features in store.clips(machine, "test"):
            if recipe.domains and clip.domain not in recipe.domains:
                continue
            if len(features) < recipe.window:
                short.append(clip.name)
                continue
            found = True
            yield clip, features
    if not found:
        asked = ", ".join("/".join(machine) for machine in trained.machines)
        raise UserError(f"No test clip of {asked} is one window ({recipe.window} frames) long.")
    if short:
        say(f"Left out {len(short)} clip(s) shorter than one window ({recipe.window} frames): {', '.join(short)}")


def _decisions(scorer: Scorer, clips: Sequence[StoredClip], scores: np.ndarray) -> np.ndarray | None:
    """[clips] 1 where a score is above the threshold of its machine; None where there are no thresholds."""
    try:
        of_machine = thresholds(scorer, TARGET_FPR)
    except UserError as error:
        print(f"No decisions: {error}")
        return None
    if not of_machine:
        return None
    return np.array(
        [score > of_machine["/".join(clip.machine)] for score, clip in zip(scores, clips, strict=True)], int
    )


def _summary(runs: Sequence[Results], together: Results, columns: Sequence[str]) -> dict:
    """The measures of every machine ID and domain, and their harmonic means over them."""

    def over_runs(values: Sequence[dict[str, float]], mean_score: dict[str, float]) -> dict:
        columns = {name: [value[name] for value in values] for name in mean_score}
        return {
            "runs": list(values),
            "mean": {name: statistics.fmean(column) for name, column in columns.items()},
            "std": {n: statistics.stdev(column) if len(column) > 1 else 0.0 for n, column in columns.items()},
            "mean_score": mean_score,
        }

    def of_row(results: Results, index: int) -> dict[str, float]:
        return dict(zip(columns, results.rows[index].values, strict=False))  # without those of decisions

    def of_means(results: Results) -> dict[str, float]:
        of_columns = list(zip(*(row.values for row in results.rows), strict=True))[: len(columns)]
        means = dict(zip(columns, results.means.harmonic, strict=False))
        together = {" and ".join(columns): metrics.harmonic_mean_of_all(*of_columns)}
        return means | together | {"official score": results.official_score}

    rows = [
        {"machine_type": row.machine_type, "machine_id": row.machine_id, "domain": row.domain}
        | over_runs([of_row(results, i) for results in runs], of_row(together, i))
        for i, row in enumerate(together.rows)
    ]
    return {"rows": rows, "harmonic_mean": over_runs([of_means(results) for results in runs], of_means(together))}


def _table(summary: dict, columns: Sequence[str]) -> str:
    def values(measured: dict[str, float]) -> list[float]:
        return [measured[name] for name in columns]

    lines = []
    parts = [
        ((row["machine_type"], f"{row['machine_id']} {row['domain'] or ''}".strip()), row) for row in summary["rows"]
    ]
    if len(parts) > 1:
        types = {machine_type for (machine_type, _), _ in parts}
        parts.append(
            ((*types, "harmonic mean") if len(types) == 1 else ("all", "harmonic mean"), summary["harmonic_mean"])
        )
    for name, part in parts:
        lines += [[*name, f"run {run}", *values(one)] for run, one in enumerate(part["runs"])]
        if len(part["runs"]) > 1:
            lines.append([*name, "mean over runs", *values(part["mean"])])
            lines.append([*name, "standard deviation", *values(part["std"])])
            lines.append([*name, "mean score of the runs", *values(part["mean_score"])])
    return format_table(["machine type", "ID", "", *columns], lines)
