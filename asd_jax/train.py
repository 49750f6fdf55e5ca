"""The training loop: runs side by side on the mesh, epoch by epoch, with metrics, checkpoints and resuming."""

import contextlib
import dataclasses
import functools
import hashlib
import signal
import time
import types
from collections.abc import Callable, Sequence

import jax
import ml_collections
import numpy as np

from asd_jax import detection, experiment, hosts, inlier, locks, parallel, records
from asd_jax.checkpoints import RunCheckpoints, check_path, restore_newest
from asd_jax.epoch_log import EpochLog
from asd_jax.feed import feed
from asd_jax.input_pipeline import Block
from asd_jax.methods import Method
from asd_jax.methods.maf import with_bands
from asd_jax.models.timm_weights import load_backbone
from asd_jax.progress import tqdm
from asd_jax.training_data import TrainingData, load_data
from asd_jax.validation import Validation

_LONG = 60  # seconds of training; before, what is waited for is TensorFlow's start


class Stop:
    """Notes that SIGTERM or Ctrl-C came, for trainings to stop after the steps under way; entered in the main thread.

    One of several processes that gets it stops all of them. Ctrl-C before the first steps, or again, does not wait.

    Attributes:
        came: whether to stop.
        code: what the process exits with.
        stepping: whether there is something to save.
    """

    def __init__(self) -> None:
        self.came, self.stepping = False, False
        self.code = 128 + signal.SIGTERM
        self.asked: jax.Array | bool = False

    def now(self) -> bool:
        """Whether to stop; all processes ask after the same steps, and get the same answer."""
        if jax.process_count() == 1:
            return self.came
        before, self.asked = self.asked, hosts.anywhere(self.came)
        return bool(before)  # known since the steps before: nobody waits

    def _note(self, number: int, frame: types.FrameType | None) -> None:
        before, again = self.before[number], self.came
        self.came, self.code = True, 128 + number
        if number == signal.SIGINT and callable(before) and (again or not self.stepping):
            before(number, frame)

    def __enter__(self) -> "Stop":
        numbers = [signal.SIGTERM]
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            numbers.append(signal.SIGINT)
        self.before = {number: signal.signal(number, self._note) for number in numbers}
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self.before.items():
            signal.signal(number, before)


def train(
    config: ml_collections.ConfigDict,
    workdir: str,
    devices: Sequence[jax.Device] | None = None,
    stop: Stop | None = None,
    new_inlier: bool = False,
) -> None:
    """Trains all runs of the config, or goes on where an earlier call stopped.

    Writes to the workdir: config.json, training.json, surroundings.json, checkpoints/run_N, metrics.jsonl,
    tensorboard/run_N; and what `detection.keep_held_back` writes.

    Args:
        config: the recipe.
        workdir: the folder; one that exists is gone on with.
        devices: to train on; all where None.
        stop: says when to stop; None takes SIGTERM and Ctrl-C for it, which works in the main thread.
        new_inlier: the config's inlier models are asked for, whatever tools/select_inlier.py has chosen.

    Raises:
        UserError: the config, the data or the workdir do not fit, another training is writing to the workdir, or a
            loss was not finite.
        SystemExit: it was stopped; what was learned until then is saved.
    """
    if stop is None:
        with Stop() as stop:
            return train(config, workdir, devices, stop, new_inlier)
    config = experiment.resolve(config)
    experiment.check(config)
    check_path(workdir)
    experiment.enable_compilation_cache(config.compilation_cache)
    data = load_data(config)
    method = experiment.make_method(config, len(data.machines))
    _check_inlier(config, method, data)
    if path := config.get("init_from"):  # what is wrong with the file is told before anything is written
        load_backbone(path, *jax.eval_shape(method.init, jax.random.key(0)))
    mesh = parallel.make_mesh(config.num_runs, config.batch_size, devices)
    with locks.held(workdir, "training") if hosts.is_first() else contextlib.nullcontext():
        experiment.store_config(config, workdir)
        if new_inlier and hosts.is_first():
            detection.forget_choice(workdir)
        training = _Training(config, workdir, method, data, mesh, stop)
        training.describe()
        experiment.store_surroundings(workdir)
        checkpoints = [RunCheckpoints(workdir, run) for run in range(config.num_runs)]
        for one in checkpoints:
            training.drop_damaged(one)
        steps = {run: set(one.steps()) for run, one in enumerate(checkpoints)}
        unfinished = {run: done for run, done in steps.items() if training.num_steps not in done}
        for runs in group_runs(unfinished, mesh.shape[parallel.RUN]):
            training.train_group(runs, [checkpoints[run] for run in runs])
        for one in checkpoints:
            one.close()
        detection.keep_held_back(workdir, data.held_back, jax.local_devices() if devices is None else devices)
    return None


