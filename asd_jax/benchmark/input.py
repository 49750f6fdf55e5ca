"""The input pipeline alone, and the training loop on it."""

import os
import time
from collections.abc import Iterator

import jax
import ml_collections
import numpy as np

from asd_jax.benchmark.step import first_values, measure_step
from asd_jax.benchmark.timing import SECONDS, WARM_UP, Measurements, intervals, percentiles, profiled, rates
from asd_jax.datasets import DATASETS, synthetic
from asd_jax.devices.mesh import RUN, make_mesh
from asd_jax.devices.stopping import Stop
from asd_jax.recipes.build import make_method
from asd_jax.recipes.keys import is_needed, read_recipe
from asd_jax.records.prepare import prepare
from asd_jax.training import input_pipeline
from asd_jax.training.data import load_data
from asd_jax.training.feed import feed
from asd_jax.training.run import make_loop


def made_up(config: ml_collections.ConfigDict, folder: str, clips: int) -> ml_collections.ConfigDict:
    """The config on `clips` synthetic recordings, prepared in a folder, where it names no data."""
    config = ml_collections.ConfigDict(config.to_dict())
    if config.data_dir:
        return config
    raw, config.data_dir = os.path.join(folder, "raw"), os.path.join(folder, "data")
    types, ids = ("belt", "rotor"), ("00", "01")
    each = max(clips // (len(types) * len(ids)), 4)
    synthetic.generate(raw, machine_types=types, machine_ids=ids, train_clips=each, test_clips=1, seconds=SECONDS)
    prepare(DATASETS["dcase2020"].list_clips(raw), config.data_dir, "dcase2020", config.features)
    for name, value in (("machine_type", "belt"), ("machine_id", "00")):
        if is_needed(config.method, name):
            config[name] = value
    return config


def measure_input(config: ml_collections.ConfigDict, repeats: int) -> Measurements:
    """tf.data alone: log-mels from records to memory, and batches from there, as the training takes them."""
    recipe = read_recipe(config)
    began = time.perf_counter()
    data = load_data(recipe)
    reading = time.perf_counter() - began
    clips = sum(map(len, (data.target, data.outliers, data.held_back, data.held_back_outliers)))
    mesh = make_mesh(recipe.num_runs, recipe.batch_size)
    sampler, steps = data.sampler(recipe), recipe.steps_per_dispatch or 1
    blocks = input_pipeline.blocks(
        sampler,
        seed=recipe.seed,
        runs=range(mesh.shape[RUN]),
        first_step=0,
        num_epochs=_epochs(sampler, (repeats + WARM_UP + 1) * steps),
        steps=steps,
        window=recipe.window if recipe.steps_per_dispatch is None else None,
    )
    times = [(time.perf_counter(), block.count) for block in blocks][WARM_UP:]
    seconds = np.diff([moment for moment, _ in times]) / [count for _, count in times[1:]]
    # A block is there at once where it was made ahead: the rate is that of all of them, not of the median one.
    mean = (times[-1][0] - times[0][0]) / sum(count for _, count in times[1:])
    return {
        "records_clips_per_second": clips / reading,
        **percentiles("step_ms", 1e3 * seconds),
        **rates(recipe, mesh, mean),
        "input_wait_fraction": 1.0,
    }


def measure_end_to_end(config: ml_collections.ConfigDict, repeats: int, profile: str | None = None) -> Measurements:
    """The training loop's steps on their own input, without checkpoints; and each side alone, to see which limits."""
    alone = measure_step(config, repeats)
    read = measure_input(config, 4 * repeats)
    recipe = read_recipe(config)
    data = load_data(recipe)
    mesh = make_mesh(recipe.num_runs, recipe.batch_size)
    loop = make_loop(recipe, None, make_method(recipe, len(data.machines), len(data.classes)), data, mesh, Stop())
    compiled, steps = loop.steps.compile(), loop.steps
    states = steps.init(recipe.seed, range(steps.runs))
    epochs = _epochs(loop.sampler, (repeats + WARM_UP + 2) * steps.length)
    options = {"seed": recipe.seed, "first_step": 0, "num_epochs": epochs}
    batches = feed(loop.sampler, steps, first_values(recipe), runs=range(steps.runs), **options)
    waits, counts = [], []

    def dispatches() -> Iterator[jax.Array]:
        nonlocal states
        while True:
            began = time.perf_counter()
            block, arguments = next(batches)
            waits.append(time.perf_counter() - began)
            counts.append(block.count)
            states, metrics = compiled(states, loop.features, *arguments)
            yield metrics["loss"]

    times, counted = intervals(dispatches(), repeats, profiled(profile)), counts[-repeats - 1 : -1]
    seconds, mean = times / counted, times.sum() / sum(counted)
    result = alone | {
        **percentiles("step_ms", 1e3 * seconds),
        **rates(recipe, mesh, mean),
        "tflops_per_second": alone["flops_per_step"] / mean / 1e12,
        "input_wait_fraction": sum(waits[-repeats:]) / times.sum(),
        "step_alone_windows_per_second": alone["windows_per_second"],
        "input_alone_windows_per_second": read["windows_per_second"],
        "records_clips_per_second": read["records_clips_per_second"],
    }
    limit = "step" if read["windows_per_second"] > alone["windows_per_second"] else "input"
    return result | {"limit": limit}


def _epochs(sampler: input_pipeline.Sampler, steps: int) -> int:
    return -(-steps // sampler.epoch_steps)
