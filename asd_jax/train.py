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

from asd_jax import detection, experiment, input_pipeline, parallel, records
from asd_jax.checkpoints import RunCheckpoints, restore_newest
from asd_jax.epoch_log import EpochLog
from asd_jax.errors import UserError
from asd_jax.input_pipeline import LogMels
from asd_jax.methods import Method
from asd_jax.models.timm_weights import load_backbone
from asd_jax.outliers import outlier_machines
from asd_jax.validation import Validation


@dataclasses.dataclass(frozen=True)
class TrainingData:
    """What a training may see, and the normal clips that it must not.

    Attributes:
        target: the target machines' normal clips.
        outliers: the pooled outlier set.
        held_back: further clips of the targets, kept from training: paper 1 may set a decision threshold by them, paper
            2 chooses the epoch and fits the inlier models.
        held_back_outliers: the same share of the outliers; none in paper 1.
    """

    target: LogMels
    outliers: LogMels
    held_back: LogMels
    held_back_outliers: LogMels

    @property
    def product_ids(self) -> list[str]:
        """The target machines' IDs; a product is a place in this list."""
        return sorted({clip.machine[1] for clip in self.target.clips})

    def products(self, clips: LogMels) -> np.ndarray:
        """[clips] which product each target clip is of."""
        ids = self.product_ids
        return np.array([ids.index(clip.machine[1]) for clip in clips.clips], np.int32)


def load_data(config: ml_collections.ConfigDict) -> TrainingData:
    """Reads the clips that the config names: the targets' and those of their outlier set."""
    store = records.open_store(config.data_dir, config.features)
    groups = store.groups()
    targets = [(config.machine_type, machine_id) for machine_id in experiment.target_ids(config, groups)]
    pool = sorted({machine for target in targets for machine in outlier_machines(config.outlier_set, target, groups)})
    pool = [machine for machine in pool if machine not in targets]
    everything = input_pipeline.load(store, [*targets, *pool], "train", config.window, config.get("domains"))
    mine, others = everything[: len(targets)], everything[len(targets) :]
    outliers = input_pipeline.join(others)
    names = [f"normal clip of {'/'.join(machine)}" for machine in targets] + [
        f"clip of outlier set {config.outlier_set}"
    ]
    for clips, what in zip([*mine, outliers], names, strict=True):
        if not len(clips):
            raise UserError(f"No {what} is one window ({config.window} frames) long: longer recordings are needed.")
    target, held_back = _hold_back(config, mine)
    if experiment.is_validated(config):
        outliers, held_back_outliers = _hold_back(config, [clips for clips in others if len(clips)])
    else:
        held_back_outliers = outliers.select([])
    return TrainingData(target, outliers, held_back, held_back_outliers)


def _hold_back(config: ml_collections.ConfigDict, machines: Sequence[LogMels]) -> tuple[LogMels, LogMels]:
    """(clips to train on, held back) of several machines, the same number or share of each."""
    kept = []
    for clips in machines:
        share = config.get("validation_share")
        count = config.held_back if share is None else max(1, round(share * len(clips)))
        kept.append(input_pipeline.hold_back(clips, count, config.seed))
    return tuple(input_pipeline.join(parts) for parts in zip(*kept, strict=True))


