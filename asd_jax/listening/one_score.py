"""Recordings that nobody labelled: one anomaly score each, and a decision where there is a threshold."""

import csv
import dataclasses
import io
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from asd_jax.base.errors import UserError
from asd_jax.base.files import check_own, write_atomically
from asd_jax.base.progress import tqdm
from asd_jax.scoring.detector import load_detector
from asd_jax.sound.audio import low_rates_warning
from asd_jax.sound.audio_files import SUFFIXES, audio_files, unread_warning

SCORES_BEGIN = rb"file,(score|start,end)"
"""How the tables that score.py writes begin."""

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
    sources: Sequence[str],
    output: str,
    target_fpr: float,
    machine_id: str | None = None,
    score_hop: int | None = None,
) -> Outcome:
    """Scores audio files, and all below folders, with the runs of a workdir.

    Writes `output`, a CSV with the columns file, score and, where there is a threshold, decision. The other arguments
    as in `load_detector`.
    """
    check_own(output, "--output", SCORES_BEGIN, "table of scores")
    found = find_recordings(sources)
    detector = load_detector(workdir, target_fpr, machine_id, score_hop)
    scored, problems, long, rates = [], [], 0, Counter()

    def read() -> Iterator[tuple[str, np.ndarray]]:
        nonlocal long
        for name, file in tqdm(found, unit="clip"):
            try:
                wave = detector.read(file, rates)
                features = detector.features(wave, file)
            except UserError as error:
                problems.append(str(error))
                continue
            long += len(wave) > _LONG * detector.preset.sample_rate
            scored.append((name, file))
            yield file, features

    scores = detector.scores(read())
    if low := low_rates_warning(rates, detector.preset.sample_rate):
        print(f"Warning: {low}")
    if long:
        print(f"{long} recording(s) longer than {_LONG} s got one score each: --piece=10 scores them along time.")
    decisions = [] if detector.threshold is None else [detector.decision(score) for score in scores]
    columns = {"file": [name for name, _ in scored], "score": scores.tolist()} | (
        {"decision": decisions} if decisions else {}
    )
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(columns)
    rows.writerows(zip(*columns.values(), strict=True))
    write_atomically(output, text.getvalue())
    return Outcome([file for _, file in scored], scores, detector.threshold, decisions, problems)


class Recording(NamedTuple):
    """What a table calls a recording, and its file."""

    name: str
    file: str


def find_recordings(sources: Sequence[str]) -> list[Recording]:
    """The audio files among the sources, and all below the folders among them, each once.

    A name is the path as it was given, or where the only source is a folder the path below it.
    """
    found: dict[str, Recording] = {}
    for source in sources:
        if os.path.isfile(source):
            files = [source]
        elif not os.path.isdir(source):
            raise UserError(f"There is no {source}: expected an audio file or a folder of them.")
        else:
            files = [str(path) for path in audio_files(source)]
            if unread := unread_warning(source):
                print(f"Warning: {unread}")
            if not files:
                raise UserError(f"{source} holds no audio file: expected {', '.join(SUFFIXES)}.")
        for file in files:
            name = recording_name(file, source) if len(sources) == 1 else file
            found.setdefault(os.path.realpath(file), Recording(name, file))
    return list(found.values())


def recording_name(file: str, source: str) -> str:
    """What a table calls a recording: its path below the folder `source`, or as it was given."""
    return os.path.relpath(file, source) if os.path.isdir(source) else file
