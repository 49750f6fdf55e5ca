"""The training loop: runs side by side on the mesh, epoch by epoch, with metrics, checkpoints and resuming."""

import collections
import contextlib
import dataclasses
import functools
import hashlib
import signal
import time
from collections.abc import Callable, Iterator, Sequence

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from tqdm import tqdm

from asd_jax import experiment, input_pipeline, parallel, records, scoring
from asd_jax.checkpoints import RunCheckpoints, restore_newest
from asd_jax.epoch_log import EpochLog
from asd_jax.errors import UserError
from asd_jax.methods.proxy_outlier import ProxyOutlier
from asd_jax.outliers import outlier_machines


@dataclasses.dataclass(frozen=True)
class TrainingData:
    """What a training may see, and the normal clips that it must not.

    Attributes:
        normal: the target machine's normal clips.
        held_back: further ones, kept from training to set a decision threshold.
        outliers: the pooled outlier set.
    """

    normal: input_pipeline.LogMels
    held_back: input_pipeline.LogMels
    outliers: input_pipeline.LogMels


def load_data(config: ml_collections.ConfigDict) -> TrainingData:
    """Reads the clips that the config names: the target's and those of its outlier set."""
    store = records.open_store(config.data_dir, config.features)
    target = (config.machine_type, config.machine_id)
    pool = outlier_machines(config.outlier_set, target, store.groups())
    normal, *outliers = input_pipeline.load(store, [target, *pool], "train", config.window)
    outliers = input_pipeline.join(outliers)
    for clips, what in (
        (normal, f"normal clip of {'/'.join(target)}"),
        (outliers, f"clip of outlier set {config.outlier_set}"),
    ):
        if not len(clips):
            raise UserError(f"No {what} is one window ({config.window} frames) long: longer recordings are needed.")
    normal, held_back = input_pipeline.hold_back(normal, config.held_back, config.seed)
    return TrainingData(normal, held_back, outliers)


def train(config: ml_collections.ConfigDict, workdir: str) -> None:
    """Trains all runs of the config, or goes on where an earlier call stopped.

    Writes to the workdir: config.json, training.json, checkpoints/run_N, metrics.jsonl, tensorboard/run_N.

    Raises:
        UserError: the config, the data or the workdir do not fit, or a loss was not finite.
        SystemExit: SIGTERM came; what was learned until then is saved.
    """
    experiment.check(config)
    experiment.enable_compilation_cache(config)
    method = experiment.make_method(config)
    data = load_data(config)
    mesh = parallel.make_mesh(config.num_runs, config.batch_size)
    experiment.store_config(config, workdir)
    training = _Training(config, workdir, method, data, mesh)
    training.describe()
    checkpoints = [RunCheckpoints(workdir, run) for run in range(config.num_runs)]
    for one in checkpoints:
        training.drop_damaged(one)
    steps = {run: set(one.steps()) for run, one in enumerate(checkpoints)}
    unfinished = {run: done for run, done in steps.items() if training.num_steps not in done}
    for runs in group_runs(unfinished, mesh.shape[parallel.RUN]):
        training.train_group(runs, [checkpoints[run] for run in runs])
    for one in checkpoints:
        one.close()
    if len(data.held_back):
        scoring.score_held_back(workdir, data.held_back)


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