def train(config: ml_collections.ConfigDict, workdir: str) -> None:
    """Trains all runs of the config, or goes on where an earlier call stopped.

    Writes to the workdir: config.json, training.json, checkpoints/run_N, metrics.jsonl, tensorboard/run_N; and what
    `detection.keep_held_back` writes.

    Raises:
        UserError: the config, the data or the workdir do not fit, or a loss was not finite.
        SystemExit: SIGTERM came; what was learned until then is saved.
    """
    config = experiment.resolve(config)
    experiment.check(config)
    experiment.enable_compilation_cache(config)
    data = load_data(config)
    method = experiment.make_method(config, len(data.product_ids))
    if path := config.get("init_from"):  # what is wrong with the file is told before anything is written
        load_backbone(path, *jax.eval_shape(method.init, jax.random.key(0)))
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
    detection.keep_held_back(workdir, data.held_back)


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
        method: Method,
        data: TrainingData,
        mesh: jax.sharding.Mesh,
    ) -> None:
        self.config, self.workdir, self.data, self.mesh = config, workdir, data, mesh
        self.epoch_steps = input_pipeline.steps_per_epoch(len(data.target), config.batch_size)
        self.num_steps = self.epoch_steps * config.num_epochs
        validated = experiment.is_validated(config)
        optimizer, schedule = experiment.make_optimizer(config, self.epoch_steps)
        self.init = parallel.init_states(mesh, method.init, optimizer, config.seed, validated)
        self.jitted_step = parallel.train_step(mesh, method.loss, optimizer, schedule, self.num_steps)
        self.take_run = parallel.take_run(mesh)
        self.one_run = parallel.single_run(mesh, method.init, optimizer, validated)
        self.validation = None
        if validated:
            products = data.products(data.held_back)
            self.validation = Validation(config, method, data.held_back, data.held_back_outliers, products, mesh)

    @functools.cached_property
    def step(self) -> Callable:
        """The compiled step, the same for all groups of runs."""
        rows = (self.mesh.shape[parallel.RUN], self.config.batch_size)
        frames = self.data.target.frames
        shapes = {
            "log_mel": jax.ShapeDtypeStruct((*rows, self.config.window, frames.shape[1]), frames.dtype.as_numpy_dtype),
            "product": jax.ShapeDtypeStruct(rows, np.int32),
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
            f"{config.machine_type}/{','.join(data.product_ids)}: {len(data.target)} normal clips, "
            f"{len(data.held_back)} held back, {len(data.outliers)} in outlier set {config.outlier_set}; "
            f"{size:,} parameters; {self.epoch_steps} steps an epoch"
        )
        print(parallel.describe(self.mesh))
        names = "\n".join(sorted(data.target.names) + sorted(data.outliers.names))
        summary = {
            "parameters": int(size),
            "steps_per_epoch": self.epoch_steps,
            "num_steps": self.num_steps,
            "normal_clips": len(data.target),
            "outlier_clips": len(data.outliers),
            "product_ids": data.product_ids,
            "held_back": list(data.held_back.names),
            "wave_statistics": self._wave_statistics(),
            "names_sha256": hashlib.sha256(names.encode()).hexdigest(),
        }
        experiment.store_summary(summary, self.workdir)

    def _wave_statistics(self) -> dict[str, float] | None:
        """What the target's waveforms were standardised by, which recordings to be scored must be too."""
        store = records.open_store(self.config.data_dir, self.config.features)
        statistics = store.wave_statistics(self.config.machine_type)
        return statistics and dataclasses.asdict(statistics)

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
                done = step + 1
                if self.validation and self.validation.is_due(done, self.epoch_steps, self.num_steps):
                    metrics["validation_loss"] = self.validation.losses(states)
                    states = self.validation.keep_best(states, metrics["validation_loss"])
                pending = (step, metrics, wait, began)
                bar.update()
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
            states = self.init(jnp.array(runs))
            return 0, self._published(states) if self.config.get("init_from") else states
        step, states = found
        for checkpoint in checkpoints:
            checkpoint.delete_after(step)
        print(f"Run {_span(runs)} goes on after step {step} of {self.num_steps}")
        return step, parallel.stack_runs(self.mesh, states + states[-1:] * (len(runs) - len(states)))

    def _published(self, states: parallel.State) -> parallel.State:
        """Fresh states with published weights in their backbones."""
        singles = [self.take_run(states, place) for place in range(self.mesh.shape[parallel.RUN])]
        for place, state in enumerate(singles):
            params, batch_stats = load_backbone(self.config.init_from, state.params, state.batch_stats)
            singles[place] = state._replace(params=params, batch_stats=batch_stats)
        return parallel.stack_runs(self.mesh, singles)

    def _batches(self, runs: Sequence[int], first_step: int) -> Iterator[parallel.Batch]:
        """Batches on the devices, the next one always under way."""
        local_runs, local_rows = parallel.local_rows(self.mesh, len(runs), self.config.batch_size)
        batches = input_pipeline.batches(
            self.data.target,
            self.data.outliers,
            self.data.products(self.data.target),
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
