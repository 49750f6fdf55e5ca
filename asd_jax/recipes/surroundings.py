"""What a program runs on: versions, devices, and the cache of compiled programs."""

import contextlib
import importlib.metadata
import os

import jax

_PACKAGES = ("asd_jax", "jax", "jaxlib", "flax", "optax", "tensorflow-cpu", "tensorflow", "numpy", "librosa")
"""TensorFlow bears one of two names."""

COMPILATION_CACHE = "~/.cache/asd_jax"


def enable_compilation_cache(folder: str) -> None:
    """Compiled programs are kept on disk, so that the next start of the same shapes takes seconds.

    They are machine code that is run when it is found: the folder is the user's own, never what a workdir names.
    """
    if folder:
        jax.config.update("jax_compilation_cache_dir", os.path.expanduser(folder))


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def surroundings() -> dict:
    """What a program runs on: versions and devices."""
    device = jax.devices()[0]
    return {
        "versions": _versions(),
        "platform": device.platform,
        "device_kind": device.device_kind,
        "devices": jax.device_count(),
        "host_cores": len(os.sched_getaffinity(0)),
    }
