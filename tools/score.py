"""Scores recordings nobody labelled.

python tools/score.py --workdir=W --input=FILE_OR_DIR --output=scores.csv [MORE ...]
python tools/score.py --workdir=W --input=FILE_OR_DIR --output=scores.csv --piece=10    # long ones, along time
python tools/score.py --workdir=W --input=DIR --output=scores.csv --follow    # and those that arrive there
arecord -q -t raw -f S16_LE -r 48000 | python tools/score.py --workdir=W --stdin --sample_rate=48000
"""

import contextlib
import json
import math
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

import installed  # noqa: F401  or one sentence

# isort: split
from asd_jax.base import interrupt  # noqa: F401  Ctrl-C is one line from here on

# isort: split
from absl import flags

from asd_jax.base import cli
from asd_jax.base.errors import UserError

if TYPE_CHECKING:
    from asd_jax.scoring.detector import Detector

_WORKDIR = flags.DEFINE_string("workdir", None, "What tools/train.py wrote.", required=True)
_INPUT = flags.DEFINE_string(
    "input", None, "An audio file or a folder of them, one window long or more; words after the flags are more of them."
)
_OUTPUT = flags.DEFINE_string("output", None, "The CSV file to write: file, score and, with a threshold, decision.")
_TARGET_FPR = flags.DEFINE_float("target_fpr", 0.1, "Share of normal recordings that may be called anomalous.")
_MACHINE_ID = flags.DEFINE_string("machine_id", None, "Which machine was recorded, where the workdir knows several.")
_SCORE_HOP = flags.DEFINE_integer(
    "score_hop", None, "Frames between the windows of a recording; the recipe's if unset."
)
_PIECE = flags.DEFINE_float(
    "piece", None, "Score along time, in pieces of so many seconds: best as long as the training clips."
)
_PIECE_HOP = flags.DEFINE_float("piece_hop", None, "Seconds from one piece to the next; --piece if unset.")
_FOLLOW = flags.DEFINE_bool("follow", False, "Go on watching the folder --input; appends to --output.")
_SETTLE = flags.DEFINE_float("settle", 2, "Seconds without a change until a file is finished.", lower_bound=0.1)
_STDIN = flags.DEFINE_bool("stdin", False, "Score raw little-endian 16-bit PCM, a JSON line for each piece (10 s).")
_SAMPLE_RATE = flags.DEFINE_integer("sample_rate", None, "Of --stdin, Hz.", lower_bound=1)
_CHANNELS = flags.DEFINE_integer("channels", 1, "Of --stdin.", lower_bound=1)
_SHOWN = 20  # lines on the screen; the file has all
_STDIN_PIECE = 10.0  # seconds, the papers' clips


def main(words: list[str]) -> int:
    """Scores --input, and the words as well; exits with 1 where something could not be scored."""
    if not 0 < _TARGET_FPR.value < 1:
        raise UserError(f"--target_fpr={_TARGET_FPR.value} was given: expected a share between 0 and 1, such as 0.1.")
    if _STDIN.value:
        if _INPUT.value or words or _OUTPUT.value or _FOLLOW.value or not _SAMPLE_RATE.value:
            raise UserError("--stdin takes --sample_rate (Hz), and neither --input, --output nor --follow.")
        return _score_stdin()
    sources = [_INPUT.value] * bool(_INPUT.value) + words
    if not (sources and _OUTPUT.value):
        raise UserError("--input and --output are needed (or --stdin): name the recordings and the CSV file to write.")
    if _FOLLOW.value and _PIECE.value:
        raise UserError("--follow gives every recording one score: leave --piece out.")
    if _PIECE_HOP.value and not _PIECE.value:
        raise UserError("--piece_hop was given without --piece: give both, such as --piece=10 --piece_hop=5.")
    if _FOLLOW.value:
        if len(sources) > 1:
            raise UserError(f"--follow watches one folder, and {len(sources)} were given: {', '.join(sources)}.")
        return _follow(sources[0])
    return _score_along_time(sources) if _PIECE.value else _score_recordings(sources)


