"""What a trained workdir's networks give for the windows of clips."""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

import jax
import ml_collections
import numpy as np

from asd_jax import experiment, parallel
from asd_jax.checkpoints import RunCheckpoints, restore_newest
from asd_jax.clips import Machine
from asd_jax.errors import UserError
from asd_jax.methods import Method
from asd_jax.progress import tqdm

Outputs = dict[str, np.ndarray]
"""Name -> [runs, windows, ...] of one clip."""


@dataclasses.dataclass(frozen=True)
class Trained:
    """All runs of a workdir, ready to score.

    Attributes:
        config: what they were trained with.
        method: the system.
        machines: the target machines; a product is a place in this list.
        mesh: the devices they score on.
        states: groups of runs, each with as many as the mesh holds side by side (the last one may repeat a run).
        suffix: of the names of files in the workdir that hold what comes of other windows than the recipe's.
        steps: the step of the training after which each run has these weights.
    """

    config: ml_collections.ConfigDict
    method: Method
    machines: list[Machine]
    mesh: jax.sharding.Mesh
    states: list[parallel.State]
    suffix: str = ""
    steps: tuple[int, ...] = ()

    def product(self, machine: Machine) -> int:
        """The machine's place among the targets; -1 where it is none of them."""
        return self.machines.index(machine) if machine in self.machines else -1

    def outputs(self, clips: Iterable[tuple[np.ndarray, Machine]], total: int | None = None) -> Iterator[Outputs]:
        """The outputs for every window of clips (log-mel [frames, mels], machine), each at least one window long.

        `total` clips, where known, are for a progress bar.
        """
        step = parallel.output_step(self.mesh, self.method)
        if total is not None:
            clips = tqdm(clips, total=total, unit="clip", desc="scoring")
        products: list[int] = []

        def log_mels() -> Iterator[np.ndarray]:
            for log_mel, machine in clips:
                products.append(self.product(machine))
                yield log_mel

        batches = window_batches(log_mels(), self.config.window, self.method.starts, self.config.batch_size)
        submitted = (
            ([step(states, windows, np.take(products, clips).astype(np.int32)) for states in self.states], clips)
            for windows, clips in batches
        )
        parts: list[Outputs] = []  # of the clip that is not complete yet
        current = 0
        for groups, clips in _one_late(submitted):  # while the devices work on the next batch
            groups = jax.device_get(groups)
            found = jax.tree.map(lambda *x: np.concatenate(x)[: self.config.num_runs], *groups)
            bounds = np.flatnonzero(np.diff(clips)) + 1
            for begin, end in itertools.pairwise([0, *bounds, len(clips)]):
                if clips[begin] != current and parts:
                    yield _joined(parts)
                    parts = []
                if clips[begin] >= 0:
                    current = clips[begin]
                    parts.append({name: values[:, begin:end] for name, values in found.items()})
        if parts:
            yield _joined(parts)


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


def load_trained(workdir: str, devices: Sequence[jax.Device] | None = None, score_hop: int | None = None) -> Trained:
    """Restores the runs of a workdir: their best weights where validation chose some, else the newest.

    Args:
        workdir: of the training.
        devices: to score on; all where None.
        score_hop: frames between the windows of a clip; the recipe's where None.

    Raises:
        UserError: it is no workdir, a run has no checkpoint, or `score_hop` is none for it.
    """
    config, suffix = experiment.load_config(workdir), ""
    if score_hop is not None:
        if "score_hop" not in config:
            raise UserError(f"--score_hop={score_hop} was given, but {workdir} was trained with {config.method}.")
        suffix = "" if score_hop == config.score_hop else f"_hop_{score_hop}"
        config.score_hop = score_hop
    experiment.check(config)
    if config.get("compilation_cache") and not jax.config.jax_compilation_cache_dir:
        experiment.enable_compilation_cache(experiment.COMPILATION_CACHE)
    machines = [tuple(machine) for machine in experiment.load_summary(workdir)["machines"]]
    mesh = parallel.make_mesh(config.num_runs, config.batch_size, devices)
    method = experiment.make_method(config, len(machines))
    scored = ("best",) if experiment.is_validated(config) else ("params", "batch_stats")
    steps, states = newest_states(workdir, config, method, mesh, scored)
    runs = [parallel.weights_to_score(state) for state in states]
    width = mesh.shape[parallel.RUN]
    runs += [runs[-1]] * (-len(runs) % width)
    groups = [parallel.stack_runs(mesh, runs[i : i + width]) for i in range(0, len(runs), width)]
    return Trained(config, method, machines, mesh, groups, suffix, steps)


def newest_states(
    workdir: str,
    config: ml_collections.ConfigDict,
    method: Method,
    mesh: jax.sharding.Mesh,
    fields: Sequence[str] = (),
) -> tuple[tuple[int, ...], list[parallel.State]]:
    """The step and the state of every run at its newest checkpoint; a run that is not finished is named.

    `fields`: of the state, to read alone; all where empty.
    """
    training = experiment.load_summary(workdir)
    optimizer = experiment.make_optimizer(config)
    like = parallel.single_run(mesh, method, optimizer, experiment.is_validated(config))
    steps, states = [], []
    for run in range(config.num_runs):
        checkpoints = RunCheckpoints(workdir, run)
        found = restore_newest([checkpoints], [like], fields)
        checkpoints.close()
        if found is None:
            raise UserError(
                f"Run {run} in {workdir} has no checkpoint yet: run tools/train.py with the same config again."
            )
        step, [state] = found
        if step < training["num_steps"]:
            print(f"Run {run} is not finished: scored as it was after step {step} of {training['num_steps']}.")
        steps.append(step)
        states.append(state)
    return tuple(steps), states


def window_batches(
    log_mels: Iterable[np.ndarray], window: int, starts: Callable[[int], np.ndarray], batch_size: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Cuts clips [frames, mels] into windows, and the windows of many clips into batches of one size.

    `starts(frames)` gives the first frames of a clip's windows.

    Yields:
        (windows [batch, window, mels], clip number of each [batch]); -1 marks the padding of the last batch.
    """
    batch, owners, filled = None, np.full(batch_size, -1), 0
    for clip, log_mel in enumerate(log_mels):
        todo = starts(len(log_mel))
        while len(todo):
            # Only so many windows at a time: an hour-long recording takes no more memory than its log-mel.
            now, todo = np.split(todo, [batch_size - filled])
            windows = log_mel[now[:, None] + np.arange(window)]
            if batch is None:
                batch = np.zeros((batch_size, *windows.shape[1:]), windows.dtype)
            batch[filled : filled + len(now)], owners[filled : filled + len(now)] = windows, clip
            filled += len(now)
            if filled == batch_size:
                yield batch, owners
                batch, owners, filled = None, np.full(batch_size, -1), 0
    if filled:
        yield batch, owners
