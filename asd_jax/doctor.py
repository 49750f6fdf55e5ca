"""Whether a training can start here: the installation, the machine, the records and the workdir, a line for each.

Every check imports what it needs by itself: a broken package is a line, and the rest is looked at all the same.
"""

import ctypes
import dataclasses
import glob
import importlib.metadata
import json
import os
import pathlib
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

from asd_jax import cli, locks
from asd_jax.errors import UserError

OK, WARNING, WRONG = "ok", "warning", "wrong"
_GB = 1e9
_SHOWN = ("jax", "tensorflow-cpu", "flax", "numpy")
_NEEDED = 2 * _GB
"""Memory of the libraries and a small network, README "Memory"."""
_FREE = 1 * _GB


@dataclasses.dataclass(frozen=True)
class Finding:
    """One line.

    Attributes:
        level: "ok", "warning" (a training can start) or "wrong" (it cannot).
        subject: what was looked at.
        found: what there is.
        advice: what to do; empty where nothing is to be done.
    """

    level: str
    subject: str
    found: str
    advice: str = ""


def examine(data_dir: str | None = None, workdir: str | None = None) -> Iterator[Finding]:
    """Everything that is found, as it is found.

    Args:
        data_dir: of prepared data; the one that the workdir names where None.
        workdir: that is to be trained in, or gone on with.
    """
    data_dir = data_dir or _data_dir_of(workdir)
    checks: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
        ("packages", _packages),
        ("environment", _environment),
        ("devices", _devices),
        ("TensorFlow", _tensorflow),
        ("memory", lambda: _memory(data_dir)),
        ("processors", _processors),
        ("allocator", _allocator),
        ("compilation cache", _caches),
        ("disk", lambda: _disk(data_dir, workdir)),
        ("clock", lambda: _clock(data_dir, workdir)),
        ("records", lambda: _records(data_dir)),
        ("workdir", lambda: _workdir(workdir)),
    ]
    for subject, check in checks:
        try:
            yield from check()
        except UserError as error:
            yield Finding(WRONG, subject, str(error))
        except Exception as error:  # whatever a broken installation raises
            sentence = " ".join(str(error).split())[:300]
            yield Finding(WRONG, subject, f"{type(error).__name__}: {sentence}", "install again: bash tools/setup.sh")


def format_line(finding: Finding) -> str:
    """As it is printed."""
    advice = f" -> {finding.advice}" if finding.advice else ""
    return f"{finding.level:<8}{finding.subject:<18}{finding.found}{advice}"


def _data_dir_of(workdir: str | None) -> str | None:
    try:
        return json.loads(pathlib.Path(workdir or "", "config.json").read_text())["data_dir"]
    except (OSError, ValueError, KeyError, TypeError):
        return None  # `_workdir` says why


def _packages() -> Iterator[Finding]:
    from packaging.requirements import Requirement

    try:
        declared = importlib.metadata.requires("asd_jax") or []
    except importlib.metadata.PackageNotFoundError:
        yield Finding(WARNING, "packages", "asd_jax is not installed, so versions are not compared", "pip install -e .")
        return
    asked = [one for one in map(Requirement, declared) if not one.marker or one.marker.evaluate({"extra": ""})]
    there = {_plain(one.metadata["Name"]): one.version for one in importlib.metadata.distributions()}
    clashes = 0
    for one in asked:
        version = there.get(_plain(one.name))
        if version is None or not one.specifier.contains(version, prereleases=True):
            clashes += 1
            found = f"{one.name} {version or 'is missing'}, declared {one.specifier}"
            yield Finding(WRONG, "packages", found, f"pip install '{one.name}{one.specifier}'")
    if "tensorflow" in there and "tensorflow-cpu" in there:
        found = "tensorflow and tensorflow-cpu are both installed, in one folder"
        yield Finding(WARNING, "packages", found, "pip uninstall both, then pip install tensorflow-cpu")
    plugins = {name: version for name, version in there.items() if name.startswith("jax-cuda") and "plugin" in name}
    for name, version in plugins.items():
        if version != there.get("jaxlib"):
            yield Finding(WRONG, "packages", f"{name} {version} beside jaxlib {there.get('jaxlib')}", "one version")
    if len({name[: len("jax-cuda12")] for name in plugins}) > 1:
        yield Finding(WARNING, "packages", f"JAX for two versions of CUDA: {', '.join(plugins)}", "uninstall one")
    if not clashes:
        shown = ", ".join(f"{name} {there[name]}" for name in _SHOWN)
        yield Finding(OK, "packages", f"Python {platform.python_version()}, {shown}; all {len(asked)} as declared")


def _plain(name: str) -> str:
    return name.lower().replace("_", "-")


