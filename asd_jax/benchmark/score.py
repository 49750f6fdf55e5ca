"""Scoring: every window of clips through a fresh network, in full batches."""

import time

import ml_collections
import numpy as np

from asd_jax import experiment, parallel
from asd_jax.benchmark.step import PRODUCTS
from asd_jax.benchmark.timing import SECONDS, WARM_UP, Result, spread
from asd_jax.features import PRESETS
from asd_jax.scoring import Trained


def measure_score(config: ml_collections.ConfigDict, repeats: int) -> Result:
    """Every window of made-up log-mels of 10 s through a fresh network, in full batches, as scoring does it."""
    config = experiment.resolve(config)
    products = PRODUCTS.get(config.method, 1)
    method = experiment.make_method(config, products)
    mesh = parallel.make_mesh(config.num_runs, config.batch_size)
    runs = np.arange(mesh.shape[parallel.RUN], dtype=np.int32)
    init = parallel.init_states(mesh, method, experiment.make_optimizer(config), experiment.is_validated(config))
    states = parallel.weights_to_score(init(config.seed, runs))
    machines = [("made up", str(product)) for product in range(products)]
    trained = Trained(config, method, machines, mesh, [states] * -(-config.num_runs // len(runs)))
    preset = PRESETS[config.features]
    shape = (1 + int(SECONDS * preset.sample_rate) // preset.hop, preset.n_mels)
    log_mel = np.random.default_rng(0).normal(size=shape).astype(np.float16)
    windows = len(method.starts(len(log_mel)))
    clips = max(2 * config.batch_size // windows, 2)
    seconds = []
    for _ in range(WARM_UP + repeats):
        began = time.perf_counter()
        for _ in trained.outputs((log_mel, machines[0]) for _ in range(clips)):
            pass
        seconds.append((time.perf_counter() - began) / clips)
    seconds = np.array(seconds[WARM_UP:])
    return {
        "windows_per_clip": windows,
        **spread("clip_ms", 1e3 * seconds),
        "clips_per_second": 1 / np.median(seconds),
        "windows_per_second": windows * config.num_runs / np.median(seconds),
    }
