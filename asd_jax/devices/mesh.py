"""The mesh of devices: what lies where.

It has two axes. `run` holds independent trainings side by side (they never talk to each other); `data` splits the batch
of each training, whose gradients and batch statistics are averaged over it. The arrays of a state carry a leading axis
of runs, also where there is one run only.
"""

import collections
import functools
from collections.abc import Sequence

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from asd_jax.base.errors import UserError
from asd_jax.models.norms import DATA

RUN = "run"
Batch = dict[str, jax.Array]


def make_mesh(num_runs: int, batch_size: int, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Puts as many runs side by side as there are devices, and splits their batches over the devices that remain.

    Where the devices do not divide the batch, the largest number of them that does is used.

    Raises:
        UserError: several processes would not get equal parts.
    """
    devices = sorted(jax.devices() if devices is None else devices, key=lambda device: device.process_index)
    runs = min(num_runs, len(devices))
    split = max(n for n in range(1, len(devices) // runs + 1) if batch_size % n == 0)
    used = devices[: runs * split]
    local = collections.Counter(device.process_index for device in devices)
    if len(local) > 1 and (len(used) < len(devices) or any(n % split and split % n for n in local.values())):
        raise UserError(
            f"{num_runs} run(s) with batches of {batch_size} cannot be dealt equally to {len(devices)} devices of "
            f"{len(local)} processes: change config.num_runs or config.batch_size, or take fewer processes."
        )
    axis_types = (jax.sharding.AxisType.Auto,) * 2
    return Mesh(np.array(used).reshape(runs, split), (RUN, DATA), axis_types=axis_types)


def describe_mesh(mesh: Mesh) -> str:
    """One sentence on which devices do what, naming the idle ones."""
    used = list(mesh.devices.flat)
    runs, split = mesh.devices.shape
    text = f"{len(used)} {used[0].device_kind} device(s): {runs} run(s) at a time, each batch over {split}"
    idle = [str(d) for d in jax.devices() if d not in used]
    return f"{text}; idle: {', '.join(idle)}" if idle else text


def block_sharding(mesh: Mesh) -> NamedSharding:
    """Where the batches of several steps lie [steps, runs, batch, ...]."""
    return NamedSharding(mesh, P(None, RUN, DATA))


def state_sharding(mesh: Mesh) -> NamedSharding:
    """Where every array of a `State` lies [runs, ...]."""
    return NamedSharding(mesh, P(RUN))


def local_rows(mesh: Mesh, runs: int, batch_size: int) -> tuple[range, range]:
    """Which runs and which rows of their batches the devices of this host hold."""
    sharding = NamedSharding(mesh, P(RUN, DATA))
    slices = sharding.addressable_devices_indices_map((runs, batch_size)).values()
    bounds = [[s.indices(size)[:2] for s, size in zip(index, (runs, batch_size), strict=True)] for index in slices]
    return tuple(range(min(b[axis][0] for b in bounds), max(b[axis][1] for b in bounds)) for axis in (0, 1))


def put_block(mesh: Mesh, block: dict[str, np.ndarray]) -> Batch:
    """This host's part of batches [steps, local runs, local rows, ...] -> global arrays; does not wait."""
    sharding = block_sharding(mesh)
    with jax.transfer_guard("allow"):  # it is asked for
        return {name: jax.make_array_from_process_local_data(sharding, array) for name, array in block.items()}


def put_everywhere(mesh: Mesh, array: np.ndarray) -> jax.Array:
    """A copy of the array on every device."""
    return put(array, NamedSharding(mesh, P()))


def put(array: np.ndarray, sharding: NamedSharding) -> jax.Array:
    """An array that every process has whole; each puts its part where it belongs."""
    with jax.transfer_guard("allow"):  # it is asked for
        return jax.make_array_from_callback(array.shape, sharding, array.__getitem__)


def readable(mesh: Mesh, spec: P) -> NamedSharding:
    """Where results lie that the host reads: as they come, but whole in every one of several processes."""
    return NamedSharding(mesh, P() if mesh.is_multi_process else spec)


@functools.cache
def compiler_options(platform: str) -> dict[str, str] | None:
    """On the CPU, XLA's library YNN does sums and matrix products well, but a convolution on one thread: not that."""
    types = ("LIBRARY_FUSION_TYPE_REDUCE", "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT")
    options = {"xla_cpu_experimental_ynn_fusion_type": ",".join(types)}
    if platform != "cpu":
        return None
    try:
        jax.jit(lambda: 0, compiler_options=options).lower().compile()
    except jax.errors.JaxRuntimeError:  # a compiler that does not know the option
        return None
    return options


def placed(shapes: dict, sharding: NamedSharding) -> dict:
    """Shapes and types, with where the arrays will lie."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), shapes)
