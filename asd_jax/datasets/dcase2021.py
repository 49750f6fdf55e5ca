"""The folders and file names of DCASE 2021 Challenge Task 2, for its seven machine types and any other.

Layout (challenge baseline, README): `{dev_data,eval_data}/<machine type>/{train,source_test,target_test}/`, files
`section_XX_{source,target}_{train,test}_{normal,anomaly}_NNNN.wav`, with attributes before the extension in `train`.
Evaluation test clips bear no label. Labels are in `eval_data_list.csv`, or in the files of the challenge's evaluator,
`ground_truth_<machine type>_section_XX_{source,target}_test.csv`. A section is what the year 2020 calls a machine ID.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from asd_jax.base.errors import UserError
from asd_jax.datasets import challenge
from asd_jax.datasets.clips import DOMAINS, Clip
from asd_jax.datasets.dataset import Dataset, MadeUp, MadeUpClip, flat_counts
from asd_jax.datasets.labels import LIST, LabelList, read_rows, without_extension
from asd_jax.measures.challenge import HarmonicMeasures
from asd_jax.measures.file_names import ScoreFiles

GROUPS = {
    "fan": "MIMII DUE",
    "gearbox": "MIMII DUE",
    "pump": "MIMII DUE",
    "slider": "MIMII DUE",
    "valve": "MIMII DUE",
    "ToyCar": "ToyADMOS2",
    "ToyTrain": "ToyADMOS2",
}

_SECTIONS = {"dev": ("00", "01", "02"), "eval": ("03", "04", "05")}
_TRAIN_CLIPS = {"source": 1000, "target": 3}
_TEST_CLIPS = {  # (normal, anomalous) test clips where they are not 100 and 100
    ("gearbox", "03", "source"): (130, 104),
    ("gearbox", "03", "target"): (104, 182),
    ("gearbox", "04", "source"): (144, 108),
    ("gearbox", "04", "target"): (104, 130),
    ("gearbox", "05", "source"): (108, 102),
    ("gearbox", "05", "target"): (110, 102),
    ("slider", "05", "source"): (103, 101),
    ("slider", "05", "target"): (103, 100),
}

# Domain -> part -> machine type -> section -> (training clips, normal test clips, anomalous test clips), as published.
CLIP_COUNTS = {
    domain: {
        part: {
            machine_type: {
                section: (_TRAIN_CLIPS[domain], *_TEST_CLIPS.get((machine_type, section, domain), (100, 100)))
                for section in sections
            }
            for machine_type in GROUPS
        }
        for part, sections in _SECTIONS.items()
    }
    for domain in DOMAINS
}

CLIP_SECONDS = dict.fromkeys(GROUPS, 10.0)

# (part, split) -> the archive on Zenodo that holds it, but for the machine type.
ARCHIVES = {
    ("dev", "train"): "dev_data_{}.zip (Zenodo record 4562016)",
    ("dev", "test"): "dev_data_{}.zip (Zenodo record 4562016)",
    ("eval", "train"): "eval_data_{}_train.zip (Zenodo record 4660992)",
    ("eval", "test"): "eval_data_{}_test.zip (Zenodo record 4884786)",
}

_END = r"\d+(?:_(?P<attributes>.*))?"  # a counter, and attributes: anything
_TRAIN = (
    rf"section_(?P<id>\d+)_(?P<domain>source|target)_train_(?P<label>normal)_{_END}",
    "section_XX_source_train_normal_NNNN_<attributes>",
)


def _test_folder(part: str, domain: str) -> challenge.ClipFolder:
    pattern, expected = rf"section_(?P<id>\d+)_(?P<domain>{domain})_test_", f"section_XX_{domain}_test_"
    label = "(?P<label>normal|anomaly)_"
    if part == "dev":
        pattern, expected = f"{pattern}{label}{_END}", f"{expected}normal_NNNN or {expected}anomaly_NNNN"
    else:
        pattern, expected = f"{pattern}(?:{label})?{_END}", f"{expected}NNNN"
    return challenge.ClipFolder(part, f"{domain}_test", pattern, expected)


LAYOUT = challenge.Layout(
    2021,
    tuple(
        folder
        for part in ("dev", "eval")
        for folder in (challenge.ClipFolder(part, "train", *_TRAIN), *(_test_folder(part, d) for d in DOMAINS))
    ),
    GROUPS,
)

_GROUND_TRUTH = re.compile(r"ground_truth_(.+)_section_\d+_(?:source|target)_test\.csv")


def list_clips(
    raw_dir: str,
    *,
    machine_types: Sequence[str] | None = None,
    groups: Mapping[str, str] | None = None,
    misfits: list[str] | None = None,
) -> list[Clip]:
    """Lists the clips below `raw_dir` from their names alone; no audio is opened.

    Args:
        raw_dir: holds `dev_data`, `eval_data` or both. Evaluation test clips are labelled from `eval_data_list.csv` and
            `ground_truth_...csv` files, which lie in it or in its `eval_data`, ground truth also in a folder
            `ground_truth...` one or two levels below it. A name in them matches whatever its extension.
        machine_types: only these; all that are found where None.
        groups: machine type -> recording group. Types that it does not name have the group of the challenge (MIMII DUE,
            ToyADMOS2); types that the challenge does not know share the group "default".
        misfits: takes the sentences about names that do not fit, which are an error where it is None.

    Returns:
        The clips of both domains, sorted; the machine ID is the section.

    Raises:
        UserError: nothing found, a name or a row of labels that does not fit, two labels for one clip, or a machine
            type that is not there.
    """
    raw = Path(raw_dir)
    labels = challenge.read_labels(raw, _ground_truth(raw))
    return challenge.list_clips(LAYOUT, raw, labels, machine_types, groups, misfits)


def _ground_truth(raw: Path) -> Iterator[tuple[Path, LabelList]]:
    """Yields every ground truth file, and the labels in it."""
    for folder in (raw, raw / "eval_data", *sorted(raw.glob("ground_truth*/")), *sorted(raw.glob("*/ground_truth*/"))):
        for path in sorted(folder.glob("ground_truth_*.csv")):
            if match := _GROUND_TRUTH.fullmatch(path.name):
                yield path, {match[1]: _read_ground_truth(path)}


def _read_ground_truth(path: Path) -> dict[str, int]:
    """Clip name without extension -> label."""
    labels: dict[str, int] = {}
    for line, row in read_rows(path):
        label = {"0": 0, "1": 1}.get(row[1].strip()) if len(row) == 2 else None
        if label is None:
            raise UserError(
                f"{path} line {line} is '{','.join(row)}': expected 'file name,0' (normal) or 'file name,1' (anomaly)."
            )
        name = without_extension(row[0])
        if name in labels:
            raise UserError(f"{path} line {line} lists {row[0]} a second time: expected every clip once.")
        labels[name] = label
    return labels


def _made_up_name(clip: MadeUpClip) -> tuple[str, dict[str, str]]:
    folder = f"{clip.part}_data/{clip.machine_type}"
    prefix = f"section_{clip.machine_id}_{clip.domain}_{clip.split}"
    if clip.split == "train":
        attribute = {"source": "condition_1", "target": "condition_2"}[clip.domain]
        return f"{folder}/train/{prefix}_{clip.label_word}_{clip.counter:04d}_{attribute}.wav", {}
    folder = f"{folder}/{clip.domain}_test"
    if clip.is_labelled:
        return f"{folder}/{prefix}_{clip.label_word}_{clip.counter:04d}.wav", {}
    unlabelled = f"{prefix}_{clip.number:04d}.wav"
    return f"{folder}/{unlabelled}", {
        LIST: f"{unlabelled},{prefix}_{clip.label_word}_{clip.number:04d}.wav",
        f"ground_truth_data/ground_truth_{clip.machine_type}_{prefix}.csv": f"{unlabelled},{clip.label}",
    }


DATASET = Dataset(
    name="dcase2021",
    list_clips=list_clips,
    mono=True,
    by_domain=True,
    score_files=ScoreFiles("section_{id}_{domain}_test", place=("section", "domain")),
    measures=HarmonicMeasures(),
    machine_types=tuple(GROUPS),
    counts={key: counts for domain in DOMAINS for key, counts in flat_counts(CLIP_COUNTS[domain], domain).items()},
    seconds=CLIP_SECONDS,
    archives=ARCHIVES,
    expected=challenge.expected(LAYOUT),
    made_up=MadeUp(DOMAINS, _made_up_name),
)
