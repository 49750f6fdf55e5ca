"""A training from its recipe to its last checkpoint: what is read, which runs go side by side, what is kept."""

import contextlib
import functools
import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from asd_jax.backends.models import check_enough
from asd_jax.base import locks
from asd_jax.datasets.clips import Machine
from asd_jax.devices import hosts
from asd_jax.devices.checkpoints import RunCheckpoints, check_path, restore_newest
from asd_jax.devices.mesh import RUN, describe_mesh, make_mesh, put_everywhere
from asd_jax.devices.steps import State, init_states, single_run, stack_runs, take_run
from asd_jax.devices.stopping import Stop
from asd_jax.methods import Method, Recipe
from asd_jax.methods.recipe import BandStatistics, HalfOutliers
from asd_jax.recipes.build import make_method, make_optimizer, make_steps, step_values
from asd_jax.recipes.keys import read_recipe
from asd_jax.recipes.surroundings import enable_compilation_cache
from asd_jax.recipes.workdir import Summary, Workdir
from asd_jax.records.store import open_store
from asd_jax.training.clip_features import ClipFeatures
from asd_jax.training.data import TrainingData, load_data
from asd_jax.training.loop import Loop, keep, padded, span
from asd_jax.training.validation import Validation


def train(
    config: Mapping[str, Any] | Recipe,
    workdir: Workdir,
    devices: Sequence[jax.Device] | None = None,
    stop: Stop | None = None,
) -> ClipFeatures:
    """Trains all runs of the config, or goes on where an earlier call stopped.

    Writes to the workdir: config.json, training.json, surroundings.json, checkpoints/run_N, metrics.jsonl and
    tensorboard/run_N.

    Args:
        config: the recipe.
        workdir: the folder; the training in one that exists is continued.
        devices: to train on; all where None.
        stop: says when to stop; None takes SIGTERM and Ctrl-C for it, which works in the main thread.

    Returns:
        The clips that the training held back.

    Raises:
        UserError: the config, the data or the workdir do not fit, another training is writing to the workdir, or a
            loss was not finite.
        SystemExit: it was stopped; what was learned until then is saved.
    """
    if stop is None:
        with Stop() as stop:
            return train(config, workdir, devices, stop)
    recipe = read_recipe(config)
    check_path(str(workdir))
    enable_compilation_cache(recipe.compilation_cache)
    data = load_data(recipe)
    method = make_method(recipe, len(data.machines), len(data.classes))
    bands = functools.cache(data.target.band_statistics)
    recipe.begin(*jax.eval_shape(method.init, jax.random.key(0)), bands)  # a file of weights that does not fit shows
    check_inlier_models(recipe, method, data)
    mesh = make_mesh(recipe.num_runs, recipe.batch_size, devices)
    with locks.held(str(workdir), "training") if hosts.is_first() else contextlib.nullcontext():
        workdir.keep_recipe(recipe)
        loop = make_loop(recipe, workdir, method, data, mesh, stop) if recipe.sampler else None
        summary = _summary(recipe, data, method, loop.epoch_steps if loop else 0)
        _describe(recipe, data, summary, mesh)
        workdir.keep_summary(summary)
        workdir.keep_surroundings()
        checkpoints = [RunCheckpoints(str(workdir), run) for run in range(recipe.num_runs)]
        one_run = single_run(mesh, method, make_optimizer(recipe), recipe.validation_share is not None)
        for one in checkpoints:
            if found := restore_newest([one], [one_run]):
                one.delete_after(found[0])  # what is damaged after a run's newest whole checkpoint is trained again
        steps = {run: set(one.steps()) for run, one in enumerate(checkpoints)}
        unfinished = {run: done for run, done in steps.items() if summary.num_steps not in done}
        for runs in group_runs(unfinished, mesh.shape[RUN]):
            mine = [checkpoints[run] for run in runs]
            if loop:
                loop.train_group(runs, mine, *_start(recipe, loop, runs, mine, bands))
            else:
                keep(0, _fresh(recipe, method, mesh, padded(runs, mesh), bands), mine, mesh)
        for one in checkpoints:
            one.close()
    return data.held_back


def make_loop(
    recipe: Recipe,
    workdir: Workdir | None,
    method: Method,
    data: TrainingData,
    mesh: jax.sharding.Mesh,
    stop: Stop,
) -> Loop:
    """The loop over the steps of a training."""
    sampler = data.sampler(recipe)
    values = step_values(recipe, sampler.epoch_steps)
    on_device = frames = None  # the features, where many small steps are taken without the host
    if recipe.steps_per_dispatch is not None:
        on_device = put_everywhere(mesh, _padded(sampler.frames.numpy()))
        frames = len(on_device)
    steps = make_steps(recipe, method, mesh, values, frames, sampler.frames.dtype.as_numpy_dtype)
    validation = None
    if steps.validated:
        products = data.products(data.held_back)
        validation = Validation(recipe, method, data.held_back, data.held_back_outliers, products, mesh)
    return Loop(recipe, workdir, steps, sampler, values, on_device, validation, stop)


