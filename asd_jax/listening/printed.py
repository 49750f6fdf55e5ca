"""What tools/score.py prints of recordings, long sound, a folder and a pipe."""

import contextlib
import dataclasses
import json
import math
import os
import signal
import sys
import threading

from asd_jax.evaluation.results import format_table
from asd_jax.listening.along_time import PANELS, check_pieces, clock_time, score_along_time, score_live
from asd_jax.listening.follow import follow
from asd_jax.listening.one_score import score_recordings
from asd_jax.scoring.detector import Detector, load_detector
from asd_jax.sound.audio import low_rates_warning
from asd_jax.sound.pieces import raw_sound

_SHOWN = 20  # lines on the screen; the file has all


@dataclasses.dataclass(frozen=True)
class Asked:
    """By what to score, and where to.

    Attributes:
        workdir: what tools/train.py wrote.
        output: the CSV file; None for a pipe.
        target_fpr: share of normal recordings that may be called anomalous.
        machine_id: which machine was recorded, where the workdir knows several.
        score_hop: frames between windows; the recipe's where None.
    """

    workdir: str
    output: str | None
    target_fpr: float
    machine_id: str | None
    score_hop: int | None

    def detector(self) -> Detector:
        """The detector, having said its threshold."""
        found = load_detector(self.workdir, self.target_fpr, self.machine_id, self.score_hop)
        _tell_threshold(self, found.threshold)
        return found


def print_recordings(asked: Asked, sources: list[str]) -> int:
    """Scores recordings and prints the highest scores; 1 where something could not be scored."""
    outcome = score_recordings(
        asked.workdir, sources, asked.output, asked.target_fpr, asked.machine_id, asked.score_hop
    )
    _tell_threshold(asked, outcome.threshold)
    decisions = outcome.decisions or ["-"] * len(outcome.files)
    rows = [
        [f"{score:.4f}", decision, file]
        for score, decision, file in zip(outcome.scores, decisions, outcome.files, strict=True)
    ]
    most_anomalous = sorted(range(len(rows)), key=lambda i: -outcome.scores[i])[:_SHOWN]
    print(format_table(["score", "decision", "highest scores"], [rows[i] for i in most_anomalous]))
    for problem in outcome.problems:
        print(f"Not scored: {problem}")
    print(
        f"Scored {len(outcome.files)} of {len(outcome.files) + len(outcome.problems)} recordings. Wrote {asked.output}"
    )
    return 1 if outcome.problems else 0


def print_along_time(asked: Asked, sources: list[str], piece: float, hop: float) -> int:
    """Scores recordings along time and prints the stretches above the threshold; 1 where something went wrong."""
    detector = asked.detector()
    outcome = score_along_time(detector, sources, asked.output, piece, hop)
    stretches = [(one.name, stretch) for one in outcome.recordings for stretch in one.stretches]
    highest = sorted(stretches, key=lambda one: -one[1].highest_score)[:_SHOWN]
    rows = [[clock_time(one.start), clock_time(one.end), f"{one.highest_score:.4f}", name] for name, one in highest]
    if rows:
        print(format_table(["from", "to", "highest score", "above the threshold"], rows))
    for sentence in outcome.silences:
        print(sentence)
    for problem in outcome.problems:
        print(f"Not scored, or not to its end: {problem}")
    pieces = sum(len(one.scores) for one in outcome.recordings)
    stem = os.path.splitext(asked.output)[0]
    found = f", {len(stretches)} stretches above the threshold" if detector.threshold is not None else ""
    written = [asked.output, *([f"{stem}_stretches.csv"] if detector.threshold is not None else []), f"{stem}.png"]
    print(f"Scored {pieces} pieces of {len(outcome.recordings)} recordings{found}. Wrote {', '.join(written)}")
    if len(outcome.recordings) > PANELS:
        print(f"The picture shows the {PANELS} recordings with the highest scores.")
    return 1 if outcome.problems else 0


def print_followed(asked: Asked, folder: str, settle: float) -> int:
    """Scores what arrives in a folder, a line for each, until Ctrl-C or SIGTERM."""
    detector = asked.detector()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    print(f"Watching {folder}; Ctrl-C ends it.", flush=True)
    count = 0
    for one in follow(detector, folder, asked.output, settle, stop):
        count += one.problem is None
        text = f"Not scored: {one.problem}" if one.problem else f"{one.score:.4f} {detector.decision(one.score)}"
        print(text if one.problem else f"{text:<18} {one.name}", flush=True)
    print(f"Stopped. Scored {count} recordings; their rows are in {asked.output}")
    return 0


def print_pieces(asked: Asked, sample_rate: int, channels: int, piece: float, hop: float) -> int:
    """Scores raw sound from standard input, a JSON line for each piece; 1 where the sound is broken."""
    with contextlib.redirect_stdout(sys.stderr):  # standard output has JSON lines only
        detector = asked.detector()
        check_pieces(detector, piece, hop)
        if low := low_rates_warning({sample_rate: 1}, detector.preset.sample_rate):
            print(f"Warning: {low}")
    sound = raw_sound(sys.stdin.buffer, sample_rate, channels)
    count = anomalous = end = 0
    try:
        for one in score_live(detector, sound, piece, hop):
            line = {"start": round(one.start, 3), "end": round(one.end, 3)}
            line |= {"score": None, "problem": one.problem} if math.isnan(one.score) else {"score": one.score}
            decision = detector.decision(one.score)
            print(json.dumps(line | ({"decision": decision} if decision else {})), flush=True)
            count, anomalous, end = count + 1, anomalous + (decision == "anomalous"), one.end
    except BrokenPipeError:  # who read the lines is gone; Python would flush once more at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    if sound.problem:
        print(sound.problem, file=sys.stderr)
    print(f"Scored {count} pieces in {end:.1f} s of sound, {anomalous} of them anomalous.", file=sys.stderr)
    return 1 if sound.problem else 0


def _tell_threshold(asked: Asked, threshold: float | None) -> None:
    if threshold is None:
        print("No threshold is available, so nothing is decided: train with --config.held_back=N (clips) to have one.")
    else:
        print(f"Threshold {threshold:.4f} for a false positive rate of {asked.target_fpr:g}")
