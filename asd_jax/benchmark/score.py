"""Scoring: every window of clips through a fresh network, in full batches."""

import time

import ml_collections
import numpy as np

from asd_jax.benchmark.timing import SECONDS, WARM_UP, Measurements, percentiles
from asd_jax.datasets.clips import StoredClip
from asd_jax.devices.mesh import RUN, make_mesh
from asd_jax.devices.steps import init_states, weights_to_score
from asd_jax.recipes.build import make_method, make_optimizer
from asd_jax.recipes.keys import read_recipe
from asd_jax.scoring.trained import Trained
from asd_jax.sound.presets import PRESETS


def measure_score(config: ml_collections.ConfigDict, repeats: int) -> Measurements:
    """Every window of made-up features of 10 s through a fresh network, in full batches, as scoring does it."""
    recipe = read_recipe(config, complete=False)
    method = make_method(recipe, recipe.papers_machines)
    mesh = make_mesh(recipe.num_runs, recipe.batch_size)
    runs = np.arange(mesh.shape[RUN], dtype=np.int32)
    init = init_states(mesh, method, make_optimizer(recipe), recipe.validation_share is not None)
    states = weights_to_score(init(recipe.seed, runs))
    machines = [("made up", str(product)) for product in range(recipe.papers_machines)]
    trained = Trained(recipe, method, machines, mesh, [states] * -(-recipe.num_runs // len(runs)))
    clip = StoredClip(machines[0], "made up", -1, "source", "")
    preset = PRESETS[recipe.features]
    shape = (preset.frames(int(SECONDS * preset.sample_rate)), *preset.frame_shape)
    features = np.random.default_rng(0).normal(size=shape).astype(np.float16)
    windows = len(method.starts(len(features)))
    clips = max(2 * recipe.batch_size // windows, 2)
    seconds = []
    for _ in range(WARM_UP + repeats):
        began = time.perf_counter()
        for _ in trained.outputs((clip, features) for _ in range(clips)):
            pass
        seconds.append((time.perf_counter() - began) / clips)
    seconds = np.array(seconds[WARM_UP:])
    return {
        "windows_per_clip": windows,
        **percentiles("clip_ms", 1e3 * seconds),
        "clips_per_second": 1 / np.median(seconds),
        "windows_per_second": windows * recipe.num_runs / np.median(seconds),
    }
