"""What lies in a folder of recordings, what is missing and what is wrong: from names and audio headers alone."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import soundfile

from asd_jax.clips import Clip
from asd_jax.datasets import DATASETS, dcase2020
from asd_jax.datasets.folder import zip_files
from asd_jax.errors import UserError

_ZIP = re.compile(r"(dev_data|eval_data_train|eval_data_test)_(.+)\.zip")
_ZENODO = {"dev_data": 3678171, "eval_data_train": 3727685, "eval_data_test": 3841772}

_MOST = "most"
"""As long as most clips of the machine, where no length is published."""


@dataclass(frozen=True)
class Row:
    """One machine in one part ("dev" or "eval") of a data set.

    Attributes:
        seconds: the length of all its clips together, as their headers say.
        formats: sample rates and channel counts of its clips, such as "16000 Hz x 1".
        expected: published numbers of training, normal test and anomalous test clips; None where nothing is published.
        problems: sentences, empty where all is well.
    """

    machine_type: str
    machine_id: str
    part: str
    train: int
    test_normal: int
    test_anomaly: int
    test_unlabelled: int
    seconds: float
    formats: tuple[str, ...]
    expected: tuple[int, int, int] | None
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """Rows by machine, and the problems that belong to no single machine."""

    rows: tuple[Row, ...]
    problems: tuple[str, ...]

    @property
    def all_problems(self) -> list[str]:
        """Every problem as a sentence; empty where the data set is as it should be."""
        of_rows = [f"{r.machine_type} {r.machine_id} ({r.part}): {text}" for r in self.rows for text in r.problems]
        return [*self.problems, *of_rows]


def check(raw_dir: str, dataset: str, sample_rate: int, machine_types: Sequence[str] | None = None) -> Report:
    """Looks at names and headers; whatever is wrong with them goes into the report, nothing is raised.

    Args:
        raw_dir: the folder of recordings.
        dataset: a name in `DATASETS`. For "dcase2020" the clips must be mono, of `sample_rate`, and for the six machine
            types of the challenge of the published number and length; the layout "folder" allows any of these.
        sample_rate: in Hz, what the features are computed at.
        machine_types: only these; all where None.
    """
    published = dataset == "dcase2020"
    problems = _packed_zips(Path(raw_dir), machine_types) if published else []
    try:
        clips = DATASETS[dataset](raw_dir, machine_types=machine_types, misfits=problems)
    except UserError as error:
        return Report((), (str(error), *problems))
    machines: dict[tuple[str, str, str], list[Clip]] = {}
    for clip in clips:
        machines.setdefault((clip.machine_type, clip.machine_id, clip.part), []).append(clip)
    if published:
        found = {clip.machine_type for clip in clips}
        absent = sorted(set(dcase2020.GROUPS) - found) if found & set(dcase2020.GROUPS) and not machine_types else []
        if absent:
            problems.append(f"no clips of {', '.join(absent)}: download them, or name the machine types that you need.")
        for part, types in dcase2020.CLIP_COUNTS.items():
            for machine_type in found & set(types):
                for machine_id in types[machine_type]:
                    machines.setdefault((machine_type, machine_id, part), [])
    rows = tuple(_row(*key, machines[key], sample_rate if published else None) for key in sorted(machines))
    return Report(rows, tuple(problems))


def format_lines(report: Report) -> list[str]:
    """The report as lines of text: a table (found/published where they differ), then every problem."""
    header = ("type", "ID", "part", "train", "test normal", "anomaly", "unlabelled", "seconds", "format")
    table = [header, *map(_cells, report.rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
    problems = report.all_problems
    return lines + ["", f"{len(problems)} problems:" if problems else "No problems.", *(f"- {p}" for p in problems)]


def _row(machine_type: str, machine_id: str, part: str, clips: list[Clip], required_rate: int | None) -> Row:
    published = required_rate is not None  # the layout "folder" requires no rate, and nothing is published about it
    expected = dcase2020.CLIP_COUNTS[part].get(machine_type, {}).get(machine_id) if published else None
    counts = Counter((clip.split, clip.label) for clip in clips)
    found = (counts["train", 0], counts["test", 0], counts["test", 1])
    unlabelled = counts["test", None]
    required_seconds = dcase2020.CLIP_SECONDS.get(machine_type, _MOST) if published else None
    seconds, formats, problems = _headers(clips, required_rate, required_seconds)
    if expected:
        problems = _missing(machine_type, part, found, unlabelled, expected) + problems
    return Row(machine_type, machine_id, part, *found, unlabelled, seconds, formats, expected, tuple(problems))


def _missing(
    machine_type: str, part: str, found: tuple[int, int, int], unlabelled: int, expected: tuple[int, int, int]
) -> list[str]:
    """What differs from the published numbers; unlabelled test clips are compared by their sum."""
    compared = [("training", found[0], expected[0], "train")]
    if unlabelled or not any(found[1:]):
        compared.append(("test", sum(found[1:]) + unlabelled, sum(expected[1:]), "test"))
    else:
        compared += [("normal test", found[1], expected[1], "test"), ("anomalous test", found[2], expected[2], "test")]
    problems = []
    for what, count, published, split in compared:
        if count != published:
            archive = "dev_data" if part == "dev" else f"eval_data_{split}"
            source = f"{archive}_{machine_type}.zip (Zenodo record {_ZENODO[archive]})"
            mend = f"download and unzip {source}" if count < published else "take away what does not belong to it"
            problems.append(f"{count} {what} clips where the data set holds {published}: {mend}.")
    return problems


def _headers(
    clips: list[Clip], required_rate: int | None, required_seconds: float | str | None
) -> tuple[float, tuple[str, ...], list[str]]:
    """Total seconds, formats, and one sentence for each kind of fault, with the files that have it."""
    faults: dict[str, list[str]] = {}
    headers = []
    for clip in clips:
        try:
            headers.append((clip.path, soundfile.info(clip.path)))
        except soundfile.SoundFileError:
            faults.setdefault("have no readable audio header", []).append(clip.path)
    lengths = Counter(info.duration for _, info in headers)
    expected = f"{required_seconds} s long"
    if required_seconds == _MOST and lengths:
        required_seconds = lengths.most_common(1)[0][0]
        expected = f"{required_seconds:g} s long, as most are"
    for path, info in headers:
        for wrong, fault in (
            (info.frames == 0, "hold no samples"),
            (required_rate not in (None, info.samplerate), f"are of {info.samplerate} Hz, not {required_rate} Hz"),
            (required_rate and info.channels != 1, f"have {info.channels} channels, not 1"),
            (required_seconds not in (None, info.duration), f"are not {expected}"),
        ):
            if wrong:
                faults.setdefault(fault, []).append(path)
    sentences = [
        f"{len(paths)} clips {fault}: {', '.join(paths[:3])}{' and others' if len(paths) > 3 else ''}."
        for fault, paths in faults.items()
    ]
    formats = {f"{info.samplerate} Hz x {info.channels}" for _, info in headers}
    return sum(length * count for length, count in lengths.items()), tuple(sorted(formats)), sentences


def _packed_zips(raw: Path, machine_types: Sequence[str] | None) -> list[str]:
    """A sentence for each archive of the challenge that lies there while its folder is absent or empty."""
    problems = []
    for path in zip_files(raw, raw / "dev_data", raw / "eval_data"):
        match = _ZIP.fullmatch(path.name)
        if not match or (machine_types and match[2] not in machine_types):
            continue
        target = raw / ("dev_data" if match[1] == "dev_data" else "eval_data")
        split = "test" if match[1] == "eval_data_test" else "train"
        if not any((target / match[2] / split).glob("*")):
            problems.append(f"{path} is not unpacked: unzip it in {target}.")
    return problems


def _cells(row: Row) -> tuple[str, ...]:
    train, normal, anomaly = row.expected or (None, None, None)
    if row.test_unlabelled:  # the published numbers of test clips are by label
        normal = anomaly = None
    return (
        row.machine_type,
        row.machine_id,
        row.part,
        _count(row.train, train),
        _count(row.test_normal, normal),
        _count(row.test_anomaly, anomaly),
        str(row.test_unlabelled),
        f"{row.seconds:.0f}",
        ", ".join(row.formats),
    )


def _count(found: int, published: int | None) -> str:
    return str(found) if published in (None, found) else f"{found}/{published}"
