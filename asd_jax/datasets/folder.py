"""People's own machines: a CSV manifest, or a plain tree of folders. Any audio format that soundfile reads."""

import csv
import io
import os
import re
import unicodedata
import urllib.parse
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from asd_jax.base.errors import UserError, is_one_line, one_line
from asd_jax.datasets.clips import Clip, Machine
from asd_jax.datasets.dataset import Dataset
from asd_jax.sound.audio_files import audio_files

DEFAULT_GROUP = "default"
COLUMNS = ("path", "machine_type", "machine_id", "split", "label")
CHANNEL = "channel"
"""A column that may be left out: which channel of a recording is the machine's, from 0."""

_DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "bars"}
_LABELS = {"": None, "0": 0, "0.0": 0, "normal": 0, "1": 1, "1.0": 1, "anomaly": 1}
_NORMAL = ("normal", "healthy", "good", "ok", "okay", "nominal", "intact")
_ANOMALOUS = (
    *("anomaly", "anomalies", "anomalous", "abnormal", "fault", "faults", "faulty", "failure", "failures"),
    *("defect", "defects", "defective", "broken", "damaged", "bad", "ng"),
)
_WORDS = dict.fromkeys(_NORMAL, 0) | dict.fromkeys(_ANOMALOUS, 1)
_FOLDER = re.compile(rf"(?:\d+[\W_]*)?({'|'.join(_WORDS)})(?:[\W_]*\d+)?", re.IGNORECASE)  # alone or with a number
_FILE = re.compile(r"(normal|anomaly|anomalous|abnormal)(?![a-z])", re.IGNORECASE)
_LONGEST_NAME = 80
_TREE = "machine_type/machine_id/train/ or machine_type/machine_id/test/"


def list_clips(
    raw_dir: str,
    *,
    machine_types: Sequence[str] | None = None,
    groups: Mapping[str, str] | None = None,
    misfits: list[str] | None = None,
) -> list[Clip]:
    """Lists the clips of a manifest or of a plain tree, from names alone.

    Args:
        raw_dir: a CSV manifest, a folder that holds `manifest.csv`, or the top of a tree
            `machine_type/machine_id/{train,test}/...`. Paths in a manifest are relative to it; a column `channel` says
            which channel of a recording is taken. In a tree, a test clip's label comes from a folder below `test`
            that is called by a common word for normal or anomalous (`normal`, `healthy`, `ok`, `abnormal`, `Fault 2`),
            or from a file name that begins with `normal` or `anomaly`.
        machine_types: only these; all where None.
        groups: machine type -> recording group; the types that it does not name share the group "default".
        misfits: takes the sentences about names and rows that do not fit, which are an error where it is None.

    Returns:
        The clips, sorted. Training clips are normal; a test clip that nobody has labelled has the label None.

    Raises:
        UserError: nothing found, a name or row that does not fit, an anomaly among training clips, two labels for one
            clip, or a machine type that is not there.
    """
    raw = Path(raw_dir)
    manifest = find_manifest(raw)
    if manifest:
        clips = _from_manifest(manifest, groups or {}, misfits)
    else:
        clips = _from_tree(raw, groups or {}, misfits)
    if not clips:
        raise UserError(
            f"No recordings found in {raw}: expected a manifest.csv with the columns {','.join(COLUMNS)}, "
            f"or audio files in {_TREE}{unzip_first(zip_files(raw))}."
        )
    types = choose_types({clip.machine_type for clip in clips}, machine_types, raw)
    return sorted(clip for clip in clips if clip.machine_type in types)


def find_manifest(raw: Path) -> Path | None:
    """The manifest that `raw` is or holds; None where it is a tree."""
    manifest = raw if raw.suffix.lower() == ".csv" else raw / "manifest.csv"
    return manifest if manifest.is_file() else None


def choose_types(found: Collection[str], wanted: Sequence[str] | None, raw: Path) -> list[str]:
    """The machine types to read, sorted: all found, or those wanted. Raises UserError where one is not there."""
    missing = sorted(set(wanted or ()) - set(found))
    if missing:
        raise UserError(
            f"No machine type {', '.join(missing)} in {raw}: it holds {', '.join(sorted(found)) or 'none'}; "
            "name machine types that are there."
        )
    return sorted(wanted or found)


