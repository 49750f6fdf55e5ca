"""What a trained workdir's networks give for the windows of clips."""

import collections
import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence

import jax
import numpy as np

from asd_jax.base.errors import UserError
from asd_jax.base.progress import tqdm
from asd_jax.datasets.clips import Machine, StoredClip
from asd_jax.devices.checkpoints import RunCheckpoints, restore_newest
from asd_jax.devices.mesh import RUN, make_mesh
from asd_jax.devices.steps import State, output_step, single_run, stack_runs, weights_to_score
from asd_jax.methods import Method, Recipe
from asd_jax.recipes.build import make_method, make_optimizer
from asd_jax.recipes.keys import read_recipe
from asd_jax.recipes.surroundings import COMPILATION_CACHE, enable_compilation_cache
from asd_jax.recipes.workdir import Workdir
from asd_jax.training.windows import window_batches

Outputs = dict[str, np.ndarray]
"""Name -> [runs, windows, ...] of one clip."""


@dataclasses.dataclass(frozen=True)
class Trained:
    """All runs of a workdir, ready to score.

    Attributes:
        recipe: what they were trained with.
        method: the system.
        machines: the target machines; a product is a place in this list.
        mesh: the devices they score on.
        states: groups of runs, each with as many as the mesh holds side by side (the last one may repeat a run).
        workdir: of the training; None where there is none.
        suffix: of the names of files in the workdir that hold what comes of other windows than the recipe's.
        steps: the step of the training after which each run has these weights.
    """

    recipe: Recipe
    method: Method
    machines: list[Machine]
    mesh: jax.sharding.Mesh
    states: list[State]
    workdir: Workdir | None = None
    suffix: str = ""
    steps: tuple[int, ...] = ()

    def product(self, machine: Machine) -> int:
        """The machine's place among the targets; -1 where it is none of them."""
        return self.machines.index(machine) if machine in self.machines else -1

    def outputs(
        self, clips: Iterable[tuple[StoredClip, np.ndarray]], total: int | None = None, batch_size: int | None = None
    ) -> Iterator[tuple[StoredClip, Outputs]]:
        """Every clip and its outputs for every window, of (clip, features [frames, ...]), each at least a window long.

        `total` clips, where known, are for a progress bar; `batch_size` windows go together, the recipe's where None.
        """
        step = output_step(self.mesh, self.method)
        if total is not None:
            clips = tqdm(clips, total=total, unit="clip", desc="scoring")
        waiting: collections.deque[StoredClip] = collections.deque()
        products: list[int] = []

        def read() -> Iterator[np.ndarray]:
            for clip, features in clips:
                waiting.append(clip)
                products.append(self.product(clip.machine))
                yield features

        size = batch_size or self.recipe.batch_size
        batches = window_batches(read(), self.recipe.window, self.method.starts, size)
        submitted = (
            ([step(states, windows, np.take(products, owners).astype(np.int32)) for states in self.states], owners)
            for windows, owners in batches
        )
        parts: list[Outputs] = []  # of the clip that is not complete yet
        current = 0
        for groups, owners in _one_late(submitted):  # while the devices work on the next batch
            groups = jax.device_get(groups)
            found = jax.tree.map(lambda *x: np.concatenate(x)[: self.recipe.num_runs], *groups)
            bounds = np.flatnonzero(np.diff(owners)) + 1
            for begin, end in itertools.pairwise([0, *bounds, len(owners)]):
                if owners[begin] != current and parts:
                    yield waiting.popleft(), _joined(parts)
                    parts = []
                if owners[begin] >= 0:
                    current = owners[begin]
                    parts.append({name: values[:, begin:end] for name, values in found.items()})
        if parts:
            yield waiting.popleft(), _joined(parts)


def _one_late(items: Iterable) -> Iterator:
    """The items, each once the one after it has been made."""
    items = iter(items)
    for last in items:
        for item in items:
            yield last
            last = item
        yield last


def _joined(parts: list[Outputs]) -> Outputs:
    return {name: np.concatenate([part[name] for part in parts], axis=1) for name in parts[0]}


def load_trained(
    workdir: Workdir, devices: Sequence[jax.Device] | None = None, score_hop: int | None = None
) -> Trained:
    """Restores the runs of a workdir: their best weights where validation chose some, else the newest.

    Args:
        workdir: of the training.
        devices: to score on; all where None.
        score_hop: frames between the windows of a clip; the recipe's where None.

    Raises:
        UserError: it is no workdir, a run has no checkpoint, or `score_hop` is none for it.
    """
    recipe, suffix = workdir.recipe, ""
    if score_hop is not None:
        if recipe.score_hop is None:
            raise UserError(f"--score_hop={score_hop} was given, but {workdir} was trained with {recipe.method}.")
        suffix = "" if score_hop == recipe.score_hop else f"_hop_{score_hop}"
        recipe = read_recipe(dataclasses.replace(recipe, score_hop=score_hop))
    if recipe.compilation_cache and not jax.config.jax_compilation_cache_dir:
        enable_compilation_cache(COMPILATION_CACHE)
    machines = list(workdir.summary.machines)
    mesh = make_mesh(recipe.num_runs, recipe.batch_size, devices)
    method = make_method(recipe, len(machines), len(workdir.summary.classes))
    scored = ("step", "params", "batch_stats") if recipe.validation_share is None else ("best",)
    steps, states = newest_states(workdir, recipe, method, mesh, scored)
    runs = [weights_to_score(state) for state in states]
    width = mesh.shape[RUN]
    runs += [runs[-1]] * (-len(runs) % width)
    groups = [stack_runs(mesh, runs[i : i + width]) for i in range(0, len(runs), width)]
    return Trained(recipe, method, machines, mesh, groups, workdir, suffix, steps)


def newest_states(
    workdir: Workdir,
    recipe: Recipe,
    method: Method,
    mesh: jax.sharding.Mesh,
    fields: Sequence[str] = (),
) -> tuple[tuple[int, ...], list[State]]:
    """The step and the state of every run at its newest checkpoint; a run that is not finished is named.

    `fields`: of the state, to read alone; all where empty.
    """
    num_steps, validated = workdir.summary.num_steps, recipe.validation_share is not None
    like = single_run(mesh, method, make_optimizer(recipe), validated)
    steps, states = [], []
    for run in range(recipe.num_runs):
        checkpoints = RunCheckpoints(str(workdir), run)
        found = restore_newest([checkpoints], [like], fields)
        checkpoints.close()
        if found is None:
            raise UserError(
                f"Run {run} in {workdir} has no checkpoint yet: run tools/train.py with the same config again."
            )
        step, [state] = found
        if step < num_steps:
            print(f"Run {run} is not finished: scored as it was after step {step} of {num_steps}.")
        steps.append(step)
        states.append(state)
    return tuple(steps), states
