"""One compiled program over a mesh of devices.

The mesh has two axes. `run` holds independent trainings side by side (they never talk to each other); `data` splits the
batch of each training, whose gradients and batch statistics are averaged over it. The arrays of a state carry a leading
axis of runs, also where there is one run only.
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

RUN, DATA = "run", "data"
Batch = dict[str, jax.Array]


class State(NamedTuple):
    """All that a training is, one entry per run along the leading axis of every array."""

    step: jax.Array
    key: jax.Array  # raw key data; what a step draws is folded from it and the step
    params: dict
    batch_stats: dict
    opt_state: optax.OptState
    best: dict  # "loss", "params", "batch_stats" of the smallest validation loss; empty for a training without one


def make_mesh(num_runs: int, batch_size: int, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Puts as many runs side by side as there are devices, and splits their batches over the devices that remain.

    Where the devices do not divide the batch, the largest number of them that does is used.
    """
    devices = list(jax.devices() if devices is None else devices)
    runs = min(num_runs, len(devices))
    split = max(n for n in range(1, len(devices) // runs + 1) if batch_size % n == 0)
    used = devices[: runs * split]
    axis_types = (jax.sharding.AxisType.Auto,) * 2
    return Mesh(np.array(used).reshape(runs, split), (RUN, DATA), axis_types=axis_types)


def describe(mesh: Mesh) -> str:
    """One sentence on which devices do what, naming the idle ones."""
    used = list(mesh.devices.flat)
    runs, split = mesh.devices.shape
    text = f"{len(used)} {used[0].device_kind} device(s): {runs} run(s) at a time, each batch over {split}"
    idle = [str(d) for d in jax.devices() if d not in used]
    return f"{text}; idle: {', '.join(idle)}" if idle else text


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Of training batches [runs, batch, ...]."""
    return NamedSharding(mesh, P(RUN, DATA))


def state_sharding(mesh: Mesh) -> NamedSharding:
    """Of every array of a `State` [runs, ...]."""
    return NamedSharding(mesh, P(RUN))


def local_rows(mesh: Mesh, runs: int, batch_size: int) -> tuple[range, range]:
    """Which runs and which rows of their batches the devices of this host hold."""
    slices = batch_sharding(mesh).addressable_devices_indices_map((runs, batch_size)).values()
    bounds = [[s.indices(size)[:2] for s, size in zip(index, (runs, batch_size), strict=True)] for index in slices]
    return tuple(range(min(b[axis][0] for b in bounds), max(b[axis][1] for b in bounds)) for axis in (0, 1))


def put_batch(mesh: Mesh, batch: dict[str, np.ndarray]) -> Batch:
    """This host's part of a batch [local runs, local rows, ...] -> global arrays on the devices; does not wait."""
    sharding = batch_sharding(mesh)
    return {name: jax.make_array_from_process_local_data(sharding, array) for name, array in batch.items()}


def init_states(
    mesh: Mesh, init: Callable, optimizer: optax.GradientTransformation, seed: int, validated: bool = False
) -> Callable:
    """Compiles `runs [n] -> State`: fresh states, each folded from (seed, its run).

    `init(key) -> (params, batch_stats)`; `validated` says whether `keep_best` will be used.
    """

    def one(run: jax.Array) -> State:
        key, init_key = jax.random.split(jax.random.fold_in(jax.random.key(seed), run))
        params, batch_stats = init(init_key)
        best = {"loss": jnp.float32(jnp.inf), "params": params, "batch_stats": batch_stats} if validated else {}
        return State(jnp.int32(0), jax.random.key_data(key), params, batch_stats, optimizer.init(params), best)

    return jax.jit(jax.vmap(one), out_shardings=state_sharding(mesh))


def train_step(
    mesh: Mesh, loss: Callable, optimizer: optax.GradientTransformation, schedule: optax.Schedule, num_steps: int
) -> Callable:
    """Compiles `(State, batch [runs, batch, ...]) -> (State, metrics [runs])`; the state given is consumed.

    `loss(params, batch_stats, batch, key, progress) -> (loss, (batch_stats, metrics))` sees one run's rows on one
    device; its losses and metrics are means over rows, its batch statistics already those of the whole batch, and
    progress is the share of `num_steps` that is done. To its metrics come "loss", "update_norm" (of all parameters
    together) and "learning_rate".
    """

    def step(states: State, batches: Batch) -> tuple[State, dict[str, jax.Array]]:
        state, batch = jax.tree.map(lambda x: x[0], (states, batches))
        key = jax.random.fold_in(jax.random.wrap_key_data(state.key), state.step)
        grad = jax.value_and_grad(loss, has_aux=True)
        (value, (batch_stats, metrics)), grads = grad(
            state.params, state.batch_stats, batch, key, state.step / num_steps
        )
        grads, metrics = jax.lax.pmean((grads, {"loss": value, **metrics}), DATA)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        metrics |= {"update_norm": optax.tree.norm(updates), "learning_rate": jnp.float32(schedule(state.step))}
        params = optax.apply_updates(state.params, updates)
        new = State(state.step + 1, state.key, params, batch_stats, opt_state, state.best)
        return jax.tree.map(lambda x: x[None], (new, metrics))

    sharded = jax.shard_map(
        step, mesh=mesh, in_specs=(P(RUN), P(RUN, DATA)), out_specs=(P(RUN), P(RUN)), check_vma=False
    )
    return jax.jit(sharded, donate_argnums=0, compiler_options=_compiler_options(mesh.devices.flat[0].platform))


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
    return state._replace(opt_state=(), best={})


def output_step(mesh: Mesh, outputs: Callable) -> Callable:
    """Compiles `(State, windows [batch, ...]) -> outputs [runs, batch, ...]`: the same windows for all runs.

    `outputs(params, batch_stats, windows)` gives any tree of arrays [batch, ...].
    """

    def step(states: State, windows: jax.Array) -> jax.Array:
        state = jax.tree.map(lambda x: x[0], states)
        return jax.tree.map(lambda x: x[None], outputs(state.params, state.batch_stats, windows))

    sharded = jax.shard_map(step, mesh=mesh, in_specs=(P(RUN), P(DATA)), out_specs=P(RUN, DATA), check_vma=False)
    return jax.jit(sharded, compiler_options=_compiler_options(mesh.devices.flat[0].platform))


@functools.cache
def _compiler_options(platform: str) -> dict[str, str] | None:
    """On the CPU, XLA's library YNN runs a convolution on one thread: it is left the sums only, which it does well."""
    options = {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_REDUCE"}
    if platform != "cpu":
        return None
    try:
        jax.jit(lambda: 0, compiler_options=options).lower().compile()
    except jax.errors.JaxRuntimeError:  # a compiler that does not know the option
        return None
    return options


def take_run(mesh: Mesh) -> Callable:
    """Compiles `(State, position of a run) -> that run's State`, without the leading axis, whole on each device."""
    return jax.jit(
        lambda states, position: jax.tree.map(lambda x: x[position], states), out_shardings=NamedSharding(mesh, P())
    )


def stack_runs(mesh: Mesh, states: Sequence[State]) -> State:
    """The opposite of `take_run`: single runs side by side on the mesh."""
    sharding = state_sharding(mesh)
    return jax.tree.map(lambda *x: jax.device_put(np.stack([np.asarray(one) for one in x]), sharding), *states)


def placed(shapes: dict, sharding: NamedSharding) -> dict:
    """Shapes and types, with where the arrays will lie."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), shapes)


def single_run(mesh: Mesh, init: Callable, optimizer: optax.GradientTransformation, validated: bool = False) -> State:
    """Shapes, types and sharding of one run's State, as `take_run` gives it; nothing is computed."""
    init = init_states(mesh, init, optimizer, 0, validated)
    shapes = jax.eval_shape(init, jax.ShapeDtypeStruct((mesh.shape[RUN],), jnp.int32))
    return placed(jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), shapes), NamedSharding(mesh, P()))
