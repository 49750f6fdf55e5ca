"""Checkpoints of single runs (Orbax), so that they can be taken up on another number of devices.

A run's state is written beside a checksum of its bits: a file that decodes but is not what was written is found out.
"""

import contextlib
import errno
import logging
import os
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import absl.logging
import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from etils import epath

from asd_jax.base.errors import UserError

# Orbax logs every step it takes, and every error with its traceback before it raises it.
absl.logging.get_absl_logger().addFilter(lambda record: "orbax" not in record.pathname)

_State = TypeVar("_State")
"""A named tuple or a dictionary; each of its fields is a pytree of arrays."""

KEPT = 2
"""Checkpoints kept per run: the newest, and one to fall back to."""


def check_path(workdir: str) -> None:
    """Raises a UserError where checkpoints could not be read again: Orbax takes their folder for a pattern of names."""
    path = os.fspath(_absolute(workdir))
    if found := sorted(set("[*?\\") & set(path)):
        raise UserError(
            f"The path {path} holds {' and '.join(found)}, by which checkpoints get lost: use another folder."
        )


def _absolute(workdir: epath.PathLike) -> epath.Path:
    """As Orbax wants it; in the cloud (gs://) a path is that already, and etils would make it one on this machine."""
    path = os.fspath(workdir)
    return epath.Path(path if "://" in path else os.path.abspath(path))


class RunCheckpoints:
    """The checkpoints of one run, in WORKDIR/checkpoints/run_N. Saving goes on in the background."""

    def __init__(self, workdir: str, run: int) -> None:
        check_path(workdir)
        self.folder = _absolute(workdir) / "checkpoints" / f"run_{run}"
        options = ocp.CheckpointManagerOptions(max_to_keep=KEPT, enable_async_checkpointing=True)
        self._manager = ocp.CheckpointManager(self.folder, options=options)

    def steps(self) -> list[int]:
        """Steps with a finished checkpoint, ascending."""
        return sorted(self._manager.all_steps())

    def save(self, step: int, state: _State) -> None:
        """Starts saving a run's state; returns as soon as the devices may go on."""
        tree = {"state": state, "checksums": {name: _checksum(field) for name, field in _fields(state).items()}}
        with self._no_space_reported():
            self._manager.save(step, args=ocp.args.StandardSave(tree), force=True)

    def restore(self, step: int, like: _State, fields: Sequence[str] = ()) -> _State:
        """Reads the state of a step into the shapes, types and shardings of `like`.

        `fields`: to read alone, all where empty; the others are as in `like`.

        Raises:
            DamagedCheckpoint: the files do not hold what was written.
        """
        wanted = {name: field for name, field in _fields(like).items() if name in fields or not fields}
        number = jax.ShapeDtypeStruct((), jnp.uint32, sharding=jax.tree.leaves(like)[0].sharding)
        checksums = dict.fromkeys(wanted, number)
        try:
            if fields:
                restored = self._restore_part(step, {"state": wanted, "checksums": checksums})
            else:
                args = ocp.args.StandardRestore({"state": like, "checksums": checksums})
                restored = self._manager.restore(step, args=args)
        except Exception:  # Orbax and TensorStore raise many types, even bare Exceptions, for damaged files
            return self._restore_older(step, like, number)
        found = _fields(restored["state"])
        if any(_checksum(found[name]) != checksum for name, checksum in restored["checksums"].items()):
            raise DamagedCheckpoint(f"{self.folder}/{step} does not hold what was written")
        return like._replace(**found) if hasattr(like, "_replace") else {**like, **found}

    def _restore_part(self, step: int, tree: dict) -> dict:
        args = ocp.args.PyTreeRestore(tree, ocp.checkpoint_utils.construct_restore_args(tree), partial_restore=True)
        with ocp.CheckpointManager(self.folder) as reader:  # one that reads or saves a whole state reads no part
            restored = reader.restore(step, args=args)
        if any(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(restored)):
            raise KeyError("a field or its checksum is not there")
        return restored

    def _restore_older(self, step: int, like: _State, number: jax.ShapeDtypeStruct) -> _State:
        """The same of a checkpoint of an earlier version, which has one checksum of all fields."""
        try:
            args = ocp.args.StandardRestore({"state": like, "checksum": number})
            restored = self._manager.restore(step, args=args)
        except Exception as error:
            raise DamagedCheckpoint(f"{self.folder}/{step} cannot be read") from error
        if _checksum(restored["state"]) != restored["checksum"]:
            raise DamagedCheckpoint(f"{self.folder}/{step} does not hold what was written")
        return restored["state"]

    def delete_after(self, step: int) -> None:
        """Removes checkpoints later than a step: damaged ones, which the training writes again."""
        for later in [s for s in self.steps() if s > step]:
            self._manager.delete(later)

    def wait(self) -> None:
        """Returns when all is on disk."""
        with self._no_space_reported():
            self._manager.wait_until_finished()

    @contextlib.contextmanager
    def _no_space_reported(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # TensorStore raises a ValueError among others for a full disk
            if f"os_error_code='{errno.ENOSPC}'" in str(error) or os.strerror(errno.ENOSPC) in str(error):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(self.folder)) from error
            raise

    def close(self) -> None:
        """Waits and frees the threads."""
        self._manager.close()


class DamagedCheckpoint(Exception):
    """A checkpoint whose files are not what was written."""


def restore_newest(
    checkpoints: Sequence[RunCheckpoints], like: Sequence[_State], fields: Sequence[str] = ()
) -> tuple[int, list[_State]] | None:
    """The states of several runs at the newest step that all of them have whole, or None where there is no step.

    `fields` as in `RunCheckpoints.restore`.

    Says so where a checkpoint is damaged and the one before it is taken instead.

    Raises:
        UserError: there are checkpoints, but none of them can be read.
    """
    steps = sorted(set.intersection(*(set(c.steps()) for c in checkpoints)), reverse=True)
    for step in steps:
        try:
            states = [c.restore(step, one, fields) for c, one in zip(checkpoints, like, strict=True)]
        except DamagedCheckpoint as damage:
            logging.warning("The checkpoint %s: falling back to the one before.", damage)
            continue
        return step, states
    if steps:
        raise UserError(
            f"None of the checkpoints in {checkpoints[0].folder} can be read: "
            "restore them from a copy, or train again into another workdir."
        )
    return None


def _fields(state: _State) -> dict[str, Any]:
    """By name; those that hold no array left out."""
    fields = state._asdict() if hasattr(state, "_asdict") else state
    return {name: field for name, field in fields.items() if jax.tree.leaves(field)}


@jax.jit
def _checksum(tree: jax.Array) -> jax.Array:
    """A number that changes with any single bit of the arrays, and with their order. Integers: exact on all devices."""
    total = jnp.uint32(0)
    for leaf in jax.tree.leaves(tree):
        bits = jax.lax.bitcast_convert_type(leaf, jnp.uint32).reshape(-1)
        odd = 2 * jnp.arange(bits.size, dtype=jnp.uint32) + 1  # an odd weight loses no bit modulo 2^32
        total = total * jnp.uint32(31) + jnp.sum(bits * odd, dtype=jnp.uint32)
    return total
