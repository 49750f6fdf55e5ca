"""The state of trainings on a mesh, and the compiled programs that change it or score by it."""

import collections
import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from asd_jax.devices.mesh import (
    RUN,
    Batch,
    block_sharding,
    compiler_options,
    placed,
    put,
    readable,
    state_sharding,
)
from asd_jax.methods import Method
from asd_jax.models.norms import DATA, mean_over_devices

Optimizer = Callable[[dict[str, jax.Array]], optax.GradientTransformation]
"""From the values of a step ("learning_rate", "b1", ...), which are data: one program serves all schedules."""


class State(NamedTuple):
    """All that a training is, one entry per run along the leading axis of every array."""

    step: jax.Array
    key: jax.Array  # raw key data; what a step draws is folded from it and the step
    params: dict
    batch_stats: dict
    opt_state: optax.OptState
    best: dict  # "loss", "params", "batch_stats" of the smallest validation loss; empty for a training without one


@functools.cache
def init_states(mesh: Mesh, method: Method, optimizer: Optimizer, validated: bool = False) -> Callable:
    """Compiles `(seed, runs [n]) -> State`: fresh states, each folded from (seed, its run).

    `validated` says whether `keep_best` will be used.
    """

    def one(seed: jax.Array, run: jax.Array) -> State:
        key, init_key = jax.random.split(jax.random.fold_in(jax.random.key(seed), run))
        params, batch_stats = method.init(init_key)
        best = {"loss": jnp.float32(jnp.inf), "params": params, "batch_stats": batch_stats} if validated else {}
        opt_state = optimizer(collections.defaultdict(float)).init(params)
        return State(jnp.int32(0), jax.random.key_data(key), params, batch_stats, opt_state, best)

    return jax.jit(jax.vmap(one, in_axes=(None, 0)), out_shardings=state_sharding(mesh))


@functools.cache
def train_steps(mesh: Mesh, method: Method, optimizer: Optimizer) -> Callable:
    """Compiles `(State, features, block, values, count) -> (State, metrics [steps, runs])`: the first `count` steps.

    The state given is consumed. The arguments:

    features: [frames, ...] of all clips on every device, or None where the block holds its windows;
    block: the labels [steps, runs, batch] of windows, and "features" [steps, runs, batch, window, ...], or "first"
        [steps, runs, batch] which says where in the features each window begins;
    values: [steps] of "progress", the share of the training's steps that are done, and what the optimizer asks for.

    `method.loss` sees one run's rows on one device; its losses and metrics are means over rows, its batch statistics
    already those of the whole batch. To its metrics come "loss", "gradient_norm" (of all parameters together) and
    "learning_rate".
    """

    def step(state: State, features: jax.Array | None, batch: Batch, values: Batch) -> tuple[State, Batch]:
        if "first" in batch:
            batch = batch | {"features": features[batch["first"][:, None] + jnp.arange(method.window)]}
        key = jax.random.fold_in(jax.random.wrap_key_data(state.key), state.step)
        grad = jax.value_and_grad(method.loss, has_aux=True)
        (value, (batch_stats, metrics)), grads = grad(state.params, state.batch_stats, batch, key, values["progress"])
        grads, metrics = mean_over_devices((grads, {"loss": value, **metrics}), DATA)
        updates, opt_state = optimizer(values).update(grads, state.opt_state, state.params)
        metrics |= {"gradient_norm": optax.tree.norm(grads), "learning_rate": values["learning_rate"]}
        params = optax.apply_updates(state.params, updates)
        return State(state.step + 1, state.key, params, batch_stats, opt_state, state.best), metrics

    def steps(
        states: State, features: jax.Array | None, block: Batch, values: Batch, count: jax.Array
    ) -> tuple[State, Batch]:
        state, block = jax.tree.map(lambda x: x[0], states), jax.tree.map(lambda x: x[:, 0], block)
        length = len(block["product"])

        def at(i: int | jax.Array) -> tuple[Batch, Batch]:
            return jax.tree.map(lambda x: x[i], (block, values))

        if length == 1:  # the large networks: no loop around their step
            state, metrics = step(state, features, *at(0))
            return jax.tree.map(lambda x: x[None], state), jax.tree.map(lambda x: x[None, None], metrics)
        shapes = jax.eval_shape(lambda: step(state, features, *at(0))[1])
        collected = jax.tree.map(lambda x: jnp.zeros((length, *x.shape), x.dtype), shapes)

        def body(i: jax.Array, carry: tuple[State, Batch]) -> tuple[State, Batch]:
            state, metrics = step(carry[0], features, *at(i))
            return state, jax.tree.map(lambda all_steps, one: all_steps.at[i].set(one), carry[1], metrics)

        state, collected = jax.lax.fori_loop(0, count, body, (state, collected))
        return jax.tree.map(lambda x: x[None], state), jax.tree.map(lambda x: x[:, None], collected)

    sharded = jax.shard_map(
        steps,
        mesh=mesh,
        in_specs=(P(RUN), P(), P(None, RUN, DATA), P(), P()),
        out_specs=(P(RUN), P(None, RUN)),
        check_vma=False,
    )
    return jax.jit(
        sharded,
        donate_argnums=0,
        out_shardings=(state_sharding(mesh), readable(mesh, P(None, RUN))),
        compiler_options=compiler_options(mesh.devices.flat[0].platform),
    )


