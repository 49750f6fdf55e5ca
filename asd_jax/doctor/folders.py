"""The folders that a training reads and writes: caches, disk, clock, records, workdir."""

import os
import pathlib
import shutil
import tempfile
import time
from collections.abc import Iterator

from asd_jax.base import locks
from asd_jax.doctor.finding import GB, OK, WARNING, WRONG, Finding

_FREE = 1 * GB


def caches() -> Iterator[Finding]:
    """Caches of compiled programs."""
    from asd_jax.recipes.surroundings import COMPILATION_CACHE
    from asd_jax.sound import kernels

    folder = os.environ.get("JAX_COMPILATION_CACHE_DIR") or os.path.expanduser(COMPILATION_CACHE)
    files = [path for path in pathlib.Path(folder).glob("*") if path.is_file()] if os.path.isdir(folder) else []
    size = sum(path.stat().st_size for path in files)
    found = f"{folder}: {len(files)} files, {size / GB:.2f} GB"
    if reason := _refused(folder):
        found = f"{found}; {reason}: every start compiles anew"
        yield Finding(WARNING, "compilation cache", found, "--config.compilation_cache=FOLDER, or make it writable")
    else:
        yield Finding(OK, "compilation cache", found)
    if not kernels.moments.stats.cache_path:
        found = "the kernels of tools/prepare.py are compiled anew each time"
        yield Finding(WARNING, "compilation cache", found, "set NUMBA_CACHE_DIR to a folder that can be written")


def disk(data_dir: str | None, workdir: str | None) -> Iterator[Finding]:
    """Space, and whether it can be written to."""
    for name, folder in (("workdir", workdir), ("data_dir", data_dir)):
        if not folder:
            continue
        if "://" in folder:
            yield Finding(OK, "disk", f"{name} {folder} is in the cloud: not looked at")
            continue
        free = shutil.disk_usage(_nearest(folder)).free
        found = f"{name} {folder}: {free / GB:.1f} GB free"
        if reason := _refused(folder):
            level = WRONG if name == "workdir" else OK  # a training only reads the data
            advice = "make it writable, or name another folder" if level == WRONG else ""
            yield Finding(level, "disk", f"{found}; {reason}", advice)
        elif free < _FREE:
            yield Finding(WARNING, "disk", found, "free some: checkpoints and records may not fit")
        else:
            yield Finding(OK, "disk", found)


def _nearest(folder: str) -> pathlib.Path:
    """The folder, or the next one above that is there."""
    path = pathlib.Path(folder).absolute()
    return next(one for one in (path, *path.parents) if one.exists())


def _refused(folder: str) -> str | None:
    """Why nothing can be written to a folder, or made above it; None where it can."""
    try:
        tempfile.TemporaryFile(dir=_nearest(folder)).close()
    except OSError as error:
        return f"nothing can be written there ({error.strerror})"
    return None


def clock(data_dir: str | None, workdir: str | None) -> Iterator[Finding]:
    """Whether the clock is behind the files."""
    now = time.time()
    found_there = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    newest = max((_newest(folder) for folder in (data_dir, workdir) if folder), default=0)
    if newest > now + 60:
        found = f"{found_there}, {newest - now:.0f} s before the newest file was written"
        yield Finding(WARNING, "clock", found, "set it; trainings do not go by it, TensorBoard's curves do")
    else:
        yield Finding(OK, "clock", found_there)


def _newest(folder: str) -> float:
    path = pathlib.Path(folder)
    return max((one.stat().st_mtime for one in (path, *path.glob("*")) if one.exists()), default=0)


def records(data_dir: str | None) -> Iterator[Finding]:
    """The prepared data."""
    if not data_dir:
        return
    from asd_jax.records import manifest
    from asd_jax.records.store import open_store

    found = manifest.read_manifest(data_dir)
    if user := locks.holder(data_dir):
        yield Finding(WARNING, "records", f"{data_dir} is in use by {user}", "wait for its end")
    if found is None:
        yield Finding(WRONG, "records", f"{data_dir} holds no prepared data", "run tools/prepare.py")
        return
    store = open_store(data_dir, found.preset.name)
    damaged = 0
    for machine in sorted(store.machines):
        for path in store.damaged(machine):
            damaged += 1
            advice = f"delete {os.path.dirname(path)} and prepare {'/'.join(machine)} again"
            yield Finding(WRONG, "records", f"{path} is missing or not whole", advice)
    clips = sum(sum(machine.clips.values()) for machine in store.machines.values())
    found_there = f"{len(store.machines)} machines, {clips:,} clips, preset {store.preset.name}, {store.dtype}"
    if not damaged:
        yield Finding(OK, "records", found_there)
    if any(pathlib.Path(data_dir, "partial").glob("*/*")):
        yield Finding(WARNING, "records", "a preparation is not finished", "run the same tools/prepare.py again")


def workdir(workdir: str | None) -> Iterator[Finding]:
    """The training."""
    if not workdir:
        return
    from asd_jax.recipes.workdir import Workdir

    folder = Workdir(workdir)
    if user := locks.holder(workdir):
        yield Finding(WRONG, "workdir", f"in use by {user}", "wait for its end, or name another folder")
    if not folder.exists():
        yield Finding(OK, "workdir", f"{workdir} is new: nothing is trained there")
        return
    recipe = folder.recipe
    if not folder.has_begun():
        yield Finding(OK, "workdir", f"{recipe.method}, not begun", "run tools/train.py")
        return
    num_steps = folder.summary.num_steps
    for run in range(recipe.num_runs):
        steps = [int(path.name) for path in folder.file(f"checkpoints/run_{run}").glob("*") if path.name.isdigit()]
        newest = max(steps, default=0)
        advice = "" if newest == num_steps else "the same tools/train.py goes on"
        yield Finding(OK, "workdir", f"run {run}: step {newest} of {num_steps}", advice)
    evaluated = "evaluated" if folder.metrics().exists() else "not evaluated"
    threshold = "clips held back for a threshold" if folder.summary.held_back else "no threshold"
    yield Finding(OK, "workdir", f"{recipe.method}, {evaluated}, {threshold}")
