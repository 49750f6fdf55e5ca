"""What lies in a folder of recordings and is no clip of the data set, by folder and kind."""

import functools
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from asd_jax.datasets.clips import Clip
from asd_jax.datasets.folder import zip_files
from asd_jax.sound.audio_files import SUFFIXES, UNREAD, files_below

_LISTS = re.compile(r"eval_data_list\.csv|ground_truth_.+\.csv|manifest\.csv|balanced_train_segments\.csv")
# eval_data_train_fan.zip in 2020, eval_data_fan_train.zip in 2021
_ZIP = re.compile(r"(dev|eval)_data_(?:(train|test)_)?(.+?)(?:_(train|test))?\.zip")
_SHOWN = 10
_folder = functools.cache(os.path.realpath)


def find_untaken(raw: Path, clips: Iterable[Clip], misfits: Iterable[str]) -> tuple[list[str], list[str]]:
    """Lines about the recordings below `raw` that are no clips, and lines about files that are no recordings.

    What the sentences of `misfits` name is left out, and so are lists that go with a data set.
    """
    taken = {_real(clip.path) for clip in clips}
    named = {sentence.split(" does not fit ")[0] for sentence in misfits}
    recordings, others = Counter(), Counter()
    for path in files_below(raw):
        if _real(str(path)) not in taken and str(path) not in named and not _LISTS.fullmatch(path.name):
            if path.name.lower().endswith(UNREAD):
                continue  # `unread_warning` names them
            counts = recordings if path.name.lower().endswith(SUFFIXES) else others
            counts[str(path.parent.relative_to(raw)), path.suffix.lower()] += 1
    return _lines(recordings), _lines(others)


def packed_zips(raw: Path, machine_types: Sequence[str] | None) -> list[str]:
    """A sentence for each archive of the challenge that lies there while its folder is absent or empty."""
    problems = []
    for path in zip_files(raw, raw / "dev_data", raw / "eval_data"):
        match = _ZIP.fullmatch(path.name)
        if not match or (machine_types and match[3] not in machine_types):
            continue
        target, split = raw / f"{match[1]}_data", match[2] or match[4] or "train"
        if not any(any(folder.glob(f"*{split}/*")) for folder in (target / match[3], target / "raw" / match[3])):
            problems.append(f"{path} is not unpacked: unzip it in {target}.")
    return problems


def _real(path: str) -> str:
    folder, name = os.path.split(path)
    return os.path.realpath(path) if os.path.islink(path) else os.path.join(_folder(folder), name)


def _lines(counts: Counter[tuple[str, str]]) -> list[str]:
    rows: Sequence[tuple[tuple[str, str], int]] = sorted(counts.items(), key=lambda row: (-row[1], row[0]))
    lines = [
        f"{count} {suffix or 'unnamed'} files in {'the folder itself' if folder == '.' else folder} are not taken"
        for (folder, suffix), count in rows[:_SHOWN]
    ]
    if len(rows) > _SHOWN:
        lines.append(
            f"{sum(count for _, count in rows[_SHOWN:])} files in {len(rows) - _SHOWN} further places are not taken"
        )
    return lines