def _score_recordings(sources: list[str]) -> int:
    from asd_jax.evaluation.results import format_table
    from asd_jax.listening.recordings import score_recordings

    outcome = score_recordings(
        _WORKDIR.value, sources, _OUTPUT.value, _TARGET_FPR.value, _MACHINE_ID.value, _SCORE_HOP.value
    )
    _tell_threshold(outcome.threshold)
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
        f"Scored {len(outcome.files)} of {len(outcome.files) + len(outcome.problems)} recordings. Wrote {_OUTPUT.value}"
    )
    return 1 if outcome.problems else 0


def _score_along_time(sources: list[str]) -> int:
    from asd_jax.evaluation.results import format_table
    from asd_jax.listening.along_time import PANELS, clock, score_along_time

    detector = _detector()
    hop = _PIECE_HOP.value or _PIECE.value
    outcome = score_along_time(detector, sources, _OUTPUT.value, _PIECE.value, hop)
    stretches = [(one.name, stretch) for one in outcome.recordings for stretch in one.stretches]
    highest = sorted(stretches, key=lambda one: -one[1].highest_score)[:_SHOWN]
    rows = [[clock(one.start), clock(one.end), f"{one.highest_score:.4f}", name] for name, one in highest]
    if rows:
        print(format_table(["from", "to", "highest score", "above the threshold"], rows))
    for sentence in outcome.silences:
        print(sentence)
    for problem in outcome.problems:
        print(f"Not scored, or not to its end: {problem}")
    pieces = sum(len(one.scores) for one in outcome.recordings)
    stem = os.path.splitext(_OUTPUT.value)[0]
    found = f", {len(stretches)} stretches above the threshold" if detector.threshold is not None else ""
    written = [_OUTPUT.value, *([f"{stem}_stretches.csv"] if detector.threshold is not None else []), f"{stem}.png"]
    print(f"Scored {pieces} pieces of {len(outcome.recordings)} recordings{found}. Wrote {', '.join(written)}")
    if len(outcome.recordings) > PANELS:
        print(f"The picture shows the {PANELS} recordings with the highest scores.")
    return 1 if outcome.problems else 0


def _follow(folder: str) -> int:
    from asd_jax.listening.follow import follow

    detector = _detector()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    print(f"Watching {folder}; Ctrl-C ends it.", flush=True)
    count = 0
    for one in follow(detector, folder, _OUTPUT.value, _SETTLE.value, stop):
        count += one.problem is None
        text = f"Not scored: {one.problem}" if one.problem else f"{one.score:.4f} {detector.decision(one.score)}"
        print(text if one.problem else f"{text:<18} {one.name}", flush=True)
    print(f"Stopped. Scored {count} recordings; their rows are in {_OUTPUT.value}")
    return 0


def _score_stdin() -> int:
    piece = _PIECE.value or _STDIN_PIECE
    hop = _PIECE_HOP.value or piece
    with contextlib.redirect_stdout(sys.stderr):  # standard output has JSON lines only
        from asd_jax.listening.along_time import check_pieces, score_live
        from asd_jax.sound.audio import low_rates_told
        from asd_jax.sound.pieces import raw_sound

        detector = _detector()
        check_pieces(detector, piece, hop)
        if low := low_rates_told({_SAMPLE_RATE.value: 1}, detector.preset.sample_rate):
            print(f"Warning: {low}")
    sound = raw_sound(sys.stdin.buffer, _SAMPLE_RATE.value, _CHANNELS.value)
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


def _detector() -> "Detector":
    from asd_jax.scoring.detector import load_detector

    detector = load_detector(_WORKDIR.value, _TARGET_FPR.value, _MACHINE_ID.value, _SCORE_HOP.value)
    _tell_threshold(detector.threshold)
    return detector


def _tell_threshold(threshold: float | None) -> None:
    if threshold is None:
        print("No threshold is available, so nothing is decided: train with --config.held_back=N (clips) to have one.")
    else:
        print(f"Threshold {threshold:.4f} for a false positive rate of {_TARGET_FPR.value:g}")


if __name__ == "__main__":
    cli.run(main, takes_words=True)
