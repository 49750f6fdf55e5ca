"""A trained workdir on its test clips: score files, AUC and pAUC of every run, and their mean."""

import json
import os
import statistics

import numpy as np
from etils import epath

from asd_jax import records, report, scoring
from asd_jax.errors import UserError
from asd_jax.files import write_atomically
from asd_jax.label_list import read_label_list, without_extension
from asd_jax.score_files import ScoreSet, write_scores


def evaluate_workdir(workdir: str, labels_csv: str | None = None) -> str:
    """Scores the test clips of the workdir's machine and measures the scores.

    Writes WORKDIR/scores/anomaly_score_<type>_id_<ID>.csv, the mean of the runs' scores, and result.csv, its measures;
    run_<N>/ beside them holds the same for every run; WORKDIR/metrics.json has all measures, with mean and standard
    deviation over the runs. Clips without a label, in the data and in `labels_csv`, are scored and not measured.

    Returns:
        What to show: a table, or why there is none, and what was written.
    """
    trained = scoring.load_trained(workdir)
    config = trained.config
    machine = (config.machine_type, config.machine_id)
    store = records.open_store(config.data_dir, config.features)
    names, labels, log_mels, short = [], [], [], []
    for clip in store.examples(machine, "test"):
        name = clip["name"].decode()
        if len(clip["log_mel"]) < config.window:
            short.append(name)
            continue
        names.append(name)
        labels.append(int(clip["label"]))
        log_mels.append(clip["log_mel"])
    if not names:
        raise UserError(f"No test clip of {'/'.join(machine)} is one window ({config.window} frames) long.")
    if short:
        print(f"Left out {len(short)} clip(s) shorter than one window ({config.window} frames): {', '.join(short)}")
    if labels_csv is not None:
        listed = read_label_list(labels_csv).get(config.machine_type, {})
        labels = [listed.get(without_extension(n), label) for n, label in zip(names, labels, strict=True)]
    scores = trained.score(log_mels, len(names))
    folder = os.path.join(workdir, "scores")
    file_name = f"anomaly_score_{config.machine_type}_id_{config.machine_id}.csv"
    write_scores(os.path.join(folder, file_name), zip(names, scores.mean(0), strict=True))
    for run, row in enumerate(scores):
        write_scores(os.path.join(folder, f"run_{run}", file_name), zip(names, row, strict=True))
    labelled = [i for i, label in enumerate(labels) if label in (0, 1)]
    if {labels[i] for i in labelled} != {0, 1}:
        for stale in (os.path.join(folder, "result.csv"), os.path.join(workdir, "metrics.json")):
            epath.Path(stale).unlink(missing_ok=True)  # of an earlier call, which had labels
        return (
            f"Scored {len(names)} clips of {'/'.join(machine)}. Not measured: that takes clips labelled normal and "
            f"clips labelled anomalous (--labels=eval_data_list.csv).\nWrote {folder}"
        )

    def measure(row: np.ndarray) -> report.Results:
        columns = ([column[i] for i in labelled] for column in (names, labels, row.tolist()))
        return report.evaluate([ScoreSet(*machine, None, *map(tuple, columns))])

    runs = [measure(row) for row in scores]
    together = measure(scores.mean(0))
    report.write_result_csv(together, os.path.join(folder, "result.csv"))
    for run, results in enumerate(runs):
        report.write_result_csv(results, os.path.join(folder, f"run_{run}", "result.csv"))
    measures = {
        "AUC": [results.rows[0].auc for results in runs],
        "pAUC": [results.rows[0].pauc for results in runs],
    }
    mean = {name: statistics.fmean(values) for name, values in measures.items()}
    std = {name: statistics.stdev(values) if len(values) > 1 else 0.0 for name, values in measures.items()}
    summary = {
        "machine_type": config.machine_type,
        "machine_id": config.machine_id,
        "clips": len(names),
        "labelled_clips": len(labelled),
        "runs": [{"run": run, **{name: values[run] for name, values in measures.items()}} for run in range(len(runs))],
        "mean": mean,
        "std": std,
        "mean_score": {"AUC": together.rows[0].auc, "pAUC": together.rows[0].pauc},
    }
    write_atomically(os.path.join(workdir, "metrics.json"), json.dumps(summary, indent=2) + "\n")
    rows = [[*machine, f"run {entry['run']}", entry["AUC"], entry["pAUC"]] for entry in summary["runs"]]
    rows.append([*machine, "mean over runs", mean["AUC"], mean["pAUC"]])
    rows.append([*machine, "standard deviation", std["AUC"], std["pAUC"]])
    rows.append([*machine, "mean score of the runs", summary["mean_score"]["AUC"], summary["mean_score"]["pAUC"]])
    table = report.format_table(["machine type", "ID", "", "AUC", "pAUC"], rows)
    return f"{table}\nWrote {folder} and {os.path.join(workdir, 'metrics.json')}"
