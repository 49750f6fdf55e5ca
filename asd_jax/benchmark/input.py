"""The input pipeline alone, and the training loop on it."""

import os
import time
from collections.abc import Iterator

import jax
import ml_collections
import numpy as np

from asd_jax import experiment, input_pipeline, parallel
from asd_jax.benchmark.step import measure_step, step_values
from asd_jax.benchmark.timing import SECONDS, WARM_UP, Result, intervals, profiled, rates, spread
from asd_jax.datasets import DATASETS, synthetic
from asd_jax.feed import feed
from asd_jax.prepare import prepare
from asd_jax.training_data import load_data


def made_up(config: ml_collections.ConfigDict, folder: str, clips: int) -> ml_collections.ConfigDict:
    """The config on `clips` synthetic recordings, prepared in a folder, where it names no data."""
    config = ml_collections.ConfigDict(config.to_dict())
    if config.data_dir:
        return config
    raw, config.data_dir = os.path.join(folder, "raw"), os.path.join(folder, "data")
    types, ids = ("belt", "rotor"), ("00", "01")
    each = max(clips // (len(types) * len(ids)), 4)
    synthetic.generate(raw, machine_types=types, machine_ids=ids, train_clips=each, test_clips=1, seconds=SECONDS)
    prepare(DATASETS["dcase2020"](raw), config.data_dir, "dcase2020", config.features)
    if config.method != "maf":
        config.machine_type, config.machine_id = "belt", "" if config.method == "multitask" else "00"
    return config


def measure_input(config: ml_collections.ConfigDict, repeats: int) -> Result:
    """tf.data alone: log-mels from records to memory, and batches from there, as the training takes them."""
    config = experiment.resolve(config)
    began = time.perf_counter()
    data = load_data(config)
    reading = time.perf_counter() - began
    clips = sum(map(len, (data.target, data.outliers, data.held_back, data.held_back_outliers)))
    method = experiment.make_method(config, len(data.machines))
    mesh = parallel.make_mesh(config.num_runs, config.batch_size)
    sampler = data.sampler(config)
    steps = config.get("steps_per_dispatch", 1)
    blocks = input_pipeline.blocks(
        sampler,
        seed=config.seed,
        runs=range(mesh.shape[parallel.RUN]),
        first_step=0,
        num_epochs=_epochs(sampler, (repeats + WARM_UP + 1) * steps),
        steps=steps,
        window=None if "steps_per_dispatch" in config else method.window,
    )
    times = [(time.perf_counter(), block.count) for block in blocks][WARM_UP:]
    seconds = np.diff([moment for moment, _ in times]) / [count for _, count in times[1:]]
    # A block is there at once where it was made ahead: the rate is that of all of them, not of the median one.
    mean = (times[-1][0] - times[0][0]) / sum(count for _, count in times[1:])
    return {
        "records_clips_per_second": clips / reading,
        **spread("step_ms", 1e3 * seconds),
        **rates(config, mesh, mean),
        "input_wait_fraction": 1.0,
    }


def measure_end_to_end(config: ml_collections.ConfigDict, repeats: int, profile: str | None = None) -> Result:
    """The training loop's steps on their own input, without checkpoints; and each side alone, to tell which limits."""
    alone = measure_step(config, repeats)
    read = measure_input(config, 4 * repeats)
    config = experiment.resolve(config)
    data = load_data(config)
    method = experiment.make_method(config, len(data.machines))
    mesh = parallel.make_mesh(config.num_runs, config.batch_size)
    sampler = data.sampler(config)
    optimizer, validated = experiment.make_optimizer(config), experiment.is_validated(config)
    steps, runs = config.get("steps_per_dispatch", 1), mesh.shape[parallel.RUN]
    values = step_values(config, steps)
    log_mels = parallel.put_everywhere(mesh, sampler.frames.numpy()) if "steps_per_dispatch" in config else None
    compiled = parallel.compile_steps(
        mesh,
        method,
        optimizer,
        validated,
        (steps, runs, config.batch_size),
        tuple(values),
        None if log_mels is None else log_mels.shape,
        sampler.frames.dtype.as_numpy_dtype,
    )
    states = parallel.init_states(mesh, method, optimizer, validated)(config.seed, np.arange(runs, dtype=np.int32))
    batches = feed(
        sampler,
        mesh,
        seed=config.seed,
        runs=range(runs),
        first_step=0,
        num_epochs=_epochs(sampler, (repeats + WARM_UP + 2) * steps),
        steps=steps,
        window=config.window if log_mels is None else None,
    )
    waits, counts = [], []

    def dispatches() -> Iterator[jax.Array]:
        nonlocal states
        while True:
            began = time.perf_counter()
            block, arrays = next(batches)
            waits.append(time.perf_counter() - began)
            counts.append(block.count)
            states, metrics = compiled(states, log_mels, arrays, values, np.int32(block.count))
            yield metrics["loss"]

    times, counted = intervals(dispatches(), repeats, profiled(profile)), counts[-repeats - 1 : -1]
    seconds, mean = times / counted, times.sum() / sum(counted)
    result = alone | {
        **spread("step_ms", 1e3 * seconds),
        **rates(config, mesh, mean),
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
