"""A folder that recordings arrive in: each is scored once it is finished, and its row appended to a CSV file."""

import csv
import io
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from asd_jax.base.errors import UserError
from asd_jax.listening.one_score import recording_name
from asd_jax.scoring.detector import Detector
from asd_jax.sound.audio import low_rates_warning
from asd_jax.sound.audio_files import audio_files

_LOOKS = 4  # at the folder, within the time in which a finished file does not change


class Arrived(NamedTuple):
    """A recording and its score, or why it has none."""

    name: str
    score: float
    problem: str | None


class Arrivals:
    """Which recordings below a folder are finished: their size and time of change stay for `settle` seconds.

    Attributes:
        folder: which is watched.
        settle: seconds.
        done: names that are of no interest any more.
    """

    def __init__(self, folder: str, settle: float, done: set[str]) -> None:
        """Nothing is finished at the first look."""
        self.folder, self.settle, self.done = folder, settle, done
        self._seen: dict[str, tuple[tuple[int, int], float]] = {}  # size and time of change; since when

    def finished(self, now: float) -> list[str]:
        """The files that are finished at the time `now`, in seconds of any clock that never jumps.

        Each is given once; again where it has changed since, unless its name is `done`.
        """
        seen, ready = {}, []
        for file in map(str, audio_files(self.folder)):
            name = recording_name(file, self.folder)
            if name in self.done:
                continue
            try:
                status = os.stat(file)
            except OSError:  # gone between two looks
                continue
            state = (status.st_size, status.st_mtime_ns)
            before, since = self._seen.get(name, (None, now))
            if state != before:
                since = now
            elif now - since >= self.settle:
                ready.append(file)
                since = float("inf")  # given, and not again in this state
            seen[name] = (state, since)
        self._seen = seen
        return ready


def follow(detector: Detector, folder: str, output: str, settle: float, stop: threading.Event) -> Iterator[Arrived]:
    """Scores the recordings below a folder, and new ones when they are finished, until `stop` is set.

    Every scored recording is a row of `output`: file, score and, where there is a threshold, decision. A recording
    that has a row there is not scored again; one that cannot be scored is tried again when it has changed.

    Raises:
        UserError: there is no such folder, or `output` is another table.
    """
    if not os.path.isdir(folder):
        raise UserError(f"--input={folder} is no folder: --follow needs one to watch.")
    columns = ["file", "score"] + ["decision"] * (detector.threshold is not None)
    arrivals, rates = Arrivals(folder, settle, _rows_of(output, columns)), Counter()
    with open(output, "a", encoding="utf-8", newline="") as table:
        if not table.tell():
            _append(table, columns)
        try:
            while not stop.is_set():
                for file in arrivals.finished(time.monotonic()):
                    if stop.is_set():
                        return
                    name = recording_name(file, folder)
                    try:
                        features = detector.features(detector.read(file, rates), file)
                    except UserError as error:
                        yield Arrived(name, float("nan"), str(error))
                        continue
                    score = detector.score_alone(name, features)
                    _append(table, [name, score, detector.decision(score)][: len(columns)])
                    arrivals.done.add(name)
                    yield Arrived(name, score, None)
                stop.wait(settle / _LOOKS)
        finally:
            if low := low_rates_warning(rates, detector.preset.sample_rate):
                print(f"Warning: {low}")


def _rows_of(output: str, columns: list[str]) -> set[str]:
    """The recordings that have a row; one that was cut off by a crash is removed."""
    if not os.path.exists(output):
        os.makedirs(os.path.dirname(output) or ".", exist_ok=True)
        return set()
    header = (",".join(columns) + "\n").encode()
    with open(output, "r+b") as file:
        content = file.read()
        if not content.startswith(header) and not header.startswith(content):
            raise UserError(
                f"{output} does not begin with the line {','.join(columns)}, so it is another table: name another "
                "--output."
            )
        whole = content.rfind(b"\n") + 1
        file.truncate(whole)
    rows = csv.reader(io.StringIO(content[len(header) : whole].decode("utf-8"), newline=""))
    return {row[0] for row in rows}


def _append(table: io.TextIOBase, row: list) -> None:
    """Hands a whole row to the system at once."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(row)
    table.write(text.getvalue())
    table.flush()