class _Training:
    """One config on one mesh; every group of runs goes through the same compiled step."""

    def __init__(
        self,
        config: ml_collections.ConfigDict,
        workdir: str,
        method: ProxyOutlier,
        data: TrainingData,
        mesh: jax.sharding.Mesh,
    ) -> None:
        self.config, self.workdir, self.data, self.mesh = config, workdir, data, mesh
        self.epoch_steps = input_pipeline.steps_per_epoch(len(data.normal), config.batch_size)
        self.num_steps = self.epoch_steps * config.num_epochs
        optimizer, schedule = experiment.make_optimizer(config, self.epoch_steps)
        self.init = parallel.init_states(mesh, method.init, optimizer, config.seed)
        self.jitted_step = parallel.train_step(mesh, method.loss, optimizer, schedule)
        self.take_run = parallel.take_run(mesh)
        self.one_run = parallel.single_run(mesh, method.init, optimizer)

    @functools.cached_property
    def step(self) -> Callable:
        """The compiled step, the same for all groups of runs."""
        rows = (self.mesh.shape[parallel.RUN], self.config.batch_size)
        n_mels = self.data.normal.frames.shape[1]
        shapes = {
            "log_mel": jax.ShapeDtypeStruct(
                (*rows, self.config.window, n_mels), self.data.normal.frames.dtype.as_numpy_dtype
            ),
            "label": jax.ShapeDtypeStruct(rows, np.float32),
        }
        states = jax.eval_shape(self.init, jnp.arange(rows[0]))
        began = time.perf_counter()
        compiled = self.jitted_step.lower(
            parallel.placed(states, parallel.state_sharding(self.mesh)),
            parallel.placed(shapes, parallel.batch_sharding(self.mesh)),
        ).compile()
        print(f"Compiled the training step in {time.perf_counter() - began:.1f} s")
        return compiled

    def describe(self) -> None:
        """Says what will be trained on what, and keeps it as training.json."""
        size = sum(np.prod(x.shape, dtype=int) for x in jax.tree.leaves(self.one_run.params))
        data = self.data
        config = self.config
        print(
            f"{config.machine_type}/{config.machine_id}: {len(data.normal)} normal clips, "
            f"{len(data.held_back)} held back, {len(data.outliers)} in outlier set {config.outlier_set}; "
            f"{size:,} parameters; {self.epoch_steps} steps an epoch"
        )
        print(parallel.describe(self.mesh))
        names = "\n".join(sorted(data.normal.names) + sorted(data.outliers.names))
        summary = {
            "parameters": int(size),
            "steps_per_epoch": self.epoch_steps,
            "num_steps": self.num_steps,
            "normal_clips": len(data.normal),
            "outlier_clips": len(data.outliers),
            "held_back": list(data.held_back.names),
            "names_sha256": hashlib.sha256(names.encode()).hexdigest(),
        }
        experiment.store_summary(summary, self.workdir)

    def drop_damaged(self, checkpoints: RunCheckpoints) -> None:
        """Forgets what is damaged after a run's newest whole checkpoint: those steps are trained again."""
        if found := restore_newest([checkpoints], [self.one_run]):
            checkpoints.delete_after(found[0])

    def train_group(self, runs: Sequence[int], checkpoints: Sequence[RunCheckpoints]) -> None:
        """Trains some runs side by side, from their newest common checkpoint to the end."""
        width = self.mesh.shape[parallel.RUN]
        padded = [*runs, *[runs[-1]] * (width - len(runs))]  # the shape is compiled already: spare places repeat a run
        step_fn = self.step
        first, states = self._start(padded, checkpoints)
        batches = self._batches(padded, first)
        log = EpochLog(self.workdir, runs, first, self.epoch_steps, self.config.batch_size)
        pending = None
        with (
            _Sigterm() as sigterm,
            tqdm(total=self.num_steps, initial=first, unit="step", desc=f"run {_span(runs)}") as bar,
            contextlib.ExitStack() as finish,
        ):
            finish.callback(log.close)
            for checkpoint in checkpoints:
                finish.callback(checkpoint.wait)  # a save that is under way is finished, whatever happens
            for step in range(first, self.num_steps):
                began = time.perf_counter()
                batch = next(batches)
                wait = time.perf_counter() - began
                states, metrics = step_fn(states, batch)
                if pending:  # read back one step late, while the devices work on this one
                    bar.set_postfix(loss=f"{log.add(*pending, ended=began):.4f}", refresh=False)
                pending = (step, metrics, wait, began)
                bar.update()
                done = step + 1
                due = done % (self.epoch_steps * self.config.checkpoint_epochs) == 0 or done == self.num_steps
                if due or sigterm.came:
                    log.add(*pending)  # a state is only kept once its loss is known to be finite
                    pending = None
                    for position, checkpoint in enumerate(checkpoints):
                        checkpoint.save(done, self.take_run(states, position))
                if sigterm.came:
                    break
        if sigterm.came:
            print(f"Stopped by SIGTERM after step {done}, which is saved: run the same command to go on.")
            raise SystemExit(128 + signal.SIGTERM)

    def _start(self, runs: Sequence[int], checkpoints: Sequence[RunCheckpoints]) -> tuple[int, parallel.State]:
        found = restore_newest(checkpoints, [self.one_run] * len(checkpoints))
        if found is None:
            return 0, self.init(jnp.array(runs))
        step, states = found
        for checkpoint in checkpoints:
            checkpoint.delete_after(step)
        print(f"Run {_span(runs)} goes on after step {step} of {self.num_steps}")
        return step, parallel.stack_runs(self.mesh, states + states[-1:] * (len(runs) - len(states)))

    def _batches(self, runs: Sequence[int], first_step: int) -> Iterator[parallel.Batch]:
        """Batches on the devices, the next one always under way."""
        local_runs, local_rows = parallel.local_rows(self.mesh, len(runs), self.config.batch_size)
        batches = input_pipeline.proxy_outlier_batches(
            self.data.normal,
            self.data.outliers,
            seed=self.config.seed,
            runs=[runs[i] for i in local_runs],
            first_step=first_step,
            num_steps=self.num_steps,
            batch_size=self.config.batch_size,
            window=self.config.window,
            num_outliers=self.config.num_outliers,
            rows=local_rows,
        )
        ahead: collections.deque = collections.deque()
        for batch in batches:
            ahead.append(parallel.put_batch(self.mesh, batch))
            if len(ahead) == 2:
                yield ahead.popleft()
        yield from ahead


class _Sigterm:
    """Notes that SIGTERM came, for the loop to stop at a step's end."""

    def __enter__(self) -> "_Sigterm":
        self.came = False
        self.before = signal.signal(signal.SIGTERM, lambda *_: setattr(self, "came", True))
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGTERM, self.before)


def _span(runs: Sequence[int]) -> str:
    return str(runs[0]) if len(set(runs)) == 1 else f"{min(runs)}-{max(runs)}"
