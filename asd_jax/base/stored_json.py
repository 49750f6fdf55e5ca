"""JSON files read back: what is damaged, or is not what was written, is reported in one sentence."""

import collections.abc
import dataclasses
import json
import math
import types
import typing
from typing import Any

from etils import epath

from asd_jax.base.errors import UserError


def read_json(path: epath.PathLike, kind: Any, what_to_do: str) -> Any:
    """Reads a JSON file whose content is of a kind.

    Args:
        path: the file.
        kind: a type such as `dict[str, float]` or `Literal["a", "b"]`, a dataclass, or a dictionary that gives keys and
            their kinds; one that may be None, or has a default, need not be there. Other keys of a dictionary are let
            through as they are. Numbers are finite.
        what_to_do: the end of the sentence about a file that does not fit.

    Returns:
        The content, lists as tuples where the kind says so, and dataclasses made.

    Raises:
        UserError: the file is no JSON, or of another kind.
    """
    return parse_json(epath.Path(path).read_bytes(), kind, f"{path} is damaged", what_to_do)


def parse_json(text: str | bytes, kind: Any, what_is_wrong: str, what_to_do: str) -> Any:
    """The same of a text; `what_is_wrong` begins the sentence."""
    try:
        return _fitted(json.loads(text), kind, "")
    except (ValueError, RecursionError) as error:
        raise UserError(f"{what_is_wrong} ({error}): {what_to_do}.") from error


def _fitted(value: Any, kind: Any, place: str) -> Any:
    """The value as that kind; a ValueError says which place in the file, such as "machines 0 group", does not fit."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if isinstance(kind, dict):
        value = _fitted(value, dict, place)
        return value | {key: _fitted(value.get(key), of, f"{place} {key}") for key, of in kind.items()}
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        defaults = {f.name for f in dataclasses.fields(kind) if f.default is not dataclasses.MISSING}
        given = _fitted(value, dict, place)
        fields = _fitted(
            given, {name: of for name, of in hints.items() if name in given or name not in defaults}, place
        )
        if surplus := sorted(fields.keys() - hints.keys()):
            raise ValueError(f"it has the key{place} {surplus[0]}")
        return kind(**fields)
    if origin in (typing.Union, types.UnionType):
        return None if value is None else _fitted(value, next(part for part in parts if part != types.NoneType), place)
    if origin is list or (origin is tuple and parts[1:] == (...,)):
        return origin(_fitted(one, parts[0], f"{place} {i}") for i, one in enumerate(_fitted(value, list, place)))
    if origin is typing.Literal:
        if value not in parts:
            raise ValueError(f"{place.strip()} is none of {', '.join(parts)}")
        return value
    if origin is tuple:
        if len(_fitted(value, list, place)) != len(parts):
            raise ValueError(f"{place.strip()} has {len(value)} entries, not {len(parts)}")
        return tuple(_fitted(one, part, f"{place} {i}") for i, (one, part) in enumerate(zip(value, parts, strict=True)))
    if origin in (dict, collections.abc.Mapping):
        return {key: _fitted(one, parts[1], f"{place} {key}") for key, one in _fitted(value, dict, place).items()}
    fits = isinstance(value, (int, float) if kind is float else kind)
    if not fits or (isinstance(value, bool) and kind in (int, float)):
        found = "missing" if value is None else f"of the type {type(value).__name__}"
        raise ValueError(f"{place.strip() or 'it'} is {found}, expected {kind.__name__}")
    if isinstance(value, int) and abs(value) >= 2**63 or isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{place.strip() or 'it'} is {value:g}")
    return value