def check_inlier_models(recipe: Recipe, method: Method, data: TrainingData) -> None:
    """Raises a UserError where the clips held back are too few for the recipe's inlier models."""
    choice = recipe.inlier_choice
    if choice is None or not len(data.held_back):
        return
    windows: dict[Machine, int] = {}
    for clip, length in zip(data.held_back.clips, data.held_back.length.tolist(), strict=True):
        windows[clip.machine] = windows.get(clip.machine, 0) + len(method.starts(length))
    for machine, count in windows.items():
        check_enough(machine, count, choice.kind, choice.p)


def group_runs(steps: dict[int, set[int]], width: int) -> list[list[int]]:
    """Which runs train side by side, at most `width` at a time: those that have a checkpoint of the same step."""
    groups: list[list[int]] = []
    for run in sorted(steps, key=lambda run: (max(steps[run], default=0), run)):
        for group in groups:
            shared = set.intersection(*(steps[other] for other in group))
            if len(group) < width and (shared & steps[run] or shared == steps[run]):
                group.append(run)
                break
        else:
            groups.append([run])
    return groups


def _summary(recipe: Recipe, data: TrainingData, method: Method, epoch_steps: int) -> Summary:
    params, _ = jax.eval_shape(method.init, jax.random.key(0))
    store = open_store(recipe.data_dir, recipe.features)
    channels = {"/".join(machine): store.find(machine).channel for machine in data.machines}
    names = "\n".join(sorted(data.target.names) + sorted(data.outliers.names))
    types = sorted({machine_type for machine_type, _ in data.machines})
    return Summary(
        parameters=sum(math.prod(x.shape) for x in jax.tree.leaves(params)),
        steps_per_epoch=epoch_steps,
        num_steps=epoch_steps * recipe.num_epochs,
        normal_clips=len(data.target),
        outlier_clips=len(data.outliers),
        machines=data.machines,
        held_back=tuple(data.held_back.names),
        wave_statistics={machine_type: store.wave_statistics(machine_type) for machine_type in types},
        channels={name: channel for name, channel in channels.items() if channel is not None} or None,
        names_sha256=hashlib.sha256(names.encode()).hexdigest(),
        classes=data.classes,
    )


def _describe(recipe: Recipe, data: TrainingData, summary: Summary, mesh: jax.sharding.Mesh) -> None:
    """Says what will be trained on what."""
    machines, sampler = ", ".join("/".join(machine) for machine in data.machines), recipe.sampler
    outliers = ""
    if sampler is None:
        print(f"{machines}: {len(data.held_back)} normal clips to compare with; no steps: nothing is trained")
        return
    if isinstance(sampler, HalfOutliers):
        outliers = f", {summary.outlier_clips} in outlier set {sampler.outlier_set}"
    print(
        f"{machines}: {summary.normal_clips} normal clips, {len(data.held_back)} held back{outliers}; "
        + (f"{len(summary.classes)} classes; " if recipe.class_of else "")
        + f"{summary.parameters:,} parameters; {summary.steps_per_epoch} steps an epoch"
    )
    print(describe_mesh(mesh))


def _start(
    recipe: Recipe,
    loop: Loop,
    runs: Sequence[int],
    checkpoints: Sequence[RunCheckpoints],
    bands: BandStatistics,
) -> tuple[int, State]:
    """The step that some runs begin after, and their states: those of their newest common checkpoint, or fresh ones."""
    steps = loop.steps
    found = restore_newest(checkpoints, [steps.one_run()] * len(checkpoints))
    if found is None:
        return 0, _fresh(recipe, steps.method, steps.mesh, padded(runs, steps.mesh), bands)
    step, states = found
    for checkpoint in checkpoints:
        checkpoint.delete_after(step)
    print(f"Run {span(runs)} goes on after step {step} of {loop.num_steps}")
    return step, stack_runs(steps.mesh, states + states[-1:] * (steps.runs - len(states)))


def _fresh(
    recipe: Recipe, method: Method, mesh: jax.sharding.Mesh, runs: Sequence[int], bands: BandStatistics
) -> State:
    """The states of some runs, as many as the mesh holds, as the recipe lets its trainings begin."""
    init = init_states(mesh, method, make_optimizer(recipe), recipe.validation_share is not None)
    states, one_run = init(recipe.seed, np.array(runs, np.int32)), take_run(mesh)
    fresh = [one_run(states, place) for place in range(len(runs))]
    begun = [recipe.begin(one.params, one.batch_stats, bands) for one in fresh]
    if all(new is one.params and stats is one.batch_stats for (new, stats), one in zip(begun, fresh, strict=True)):
        return states
    singles = [one._replace(params=new, batch_stats=stats) for (new, stats), one in zip(begun, fresh, strict=True)]
    return stack_runs(mesh, singles)


def _padded(frames: np.ndarray) -> np.ndarray:
    """Zeros after the last frame, to one of four lengths an octave: trainings of many sizes share a program."""
    step = 2 ** max(len(frames).bit_length() - 3, 0)
    return np.pad(frames, ((0, -len(frames) % step), *[(0, 0)] * (frames.ndim - 1)))
