"""Scores along long recordings: piece by piece, each scored as a clip of its own; stretches; a picture."""

import contextlib
import csv
import io
import itertools
import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MultipleLocator

from asd_jax.base.errors import UserError
from asd_jax.base.files import check_own, whole_file, write_atomically
from asd_jax.base.progress import tqdm
from asd_jax.listening.one_score import SCORES_BEGIN, find_recordings
from asd_jax.scoring.detector import Detector
from asd_jax.sound.audio import low_rates_warning, waveform
from asd_jax.sound.pieces import Piece, Sound, cut, open_sound

PANELS = 8
"""Of a picture; of more recordings those with the highest scores are drawn."""

_TICK_STEPS = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 21600, 43200, 86400)  # seconds


class ScoredPiece(NamedTuple):
    """A piece from `start` to `end`, in seconds, its score, and why that is NaN."""

    start: float
    end: float
    score: float
    problem: str | None


class Stretch(NamedTuple):
    """Pieces above the threshold that touch or overlap, as one: seconds, and the highest of their scores."""

    start: float
    end: float
    highest_score: float


class ScoredRecording(NamedTuple):
    """One recording along time: its pieces' bounds [pieces, 2] in seconds, their scores [pieces], its stretches."""

    name: str
    bounds: np.ndarray
    scores: np.ndarray
    stretches: list[Stretch]


class AlongTime(NamedTuple):
    """What became of the recordings: sentences about pieces without a score, and about what could not be read."""

    recordings: list[ScoredRecording]
    silences: list[str]
    problems: list[str]


def check_pieces(detector: Detector, piece: float, hop: float) -> None:
    """Raises UserError for a piece that is shorter than a window, and for a hop that leaves gaps or is none."""
    if piece < detector.window_seconds:
        raise UserError(
            f"--piece={piece:g} was given, but one window of {detector.trained.workdir} takes "
            f"{detector.window_seconds:.2f} s: take longer pieces, as long as the training clips."
        )
    if not 0.01 <= hop <= piece:
        raise UserError(f"--piece_hop={hop:g} was given: expected seconds from 0.01 to those of --piece, {piece:g}.")


def score_pieces(detector: Detector, sound: Sound, piece: float, hop: float) -> Iterator[ScoredPiece]:
    """Scores a recording in pieces, many at a time, so that every batch of windows is full."""
    pieces = cut(sound, piece, hop)
    # So many clips of one length have a whole number of batches, however many windows each has.
    together = detector.trained.recipe.batch_size
    while some := _score_some(detector, sound.rate, itertools.islice(pieces, together)):
        yield from some


def _score_some(detector: Detector, rate: int, pieces: Iterable[Piece]) -> list[ScoredPiece]:
    found: list[ScoredPiece] = []

    def read() -> Iterator[tuple[str, np.ndarray]]:
        for one in pieces:
            features, problem = _features(detector, rate, one)
            found.append(ScoredPiece(one.start, one.end, np.nan, problem))
            if features is not None:
                yield str(one.start), features

    scores = iter(detector.scores(read()))
    return [one if one.problem else one._replace(score=float(next(scores))) for one in found]


def score_live(detector: Detector, sound: Sound, piece: float, hop: float) -> Iterator[ScoredPiece]:
    """Scores sound in pieces, each as soon as it is complete. Compiles before the first one is read."""
    noise = np.random.default_rng(0).normal(size=round(piece * detector.preset.sample_rate)).astype(np.float32)
    detector.score_alone("noise", detector.features(noise, "noise"))
    for one in cut(sound, piece, hop):
        features, problem = _features(detector, sound.rate, one)
        score = np.nan if features is None else detector.score_alone(str(one.start), features)
        yield ScoredPiece(one.start, one.end, score, problem)


def _features(detector: Detector, rate: int, piece: Piece) -> tuple[np.ndarray | None, str | None]:
    try:
        wave = waveform(piece.samples, rate, detector.preset.sample_rate, "the piece", detector.channel)
        return detector.features(wave, "the piece"), None
    except UserError as error:
        return None, str(error)


