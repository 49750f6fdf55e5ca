"""Training steps on made-up windows, which lie on the devices."""

import tempfile
import time
from collections.abc import Iterator

import jax
import ml_collections
import numpy as np
from jax.experimental.compilation_cache import compilation_cache

from asd_jax import experiment, parallel
from asd_jax.benchmark.timing import Result, intervals, profiled, rates, spread
from asd_jax.methods import Method

PRODUCTS = {"maf": 41, "multitask": 7}
"""Target machines of the papers' networks: all of DCASE 2020; the product IDs of a type. Elsewhere one."""
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


def measure_step(config: ml_collections.ConfigDict, repeats: int, profile: str | None = None) -> Result:
    """Training steps on made-up windows that lie on the devices.

    Args:
        config: the recipe.
        repeats: dispatches that are timed.
        profile: folder for a trace of them, which TensorBoard and XProf open.
    """
    config = experiment.resolve(config)
    method = experiment.make_method(config, PRODUCTS.get(config.method, 1))
    mesh = parallel.make_mesh(config.num_runs, config.batch_size)
    runs, steps = mesh.shape[parallel.RUN], config.get("steps_per_dispatch", 1)
    values = step_values(config, steps)
    frames = None if "steps_per_dispatch" not in config else (2**16, method.n_mels)
    shapes = (
        mesh,
        method,
        experiment.make_optimizer(config),
        experiment.is_validated(config),
        (steps, runs, config.batch_size),
        tuple(values),
        frames,
        np.float16,
    )
    compiled, compile_seconds = _compile_twice(shapes)
    rng = np.random.default_rng(0)
    block = parallel.put_block(mesh, _made_up_block(rng, config, method, shapes[4], frames))
    log_mels = None if frames is None else parallel.put_everywhere(mesh, rng.normal(size=frames).astype(np.float16))
    states = parallel.init_states(*shapes[:4])(config.seed, np.arange(runs, dtype=np.int32))
    parameters = sum(x.size // runs for x in jax.tree.leaves(states.params))
    sizes = {"parameter_bytes": _bytes(states.params) // runs, "state_bytes": _bytes(states) // runs}

    def dispatches() -> Iterator[jax.Array]:
        nonlocal states
        while True:
            states, metrics = compiled(states, log_mels, block, values, np.int32(steps))
            yield metrics["loss"]

    seconds = intervals(dispatches(), repeats, profiled(profile)) / steps
    analysis = compiled.memory_analysis()
    flops = _flops(compiled, shapes, mesh)
    result = {
        "parameters": parameters,
        **compile_seconds,
        **spread("step_ms", 1e3 * seconds),
        **rates(config, mesh, np.median(seconds)),
        "flops_per_step": flops,
        "tflops_per_second": flops / np.median(seconds) / 1e12,
        "share_of_peak": None,
        **sizes,
        "temporary_bytes": analysis.temp_size_in_bytes,
        "input_wait_fraction": 0.0,
    }
    if peaks := _PEAKS.get(mesh.devices.flat[0].device_kind):
        peak = peaks[config.get("precision", "float32") == "float32"] * mesh.devices.size
        result["share_of_peak"] = result["tflops_per_second"] / peak
    return result


def step_values(config: ml_collections.ConfigDict, steps: int) -> dict[str, np.ndarray]:
    """What changes from step to step of a training [steps], as it is at the beginning."""
    first = {name: values[0] for name, values in experiment.step_values(config, steps).items()}
    return {name: np.full(steps, value) for name, value in first.items()}


def _made_up_block(
    rng: np.random.Generator,
    config: ml_collections.ConfigDict,
    method: Method,
    of_block: tuple[int, int, int],
    frames: tuple[int, int] | None,
) -> dict[str, np.ndarray]:
    product = rng.integers(0, PRODUCTS.get(config.method, 1), of_block).astype(np.int32)
    if "outlier_set" in config:
        product[..., config.batch_size // 2 :] = -1
    if frames:
        return {"product": product, "first": rng.integers(0, frames[0] - method.window, of_block).astype(np.int32)}
    windows = rng.normal(size=(*of_block, method.window, method.n_mels)).astype(np.float16)
    return {"product": product, "log_mel": windows}


def _compile_twice(shapes: tuple) -> tuple[jax.stages.Compiled, Result]:
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
            compiled = parallel.trace_steps(*shapes).lower().compile()
            seconds[name] = time.perf_counter() - began
    jax.config.update("jax_compilation_cache_dir", before[0])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", before[1])
    compilation_cache.reset_cache()
    return compiled, seconds


def _flops(compiled: jax.stages.Compiled, shapes: tuple, mesh: jax.sharding.Mesh) -> float:
    """Of one step of all runs on the mesh, by the compiler's cost analysis.

    That counts the body of a loop once. On the CPU a kernel's gradient is such a loop: there the program is counted as
    it is lowered for an accelerator, which has none.
    """
    if mesh.devices.flat[0].platform == "cpu":
        compiled = parallel.trace_steps(*shapes).lower(lowering_platforms=("tpu",))
    return compiled.cost_analysis()["flops"] * mesh.devices.size


def _bytes(tree: dict) -> int:
    return sum(x.nbytes for x in jax.tree.leaves(tree))
