"""Training steps on made-up windows, which lie on the devices."""

import tempfile
import time
from collections.abc import Iterator

import jax
import ml_collections
import numpy as np
from jax.experimental.compilation_cache import compilation_cache

from asd_jax.benchmark.timing import Measurements, intervals, percentiles, profiled, rates
from asd_jax.devices.mesh import make_mesh, put_block, put_everywhere
from asd_jax.devices.steps import Steps
from asd_jax.methods import Recipe
from asd_jax.methods.recipe import HalfOutliers
from asd_jax.recipes import build
from asd_jax.recipes.keys import read_recipe

_PEAKS = {
    # device kind: TFLOP/s of dense matrix products in bfloat16, and as float32 is computed by default
    "TPU v3": (123, 123),
    "TPU v4": (275, 275),
    "TPU v5 lite": (197, 197),
    "TPU v5p": (459, 459),
    "TPU v6 lite": (918, 918),
    "NVIDIA A100-SXM4-40GB": (312, 156),
    "NVIDIA A100-SXM4-80GB": (312, 156),
    "NVIDIA H100 80GB HBM3": (989, 494),
    "NVIDIA H200": (989, 494),
}
"""From the makers' data sheets."""


def measure_step(config: ml_collections.ConfigDict, repeats: int, profile: str | None = None) -> Measurements:
    """Training steps on made-up windows that lie on the devices.

    Args:
        config: the recipe.
        repeats: dispatches that are timed.
        profile: folder for a trace of them, which TensorBoard and XProf open.
    """
    recipe = read_recipe(config, complete=False)
    method = build.make_method(recipe, recipe.papers_machines)
    mesh = make_mesh(recipe.num_runs, recipe.batch_size)
    frames = None if recipe.steps_per_dispatch is None else 2**16
    values = first_values(recipe)
    steps = build.make_steps(recipe, method, mesh, values, frames, np.float16)
    compiled, compile_seconds = _compile_twice(steps)
    rng = np.random.default_rng(0)
    block = put_block(mesh, _made_up_block(rng, recipe, steps))
    features = None
    if frames is not None:
        features = put_everywhere(mesh, rng.normal(size=(frames, *steps.frame_shape)).astype(np.float16))
    values = {name: put_everywhere(mesh, np.full(steps.length, one[0])) for name, one in values.items()}
    count = put_everywhere(mesh, np.array(steps.length, np.int32))
    states = steps.init(recipe.seed, range(steps.runs))
    parameters = sum(x.size // steps.runs for x in jax.tree.leaves(states.params))
    sizes = {"parameter_bytes": _bytes(states.params) // steps.runs, "state_bytes": _bytes(states) // steps.runs}

    def dispatches() -> Iterator[jax.Array]:
        nonlocal states
        while True:
            states, metrics = compiled(states, features, block, values, count)
            yield metrics["loss"]

    seconds = intervals(dispatches(), repeats, profiled(profile)) / steps.length
    analysis = compiled.memory_analysis()
    flops = _flops(compiled, steps)
    result = {
        "parameters": parameters,
        **compile_seconds,
        **percentiles("step_ms", 1e3 * seconds),
        **rates(recipe, mesh, np.median(seconds)),
        "flops_per_step": flops,
        "tflops_per_second": flops / np.median(seconds) / 1e12,
        "share_of_peak": None,
        **sizes,
        "temporary_bytes": analysis.temp_size_in_bytes,
        "input_wait_fraction": 0.0,
    }
    if peaks := _PEAKS.get(mesh.devices.flat[0].device_kind):
        peak = peaks[recipe.precision == "float32"] * mesh.devices.size
        result["share_of_peak"] = result["tflops_per_second"] / peak
    return result


def first_values(recipe: Recipe) -> dict[str, np.ndarray]:
    """What changes from step to step of a training [1], as it is at the beginning: at every step of a benchmark."""
    return {name: values[:1] for name, values in build.step_values(recipe, 1).items()}


def _made_up_block(rng: np.random.Generator, recipe: Recipe, steps: Steps) -> dict[str, np.ndarray]:
    product = rng.integers(0, recipe.papers_machines, steps.block).astype(np.int32)
    if isinstance(recipe.sampler, HalfOutliers):
        product[..., recipe.batch_size // 2 :] = -1
    labels = dict.fromkeys(steps.labels, product)
    if steps.frames is not None:
        return labels | {"first": rng.integers(0, steps.frames - steps.method.window, steps.block).astype(np.int32)}
    windows = (*steps.block, steps.method.window, *steps.frame_shape)
    return labels | {"features": rng.normal(size=windows).astype(np.float16)}


def _compile_twice(steps: Steps) -> tuple[jax.stages.Compiled, Measurements]:
    """The compiled steps, and how long that takes without a compilation cache and with one."""
    seconds = {}
    before = jax.config.jax_compilation_cache_dir, jax.config.jax_persistent_cache_min_compile_time_secs
    with tempfile.TemporaryDirectory() as folder:
        jax.config.update("jax_compilation_cache_dir", folder)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
        compilation_cache.reset_cache()
        for name in ("compile_s", "compile_cached_s"):
            jax.clear_caches()
            began = time.perf_counter()
            compiled = steps.trace().lower().compile()
            seconds[name] = time.perf_counter() - began
    jax.config.update("jax_compilation_cache_dir", before[0])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", before[1])
    compilation_cache.reset_cache()
    return compiled, seconds


def _flops(compiled: jax.stages.Compiled, steps: Steps) -> float:
    """Of one step of all runs on the mesh, by the compiler's cost analysis.

    That counts the body of a loop once. On the CPU a kernel's gradient is such a loop: there the program is counted as
    it is lowered for an accelerator, which has none.
    """
    if steps.mesh.devices.flat[0].platform == "cpu":
        compiled = steps.trace().lower(lowering_platforms=("tpu",))
    return compiled.cost_analysis()["flops"] * steps.mesh.devices.size


def _bytes(tree: dict) -> int:
    return sum(x.nbytes for x in jax.tree.leaves(tree))
