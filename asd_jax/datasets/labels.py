"""The challenge's lists of labels, and labels in clips' names."""

import csv
import io
import os
import re
from collections.abc import Iterator

from etils import epath

from asd_jax.base.errors import UserError

LIST = "eval_data_list.csv"
"""The file of the evaluation clips' labels in the challenge of 2020 and 2021."""

_LABELS = {"normal": 0, "anomaly": 1}

LabelList = dict[str, dict[str, int]]
"""Machine type -> clip name without extension -> 0 normal, 1 anomaly."""


def read_label_list(path: epath.PathLike) -> LabelList:
    """The labels of an `eval_data_list.csv`.

    A row that holds a machine type only starts its clips, one a row: `unlabelled name,labelled name,0|1` (2020), or
    `unlabelled name,labelled name` (2021), whose label is in the second name.

    Raises:
        UserError: no such file, or a row that fits none of these, a clip twice, or with two labels.
    """
    expected = "a machine type alone, then rows 'unlabelled name,labelled name,0|1'"
    labels: LabelList = {}
    clips = None
    for line, row in read_rows(path):
        while row and not row[-1].strip():
            row.pop()  # a spreadsheet fills up with empty cells
        if len(row) == 1:
            clips = labels.setdefault(row[0].strip(), {})
            continue
        if len(row) == 3:
            label = {"0": 0, "1": 1}.get(row[2].strip())
        else:
            label = label_in_name(row[1]) if len(row) == 2 else None
        if clips is None or label is None:
            raise UserError(
                f"{path} line {line} is no row of a label list: found '{','.join(row)}', expected {expected}."
            )
        if label_in_name(row[1]) not in (None, label):
            raise UserError(f"{path} line {line} gives {row[0]} two labels, {row[1]} and {label}: expected one.")
        name = without_extension(row[0])
        if name in clips:
            raise UserError(f"{path} line {line} lists {row[0]} a second time: expected every clip once.")
        clips[name] = label
    if not labels:
        raise UserError(f"{path} is empty: expected {expected}.")
    return labels


def label_in_name(name: str) -> int | None:
    """0 or 1 by the first `normal` or `anomaly` between the underscores and slashes of a clip's name; else None."""
    words = re.split("[_/]", without_extension(name))
    return next((_LABELS[word] for word in words if word in _LABELS), None)


def domain_in_name(name: str) -> str:
    """ "source" or "target" by the first of them among the words of a clip's name; else "source"."""
    words = re.split("[_/]", without_extension(name))
    return next((word for word in words if word in ("source", "target")), "source")


def read_rows(path: epath.PathLike) -> Iterator[tuple[int, list[str]]]:
    """(line number, cells) of every row of a CSV file that does not only hold blanks."""
    try:
        reader = csv.reader(io.StringIO(epath.Path(path).read_bytes().decode("utf-8-sig")))
        for row in reader:
            if any(cell.strip() for cell in row):
                yield reader.line_num, row
    except (FileNotFoundError, IsADirectoryError):
        raise UserError(f"There is no file {path}: expected a CSV file.") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is not a CSV file in UTF-8: {error}.") from None


def without_extension(name: str) -> str:
    """Clips match by name without extension: a list of `.wav` files fits `.flac` files."""
    return os.path.splitext(name.strip())[0]
