"""What the layouts of the challenge's years share: folders of clips, which differ in names, and lists of labels."""

import itertools
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from asd_jax.base.errors import UserError
from asd_jax.datasets.clips import Clip
from asd_jax.datasets.folder import DEFAULT_GROUP, check_name, choose_types, misfit, unzip_first, zip_files
from asd_jax.datasets.labels import LabelList, read_label_list
from asd_jax.sound.audio_files import is_visible

_LONGEST_ID = 20


@dataclass(frozen=True)
class ClipFolder:
    """A folder that every machine type has, and how its clips are called.

    Attributes:
        part: "dev" (below `dev_data`) or "eval" (below `eval_data`).
        name: "train", or another name for a folder of test clips.
        pattern: a regular expression for file names without extension. Its groups are `id`, the machine ID; `label`,
            which may match nothing; `domain` and `attributes`, where the year has them.
        expected: the pattern as people read it, with XX for the ID.
    """

    part: str
    name: str
    pattern: str
    expected: str


@dataclass(frozen=True)
class Layout:
    """The folders of one year, training clips of the development part first, and its machine types' groups."""

    year: int
    folders: tuple[ClipFolder, ...]
    groups: Mapping[str, str]


def expected(layout: Layout) -> str:
    """Where a challenge's clips lie."""
    names = dict.fromkeys(folder.name for folder in layout.folders)
    return f"DCASE {layout.year} has its clips in <machine type>/{{{','.join(names)}}} of dev_data and eval_data."


def list_clips(
    layout: Layout,
    raw: Path,
    labels: LabelList,
    machine_types: Sequence[str] | None,
    groups: Mapping[str, str] | None,
    misfits: list[str] | None,
) -> list[Clip]:
    """Lists the clips of a layout from their names; what the names do not say about labels is in `labels`.

    Args, result and errors are those of the `list_clips` of every layout.
    """
    found = {
        unicodedata.normalize("NFC", path.name): path.name  # a name with accents, and how it is on disk
        for part in ("dev", "eval")
        for where in part_folders(raw, part)
        for path in _visible(where)
        if any((path / folder.name).is_dir() for folder in layout.folders)
    }
    if not found:
        raise _empty(layout, raw)
    types = choose_types(found, machine_types, raw)
    for machine_type in types:
        check_name("machine type", machine_type, str(raw))
    groups = dict.fromkeys(types, DEFAULT_GROUP) | dict(layout.groups) | dict(groups or {})
    clips = []
    for folder in layout.folders:
        for machine_type, where in itertools.product(types, part_folders(raw, folder.part)):
            for path, fields in _read_names(where / found[machine_type] / folder.name, layout.year, folder, misfits):
                label = {"normal": 0, "anomaly": 1}.get(fields["label"])
                if label is None:
                    label = labels.get(machine_type, {}).get(path.stem)
                clips.append(
                    Clip(
                        machine_type,
                        fields["id"],
                        "train" if folder.name == "train" else "test",
                        str(path),
                        label,
                        domain=fields.get("domain", "source"),
                        part=folder.part,
                        group=groups[machine_type],
                        attributes=fields.get("attributes") or "",
                    )
                )
    if not clips:
        raise _empty(layout, raw)
    return sorted(clips)


def part_folders(raw: Path, part: str) -> tuple[Path, Path]:
    """Where the machine types of a part lie: below `raw` in it the programs of the later years have them."""
    return raw / f"{part}_data", raw / f"{part}_data" / "raw"


def read_labels(raw: Path, more: Iterable[tuple[Path, LabelList]] = ()) -> LabelList:
    """The labels of `eval_data_list.csv`, in `raw` or its `eval_data`, and of further files.

    Raises:
        UserError: a list that cannot be read, or two files that say different things about a clip.
    """
    places = (raw / "eval_data_list.csv", raw / "eval_data" / "eval_data_list.csv")
    labels: LabelList = {}
    told_by: dict[tuple[str, str], Path] = {}
    for path, listed in [*((place, read_label_list(place)) for place in places if place.is_file()), *more]:
        for machine_type, clips in listed.items():
            known = labels.setdefault(machine_type, {})
            for name, label in clips.items():
                if known.setdefault(name, label) != label:
                    raise UserError(
                        f"{told_by[machine_type, name]} and {path} give {machine_type} clip {name} two labels, "
                        f"{known[name]} and {label}: correct one of them or take it away."
                    )
                told_by.setdefault((machine_type, name), path)
    return labels


def _read_names(
    where: Path, year: int, folder: ClipFolder, misfits: list[str] | None
) -> Iterator[tuple[Path, dict[str, str | None]]]:
    """Yields every clip of a folder, and the fields of its name."""
    seen: dict[str, Path] = {}
    for path in _visible(where):
        match = re.fullmatch(folder.pattern, path.stem)
        if not match or path.suffix.lower() not in (".wav", ".flac"):
            misfit(
                misfits,
                f"{path} does not fit the DCASE {year} layout: files of this folder are called {folder.expected} "
                "(XX the machine ID, N digits), .wav or .flac; rename it or move it away.",
            )
        elif len(match["id"]) > _LONGEST_ID:
            misfit(misfits, f"{path} has a machine ID of more than {_LONGEST_ID} digits; rename it.")
        elif path.stem in seen:
            misfit(misfits, f"{path} and {seen[path.stem]} are one clip twice; keep one of them.")
        else:
            seen[path.stem] = path
            yield path, match.groupdict()


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if is_visible(path.name)) if folder.is_dir() else []


def _empty(layout: Layout, raw: Path) -> UserError:
    first = layout.folders[0]
    others = dict.fromkeys(folder.name for folder in layout.folders if folder.name != first.name)
    zips = zip_files(raw, raw / "dev_data", raw / "eval_data")
    return UserError(
        f"No recordings found in {raw}: expected {raw}/dev_data/<machine type>/{first.name}/{first.expected}.wav, "
        f"and the like in {', '.join(others)} and eval_data{unzip_first(zips)}."
    )
