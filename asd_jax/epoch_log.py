"""What a training tells while it runs: means over every epoch, to metrics.jsonl and TensorBoard."""

import json
import os
import time
from collections.abc import Sequence

import jax
import numpy as np
from clu import metric_writers

from asd_jax.errors import UserError
from asd_jax.files import write_atomically


class EpochLog:
    """The metrics of some runs that train side by side."""

    def __init__(self, workdir: str, runs: Sequence[int], first: int, epoch_steps: int, batch_size: int) -> None:
        self.runs, self.epoch_steps = runs, epoch_steps
        self.windows = batch_size * len(runs)
        self.path = os.path.join(workdir, "metrics.jsonl")
        self._forget_after(first)
        self.writers = [
            metric_writers.SummaryWriter(os.path.join(workdir, "tensorboard", f"run_{run}")) for run in runs
        ]
        self._begin()

    def _begin(self) -> None:
        self.steps: list[dict[str, np.ndarray]] = []
        self.wait, self.seconds = 0.0, 0.0

    def add(
        self, step: int, metrics: dict[str, jax.Array], wait: float, began: float, ended: float | None = None
    ) -> float:
        """Takes the metrics [runs] of a step; returns the mean loss.

        `wait` is the seconds it waited for its batch, `began` and `ended` are readings of `time.perf_counter`; a step
        that has no successor yet ends when its metrics are there.

        Raises:
            UserError: a loss or an update is not finite.
        """
        values = {name: np.asarray(value)[: len(self.runs)] for name, value in metrics.items()}
        for run, loss, update in zip(self.runs, values["loss"], values["update_norm"], strict=True):
            if not np.isfinite([loss, update]).all():
                raise UserError(
                    f"Step {step + 1} of run {run}: the loss is {loss} and the update's norm {update}; training "
                    "stopped and the last checkpoint is kept: lower config.learning_rate, or look at the data."
                )
        self.steps.append(values)
        self.wait += wait
        self.seconds += (time.perf_counter() if ended is None else ended) - began
        if (step + 1) % self.epoch_steps == 0:
            self._write(step + 1)
        return float(values["loss"].mean())

    def _write(self, done: int) -> None:
        speed = {
            "windows_per_second": self.windows * len(self.steps) / self.seconds,
            "input_wait_fraction": self.wait / self.seconds,
        }
        with open(self.path, "a") as file:
            for position, (run, writer) in enumerate(zip(self.runs, self.writers, strict=True)):
                names = dict.fromkeys(name for step in self.steps for name in step)
                means = {n: float(np.mean([s[n][position] for s in self.steps if n in s])) for n in names}
                writer.write_scalars(done, means | speed)
                file.write(
                    json.dumps(
                        {"run": run, "epoch": done // self.epoch_steps, "step": done, "steps": len(self.steps)}
                        | means
                        | speed
                    )
                    + "\n"
                )
        self._begin()

    def _forget_after(self, step: int) -> None:
        """Lines of epochs that an earlier call wrote after its last checkpoint: they are trained again."""
        if not os.path.exists(self.path):
            return
        with open(self.path) as file:
            lines = [line for line in file if line.endswith("\n")]
        kept = [line for line in lines if (entry := json.loads(line))["run"] not in self.runs or entry["step"] <= step]
        write_atomically(self.path, "".join(kept))

    def close(self) -> None:
        """All is on disk after this."""
        for writer in self.writers:
            writer.close()