def misfit(misfits: list[str] | None, sentence: str) -> None:
    """Keeps a sentence about something that does not fit, or raises it where nobody keeps it."""
    if misfits is None:
        raise UserError(sentence)
    if one_line(sentence) not in misfits[-1:]:  # one sentence for a folder of many clips
        misfits.append(one_line(sentence))


def zip_files(*folders: Path) -> list[Path]:
    """The zip archives that lie directly in the folders."""
    return sorted(path for folder in folders for path in folder.glob("*.zip"))


def unzip_first(zips: Sequence[Path]) -> str:
    """The end of a sentence about an empty folder: names archives that nobody has unpacked, if there are any."""
    if not zips:
        return ""
    names = ", ".join(path.name for path in zips[:3]) + (", ..." if len(zips) > 3 else "")
    return f" ({names} lies there: unzip it first)" if len(zips) == 1 else f" ({names} lie there: unzip them first)"


def _from_manifest(manifest: Path, groups: Mapping[str, str], misfits: list[str] | None) -> list[Clip]:
    try:
        reader = csv.DictReader(io.StringIO(manifest.read_bytes().decode("utf-8-sig"), newline=""))
        missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
        rows = [(reader.line_num, row) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"The manifest {manifest} is not a CSV file in UTF-8 ({error}); save it again.") from error
    if missing:
        first = ",".join(reader.fieldnames or ())
        between = next((name for mark, name in _DELIMITERS.items() if mark in first and "path" in first), None)
        found = f" (it is divided by {between}: save it with commas)" if between else ""
        raise UserError(
            f"The manifest {manifest} has no column {', '.join(missing)}{found}: expected the first line "
            f"{','.join(COLUMNS)}."
        )
    clips: dict[str, Clip] = {}
    for line, row in rows:
        where = f"{manifest}, line {line}"
        try:
            clip = _from_row(row, manifest, where, groups)
        except UserError as error:
            misfit(misfits, str(error))
            continue
        if clips.setdefault(clip.path, clip) != clip:
            misfit(
                misfits,
                f"{where}: {row['path']} is listed a second time with another label, split or machine; "
                "keep one row for each recording.",
            )
    return list(clips.values())


def _from_row(row: dict[str, str | None], manifest: Path, where: str, groups: Mapping[str, str]) -> Clip:
    if None in row:
        raise UserError(f"{where}: it has more cells than the first line; write a value that holds commas in quotes.")
    name, machine_type, machine_id, split, label = ((row[column] or "").strip() for column in COLUMNS)
    split = split.lower()
    if not (name and machine_type and machine_id):
        raise UserError(f"{where}: path, machine_type and machine_id must not be empty; fill them in.")
    machine_type, machine_id = _checked_machine(machine_type, machine_id, where)
    if split not in ("train", "test"):
        raise UserError(f"{where}: the split is {split!r}; expected train or test.")
    if label.lower() not in _LABELS:
        raise UserError(f"{where}: the label is {label!r}; expected 0, 1, normal, anomaly or nothing.")
    channel = (row.get(CHANNEL) or "").strip()
    if channel and not re.fullmatch("[0-9]{1,3}", channel):
        raise UserError(f"{where}: the channel is {channel!r}; expected a number from 0, or nothing for their mean.")
    path = os.path.normpath(manifest.parent / name)
    if not os.path.isfile(path):
        raise UserError(f"{where}: there is no file {path}; paths are relative to the folder of the manifest.")
    value = _train_is_normal(_LABELS[label.lower()], split, where)
    group = groups.get(machine_type, DEFAULT_GROUP)
    return Clip(machine_type, machine_id, split, path, value, group=group, channel=int(channel) if channel else None)


def _from_tree(raw: Path, groups: Mapping[str, str], misfits: list[str] | None) -> list[Clip]:
    clips = []
    for path in audio_files(raw):
        try:
            clips.append(_from_path(path, raw, groups))
        except UserError as error:
            misfit(misfits, str(error))
    return clips


