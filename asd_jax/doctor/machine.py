"""The installation and the machine: packages, devices, memory, processors."""

import ctypes
import glob
import importlib.metadata
import math
import os
import pathlib
import platform
import sys
from collections.abc import Iterator

from asd_jax.base import cli
from asd_jax.doctor.finding import GB, OK, WARNING, WRONG, Finding

_SHOWN = ("jax", "tensorflow-cpu", "flax", "numpy")
_NEEDED = 2 * GB
"""Memory of the libraries and a small network, README "Memory"."""


def packages() -> Iterator[Finding]:
    """Versions, and packages that are missing or too old."""
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


def environment() -> Iterator[Finding]:
    """Variables that change what a program does."""
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


def devices() -> Iterator[Finding]:
    """What JAX computes on."""
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


def tensorflow() -> Iterator[Finding]:
    """Whether TensorFlow starts, without the GPUs."""
    from asd_jax.records.store import tf  # as the commands import it, its GPUs hidden

    if gpus := tf.config.get_visible_devices("GPU"):
        found = f"{tf.__version__} holds {len(gpus)} GPU(s), whose memory JAX needs"
        yield Finding(WRONG, "TensorFlow", found, "pip install tensorflow-cpu in place of tensorflow")
    else:
        yield Finding(OK, "TensorFlow", f"{tf.__version__}, holds no GPU")


def memory(data_dir: str | None) -> Iterator[Finding]:
    """Memory, and what the features take of it."""
    facts = dict(line.split(":") for line in pathlib.Path("/proc/meminfo").read_text().splitlines())
    available = int(facts["MemAvailable"].split()[0]) * 1024
    found = f"{available / GB:.1f} GB available"
    if (limit := _cgroup("memory.max", "memory/memory.limit_in_bytes")) is not None:
        used = _cgroup("memory.current", "memory/memory.usage_in_bytes") or 0
        if limit < 1 << 60:
            found += f"; this container may take {(limit - used) / GB:.1f} GB more, {limit / GB:.1f} GB in all"
            available = min(available, limit - used)
    needed = _NEEDED + _feature_bytes(data_dir)
    if available < needed:
        found += f"; a training on all records takes up to {needed / GB:.1f} GB"
        yield Finding(WARNING, "memory", found, "end other programs, or name fewer outliers (--config.num_outliers)")
    else:
        yield Finding(OK, "memory", found)


def _feature_bytes(data_dir: str | None) -> float:
    from asd_jax.records.manifest import read_manifest

    manifest = read_manifest(data_dir) if data_dir else None
    if manifest is None:
        return 0
    preset = manifest.preset
    seconds = sum(machine.seconds for machine in manifest.machines.values())
    numbers = seconds * preset.sample_rate / preset.hop * math.prod(preset.frame_shape)
    return numbers * (2 if manifest.dtype == "float16" else 4)


def processors() -> Iterator[Finding]:
    """Cores that this process may use."""
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


def allocator() -> Iterator[Finding]:
    """Whether freed memory is kept."""
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
