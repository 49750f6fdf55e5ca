"""Recordings nobody labelled: their anomaly scores, and a decision by a threshold set on held-back normal clips."""

import csv
import dataclasses
import io
import os
from collections.abc import Iterator, Sequence

import numpy as np
from tqdm import tqdm

from asd_jax import detection, experiment, scoring
from asd_jax.audio import SUFFIXES, read_audio
from asd_jax.clips import Machine, StoredClip
from asd_jax.errors import UserError
from asd_jax.features import PRESETS, WaveStatistics, log_mels
from asd_jax.files import write_atomically


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of the recordings.

    Attributes:
        files: those that were scored.
        scores: [files], larger is more anomalous.
        threshold: above it a recording is decided anomalous; None where the training held no clips back.
        decisions: [files] "anomalous" or "normal"; empty without a threshold.
        problems: one sentence for every recording that could not be scored.
    """

    files: Sequence[str]
    scores: np.ndarray
    threshold: float | None
    decisions: Sequence[str]
    problems: Sequence[str]


def score_recordings(
    workdir: str,
    source: str,
    output: str,
    target_fpr: float,
    machine_id: str | None = None,
    score_hop: int | None = None,
) -> Outcome:
    """Scores a file, or all audio files below a folder, with the runs of a workdir (mean score over its runs).

    `machine_id` says which of the workdir's machines was recorded, where it knows several. `score_hop`: frames between
    the windows of a recording; the recipe's where None.

    Writes `output`, a CSV with the columns file, score and, where there is a threshold, decision;
    WORKDIR/threshold.json (threshold_hop_N.json by another hop) says which threshold and how it was found.
    """
    files = find_recordings(source)
    trained = scoring.load_trained(workdir, score_hop=score_hop)
    machine = recorded_machine(trained, machine_id)
    try:
        threshold = detection.thresholds(trained, workdir, target_fpr).get("/".join(machine))
    except UserError as error:  # scores are worth having without it
        print(f"No threshold: {error}")
        threshold = None
    preset = PRESETS[trained.config.features]
    statistics = wave_statistics(workdir, machine[0])
    scored, clips, problems = [], [], []

    def read() -> Iterator[np.ndarray]:
        for file in tqdm(files, unit="clip"):
            try:
                log_mel = log_mels(preset, read_audio(file, preset.sample_rate), file, statistics)
                if len(log_mel) < trained.config.window:
                    raise UserError(
                        f"{file} is too short: it has {len(log_mel)} frames, one window takes {trained.config.window} "
                        f"({(trained.config.window - 1) * preset.hop / preset.sample_rate:.2f} s)."
                    )
            except UserError as error:
                problems.append(str(error))
                continue
            scored.append(file)
            clips.append(StoredClip(machine, file, -1, "source", ""))
            yield log_mel

    scores = detection.clip_scores(trained, workdir, clips, read()).mean(0)
    decisions = [] if threshold is None else ["anomalous" if score > threshold else "normal" for score in scores]
    names = [os.path.relpath(file, source) if os.path.isdir(source) else file for file in scored]
    columns = {"file": names, "score": scores.tolist()} | ({"decision": decisions} if decisions else {})
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(columns)
    rows.writerows(zip(*columns.values(), strict=True))
    write_atomically(output, text.getvalue())
    return Outcome(scored, scores, threshold, decisions, problems)


def find_recordings(source: str) -> list[str]:
    """The audio file itself, or all below a folder, sorted."""
    if os.path.isfile(source):
        return [source]
    if not os.path.isdir(source):
        raise UserError(f"--input={source} does not exist: expected an audio file or a folder of them.")
    found = [
        os.path.join(folder, name)
        for folder, _, names in os.walk(source)
        for name in names
        if name.lower().endswith(SUFFIXES) and not name.startswith(".")
    ]
    if not found:
        raise UserError(f"--input={source} holds no audio file: expected {', '.join(SUFFIXES)}.")
    return sorted(found)


def recorded_machine(trained: scoring.Trained, machine_id: str | None) -> Machine:
    """The machine of that ID, or of "type/ID" where the workdir knows several types."""
    of_type = len({machine_type for machine_type, _ in trained.machines}) == 1
    names = {machine[1] if of_type else "/".join(machine): machine for machine in trained.machines}
    if machine_id is None and len(names) > 1:
        raise UserError(f"The workdir knows several machines ({', '.join(names)}): say which one by --machine_id.")
    if machine_id not in (None, *names):
        raise UserError(f"--machine_id={machine_id} was given, but the workdir knows {', '.join(names)}.")
    return trained.machines[0] if machine_id is None else names[machine_id]


def wave_statistics(workdir: str, machine_type: str) -> WaveStatistics | None:
    """Of the machine type's training clips, where the features took them."""
    statistics = experiment.load_summary(workdir)["wave_statistics"].get(machine_type)
    return statistics and WaveStatistics(**statistics)