def _from_path(path: Path, raw: Path, groups: Mapping[str, str]) -> Clip:
    parts = path.relative_to(raw).parts
    if len(parts) < 4 or parts[2] not in ("train", "test"):
        raise UserError(f"{path} does not fit the layout: expected it in {_TREE} below {raw}; move it there.")
    machine_type, machine_id, split, *names = parts
    machine_type, machine_id = _checked_machine(machine_type, machine_id, str(path))
    labels = {
        _WORDS[match[1].lower()] for match in (*map(_FOLDER.fullmatch, names[:-1]), _FILE.match(names[-1])) if match
    }
    if len(labels) == 2:
        raise UserError(f"{path} is called both normal and anomaly; rename the file or its folder.")
    by = _labelling(names)
    where = str(raw.joinpath(*parts[:3], *names[:by]) if by else path)
    label = _train_is_normal(next(iter(labels), None), split, where)
    return Clip(machine_type, machine_id, split, str(path), label, group=groups.get(machine_type, DEFAULT_GROUP))


def _labelling(names: Sequence[str]) -> int:
    """How many of the names below train or test lead to the folder that labels the file; 0 where none does."""
    return next((number for number, name in enumerate(names[:-1], 1) if _FOLDER.fullmatch(name)), 0)


def taken_for(clips: Sequence[Clip], raw: Path) -> tuple[list[str], str | None]:
    """What the folders of a tree were taken for, a line each; and a warning where test clips have no label."""
    folders: dict[str, Counter[str]] = {}
    unlabelled: dict[str, int] = {}
    for clip in clips:
        split, *names = Path(clip.path).relative_to(raw).parts[2:]
        folder = "/".join([split, *names[: _labelling(names) or min(1, len(names) - 1)]])
        label = {0: "normal", 1: "anomalous", None: "without a label"}[clip.label]
        folders.setdefault(folder, Counter())["healthy, to learn from" if split == "train" else label] += 1
        if clip.label is None:
            where = "/".join([*clip.machine, folder])
            unlabelled[where] = unlabelled.get(where, 0) + 1
    lines = [
        f"{folder}: " + ", ".join(f"{count} {what}" for what, count in sorted(found.items()))
        for folder, found in sorted(folders.items())
    ]
    if not unlabelled:
        return lines, None
    return lines, (
        f"{sum(unlabelled.values())} test clips have no label ({', '.join(list(unlabelled)[:3])}"
        f"{' and others' if len(unlabelled) > 3 else ''}): to measure with them, call their folders normal or anomaly."
    )


def _checked_machine(machine_type: str, machine_id: str, where: str) -> Machine:
    """Both in Unicode's composed form; they become part of file names, from which the ID is read back."""
    machine = unicodedata.normalize("NFC", machine_type), unicodedata.normalize("NFC", machine_id)
    for what, name in zip(("machine type", "machine ID"), machine, strict=True):
        letters = "".join("a" if unicodedata.category(letter)[0] == "M" else letter for letter in name)
        if not re.fullmatch(r"\w[\w. -]*", letters) or "id_" in name or "section_" in name:
            raise UserError(
                f"{where}: the {what} is {name!r}; expected letters, digits, spaces and - _ . in it, and neither "
                "'id_' nor 'section_'; rename it."
            )
        check_name(what, name, where)
    return machine


def check_name(what: str, name: str, where: str) -> None:
    """Refuses a machine type or ID that cannot be part of file names: percent-encoded, of at most 255 characters."""
    if not is_one_line(name) or len(urllib.parse.quote(name)) > _LONGEST_NAME:
        raise UserError(
            f"{where}: the {what} is {name!r}; expected text of at most {_LONGEST_NAME} characters, of which letters "
            "outside ASCII count for several; rename it."
        )


def _train_is_normal(label: int | None, split: str, where: str) -> int | None:
    if split == "test":
        return label
    if label == 1:
        raise UserError(f"{where}: an anomaly among the training clips, which must be normal; move it to test.")
    return 0


DATASET = Dataset(name="folder", list_clips=list_clips)
