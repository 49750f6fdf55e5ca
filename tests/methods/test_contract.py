"""What every method keeps to, by being in `METHODS`: its recipe's keys, its windows, its place in a training."""

import dataclasses
import importlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asd_jax.base.errors import UserError
from asd_jax.methods import METHODS
from asd_jax.methods.recipe import EveryWindow, ExponentialDecay, HalfOutliers, OneCycle
from asd_jax.recipes.build import make_method, step_values
from asd_jax.recipes.keys import as_config, as_json, flat_keys, read_recipe

TEXTS = {"method", "data_dir", "machine_type", "machine_id", "init_from", "compilation_cache"}
"""Keys that may hold any text."""


def keys(kind, above=""):
    """(name, default, `Key`) of every key."""
    for field in dataclasses.fields(kind):
        if dataclasses.is_dataclass(field.default):
            yield from keys(type(field.default), f"{field.name}.")
        elif field.name not in TEXTS:
            yield f"{above}{field.name}", field.default, field.metadata["key"]


def recipe_with(name, changes):
    config = as_config(METHODS[name]())
    config.update_from_flattened_dict({"data_dir": "D", "machine_type": "fan", "machine_id": "00"} | changes)
    return read_recipe(config)


def ends(default, key):
    for bound in key.within:
        yield (bound,) * (key.length or len(default)) if isinstance(default, tuple) else bound


ENDS = [
    (name, key, value)
    for name, kind in METHODS.items()
    for key, default, of_key in keys(kind)
    if of_key.within
    for value in ends(default, of_key)
]


BUILT = set()
"""Networks that have been built before, with their windows: most keys change neither."""


def builds(recipe):
    method = recipe.build(recipe.papers_machines, 0)
    assert method.window == recipe.window
    network = (type(method), method.network, method.window)
    if network not in BUILT:
        make_method(recipe, recipe.papers_machines)
        BUILT.add(network)
    values = step_values(recipe, 2) if recipe.num_epochs < 1000 else {}
    assert all(np.isfinite(column).all() and len(column) == 2 * recipe.num_epochs for column in values.values())


@pytest.mark.parametrize("name", METHODS)
def test_every_key_has_a_range_or_choices(name):
    for key, default, of_key in keys(METHODS[name]):
        number = default[0] if isinstance(default, tuple) else default
        if isinstance(number, bool):
            continue
        assert of_key.within or of_key.among, key
        if of_key.within and default is not None:
            for one in default if isinstance(default, tuple) else [default]:
                assert of_key.within[0] <= one <= of_key.within[1], key


@pytest.mark.parametrize(("name", "key", "value"), ENDS, ids=lambda x: str(x))
def test_both_ends_of_every_range_build_and_what_lies_beyond_is_refused(name, key, value):
    even = value + value % 2 if key == "batch_size" else value
    builds(recipe_with(name, {key: even}))
    of_key = next(one for other, _, one in keys(METHODS[name]) if other == key)
    one = value[0] if isinstance(value, tuple) else value
    step = 1 if isinstance(of_key.within[1], int) and isinstance(one, int) else abs(one) or 1
    beyond = one + step if one == of_key.within[1] else one - step
    with pytest.raises(UserError, match=rf"config\.{key}=.* was given: expected a number from"):
        recipe_with(name, {key: (beyond,) * len(value) if isinstance(value, tuple) else beyond})


@pytest.mark.parametrize("name", METHODS)
def test_every_choice_builds_and_others_are_refused(name):
    for key, default, of_key in keys(METHODS[name]):
        for choice in of_key.among or ():
            builds(recipe_with(name, {key: (choice,) if isinstance(default, tuple) else choice}))
        if of_key.among:
            with pytest.raises(UserError, match=rf"config\.{key}='zz' was given: expected one of"):
                recipe_with(name, {key: ("zz",) if isinstance(default, tuple) else "zz"})


@pytest.mark.parametrize("name", METHODS)
@settings(max_examples=3, deadline=None)
@given(data=st.data())
def test_drawn_values_build_together(name, data):
    changes = {}
    for key, default, of_key in keys(METHODS[name]):
        if of_key.within and not isinstance(default, tuple) and default is not None and key != "window":
            low, high = of_key.within
            high = min(high, 4 * default if default else 1)
            if isinstance(default, int):
                value = data.draw(st.integers(low, max(int(high), low)))
                changes[key] = value + value % 2 if key == "batch_size" else value
            else:
                changes[key] = data.draw(st.floats(low, high, allow_nan=False))
    if changes.get("held_back") == 1:
        changes["held_back"] = 2
    builds(recipe_with(name, changes))


@pytest.mark.parametrize("name", METHODS)
def test_a_recipe_comes_back_from_config_and_json_and_its_own_file_gives_it(name):
    recipe = recipe_with(name, {})
    assert read_recipe(as_json(recipe)) == read_recipe(as_config(recipe)) == read_recipe(recipe) == recipe
    config = importlib.import_module(f"configs.{name}").get_config()
    assert flat_keys(config) == flat_keys(as_config(METHODS[name]())) and config.method == name


@pytest.mark.parametrize("name", METHODS)
def test_windows_cover_the_clip_in_order(name):
    method = make_method(recipe_with(name, {}), 2)
    for frames in (method.window, method.window + 1, 313, 626, 1000):
        if frames < method.window:
            continue
        starts = method.starts(frames)
        assert starts[0] == 0 and (np.diff(starts) >= 0).all() and starts[-1] + method.window <= frames
        hop = max(np.diff(starts), default=method.window)
        assert hop <= method.window, "frames between windows are never heard"
        assert frames - (starts[-1] + method.window) < max(hop, 1) or frames < method.window + hop


@pytest.mark.parametrize("name", METHODS)
def test_sampler_schedule_and_title_are_plain_answers(name):
    recipe = recipe_with(name, {})
    assert isinstance(recipe.sampler, HalfOutliers | EveryWindow) and hash(recipe.sampler) is not None
    assert isinstance(recipe.schedule, ExponentialDecay | OneCycle) and hash(recipe.schedule) is not None
    assert recipe.title and recipe.papers_machines >= 1
    assert hash(make_method(recipe, 2)) == hash(make_method(recipe, 2))  # one compiled program for both
