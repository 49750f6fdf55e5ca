"""The folders and file names of DCASE 2020 Challenge Task 2, for its six machine types and any other.

Layout (challenge baseline, README): `{dev_data,eval_data}/<machine type>/{train,test}/`, files
`{normal,anomaly}_id_XX_NNNNNNNN.wav`; evaluation test clips are `id_XX_NNNNNNNN.wav`, labelled by `eval_data_list.csv`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from asd_jax.clips import Clip
from asd_jax.datasets.folder import DEFAULT_GROUP, choose_types, is_visible, misfit, unzip_first, zip_files
from asd_jax.errors import UserError
from asd_jax.label_list import LabelList, read_label_list

GROUPS = {
    "fan": "MIMII",
    "pump": "MIMII",
    "slider": "MIMII",
    "valve": "MIMII",
    "ToyCar": "ToyADMOS",
    "ToyConveyor": "ToyADMOS",
}

# Part -> machine type -> machine ID -> (training clips, normal test clips, anomalous test clips), as published.
CLIP_COUNTS = {
    "dev": {
        "fan": {"00": (911, 100, 407), "02": (916, 100, 359), "04": (933, 100, 348), "06": (915, 100, 361)},
        "pump": {"00": (906, 100, 143), "02": (905, 100, 111), "04": (602, 100, 100), "06": (936, 100, 102)},
        "slider": {"00": (968, 100, 356), "02": (968, 100, 267), "04": (434, 100, 178), "06": (434, 100, 89)},
        "valve": {"00": (891, 100, 119), "02": (608, 100, 120), "04": (900, 100, 120), "06": (892, 100, 120)},
        "ToyCar": {"01": (1000, 350, 264), "02": (1000, 350, 265), "03": (1000, 350, 265), "04": (1000, 350, 265)},
        "ToyConveyor": {"01": (1000, 800, 400), "02": (1000, 800, 355), "03": (1000, 799, 355)},
    },
    "eval": {
        "fan": {"01": (934, 100, 326), "03": (912, 100, 358), "05": (1000, 109, 349)},
        "pump": {"01": (903, 100, 116), "03": (606, 100, 113), "05": (908, 100, 248)},
        "slider": {"01": (968, 100, 178), "03": (968, 100, 178), "05": (434, 100, 178)},
        "valve": {"01": (769, 100, 120), "03": (863, 100, 120), "05": (899, 100, 400)},
        "ToyCar": {"05": (1000, 250, 265), "06": (1000, 250, 265), "07": (1000, 250, 265)},
        "ToyConveyor": {"04": (1000, 200, 355), "05": (1000, 200, 355), "06": (1000, 200, 355)},
    },
}

CLIP_SECONDS = {machine_type: 11.0 if machine_type == "ToyCar" else 10.0 for machine_type in GROUPS}

_NAME = re.compile(r"(?:(normal|anomaly)_)?id_(\d+)_(\d+)")


def list_clips(
    raw_dir: str,
    *,
    machine_types: Sequence[str] | None = None,
    groups: Mapping[str, str] | None = None,
    misfits: list[str] | None = None,
) -> list[Clip]:
    """Lists the clips below `raw_dir` from their names alone; no audio is opened.

    Args:
        raw_dir: holds `dev_data`, `eval_data` or both. Where `eval_data_list.csv` lies in it or in its `eval_data`,
            the evaluation test clips are labelled from it; a name in the list matches whatever its extension.
        machine_types: only these; all that are found where None.
        groups: machine type -> recording group. Types that it does not name have the group of the challenge (MIMII,
            ToyADMOS); types that the challenge does not know share the group "default".
        misfits: takes the sentences about names that do not fit, which are an error where it is None.

    Returns:
        The clips, sorted.

    Raises:
        UserError: nothing found, a name that does not fit, two labels for one clip, or a machine type that is not
            there.
    """
    raw = Path(raw_dir)
    parts = {"dev": raw / "dev_data", "eval": raw / "eval_data"}
    found = {path.name for folder in parts.values() if folder.is_dir() for path in _visible(folder) if path.is_dir()}
    if not found:
        raise _empty(raw)
    types = choose_types(found, machine_types, raw)
    list_file = next(
        (f for f in (raw / "eval_data_list.csv", parts["eval"] / "eval_data_list.csv") if f.is_file()), None
    )
    eval_labels = read_label_list(list_file) if list_file else {}
    groups = dict.fromkeys(types, DEFAULT_GROUP) | GROUPS | dict(groups or {})
    clips = [
        Clip(machine_type, machine_id, split, str(path), label, part=part, group=groups[machine_type])
        for part, folder in parts.items()
        for machine_type in types
        for split in ("train", "test")
        for path, machine_id, label in _read_names(folder / machine_type / split, part, split, eval_labels, misfits)
    ]
    if not clips:
        raise _empty(raw)
    return sorted(clips)


def _read_names(
    folder: Path, part: str, split: str, eval_labels: LabelList, misfits: list[str] | None
) -> Iterator[tuple[Path, str, int | None]]:
    """Yields (file, machine ID, label) for every clip of one machine type, part and split."""
    if split == "train":
        prefixes, expected = ("normal",), "normal_id_XX_NNNNNNNN"
    elif part == "dev":
        prefixes, expected = ("normal", "anomaly"), "normal_id_XX_NNNNNNNN or anomaly_id_XX_NNNNNNNN"
    else:
        prefixes = (None, "normal", "anomaly")
        expected = "id_XX_NNNNNNNN, normal_id_XX_NNNNNNNN or anomaly_id_XX_NNNNNNNN"
    seen: dict[str, Path] = {}
    for path in _visible(folder) if folder.is_dir() else ():
        match = _NAME.fullmatch(path.stem)
        if not match or match[1] not in prefixes or path.suffix.lower() not in (".wav", ".flac"):
            misfit(
                misfits,
                f"{path} does not fit the DCASE 2020 layout: files of this folder are called {expected} "
                "(XX the machine ID, N digits), .wav or .flac; rename it or move it away.",
            )
            continue
        if path.stem in seen:
            misfit(misfits, f"{path} and {seen[path.stem]} are one clip twice; keep one of them.")
            continue
        seen[path.stem] = path
        label = {"normal": 0, "anomaly": 1}.get(match[1])
        if label is None:
            label = eval_labels.get(folder.parent.name, {}).get(path.stem)
        yield path, match[2], label


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if is_visible(path.name))


def _empty(raw: Path) -> UserError:
    zips = zip_files(raw, raw / "dev_data", raw / "eval_data")
    return UserError(
        f"No recordings found in {raw}: expected {raw}/dev_data/<machine type>/train/normal_id_XX_NNNNNNNN.wav, "
        f"and the like in test and eval_data{unzip_first(zips)}."
    )
