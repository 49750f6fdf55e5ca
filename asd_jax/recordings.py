"""Recordings nobody labelled: their anomaly scores, and a decision by a threshold set on held-back normal clips."""

import csv
import dataclasses
import io
import os
from collections.abc import Iterator, Sequence

import numpy as np
from tqdm import tqdm

from asd_jax.audio import SUFFIXES
from asd_jax.detector import load_detector
from asd_jax.errors import UserError
from asd_jax.files import write_atomically

_LONG = 120  # seconds; clips are of about 10


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
    """Scores a file, or all audio files below a folder, with the runs of a workdir.

    Writes `output`, a CSV with the columns file, score and, where there is a threshold, decision. The other arguments
    as in `load_detector`.
    """
    files = find_recordings(source)
    detector = load_detector(workdir, target_fpr, machine_id, score_hop)
    scored, problems, long = [], [], 0

    def read() -> Iterator[tuple[str, np.ndarray]]:
        nonlocal long
        for file in tqdm(files, unit="clip"):
            try:
                wave = detector.read(file)
                log_mel = detector.log_mel(wave, file)
            except UserError as error:
                problems.append(str(error))
                continue
            long += len(wave) > _LONG * detector.preset.sample_rate
            scored.append(file)
            yield file, log_mel

    scores = detector.scores(read())
    if long:
        print(f"{long} recording(s) longer than {_LONG} s got one score each: --piece=10 scores them along time.")
    decisions = [] if detector.threshold is None else [detector.decision(score) for score in scores]
    names = [recording_name(file, source) for file in scored]
    columns = {"file": names, "score": scores.tolist()} | ({"decision": decisions} if decisions else {})
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(columns)
    rows.writerows(zip(*columns.values(), strict=True))
    write_atomically(output, text.getvalue())
    return Outcome(scored, scores, detector.threshold, decisions, problems)


def find_recordings(source: str) -> list[str]:
    """The audio file itself, or all below a folder, sorted."""
    if os.path.isfile(source):
        return [source]
    if not os.path.isdir(source):
        raise UserError(f"--input={source} does not exist: expected an audio file or a folder of them.")
    found = recordings_below(source)
    if not found:
        raise UserError(f"--input={source} holds no audio file: expected {', '.join(SUFFIXES)}.")
    return found


def recordings_below(folder: str) -> list[str]:
    """All audio files in a folder and below it, sorted."""
    return sorted(
        os.path.join(where, name)
        for where, _, names in os.walk(folder)
        for name in names
        if name.lower().endswith(SUFFIXES) and not name.startswith(".")
    )


def recording_name(file: str, source: str) -> str:
    """What a table calls a recording: its path below the folder `source`, or as it was given."""
    return os.path.relpath(file, source) if os.path.isdir(source) else file
