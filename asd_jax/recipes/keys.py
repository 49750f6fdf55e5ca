"""Configs and recipes: the same keys, as the command line overrides them and as the library reads them.

A config is an `ml_collections.ConfigDict`; a recipe is the frozen dataclass that its method declares, with every key
checked. Command line, overrides of a study and config.json all come through `read_recipe`.
"""

import dataclasses
import difflib
import json
import math
import os
import types
import typing
import unicodedata
from collections.abc import Collection, Mapping
from typing import Any

import ml_collections
from ml_collections import config_dict

from asd_jax.base.errors import UserError
from asd_jax.methods import METHODS, Recipe
from asd_jax.methods.recipe import HalfOutliers, Key
from asd_jax.sound.presets import PRESETS

_NAMES = {str: "a text", int: "a whole number", float: "a number", bool: "True or False", tuple: "a list"}
_PATHS = ("data_dir", "init_from", "compilation_cache")
_MACHINES = ("machine_type", "machine_id")


def as_config(recipe: Any) -> ml_collections.ConfigDict:
    """The recipe as a config, whose values can be overridden by others of their types."""
    config = ml_collections.ConfigDict()
    hints = typing.get_type_hints(type(recipe))
    for field in dataclasses.fields(recipe):
        value = getattr(recipe, field.name)
        if dataclasses.is_dataclass(value):
            value = as_config(value)
        config[field.name] = config_dict.placeholder(_type(hints[field.name])) if value is None else value
    return config


def as_json(recipe: Recipe) -> dict:
    """The recipe as JSON keeps it: tuples are lists."""
    return json.loads(json.dumps(dataclasses.asdict(recipe)))


def read_recipe(config: Mapping[str, Any] | Recipe, complete: bool = True) -> Recipe:
    """The recipe that a config gives, its keys checked, and those that depend on the machine type filled in.

    A key that the config does not have keeps the recipe's own value. A home folder in a path (`~`) is written out, a
    path "None" is none, and names of machines are in Unicode's composed form.

    `complete`: what a training cannot do without must be there.

    Raises:
        UserError: a key that the method does not have, or a value that no training can use; the sentence names it.
    """
    if isinstance(config, Recipe):
        content = dataclasses.asdict(config)
    else:
        content = config.to_dict() if isinstance(config, ml_collections.ConfigDict) else dict(config)
    if "method" not in content:
        raise UserError("The recipe has no key 'method', which every training needs: take one of configs/.")
    _checked("method", content["method"], str, Key(among=tuple(METHODS)))
    recipe = _filled(METHODS[content["method"]], content, "").resolved()
    _check_together(recipe, complete)
    return recipe


def _check_together(recipe: Recipe, complete: bool) -> None:
    for field in dataclasses.fields(recipe):
        if complete and _key(field).needed and not getattr(recipe, field.name):
            raise UserError(f"config.{field.name} is empty: give it on the command line, --config.{field.name}=...")
    fitting = [name for name, preset in PRESETS.items() if len(preset.frame_shape) == recipe.frame_rank]
    if recipe.features not in fitting:
        raise UserError(
            f"config.features={recipe.features!r} was given, which {recipe.method} cannot take: expected one of "
            f"{', '.join(fitting)}."
        )
    if recipe.held_back == 1:
        raise UserError("config.held_back=1 was given: expected 0, or at least 2 clips for a threshold.")
    if isinstance(recipe.sampler, HalfOutliers) and recipe.batch_size % 2:
        raise UserError(
            f"config.batch_size={recipe.batch_size} was given: expected an even number, half of the target, half "
            "outliers."
        )


def _filled(kind: type, content: Mapping[str, Any], above: str) -> Any:
    """The dataclass, its fields from the content; `above` is the name of the group of keys, with a dot."""
    fields = {field.name: field for field in dataclasses.fields(kind)}
    hints = typing.get_type_hints(kind)
    for name in content:
        if name not in fields:
            near = difflib.get_close_matches(name, fields, 1, cutoff=0.75)
            raise UserError(
                f"config.{above}{name} is no key of {content.get('method', above[:-1] or 'the recipe')}: "
                + (f"did you mean {above}{near[0]}?" if near else f"expected some of {', '.join(fields)}.")
            )
    values = {}
    for name, value in content.items():
        if dataclasses.is_dataclass(hints[name]):
            if not isinstance(value, Mapping):
                raise UserError(f"config.{above}{name}={value!r} was given: expected keys with values.")
            values[name] = _filled(hints[name], value, f"{above}{name}.")
        else:
            values[name] = _checked(f"{above}{name}", _tidied(name, value), hints[name], _key(fields[name]))
    return kind(**values)


def _key(field: dataclasses.Field) -> Key:
    return field.metadata.get("key", Key())


def _tidied(name: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if name in _PATHS:
        return "" if value == "None" else os.path.expanduser(value)
    return unicodedata.normalize("NFC", value) if name in _MACHINES else value


def _type(hint: Any) -> type:
    """int of `int | None`, tuple of `tuple[int, ...]`."""
    parts = typing.get_args(hint)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return next(_type(part) for part in parts if part is not types.NoneType)
    return typing.get_origin(hint) or hint


def _checked(name: str, value: Any, hint: Any, key: Key) -> Any:
    """The value as the hint's type; raises a UserError where it is of another type or not allowed."""
    kind, optional = _type(hint), types.NoneType in typing.get_args(hint)
    if value is None and optional:
        return None
    fits = (int, float) if kind is float else (list, tuple) if kind is tuple else kind
    if not isinstance(value, fits) or (isinstance(value, bool) and kind is not bool):
        raise UserError(f"config.{name}={value!r} was given: expected {_NAMES[kind]}{' or None' if optional else ''}.")
    if kind is tuple:
        entry = typing.get_args(hint)[0]
        if (key.length or len(value)) != len(value):
            raise UserError(f"config.{name}={tuple(value)} was given: expected {key.length} entries.")
        return tuple(_checked(name, one, entry, key) for one in value)
    if key.within:
        _check_within(name, value, key.within)
    if key.among:
        _check_among(name, value, key.among)
    return float(value) if kind is float else value


def _check_within(name: str, value: float, within: tuple[float, float]) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"config.{name}={value} was given: expected a finite number.")
    if not within[0] <= value <= within[1]:
        least, most = (f"{bound:,}" if isinstance(bound, int) else f"{bound:g}" for bound in within)
        raise UserError(f"config.{name}={value} was given: expected a number from {least} to {most}.")


def _check_among(name: str, value: str, allowed: Collection[str]) -> None:
    if value not in allowed:
        near = difflib.get_close_matches(value, allowed, 1) or list(allowed)
        raise UserError(
            f"config.{name}={value!r} was given: expected one of {', '.join(allowed)}; did you mean {near[0]!r}?"
        )


def changes_weights(method: str, name: str) -> bool:
    """Whether a key of a method changes what is trained."""
    fields = {field.name: field for field in dataclasses.fields(METHODS[method])}
    return name.split(".")[0] not in fields or _key(fields[name.split(".")[0]]).trains


def is_needed(method: str, name: str) -> bool:
    """Whether a training by a method cannot do without a key."""
    return any(field.name == name and _key(field).needed for field in dataclasses.fields(METHODS[method]))


def flat_keys(config: ml_collections.ConfigDict) -> set[str]:
    """The names of all keys, those of a group with its name: "network.width"."""
    found = set()
    for name, value in config.items():
        is_group = isinstance(value, ml_collections.ConfigDict)
        found |= {f"{name}.{one}" for one in flat_keys(value)} if is_group else {name}
    return found
