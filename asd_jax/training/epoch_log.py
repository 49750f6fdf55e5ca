"""The metrics of a training: means over every epoch, in metrics.jsonl and TensorBoard."""

import json
import os
import time
from collections.abc import Sequence

import jax
import numpy as np
from clu import metric_writers

from asd_jax.base.errors import UserError
from asd_jax.base.files import write_atomically
from asd_jax.base.stored_json import parse_json
from asd_jax.devices import hosts
from asd_jax.recipes.workdir import Workdir

_DELETE = "delete it, which loses the metrics of the epochs so far and nothing else"
_EPOCH = {"run": int, "epoch": int}


def read_epochs(workdir: Workdir) -> list[dict]:
    """The metrics of every run and epoch, as a training in the workdir wrote them; empty where it has not.

    Raises:
        UserError: metrics.jsonl is damaged.
    """
    path = workdir.epochs
    if not path.exists():
        return []
    entries = []
    for line in path.read_bytes().splitlines():
        entry = parse_json(line, dict[str, float], f"{path} is damaged", _DELETE)
        entries.append(parse_json(line, _EPOCH, f"{path} is damaged", _DELETE) and entry)
    return entries


class EpochLog:
    """The metrics of some runs that train side by side."""

    def __init__(self, workdir: Workdir, runs: Sequence[int], first: int, epoch_steps: int, batch_size: int) -> None:
        self.runs, self.epoch_steps = runs, epoch_steps
        self.windows = batch_size * len(runs)
        self.path = workdir.epochs
        self.lines, self.writers = [], []
        if hosts.is_first():
            self._forget_after(first)
            folder = workdir.file("tensorboard")
            self.writers = [metric_writers.SummaryWriter(os.fspath(folder / f"run_{run}")) for run in runs]
        self.waited, self.trained = 0.0, 0.0  # seconds of this call
        self._begin()

    def _begin(self) -> None:
        self.parts: list[dict[str, np.ndarray]] = []
        self.validation: np.ndarray | None = None
        self.wait, self.seconds = 0.0, 0.0

    def add(
        self,
        first_step: int,
        count: int,
        metrics: dict[str, jax.Array],
        wait: float,
        began: float,
        ended: float | None = None,
    ) -> float:
        """Takes the metrics [at least `count`, runs] of some steps of one epoch; returns the mean loss.

        `wait` is the seconds they waited for their batches, `began` and `ended` are readings of `time.perf_counter`;
        steps that have no successors yet end when their metrics are there. A "validation_loss" [runs] belongs to the
        last step.

        Raises:
            UserError: a loss or a gradient is not finite.
        """
        values = {name: np.asarray(value) for name, value in jax.device_get(metrics).items()}
        validation = values.pop("validation_loss", None)
        values = {name: value[:count, : len(self.runs)] for name, value in values.items()}
        wrong = ~np.isfinite(values["loss"]) | ~np.isfinite(values["gradient_norm"])
        if wrong.any():
            step, run = np.argwhere(wrong)[0]
            loss, gradient = (values[name][step, run] for name in ("loss", "gradient_norm"))
            where = f"Step {first_step + step + 1} of run {self.runs[run]}"
            raise UserError(
                f"{where}: the loss is {loss} and the gradient's norm {gradient}; "
                "training stopped and the last checkpoint is kept: lower config.learning_rate, or look at the data."
            )
        self.parts.append(values)
        self.validation = validation  # no later steps of an epoch follow one
        self.wait += wait
        seconds = (time.perf_counter() if ended is None else ended) - began
        self.seconds += seconds
        self.waited, self.trained = self.waited + wait, self.trained + seconds
        if (first_step + count) % self.epoch_steps == 0:
            if hosts.is_first():
                self._write(first_step + count)
            self._begin()
        return float(values["loss"].mean())

    def _write(self, done: int) -> None:
        columns = {name: np.concatenate([part[name] for part in self.parts]) for name in self.parts[0]}
        steps = len(columns["loss"])
        means = {name: column.mean(0) for name, column in columns.items()}
        if self.validation is not None:
            means["validation_loss"] = self.validation
        speed = {
            "seconds": self.seconds / len(self.runs),  # over the lines of all runs, these add up to the training's
            "windows_per_second": self.windows * steps / self.seconds,
            "input_wait_fraction": self.wait / self.seconds,
        }
        for position, (run, writer) in enumerate(zip(self.runs, self.writers, strict=True)):
            mine = {name: float(mean[position]) for name, mean in means.items()} | speed
            writer.write_scalars(done, mine)
            place = {"run": run, "epoch": done // self.epoch_steps, "step": done, "steps": steps}
            self.lines.append(json.dumps(place | mine) + "\n")
        write_atomically(self.path, "".join(self.lines))  # whole: there is no appending to an object in the cloud

    def _forget_after(self, step: int) -> None:
        """Lines of epochs that an earlier call wrote after its last checkpoint: they are trained again."""
        if not self.path.exists():
            return
        for line in self.path.read_bytes().splitlines(keepends=True):
            if not line.endswith(b"\n"):
                continue
            entry = parse_json(line, {"run": int, "step": int}, f"{self.path} is damaged", _DELETE)
            if entry["run"] not in self.runs or entry["step"] <= step:
                self.lines.append(line.decode())
        write_atomically(self.path, "".join(self.lines))

    def close(self) -> None:
        """All is on disk after this."""
        for writer in self.writers:
            writer.close()
