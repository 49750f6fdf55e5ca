"""One training over many hosts: one process on each, joined by JAX's distributed runtime.

All processes run the same program in step. The first one alone writes what is not a checkpoint.
"""

import atexit
import contextlib
import functools
import glob
import importlib.util
import os
import pickle
import re
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from orbax.checkpoint import multihost

from asd_jax.base.errors import UserError
from asd_jax.devices import lost_process

_HEARTBEAT = 30
"""Seconds without a sign of life after which a process is lost."""
_REACH = 60
"""Seconds in which the coordinator must answer."""
_FAILING = 10
"""Seconds that a process which has failed waits for the others: they may have failed in the same way."""
_FINISHING = 24 * 3600
"""Seconds that the processes wait for the first one, which scores and writes at the end."""

Item = TypeVar("Item")


def is_first() -> bool:
    """Whether this is the process that writes."""
    return jax.process_index() == 0


@contextlib.contextmanager
def joined(coordinator_address: str | None, num_processes: int | None, process_id: int | None) -> Iterator[None]:
    """Inside, the processes are joined, if there are several; only the first one prints.

    Args:
        coordinator_address: HOST:PORT of process 0, which all hosts can reach; None where the cluster says it (TPU
            slices, Slurm, Open MPI), and where there is one process.
        num_processes: how many there are.
        process_id: which one this is, from 0.

    Raises:
        UserError: the arguments do not fit together, or the coordinator cannot be reached.
    """
    given = coordinator_address, num_processes, process_id
    _check(*given)
    if coordinator_address is None and not _in_cluster():
        yield
        return
    if process_id:
        _reach(coordinator_address)
    lost_process.watch(num_processes)
    _join(*given)
    with contextlib.ExitStack() as silent:
        if not is_first():
            silent.enter_context(contextlib.redirect_stdout(silent.enter_context(open(os.devnull, "w"))))
        try:
            yield
            _meet("finished", _FINISHING)
        except (UserError, OSError, SystemExit, KeyboardInterrupt) as error:
            _leave(error.code if isinstance(error, SystemExit) else 2)
            raise
        except Exception:
            time.sleep(2 * _HEARTBEAT)  # if it failed because another process is lost, JAX ends this one meanwhile
            _leave(1)
            raise


def _check(coordinator_address: str | None, num_processes: int | None, process_id: int | None) -> None:
    flags = {
        "coordinator_address": coordinator_address,
        "num_processes": num_processes,
        "process_id": process_id,
    }
    missing = [f"--{name}" for name, value in flags.items() if value is None]
    if len(missing) == len(flags):
        return
    if missing:
        given = [f"--{name}" for name, value in flags.items() if value is not None]
        raise UserError(f"{' and '.join(given)} needs {' and '.join(missing)} too: give all three, or none.")
    if not re.fullmatch(r".+:\d+", coordinator_address):
        raise UserError(
            f"--coordinator_address={coordinator_address} was given: expected HOST:PORT of process 0, as 10.0.0.1:8476."
        )
    if not 0 <= process_id < num_processes:
        raise UserError(
            f"--process_id={process_id} of --num_processes={num_processes} was given: expected a number from 0 to "
            f"{max(num_processes - 1, 0)}, another one on each host."
        )


def _in_cluster() -> bool:
    """Whether JAX finds the other processes by itself: on TPU hosts, and for several tasks of Slurm or Open MPI."""
    if importlib.util.find_spec("libtpu") and (glob.glob("/dev/accel*") or glob.glob("/dev/vfio/[0-9]*")):
        return True
    tasks = os.environ.get("SLURM_NTASKS", 1) if "SLURM_STEP_NODELIST" in os.environ else 1
    return max(int(tasks), int(os.environ.get("OMPI_COMM_WORLD_SIZE", 1))) > 1


def _join(coordinator_address: str | None, num_processes: int | None, process_id: int | None) -> None:
    jax.config.update("jax_enable_preemption_service", False)  # SIGTERM is the training's
    try:
        jax.distributed.initialize(
            coordinator_address,
            num_processes,
            process_id,
            cluster_detection_method=None if coordinator_address is None else "deactivate",  # then all local devices
            heartbeat_timeout_seconds=_HEARTBEAT,
            shutdown_timeout_seconds=_HEARTBEAT,
        )
    except RuntimeError as error:
        raise UserError(f"The coordinator cannot be started at {coordinator_address}: {error}") from error


def _reach(address: str) -> None:
    host, port = address.rsplit(":", 1)
    end = time.monotonic() + _REACH
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
            return
        except OSError as error:
            if time.monotonic() > end:
                raise UserError(
                    f"The coordinator at {address} could not be reached within {_REACH} s ({error}): expected process "
                    "0 to run there, and its port to be open to this host."
                ) from error
        time.sleep(0.5)


def _leave(code: int) -> None:
    """After a failure: waits for others that fail in the same way; if they do not, nothing waits for them at exit."""
    try:
        _meet("failed", _FAILING)
    except jax.errors.JaxRuntimeError:
        atexit.register(_exit, code)


def _meet(where: str, seconds: int) -> None:
    everyone = set(range(jax.process_count()))  # named, the processes meet without their devices
    multihost.sync_global_processes(where, timeout=seconds, processes=everyone)


def _exit(code: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def anywhere(here: bool) -> jax.Array:
    """Whether it is so in any process; all of them ask. Does not wait for the answer."""
    mesh = Mesh(np.array(jax.devices()), "device")
    local = np.full(jax.local_device_count(), here)
    with jax.transfer_guard("allow"):  # it is asked for
        everywhere = jax.make_array_from_process_local_data(NamedSharding(mesh, P("device")), local)
    return _any(mesh)(everywhere)


@functools.cache
def _any(mesh: Mesh) -> Callable:
    return jax.jit(jnp.any, out_shardings=NamedSharding(mesh, P()))


def dealt(count: int) -> range:
    """This process's share of so many things; the shares follow one another."""
    process, processes = jax.process_index(), jax.process_count()
    return range(count * process // processes, count * (process + 1) // processes)


def pooled(items: Iterable[Item]) -> Iterator[Item]:
    """The items of all processes, in their order."""
    mine = np.frombuffer(pickle.dumps(list(items)), np.uint8)
    sizes = multihost_utils.process_allgather(np.int32(len(mine)))
    padded = np.pad(mine, (0, sizes.max() - len(mine)))
    for size, part in zip(sizes, multihost_utils.process_allgather(padded), strict=True):
        yield from pickle.loads(part[:size])