def _check_inlier(config: ml_collections.ConfigDict, method: Method, data: TrainingData) -> None:
    """Raises a UserError where the clips held back are too few for the config's inlier models."""
    if config.get("inlier", "none") == "none" or not len(data.held_back):
        return
    windows: dict[str, int] = {}
    for clip, length in zip(data.held_back.clips, data.held_back.length.tolist(), strict=True):
        windows[clip.machine[1]] = windows.get(clip.machine[1], 0) + len(method.starts(length))
    for machine_id, count in windows.items():
        inlier.check_enough(machine_id, count, config.inlier, config.inlier_p)


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
        stop: Stop,
    ) -> None:
        self.config, self.workdir, self.method, self.data = config, workdir, method, data
        self.mesh, self.stop = mesh, stop
        self.sampler = data.sampler(config)
        self.epoch_steps = self.sampler.epoch_steps
        self.num_steps = self.epoch_steps * config.num_epochs
        self.values = experiment.step_values(config, self.epoch_steps)
        self.optimizer = experiment.make_optimizer(config)
        self.validated = experiment.is_validated(config)
        self.take_run = parallel.take_run(mesh)
        self.one_run = parallel.single_run(mesh, method, self.optimizer, self.validated)
        self.block_steps = config.get("steps_per_dispatch", 1)
        self.log_mels = None  # on the devices, where the method takes many small steps there
        if "steps_per_dispatch" in config:
            self.log_mels = parallel.put_everywhere(mesh, _padded(self.sampler.frames.numpy()))
        self.validation = None
        if self.validated:
            products = data.products(data.held_back)
            self.validation = Validation(config, method, data.held_back, data.held_back_outliers, products, mesh)

    @functools.cached_property
    def steps(self) -> Callable:
        """The compiled steps, the same for all groups of runs, and for all trainings of the same shapes."""
        of_block = (self.block_steps, self.mesh.shape[parallel.RUN], self.config.batch_size)
        shape = None if self.log_mels is None else self.log_mels.shape
        dtype = self.sampler.frames.dtype.as_numpy_dtype
        return parallel.compile_steps(
            self.mesh, self.method, self.optimizer, self.validated, of_block, tuple(self.values), shape, dtype
        )

    def describe(self) -> None:
        """Says what will be trained on what, and keeps it as training.json."""
        size = sum(np.prod(x.shape, dtype=int) for x in jax.tree.leaves(self.one_run.params))
        data = self.data
        config = self.config
        machines = ", ".join("/".join(machine) for machine in data.machines)
        outliers = f", {len(data.outliers)} in outlier set {config.outlier_set}" if "outlier_set" in config else ""
        print(
            f"{machines}: {len(data.target)} normal clips, {len(data.held_back)} held back{outliers}; "
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
            "machines": [list(machine) for machine in data.machines],
            "held_back": list(data.held_back.names),
            "wave_statistics": self._wave_statistics(),
            "channels": self._channels(),
            "names_sha256": hashlib.sha256(names.encode()).hexdigest(),
        }
        experiment.store_summary(summary, self.workdir)

    def _wave_statistics(self) -> dict[str, dict[str, float] | None]:
        """What the targets' waveforms were standardised by, which recordings to be scored must be too."""
        store = records.open_store(self.config.data_dir, self.config.features)
        types = sorted({machine_type for machine_type, _ in self.data.machines})
        found = {machine_type: store.wave_statistics(machine_type) for machine_type in types}
        return {machine_type: one and dataclasses.asdict(one) for machine_type, one in found.items()}

    def _channels(self) -> dict[str, int] | None:
        """Target machine -> the channel of its recordings that is read; None where all take the mean."""
        store = records.open_store(self.config.data_dir, self.config.features)
        found = {"/".join(machine): store.find(machine).channel for machine in self.data.machines}
        return {name: channel for name, channel in found.items() if channel is not None} or None

    def drop_damaged(self, checkpoints: RunCheckpoints) -> None:
        """Forgets what is damaged after a run's newest whole checkpoint: those steps are trained again."""
        if found := restore_newest([checkpoints], [self.one_run]):
            checkpoints.delete_after(found[0])

    def train_group(self, runs: Sequence[int], checkpoints: Sequence[RunCheckpoints]) -> None:
        """Trains some runs side by side, from their newest common checkpoint to the end."""
        width = self.mesh.shape[parallel.RUN]
        padded = [*runs, *[runs[-1]] * (width - len(runs))]  # the shape is compiled already: spare places repeat a run
        steps = self.steps
        first, states = self._start(padded, checkpoints)
        blocks = feed(
            self.sampler,
            self.mesh,
            runs=padded,
            seed=self.config.seed,
            first_step=first,
            num_epochs=self.config.num_epochs,
            steps=self.block_steps,
            window=self.config.window if self.log_mels is None else None,
        )
        log = EpochLog(self.workdir, runs, first, self.epoch_steps, self.config.batch_size)
        pending = None
        with (
            tqdm(
                total=self.num_steps,
                initial=first,
                unit="step",
                desc=f"run {_span(runs)}",
                disable=not hosts.is_first(),
            ) as bar,
            contextlib.ExitStack() as finish,
        ):
            finish.callback(log.close)
            for checkpoint in checkpoints:
                finish.callback(checkpoint.wait)  # a save that is under way is finished, whatever happens
            done, stopping = first, False
            while done < self.num_steps:
                began = time.perf_counter()
                block, arrays = next(blocks)
                wait = time.perf_counter() - began
                states, metrics = steps(states, self.log_mels, arrays, self._values(block), np.int32(block.count))
                if pending:  # read back late, while the devices work on these steps
                    bar.set_postfix(loss=f"{log.add(*pending, ended=began):.4f}", refresh=False)
                done += block.count
                self.stop.stepping = True
                if self.validation and self.validation.is_due(done, self.epoch_steps, self.num_steps):
                    metrics["validation_loss"] = self.validation.losses(states)
                    states = self.validation.keep_best(states, metrics["validation_loss"])
                pending = (block.first_step, block.count, metrics, wait, began)
                bar.update(block.count)
                due = done % (self.epoch_steps * self.config.checkpoint_epochs) == 0 or done == self.num_steps
                stopping = self.stop.now()
                if due or stopping:
                    log.add(*pending)  # a state is only kept once its loss is known to be finite
                    pending = None
                    for position, checkpoint in enumerate(checkpoints):
                        checkpoint.save(done, self.take_run(states, position))
                        if self.mesh.is_multi_process and len(checkpoints) > 1:
                            checkpoint.wait()  # Orbax takes saves that go on together for one another
                if stopping:
                    break
        self.stop.stepping = False
        if log.trained > _LONG:
            print(f"Run {_span(runs)}: {log.waited / log.trained:.1%} of the time was waiting for input")
        if stopping:
            print(f"Stopped after step {done}, which is saved: run the same command to go on.")
            raise SystemExit(self.stop.code)

    def _start(self, runs: Sequence[int], checkpoints: Sequence[RunCheckpoints]) -> tuple[int, parallel.State]:
        found = restore_newest(checkpoints, [self.one_run] * len(checkpoints))
        if found is None:
            init = parallel.init_states(self.mesh, self.method, self.optimizer, self.validated)
            states = init(self.config.seed, np.array(runs, np.int32))
            if self.config.get("standardise_bands"):
                states = self._standardised(states)
            return 0, self._published(states) if self.config.get("init_from") else states
        step, states = found
        for checkpoint in checkpoints:
            checkpoint.delete_after(step)
        print(f"Run {_span(runs)} goes on after step {step} of {self.num_steps}")
        return step, parallel.stack_runs(self.mesh, states + states[-1:] * (len(runs) - len(states)))

    def _standardised(self, states: parallel.State) -> parallel.State:
        """Fresh states that know mean and deviation of the mel bands of all clips to train on."""
        with_them = jax.jit(with_bands, out_shardings=parallel.state_sharding(self.mesh))
        return states._replace(batch_stats=with_them(states.batch_stats, *self.data.target.band_statistics()))

    def _published(self, states: parallel.State) -> parallel.State:
        """Fresh states with published weights in their backbones."""
        singles = [self.take_run(states, place) for place in range(self.mesh.shape[parallel.RUN])]
        for place, state in enumerate(singles):
            params, batch_stats = load_backbone(self.config.init_from, state.params, state.batch_stats)
            singles[place] = state._replace(params=params, batch_stats=batch_stats)
        return parallel.stack_runs(self.mesh, singles)

    def _values(self, block: Block) -> dict[str, np.ndarray]:
        """What changes from step to step [steps of a block]; after the end of the training the last values again."""
        place = np.minimum(block.first_step + np.arange(self.block_steps), self.num_steps - 1)
        return {name: values[place] for name, values in self.values.items()}


def _padded(frames: np.ndarray) -> np.ndarray:
    """Zeros after the last frame, to one of four lengths an octave: trainings of many sizes share a program."""
    step = 2 ** max(len(frames).bit_length() - 3, 0)
    return np.pad(frames, ((0, -len(frames) % step), (0, 0)))


def _span(runs: Sequence[int]) -> str:
    return str(runs[0]) if len(set(runs)) == 1 else f"{min(runs)}-{max(runs)}"
