"""A grid of trainings: what is finished is kept, the rest is trained side by side on the devices."""

import ast
import dataclasses
import functools
import os
import queue
import statistics
import time
import traceback
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from operator import getitem
from typing import Any

import jax
import ml_collections

from asd_jax.base.errors import UserError
from asd_jax.base.stored_json import read_json
from asd_jax.devices.stopping import Stop
from asd_jax.evaluation.evaluate import evaluate_workdir
from asd_jax.methods import Recipe
from asd_jax.recipes.keys import as_config, flat_keys, read_recipe
from asd_jax.recipes.workdir import Workdir
from asd_jax.scoring.held_back import train_and_keep

Recipes = Mapping[str, Callable[..., ml_collections.ConfigDict]]
"""Name of a file in configs/ -> its `get_config`, which takes the words after the colon."""


@dataclasses.dataclass(frozen=True)
class Training:
    """A recipe, and the workdir that keeps what is trained by it.

    Attributes:
        name: what it is called in messages, such as "fan/proposed".
        detector: what it trains, such as "proposed".
        workdir: the folder.
        recipe: what it trains by.
    """

    name: str
    detector: str
    workdir: str
    recipe: Recipe

    @property
    def metrics_file(self) -> str:
        """Written last: without it the training is not finished."""
        return os.path.join(self.workdir, "metrics.json")

    def is_finished(self) -> bool:
        """Whether the workdir holds a training of this very recipe that was measured after its last step."""
        if not os.path.exists(self.metrics_file):
            return False
        metrics = self._metrics()
        if None in (metrics["steps"], metrics["num_steps"]) or set(metrics["steps"]) != {metrics["num_steps"]}:
            return False
        kept = dataclasses.replace(Workdir(self.workdir).recipe, compilation_cache=self.recipe.compilation_cache)
        return kept == self.recipe

    def measured(self) -> list[dict]:
        """The entries of metrics.json, one for each machine ID and domain."""
        return self._metrics()["rows"]

    def _metrics(self) -> dict:
        of_run = {"AUC": float, "pAUC": float}
        row = {"machine_type": str, "machine_id": str, "domain": str | None, "runs": list[of_run]}
        kind = {"rows": list[row], "steps": list[int] | None, "num_steps": int | None}
        return read_json(self.metrics_file, kind, "delete it and run the command again")


def make_training(
    detector: str,
    name_of_training: str,
    workdir: str,
    recipe: ml_collections.ConfigDict,
    overrides: Mapping[str, Any],
    own: Mapping[str, Any],
) -> Training:
    """The training of a recipe with other values: the overrides for keys that it has, and those that are its own.

    An override for "detector.key" is for the recipe of that detector alone, and goes before one for "key".

    Raises:
        UserError: a value does not fit the recipe.
    """
    general = {name: value for name, value in overrides.items() if name in flat_keys(recipe)}
    special = {name.partition(".")[2]: value for name, value in overrides.items() if name.startswith(f"{detector}.")}
    for name, value in (general | special | dict(own)).items():
        if name not in flat_keys(recipe):
            continue
        *groups, last = name.split(".")
        try:
            functools.reduce(getitem, groups, recipe)[last] = value
        except TypeError as error:
            raise UserError(f"{name}={value!r} does not fit the recipe of {detector}: {error}.") from error
    return Training(name_of_training, detector, workdir, read_recipe(recipe))


def parse_override(text: str) -> tuple[str, Any]:
    """("width", 0.5) from "width=0.5", ("maf.width", 64) from "maf.width=64"."""
    key, found, value = text.partition("=")
    if not found:
        raise UserError(f"--override={text} was given: expected key=value, joined by commas.")
    try:
        return key, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return key, value


def check_overrides(overrides: Iterable[str], trainings: Iterable[Training], own: Collection[str]) -> None:
    """Raises a UserError for a key that no recipe has, or that every training has a value of its own for."""
    known: dict[str, set[str]] = {}
    for training in trainings:
        known.setdefault(training.detector, set()).update(flat_keys(as_config(training.recipe)) - set(own))
    everything = set.union(*known.values())
    for name in overrides:
        detector, _, key = name.partition(".")
        keys = known.get(detector, everything)
        if name not in everything and key not in known.get(detector, ()):
            there = ", ".join(sorted(keys or everything))
            raise UserError(
                f"No recipe of the study has the key {name!r}: expected some of {there}, "
                f"or such a key of one detector, as {min(known)}.num_epochs."
            )


def device_groups(devices: Sequence[jax.Device], num_runs: int, trainings: int) -> list[Sequence[jax.Device]]:
    """Equal shares of the devices, for trainings side by side: as many as have a device for every run of theirs."""
    groups = max(1, min(len(devices) // num_runs, trainings))
    share = len(devices) // groups
    return [devices[i * share : (i + 1) * share] for i in range(groups)]


def train_all(trainings: Sequence[Training]) -> set[str]:
    """Trains and evaluates what is not finished; returns the names of those that failed, having said why.

    Raises:
        SystemExit: SIGTERM or Ctrl-C came. Trainings under way have saved what they learned.
    """
    parts = {t.name: f"part {number} of {len(trainings)} {t.name}" for number, t in enumerate(trainings, 1)}
    failed, waiting, took = set(), [], {}
    for training in trainings:
        try:
            if training.is_finished():
                print(f"{parts[training.name]}: finished before")
            else:
                waiting.append(training)
        except UserError as error:
            print(f"{parts[training.name]} failed: {error}")
            failed.add(training.name)
    groups = device_groups(jax.devices(), max((t.recipe.num_runs for t in waiting), default=1), len(waiting))
    free = queue.SimpleQueue()
    for devices in groups:
        free.put(devices)
    with Stop() as stop, ThreadPoolExecutor(len(groups)) as pool:
        running = {pool.submit(_train, training, free, stop): training for training in waiting}
        try:
            for done in as_completed(list(running)):
                training = running.pop(done)
                try:
                    seconds, found = done.result()
                except Exception as error:
                    if not isinstance(error, UserError):
                        traceback.print_exception(error)
                    print(f"{parts[training.name]} failed: {error}")
                    failed.add(training.name)
                    continue
                took.setdefault(training.recipe.method, []).append(seconds)
                left = _expected(running.values(), took) / len(groups)
                print(f"{found}\n{parts[training.name]}: took {_duration(seconds)}, about {_duration(left)} left")
        except BaseException:
            stop.came = True  # for those that are under way
            raise
    return failed


def _train(training: Training, free: queue.SimpleQueue, stop: Stop) -> tuple[float, str]:
    """Trains and evaluates on the next devices that are free; returns how long it took, and what was found."""
    devices = free.get()
    began = time.perf_counter()
    try:
        if not stop.came:
            train_and_keep(training.recipe, training.workdir, devices, stop)  # it refuses a workdir of other weights
        if stop.came:
            raise SystemExit(stop.code)
        found = evaluate_workdir(training.workdir, devices=devices)
        return time.perf_counter() - began, found
    finally:
        free.put(devices)


def _expected(trainings: Collection[Training], took: Mapping[str, Sequence[float]]) -> float:
    """Seconds for all of them, one after the other: each the mean of its method so far, or of all methods."""
    overall = statistics.fmean(seconds for of_method in took.values() for seconds in of_method)
    means = {method: statistics.fmean(seconds) for method, seconds in took.items()}
    return sum(means.get(training.recipe.method, overall) for training in trainings)


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