def _environment() -> Iterator[Finding]:
    if sys.dont_write_bytecode:
        found = "PYTHONDONTWRITEBYTECODE is set: every command starts half a minute later"
        yield Finding(WARNING, "environment", found, "unset it")
    if flags := os.environ.get("XLA_FLAGS"):
        fake = "xla_force_host_platform_device_count" in flags
        found = f"XLA_FLAGS={flags}: " + ("devices are made up" if fake else "what is compiled changes")
        yield Finding(WARNING, "environment", found, "unset it, unless you mean it")
    for name in sorted(os.environ):
        if name in ("JAX_PLATFORMS", "CUDA_VISIBLE_DEVICES") or name.startswith("XLA_PYTHON_CLIENT_"):
            yield Finding(OK, "environment", f"{name}={os.environ[name]}")


def _devices() -> Iterator[Finding]:
    import jax

    asked = os.environ.get("JAX_PLATFORMS")
    try:
        devices = jax.devices()
        for device in jax.local_devices():
            (jax.device_put(1, device) + 1).block_until_ready()
    except (AssertionError, RuntimeError) as error:
        found = cli.no_devices() or " ".join(str(error).split())[:300]
        yield Finding(WRONG, "devices", found)
        return
    kinds = {device.device_kind for device in devices}
    found = f"{len(devices)} of {', '.join(sorted(kinds))} ({devices[0].platform})"
    accelerators = {
        "GPU": (glob.glob("/dev/nvidia[0-9]*"), "pip install -e '.[cuda13]'"),
        "TPU": (glob.glob("/dev/accel[0-9]*"), "pip install -e '.[tpu]'"),
    }
    unused = [(name, advice) for name, (files, advice) in accelerators.items() if files]
    if devices[0].platform != "cpu" or not unused:
        yield Finding(OK, "devices", found)
        return
    for name, advice in unused:
        if asked:
            yield Finding(WARNING, "devices", f"{found}; JAX_PLATFORMS={asked} hides a {name}", "unset it")
        else:
            yield Finding(WRONG, "devices", f"{found}; this machine has a {name} that JAX does not see", advice)


def _tensorflow() -> Iterator[Finding]:
    from asd_jax.records import tf  # as the commands import it, its GPUs hidden

    if gpus := tf.config.get_visible_devices("GPU"):
        found = f"{tf.__version__} holds {len(gpus)} GPU(s), whose memory JAX needs"
        yield Finding(WRONG, "TensorFlow", found, "pip install tensorflow-cpu in place of tensorflow")
    else:
        yield Finding(OK, "TensorFlow", f"{tf.__version__}, holds no GPU")


def _memory(data_dir: str | None) -> Iterator[Finding]:
    facts = dict(line.split(":") for line in pathlib.Path("/proc/meminfo").read_text().splitlines())
    available = int(facts["MemAvailable"].split()[0]) * 1024
    found = f"{available / _GB:.1f} GB available"
    if (limit := _cgroup("memory.max", "memory/memory.limit_in_bytes")) is not None:
        used = _cgroup("memory.current", "memory/memory.usage_in_bytes") or 0
        if limit < 1 << 60:
            found += f"; this container may take {(limit - used) / _GB:.1f} GB more, {limit / _GB:.1f} GB in all"
            available = min(available, limit - used)
    needed = _NEEDED + _log_mel_bytes(data_dir)
    if available < needed:
        found += f"; a training on all records takes up to {needed / _GB:.1f} GB"
        yield Finding(WARNING, "memory", found, "end other programs, or name fewer outliers (--config.num_outliers)")
    else:
        yield Finding(OK, "memory", found)


def _log_mel_bytes(data_dir: str | None) -> float:
    from asd_jax.manifest import read_manifest

    manifest = read_manifest(data_dir) if data_dir else None
    if manifest is None:
        return 0
    preset = manifest.preset
    seconds = sum(machine.seconds for machine in manifest.machines.values())
    frames = seconds * preset.sample_rate / preset.hop
    return frames * preset.n_mels * (2 if manifest.dtype == "float16" else 4)


def _processors() -> Iterator[Finding]:
    mine = len(os.sched_getaffinity(0))
    found = f"{mine} of {os.cpu_count()}"
    try:
        quota, period = pathlib.Path("/sys/fs/cgroup/cpu.max").read_text().split()
        if quota != "max":
            share = int(quota) / int(period)
            found += f"; this container may take {share:g}"
            if share < mine:
                advice = f"taskset -c 0-{max(int(share), 1) - 1}: more threads than that are held up"
                yield Finding(WARNING, "processors", found, advice)
                return
    except (OSError, ValueError):
        pass  # no such limit here
    yield Finding(OK, "processors", found)