def score_along_time(detector: Detector, sources: Sequence[str], output: str, piece: float, hop: float) -> AlongTime:
    """Scores recordings, and all below folders, along time.

    Writes `output`, a CSV with the columns file, start, end, score and, where there is a threshold, decision; beside it
    a picture (`.png`) and, with a threshold, `_stretches.csv`. What is kept in memory of a recording is three numbers
    for each piece.

    Args:
        detector: what scores.
        sources: audio files, and folders of them.
        output: the CSV file.
        piece: seconds of a piece.
        hop: seconds from one piece to the next, at most `piece`.

    Raises:
        UserError: there is no recording, or pieces cannot be cut like that.
    """
    check_pieces(detector, piece, hop)
    stem, decided = os.path.splitext(output)[0], detector.threshold is not None
    check_own(output, "--output", SCORES_BEGIN, "table of scores")
    check_own(f"{stem}.png", f"--output={output}", rb"\x89PNG.{,200}Software\0asd_jax", "picture")
    if decided:
        check_own(f"{stem}_stretches.csv", f"--output={output}", SCORES_BEGIN, "table of scores")
    outcome, rates = AlongTime([], [], []), Counter()
    with _table(output, ["file", "start", "end", "score"] + ["decision"] * decided) as table:
        for name, file in find_recordings(sources):
            bounds, scores, silences = [], [], []
            try:
                with open_sound(file) as sound, _progress(sound, name):
                    rates[sound.rate] += 1
                    for one in score_pieces(detector, sound, piece, hop):
                        bounds.append((one.start, one.end))
                        scores.append(one.score)
                        shown = "" if one.problem else one.score
                        row = [name, f"{one.start:.3f}", f"{one.end:.3f}", shown]
                        table.writerow(row + [detector.decision(one.score)] * decided)
                        if one.problem:
                            silences.append(f"the first at {clock_time(one.start)}: {one.problem}.")
                if sound.problem or not scores:
                    outcome.problems.append(sound.problem or f"{file} holds no samples: replace it or leave it out.")
            except UserError as error:
                outcome.problems.append(str(error))
            if silences:
                outcome.silences.append(f"{name}: {len(silences)} of {len(scores)} pieces have no score, {silences[0]}")
            if scores:
                bounds, scores = np.array(bounds), np.array(scores)
                stretches = find_stretches(bounds, scores, detector.threshold) if decided else []
                outcome.recordings.append(ScoredRecording(name, bounds, scores, stretches))
    if low := low_rates_warning(rates, detector.preset.sample_rate):
        print(f"Warning: {low}")
    if decided:
        with _table(f"{stem}_stretches.csv", ["file", "start", "end", "highest_score"]) as table:
            for recording in outcome.recordings:
                for start, end, highest in recording.stretches:
                    table.writerow([recording.name, f"{start:.3f}", f"{end:.3f}", highest])
    png = io.BytesIO()
    picture(outcome.recordings, detector.threshold).savefig(
        png, format="png", dpi=150, metadata={"Software": "asd_jax"}
    )
    write_atomically(f"{stem}.png", png.getvalue())
    return outcome


@contextlib.contextmanager
def _table(path: str, columns: Sequence[str]) -> Iterator[csv.writer]:
    """A CSV file that is there when it is whole."""
    with whole_file(path) as unfinished, unfinished.open("w", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(columns)
        yield rows


@contextlib.contextmanager
def _progress(sound: Sound, name: str) -> Iterator[None]:
    """A bar that follows what is read."""
    with tqdm(total=math.ceil(sound.seconds), unit="s", desc=name) as bar:

        def counted(blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
            for block in blocks:
                yield block
                bar.update(len(block) / sound.rate)

        sound.blocks = counted(sound.blocks)
        yield


def find_stretches(bounds: np.ndarray, scores: np.ndarray, threshold: float) -> list[Stretch]:
    """The pieces [pieces, 2] whose scores [pieces] are above the threshold, joined where they touch or overlap."""
    found: list[Stretch] = []
    for (start, end), score in zip(bounds[scores > threshold], scores[scores > threshold], strict=True):
        if found and start <= found[-1].end:
            found[-1] = Stretch(found[-1].start, end, max(found[-1].highest_score, score))
        else:
            found.append(Stretch(start, end, score))
    return found


def clock_time(seconds: float) -> str:
    """h:mm:ss, rounded down."""
    return f"{int(seconds // 3600)}:{int(seconds // 60 % 60):02d}:{int(seconds % 60):02d}"


def picture(recordings: Sequence[ScoredRecording], threshold: float | None) -> Figure:
    """A panel for every recording: its scores along time, the threshold, and its stretches shaded."""
    if len(recordings) > PANELS:
        highest = sorted(recordings, key=lambda one: -np.nanmax(one.scores, initial=-np.inf))[:PANELS]
        recordings = [one for one in recordings if any(one is other for other in highest)]
    panels = max(1, len(recordings))
    with matplotlib.rc_context({"font.size": 9, "axes.titlesize": 9}):
        figure = Figure(figsize=(10, 0.6 + 1.9 * panels), layout="constrained")
        axes = figure.subplots(panels, squeeze=False)[:, 0]
        for axis, one in zip(axes, recordings, strict=False):
            axis.plot(one.bounds.mean(1), one.scores, color="#0072B2", linewidth=1, marker=".", markersize=3)
            for start, end, _ in one.stretches:
                axis.axvspan(start, end, color="#D55E00", alpha=0.25, linewidth=0)
            if threshold is not None:
                axis.axhline(threshold, color="#D55E00", linestyle="--", linewidth=1)
                axis.annotate(
                    "threshold", (1, threshold), xycoords=("axes fraction", "data"), ha="right", va="bottom", size=7
                )
            axis.set(title=one.name, ylabel="score", xlim=(0, one.bounds[-1, 1]))
            step = min(_TICK_STEPS, key=lambda step: abs(one.bounds[-1, 1] / step - 8))  # noqa: B023
            axis.xaxis.set_major_locator(MultipleLocator(step))
            axis.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: clock_time(seconds)))
    return figure