@dataclasses.dataclass(frozen=True)
class Steps:
    """The training steps of one mesh, method and optimiser, for blocks of one shape.

    Attributes:
        mesh: the devices.
        method: the system.
        optimizer: of its weights.
        validated: whether `keep_best` will be used.
        length: steps of a block.
        batch_size: rows of a run's batch.
        values: names of what changes from step to step.
        labels: names of what is known of windows, [steps, runs, rows] int32.
        frame_shape: of the features, what a frame holds.
        frames: of all features together where they lie on the devices, of which the steps cut the windows out; None
            where the blocks hold the windows.
        dtype: of the features.
    """

    mesh: Mesh
    method: Method
    optimizer: Optimizer
    validated: bool
    length: int
    batch_size: int
    values: tuple[str, ...]
    labels: tuple[str, ...]
    frame_shape: tuple[int, ...]
    frames: int | None
    dtype: Any

    @property
    def runs(self) -> int:
        """Runs that train side by side."""
        return self.mesh.shape[RUN]

    @property
    def block(self) -> tuple[int, int, int]:
        """[steps, runs, rows] of a block."""
        return self.length, self.runs, self.batch_size

    def init(self, seed: int, runs: Sequence[int]) -> State:
        """Fresh states of some runs; each is folded from (seed, its number)."""
        return init_states(self.mesh, self.method, self.optimizer, self.validated)(seed, np.array(runs, np.int32))

    def compile(self) -> Callable:
        """`train_steps`, compiled; the same shapes are compiled once, which is said."""
        return _compile(self)

    def trace(self) -> jax.stages.Traced:
        """`train_steps`, traced for these shapes."""
        on_device = None
        if self.frames is None:
            windows = (*self.block, self.method.window, *self.frame_shape)
            block = {"features": jax.ShapeDtypeStruct(windows, self.dtype)}
        else:
            on_device = jax.ShapeDtypeStruct((self.frames, *self.frame_shape), self.dtype)
            block = {"first": jax.ShapeDtypeStruct(self.block, np.int32)}
        block |= dict.fromkeys(self.labels, jax.ShapeDtypeStruct(self.block, np.int32))
        init = init_states(self.mesh, self.method, self.optimizer, self.validated)
        states = jax.eval_shape(init, 0, np.arange(self.runs))
        everywhere = NamedSharding(self.mesh, P())
        return train_steps(self.mesh, self.method, self.optimizer).trace(
            placed(states, state_sharding(self.mesh)),
            placed(on_device, everywhere),
            placed(block, block_sharding(self.mesh)),
            placed({name: jax.ShapeDtypeStruct((self.length,), np.float32) for name in self.values}, everywhere),
            jax.ShapeDtypeStruct((), np.int32, sharding=everywhere),
        )

    def one_run(self) -> State:
        """Shapes, types and sharding of one run's State, as `take_run` gives it; nothing is computed."""
        return single_run(self.mesh, self.method, self.optimizer, self.validated)


@functools.cache
def _compile(steps: Steps) -> Callable:
    began = time.perf_counter()
    compiled = steps.trace().lower().compile()
    print(f"Compiled the training step in {time.perf_counter() - began:.1f} s")
    return compiled


@functools.cache
def keep_best(mesh: Mesh) -> Callable:
    """Compiles `(State, validation losses [runs]) -> State`: where a loss is smaller, the weights become the best."""

    def one(state: State, loss: jax.Array) -> State:
        now = {"loss": loss, "params": state.params, "batch_stats": state.batch_stats}
        return state._replace(
            best=jax.tree.map(lambda a, b: jnp.where(loss < state.best["loss"], a, b), now, state.best)
        )

    return jax.jit(jax.vmap(one), donate_argnums=0, out_shardings=state_sharding(mesh))


def weights_to_score(state: State) -> State:
    """The best weights where there are any, else the last ones, and nothing that scoring does not need."""
    if state.best:
        state = state._replace(params=state.best["params"], batch_stats=state.best["batch_stats"])
    return state._replace(step=(), key=(), opt_state=(), best={})


@functools.cache
def output_step(mesh: Mesh, method: Method) -> Callable:
    """Compiles `(State, windows [batch, ...], product [batch]) -> outputs [runs, batch, ...]`, the same for all runs.

    The outputs are those of `method.outputs`.
    """

    def step(states: State, windows: jax.Array, product: jax.Array) -> Batch:
        state = jax.tree.map(lambda x: x[0], states)
        return jax.tree.map(lambda x: x[None], method.outputs(state.params, state.batch_stats, windows, product))

    sharded = jax.shard_map(
        step, mesh=mesh, in_specs=(P(RUN), P(DATA), P(DATA)), out_specs=P(RUN, DATA), check_vma=False
    )
    return jax.jit(
        sharded,
        out_shardings=readable(mesh, P(RUN, DATA)),
        compiler_options=compiler_options(mesh.devices.flat[0].platform),
    )


@functools.cache
def take_run(mesh: Mesh) -> Callable:
    """Compiles `(State, position of a run) -> that run's State`, without the leading axis, whole on each device."""
    return jax.jit(
        lambda states, position: jax.tree.map(lambda x: x[position], states), out_shardings=NamedSharding(mesh, P())
    )


def stack_runs(mesh: Mesh, states: Sequence[State]) -> State:
    """The opposite of `take_run`: single runs side by side on the mesh."""
    sharding = state_sharding(mesh)
    return jax.tree.map(lambda *x: put(np.stack([np.asarray(one) for one in x]), sharding), *states)


def single_run(mesh: Mesh, method: Method, optimizer: Optimizer, validated: bool = False) -> State:
    """Shapes, types and sharding of one run's State, as `take_run` gives it; nothing is computed."""
    init = init_states(mesh, method, optimizer, validated)
    shapes = jax.eval_shape(init, 0, jax.ShapeDtypeStruct((mesh.shape[RUN],), jnp.int32))
    return placed(jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), shapes), NamedSharding(mesh, P()))