def _cgroup(*names: str) -> int | None:
    for name in names:
        try:
            return int(pathlib.Path("/sys/fs/cgroup", name).read_text())
        except (OSError, ValueError):  # "max"
            continue
    return None


def _allocator() -> Iterator[Finding]:
    preloaded = [name for name in ("jemalloc", "tcmalloc", "mimalloc") if name in os.environ.get("LD_PRELOAD", "")]
    if preloaded:
        yield Finding(OK, "allocator", f"{preloaded[0]}, preloaded")
    elif platform.libc_ver()[0] != "glibc":
        yield Finding(WARNING, "allocator", "not glibc: steps on the CPU may be slower", "LD_PRELOAD jemalloc")
    elif _keeps_freed_memory():
        yield Finding(OK, "allocator", "glibc keeps what is freed")
    else:
        found = "glibc gives back what is freed, so steps on the CPU are slower"
        yield Finding(WARNING, "allocator", found, "look for MALLOC_ variables or GLIBC_TUNABLES, and unset them")


def _keeps_freed_memory(size: int = 64 << 20) -> bool:
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    block = libc.malloc(size)
    ctypes.memset(block, 1, size)
    before = _resident()
    libc.free(block)
    return before - _resident() < size // 2


def _resident() -> int:
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _caches() -> Iterator[Finding]:
    from asd_jax import kernels
    from asd_jax.recipes.surroundings import COMPILATION_CACHE

    folder = os.environ.get("JAX_COMPILATION_CACHE_DIR") or os.path.expanduser(COMPILATION_CACHE)
    files = [path for path in pathlib.Path(folder).glob("*") if path.is_file()] if os.path.isdir(folder) else []
    size = sum(path.stat().st_size for path in files)
    found = f"{folder}: {len(files)} files, {size / _GB:.2f} GB"
    if reason := _refused(folder):
        found = f"{found}; {reason}: every start compiles anew"
        yield Finding(WARNING, "compilation cache", found, "--config.compilation_cache=FOLDER, or make it writable")
    else:
        yield Finding(OK, "compilation cache", found)
    if not kernels.moments.stats.cache_path:
        found = "the kernels of tools/prepare.py are compiled anew each time"
        yield Finding(WARNING, "compilation cache", found, "set NUMBA_CACHE_DIR to a folder that can be written")


def _disk(data_dir: str | None, workdir: str | None) -> Iterator[Finding]:
    for name, folder in (("workdir", workdir), ("data_dir", data_dir)):
        if not folder:
            continue
        if "://" in folder:
            yield Finding(OK, "disk", f"{name} {folder} is in the cloud: not looked at")
            continue
        free = shutil.disk_usage(_nearest(folder)).free
        found = f"{name} {folder}: {free / _GB:.1f} GB free"
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


def _clock(data_dir: str | None, workdir: str | None) -> Iterator[Finding]:
    now = time.time()
    told = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    newest = max((_newest(folder) for folder in (data_dir, workdir) if folder), default=0)
    if newest > now + 60:
        found = f"{told}, {newest - now:.0f} s before the newest file was written"
        yield Finding(WARNING, "clock", found, "set it; trainings do not go by it, TensorBoard's curves do")
    else:
        yield Finding(OK, "clock", told)


def _newest(folder: str) -> float:
    path = pathlib.Path(folder)
    return max((one.stat().st_mtime for one in (path, *path.glob("*")) if one.exists()), default=0)


def _records(data_dir: str | None) -> Iterator[Finding]:
    if not data_dir:
        return
    from asd_jax import manifest, records

    found = manifest.read_manifest(data_dir)
    if user := locks.holder(data_dir):
        yield Finding(WARNING, "records", f"{data_dir} is in use by {user}", "wait for its end")
    if found is None:
        yield Finding(WRONG, "records", f"{data_dir} holds no prepared data", "run tools/prepare.py")
        return
    store = records.open_store(data_dir, found.preset.name)
    damaged = 0
    for machine in sorted(store.machines):
        for path in store.damaged(machine):
            damaged += 1
            advice = f"delete {os.path.dirname(path)} and prepare {'/'.join(machine)} again"
            yield Finding(WRONG, "records", f"{path} is missing or not whole", advice)
    clips = sum(sum(machine.clips.values()) for machine in store.machines.values())
    told = f"{len(store.machines)} machines, {clips:,} clips, preset {store.preset.name}, {store.dtype}"
    if not damaged:
        yield Finding(OK, "records", told)
    if any(pathlib.Path(data_dir, "partial").glob("*/*")):
        yield Finding(WARNING, "records", "a preparation is not finished", "run the same tools/prepare.py again")


def _workdir(workdir: str | None) -> Iterator[Finding]:
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
