"""What every measurement shares: timing, and what is printed of it."""

import contextlib
import resource
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import jax
import ml_collections
import numpy as np

from asd_jax.devices.mesh import RUN
from asd_jax.methods import Recipe
from asd_jax.recipes.keys import read_recipe
from asd_jax.recipes.surroundings import surroundings

Measurements = dict[str, Any]
"""What a mode found, for a JSON file. What is timed is warm: compiled, and past the first few times."""

WARM_UP = 2
SECONDS = 10.0
"""Of a made-up clip."""


def intervals(dispatches: Iterator[jax.Array], repeats: int, profiled: AbstractContextManager) -> np.ndarray:
    """Seconds [repeats] from the end of one dispatch to the end of the next, which is always under way by then."""
    for _ in range(WARM_UP):
        jax.block_until_ready(next(dispatches))
    ends, pending = [], next(dispatches)
    with profiled:
        while len(ends) <= repeats:
            following = next(dispatches)
            jax.block_until_ready(pending)
            ends.append(time.perf_counter())
            pending = following
    jax.block_until_ready(pending)
    return np.diff(ends)


def profiled(folder: str | None) -> AbstractContextManager:
    """Writes a trace of what is done within to a folder, where one is given."""
    return jax.profiler.trace(folder) if folder else contextlib.nullcontext()


def percentiles(name: str, values: np.ndarray) -> Measurements:
    """Median, 95th percentile and smallest of some values."""
    p50, p95 = np.percentile(values, [50, 95])
    return {f"{name}_p50": float(p50), f"{name}_p95": float(p95), f"{name}_min": float(values.min())}


def rates(recipe: Recipe, mesh: jax.sharding.Mesh, seconds: float) -> Measurements:
    """Windows a second at so many seconds a step."""
    rate = recipe.batch_size * mesh.shape[RUN] / float(seconds)
    return {"windows_per_second": rate, "windows_per_second_per_device": rate / mesh.devices.size}


def measured_with(config: ml_collections.ConfigDict) -> Measurements:
    """What every result names: versions, devices, batch, precision; and the process's memory so far."""
    device = jax.devices()[0]
    in_use = (device.memory_stats() or {}).get("peak_bytes_in_use")
    recipe = read_recipe(config, complete=False)
    return surroundings() | {
        "method": recipe.method,
        "batch_size": recipe.batch_size,
        "num_runs": recipe.num_runs,
        "precision": recipe.precision,
        "peak_host_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "peak_device_mb": in_use and in_use >> 20,
    }


def measurement_lines(result: Measurements) -> list[str]:
    """A table of two columns; what is not known is left out."""
    lines = []
    for name, value in result.items():
        if isinstance(value, dict):
            value = ", ".join(f"{key} {one}" for key, one in value.items())
        elif isinstance(value, float):
            value = f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
        elif isinstance(value, int):
            value = f"{value:,}"
        if value is not None:
            lines.append(f"{name:<30} {value}")
    if "limit" in result:
        step, read = (result[f"{side}_alone_windows_per_second"] for side in ("step", "input"))
        side = {"step": "the network's step", "input": "the input pipeline"}[result["limit"]]
        lines.append(f"The limit is {side}: input alone gives {read / step:.3g} times the windows that steps take.")
    return lines
