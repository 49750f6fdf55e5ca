"""What lies in a folder of recordings, what is missing and what is wrong: from names and audio headers alone."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from asd_jax.base.errors import UserError, one_line
from asd_jax.datasets import DATASETS, Dataset, not_taken
from asd_jax.datasets.clips import Clip, with_channel
from asd_jax.datasets.dataset import MachineCounts, RowKey
from asd_jax.datasets.folder import find_manifest, taken_for
from asd_jax.sound.audio import low_rates_warning, open_audio
from asd_jax.sound.audio_files import unread_warning

_MOST = "most"
"""As long as most clips of the machine, where no length is published."""


@dataclass(frozen=True)
class MachineRow:
    """One machine in one part ("dev" or "eval") of a data set, and in one domain where the data set knows domains.

    Attributes:
        domain: "source" or "target"; empty where the data set knows no domains.
        seconds: the length of all its clips together, as their headers say.
        formats: sample rates and channel counts of its clips, such as "16000 Hz x 1".
        expected: published numbers of training, normal test and anomalous test clips; None where nothing is published.
        problems: sentences, empty where all is well.
        warnings: sentences about what is used, but better known.
    """

    machine_type: str
    machine_id: str
    part: str
    domain: str
    train: int
    test_normal: int
    test_anomaly: int
    test_unlabelled: int
    seconds: float
    formats: tuple[str, ...]
    expected: MachineCounts | None
    problems: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """Rows by machine; the problems and warnings that belong to no single machine.

    Beside them lines of what folders were taken for, and of other files that lie there.
    """

    rows: tuple[MachineRow, ...]
    problems: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    @property
    def all_problems(self) -> list[str]:
        """Every problem as a sentence; empty where the data set is as it should be."""
        return self._all("problems")

    @property
    def all_warnings(self) -> list[str]:
        """Every warning as a sentence."""
        return self._all("warnings")

    def _all(self, what: str) -> list[str]:
        of_rows = [
            f"{row.machine_type} {row.machine_id} ({' '.join((row.part, row.domain)).strip()}): {text}"
            for row in self.rows
            for text in getattr(row, what)
        ]
        return [one_line(sentence) for sentence in (*getattr(self, what), *of_rows)]


def check(
    raw_dir: str,
    dataset: str,
    sample_rate: int,
    machine_types: Sequence[str] | None = None,
    channel: int | None = None,
) -> Report:
    """Looks at names and headers; whatever is wrong with them goes into the report, nothing is raised.

    Args:
        raw_dir: the folder of recordings.
        dataset: a name in `DATASETS`. For "dcase2020" and "dcase2021" the clips must be mono, of `sample_rate`, and for
            the machine types of the challenge of the published number and length. "tau2020" has a published number,
            "audioset" a list of segments where it lies there; their clips may be of any format, as those of "folder".
        sample_rate: in Hz, what the features are computed at.
        machine_types: only these; all where None.
        channel: of recordings that name none; then the clips of the challenges may have several.
    """
    asked = DATASETS[dataset]
    problems = not_taken.packed_zips(Path(raw_dir), machine_types) if asked.expected else []
    try:
        clips = with_channel(asked.list_clips(raw_dir, machine_types=machine_types, misfits=problems), channel)
    except UserError as error:
        return Report((), (str(error), *problems), tuple(_unread(Path(raw_dir))))
    machines: dict[RowKey, list[Clip]] = {}
    for clip in clips:
        domain = clip.domain if asked.by_domain else ""
        machines.setdefault((clip.machine_type, clip.machine_id, clip.part, domain), []).append(clip)
    if asked.expected:
        found, published = {clip.machine_type for clip in clips}, set(asked.machine_types)
        absent = sorted(published - found) if found & published and not machine_types else []
        if absent:
            problems.append(f"no clips of {', '.join(absent)}: download them, or name the machine types that you need.")
        for key in asked.counts:
            if key[0] in found:
                machines.setdefault(key, [])
    rows = [_row(key, machines[key], asked, sample_rate) for key in sorted(machines)]
    around = _surroundings(Path(raw_dir), asked, clips, problems, machine_types is None)
    return Report(tuple(rows), tuple(problems), *map(tuple, around))


def _surroundings(
    raw: Path, dataset: Dataset, clips: list[Clip], problems: list[str], all_types: bool
) -> tuple[list[str], list[str], list[str]]:
    """Warnings, and lines about folders and other files.

    Recordings of a challenge that are not taken are added to the problems.
    """
    warnings, folders, others = _unread(raw), [], []
    if dataset.name == "folder" and not find_manifest(raw):
        folders, unlabelled = taken_for(clips, raw)
        warnings += [unlabelled] if unlabelled else []
    if raw.is_dir() and all_types:
        recordings, others = not_taken.find_untaken(raw, clips, problems)
        if dataset.expected:
            problems += [f"{line}: {dataset.expected}" for line in recordings]
        elif not dataset.tells_untaken:
            warnings += [f"{line}." for line in recordings]
    return warnings, folders, others


def _unread(raw: Path) -> list[str]:
    sentence = unread_warning(raw)
    return [sentence] if sentence else []


def report_lines(report: Report) -> list[str]:
    """The report as lines of text: a table (found/published where they differ), folders, warnings, problems."""
    header = ("type", "ID", "part", "domain", "train", "test normal", "anomaly", "unlabelled", "seconds", "format")
    columns = list(zip(header, *map(_cells, report.rows), strict=True))
    if not any(row.domain for row in report.rows):
        del columns[header.index("domain")]
    widths = [max(map(len, column)) for column in columns]
    table = zip(*columns, strict=True)
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
    for title, sentences in _lists(report):
        lines += ["", title, *(f"- {one_line(sentence)}" for sentence in sentences)] if sentences else []
    problems = report.all_problems
    return lines + ["", f"{len(problems)} problems:" if problems else "No problems.", *(f"- {p}" for p in problems)]


def _lists(report: Report) -> list[tuple[str, Sequence[str]]]:
    return [("Taken for:", report.folders), ("Also there:", report.others), ("Warnings:", report.all_warnings)]


def _row(key: RowKey, clips: list[Clip], dataset: Dataset, sample_rate: int) -> MachineRow:
    machine_type, _, part, _ = key
    expected = dataset.counts.get(key)
    train = sum(clip.split == "train" for clip in clips)
    tests = Counter(clip.label for clip in clips if clip.split == "test")
    found = (train, tests[0], tests[1])
    unlabelled = tests[None]
    required = (sample_rate, dataset.seconds.get(machine_type, _MOST)) if dataset.mono else (None, None)
    seconds, formats, problems, rates = _headers(clips, *required)
    low = None if required[0] else low_rates_warning(rates, sample_rate)
    if expected:
        archives = {split: dataset.archives[part, split].format(machine_type) for split in ("train", "test")}
        problems = _missing(archives, found, unlabelled, expected) + problems
    return MachineRow(*key, *found, unlabelled, seconds, formats, expected, tuple(problems), (low,) if low else ())


def _missing(archives: dict[str, str], found: MachineCounts, unlabelled: int, expected: MachineCounts) -> list[str]:
    """What differs from the published numbers; unlabelled test clips are compared by their sum."""
    compared = [("training", found[0], expected[0], "train")]
    if unlabelled or not any(found[1:]):
        compared.append(("test", sum(found[1:]) + unlabelled, sum(expected[1:]), "test"))
    else:
        compared += [("normal test", found[1], expected[1], "test"), ("anomalous test", found[2], expected[2], "test")]
    problems = []
    for what, count, published, split in compared:
        if count != published:
            more = f"download and unzip {archives[split]}"
            mend = more if count < published else "take away what does not belong to it"
            problems.append(f"{count} {what} clips where the data set holds {published}: {mend}.")
    return problems


class _Header(NamedTuple):
    clip: Clip
    rate: int
    channels: int
    frames: int

    @property
    def seconds(self) -> float:
        return self.frames / self.rate


def _headers(
    clips: list[Clip], required_rate: int | None, required_seconds: float | str | None
) -> tuple[float, tuple[str, ...], list[str], Counter[int]]:
    """Total seconds, formats, one sentence for each kind of fault with the files that have it, and sample rates."""
    faults: dict[str, list[str]] = {}
    headers = []
    for clip in clips:
        try:
            with open_audio(clip.path) as file:
                headers.append(_Header(clip, file.samplerate, file.channels, file.frames))
        except UserError:
            faults.setdefault("have no readable audio header", []).append(clip.path)
    lengths = Counter(header.seconds for header in headers)
    expected = f"{required_seconds} s long"
    if required_seconds == _MOST and lengths:
        required_seconds = lengths.most_common(1)[0][0]
        expected = f"{required_seconds:g} s long, as most are"
    for header in headers:
        channel = header.clip.channel
        for wrong, fault in (
            (header.frames == 0, "hold no samples"),
            (required_rate not in (None, header.rate), f"are of {header.rate} Hz, not {required_rate} Hz"),
            (required_rate and header.channels != 1 and channel is None, f"have {header.channels} channels, not 1"),
            (channel is not None and channel >= header.channels, f"have no channel {channel}, counted from 0"),
            (required_seconds not in (None, header.seconds), f"are not {expected}"),
        ):
            if wrong:
                faults.setdefault(fault, []).append(header.clip.path)
    sentences = [
        f"{len(paths)} clips {fault}: {', '.join(paths[:3])}{' and others' if len(paths) > 3 else ''}."
        for fault, paths in faults.items()
    ]
    formats = {f"{header.rate} Hz x {header.channels}" for header in headers}
    total = sum(length * count for length, count in lengths.items())
    return total, tuple(sorted(formats)), sentences, Counter(header.rate for header in headers)


def _cells(row: MachineRow) -> tuple[str, ...]:
    train, normal, anomaly = row.expected or (None, None, None)
    if row.test_unlabelled:  # the published numbers of test clips are by label
        normal = anomaly = None
    return (
        row.machine_type,
        row.machine_id,
        row.part,
        row.domain,
        _count(row.train, train),
        _count(row.test_normal, normal),
        _count(row.test_anomaly, anomaly),
        str(row.test_unlabelled),
        f"{row.seconds:.0f}",
        ", ".join(row.formats),
    )


def _count(found: int, published: int | None) -> str:
    return str(found) if published in (None, found) else f"{found}/{published}"
