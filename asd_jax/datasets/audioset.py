"""AudioSet, balanced training segments: outlier set (f) of paper 1, sounds of every kind from YouTube.

No machine was recorded on purpose. All clips are training clips of one stand-in for a machine, and have no label: they
are neither normal nor anomalous.
"""

import csv
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from asd_jax.base.errors import UserError
from asd_jax.datasets.clips import Clip
from asd_jax.datasets.dataset import Dataset
from asd_jax.datasets.folder import choose_types, unzip_first, zip_files
from asd_jax.sound.audio_files import audio_files

MACHINE_TYPE = "AudioSet"
MACHINE_ID = "all"
SEGMENTS = "balanced_train_segments.csv"

_YTID = "[A-Za-z0-9_-]{11}"
_NAME = re.compile(rf"Y?(?P<id>{_YTID})(_[0-9.]+)*")  # what tools call a segment: ID, YID, ID_start, ID_start_end


def list_clips(
    raw_dir: str,
    *,
    machine_types: Sequence[str] | None = None,
    groups: Mapping[str, str] | None = None,
    misfits: list[str] | None = None,
) -> list[Clip]:
    """Lists the recordings below a folder, from names alone; no audio is opened.

    Files are segments of ten seconds, as downloaded and cut. Paper 1's code reads at most their first 15 s and trims
    zero samples off both ends; here a file is taken as it is, whole. As there, a file of zeros alone is left out.

    Args:
        raw_dir: holds audio files, in a folder for each class, as paper 1's code has it (`audiosetdata/<class>/*.wav`),
            or in any other folders or none. A file name that is found in several folders, since a clip may be of
            several classes, is one clip. Where `balanced_train_segments.csv` lies in `raw_dir`, the clips are those of
            its segments that are there, by YouTube IDs: `<ID>.wav`, `Y<ID>.wav`, `<ID>_<start>.wav`.
        machine_types: None or "AudioSet".
        groups: may give "AudioSet" another recording group than "AudioSet". The outlier sets do not ask for it.
        misfits: takes the sentences about listed segments without a file, and about files that are not listed, which
            are printed where it is None: hardly anyone has all segments, for many are no longer on YouTube.

    Returns:
        The clips, sorted.

    Raises:
        UserError: nothing found, a list of segments that cannot be read, or another machine type was named.
    """
    raw = Path(raw_dir)
    files = list({path.stem: path for path in reversed(audio_files(raw))}.values())
    if (raw / SEGMENTS).is_file():
        files = _listed(files, raw / SEGMENTS, print if misfits is None else misfits.append)
    if not files:
        raise UserError(
            f"No recordings found in {raw}: expected audio files in a folder for each class, or {SEGMENTS} and audio "
            f"files that are called by YouTube IDs{unzip_first(zip_files(raw))}."
        )
    choose_types({MACHINE_TYPE}, machine_types, raw)
    group = (groups or {}).get(MACHINE_TYPE, MACHINE_TYPE)
    return sorted(Clip(MACHINE_TYPE, MACHINE_ID, "train", str(path), group=group) for path in files)


def _listed(files: Sequence[Path], segments: Path, report: Callable[[str], None]) -> list[Path]:
    """The files that are segments of the list; reports what is on one side only."""
    ids = _read_ids(segments)
    listed, others, found = [], [], set()
    for path in files:
        match = _NAME.fullmatch(path.stem)
        if match and match["id"] in ids:
            listed.append(path)
            found.add(match["id"])
        else:
            others.append(path)
    if missing := len(ids - found):
        report(f"{missing} of the {len(ids)} segments in {segments} have no file: add them or do without.")
    if others:
        names = ", ".join(str(path) for path in others[:3]) + (" and others" if len(others) > 3 else "")
        report(f"{len(others)} files are left out, since {segments} does not list them: {names}.")
    return listed


def _read_ids(segments: Path) -> set[str]:
    """The YouTube IDs: the first column of the lines that are no comments."""
    ids = set()
    with segments.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        try:
            rows = list(enumerate(csv.reader(file, skipinitialspace=True), 1))
        except csv.Error as error:
            raise UserError(
                f"{segments} is not a CSV file ({error}): take the list as AudioSet's page offers it."
            ) from error
    for number, row in rows:
        if row and not row[0].startswith("#"):
            if not re.fullmatch(_YTID, row[0]):
                raise UserError(
                    f"{segments}, line {number} begins with {row[0]!r}: expected a YouTube ID of 11 characters; "
                    "take the list as AudioSet's page offers it."
                )
            ids.add(row[0])
    return ids


DATASET = Dataset(name="audioset", list_clips=list_clips, other_sounds=MACHINE_TYPE, tells_untaken=True)
