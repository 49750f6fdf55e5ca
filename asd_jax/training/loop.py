"""The training loop: runs side by side on the mesh, block of steps by block, with metrics and checkpoints."""

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence

import jax
import numpy as np

from asd_jax.base.progress import tqdm
from asd_jax.devices import hosts
from asd_jax.devices.checkpoints import RunCheckpoints
from asd_jax.devices.mesh import RUN
from asd_jax.devices.steps import State, Steps, take_run
from asd_jax.devices.stopping import Stop
from asd_jax.methods import Recipe
from asd_jax.recipes.workdir import Workdir
from asd_jax.training.epoch_log import EpochLog
from asd_jax.training.feed import feed
from asd_jax.training.input_pipeline import Sampler
from asd_jax.training.validation import Validation

_LONG = 60  # seconds of training; before, what is waited for is TensorFlow's start


class Loop:
    """One recipe on one mesh; every group of runs goes through the same compiled steps.

    Attributes:
        steps: the compiled program's description.
        epoch_steps: steps of an epoch.
        num_steps: of the whole training.
    """

    def __init__(
        self,
        recipe: Recipe,
        workdir: Workdir | None,
        steps: Steps,
        sampler: Sampler,
        values: Mapping[str, np.ndarray],
        features: jax.Array | None,
        validation: Validation | None,
        stop: Stop,
    ) -> None:
        """What the steps take: batches of the sampler, `values` [num_steps], and features that lie on the devices."""
        self.recipe, self.workdir, self.steps, self.sampler = recipe, workdir, steps, sampler
        self.values, self.features, self.validation, self.stop = values, features, validation, stop
        self.epoch_steps = sampler.epoch_steps
        self.num_steps = sampler.epoch_steps * recipe.num_epochs

    def train_group(
        self, runs: Sequence[int], checkpoints: Sequence[RunCheckpoints], first: int, states: State
    ) -> None:
        """Trains some runs side by side, from the states that they have after step `first` to the end.

        Raises:
            UserError: a loss was not finite.
            SystemExit: it was stopped, and the states are saved.
        """
        compiled = self.steps.compile()
        done, stopping, pending = first, False, None
        with contextlib.ExitStack() as finish:
            log = finish.enter_context(contextlib.closing(self._log(runs, first)))
            bar = finish.enter_context(self._bar(runs, first))
            for one in checkpoints:
                finish.callback(one.wait)  # a save that is under way is finished, whatever happens
            finish.enter_context(jax.transfer_guard("disallow"))  # but for those that are asked for
            blocks = self._blocks(runs, first)
            while done < self.num_steps and not stopping:
                began = time.perf_counter()
                block, arguments = next(blocks)
                wait = time.perf_counter() - began
                states, metrics = compiled(states, self.features, *arguments)
                if pending:  # read back late, while the devices work on these steps
                    bar.set_postfix(loss=f"{log.add(*pending, ended=began):.4f}", refresh=False)
                done += block.count
                self.stop.stepping = True
                if self.validation and self.validation.is_due(done, self.epoch_steps, self.num_steps):
                    metrics["validation_loss"] = self.validation.losses(states)
                    states = self.validation.keep_best(states, metrics["validation_loss"])
                pending = (block.first_step, block.count, metrics, wait, began)
                bar.update(block.count)
                stopping = self.stop.now()
                if stopping or self._is_due(done):
                    log.add(*pending)  # a state is only kept once its loss is known to be finite
                    pending = None
                    keep(done, states, checkpoints, self.steps.mesh)
        self.stop.stepping = False
        if log.trained > _LONG:
            print(f"Run {span(runs)}: {log.waited / log.trained:.1%} of the time was waiting for input")
        if stopping:
            print(f"Stopped after step {done}, which is saved: run the same command to go on.")
            raise SystemExit(self.stop.code)

    def _blocks(self, runs: Sequence[int], first: int) -> Iterator:
        options = {"seed": self.recipe.seed, "first_step": first, "num_epochs": self.recipe.num_epochs}
        return feed(self.sampler, self.steps, self.values, runs=padded(runs, self.steps.mesh), **options)

    def _log(self, runs: Sequence[int], first: int) -> EpochLog:
        return EpochLog(self.workdir, runs, first, self.epoch_steps, self.recipe.batch_size)

    def _bar(self, runs: Sequence[int], first: int) -> tqdm:
        name, silent = f"run {span(runs)}", not hosts.is_first()
        return tqdm(total=self.num_steps, initial=first, unit="step", desc=name, disable=silent)

    def _is_due(self, done: int) -> bool:
        return done % (self.epoch_steps * self.recipe.checkpoint_epochs) == 0 or done == self.num_steps


def padded(runs: Sequence[int], mesh: jax.sharding.Mesh) -> list[int]:
    """As many runs as the mesh holds side by side: spare places repeat a run."""
    return [*runs, *[runs[-1]] * (mesh.shape[RUN] - len(runs))]


def keep(done: int, states: State, checkpoints: Sequence[RunCheckpoints], mesh: jax.sharding.Mesh) -> None:
    """Starts saving the states that some runs have after a step."""
    one_run = take_run(mesh)
    with jax.transfer_guard("allow"):
        for position, checkpoint in enumerate(checkpoints):
            checkpoint.save(done, one_run(states, position))
            if mesh.is_multi_process and len(checkpoints) > 1:
                checkpoint.wait()  # Orbax takes saves that go on together for one another


def span(runs: Sequence[int]) -> str:
    """The numbers of some runs: "3", or "0-2"."""
    return str(runs[0]) if len(set(runs)) == 1 else f"{min(runs)}-{max(runs)}"
