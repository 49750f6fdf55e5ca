"""The whole way from waveforms to clip scores as one JAX function, by all runs of a workdir, for one machine."""

import dataclasses
import math

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from asd_jax.backends import BACKENDS
from asd_jax.methods import Method
from asd_jax.scoring.detector import Detector
from asd_jax.sound.features import FeaturePreset, WaveStatistics

Weights = dict[str, np.ndarray | jax.Array]
"""Names like "params/Conv_0/kernel" -> arrays with a leading axis of runs."""

_CHUNK = 2**19
"""Values of the windows that go through the network together: as many as 16 windows of paper 1."""


@dataclasses.dataclass(frozen=True)
class Program:
    """What is done with waveforms.

    Attributes:
        preset: of the features.
        statistics: of the machine type's waveforms, where the preset takes them.
        method: the system.
        product: the machine's place among the workdir's.
        samples: of a clip.
        inlier: kind of the inlier models, a key of `BACKENDS`; None for a system that scores windows itself.
        p: components of a mixture, or neighbours.
    """

    preset: FeaturePreset
    statistics: WaveStatistics | None
    method: Method
    product: int
    samples: int
    inlier: str | None
    p: int

    @property
    def starts(self) -> np.ndarray:
        """First frames of a clip's windows."""
        return self.method.starts(self.preset.frames(self.samples))

    def __call__(self, weights: Weights, waves: jax.Array) -> dict[str, jax.Array]:
        """Scores waveforms [batch, samples], one after the other: the memory does not grow with their number.

        Returns:
            "score" [batch], the mean over the runs of the clips' anomaly scores; "window_score" [batch, windows], the
            same of their windows, or of their segments by the inlier models.
        """

        def of_clip(wave: jax.Array) -> dict[str, jax.Array]:
            features = self.preset.compute_on_device(wave[None], self.statistics)[0]
            runs = jax.lax.map(lambda one: self._scores(flax.traverse_util.unflatten_dict(one, "/"), features), weights)
            return jax.tree.map(lambda x: x.mean(0), runs)

        return jax.lax.map(of_clip, waves)

    def _scores(self, weights: dict, features: jax.Array) -> dict[str, jax.Array]:
        """The scores by one run of a clip's features [frames, ...] and of its windows."""
        outputs = self._outputs(weights.get("params", {}), weights.get("batch_stats", {}), features)
        if self.inlier is None:
            return {"score": outputs["score"].mean(), "window_score": outputs["score"]}
        backend = BACKENDS[self.inlier]
        scores = backend.device_segment_scores(weights.get("inlier", {}), outputs, self.product, self.p)
        return {"score": backend.device_clip_score(scores), "window_score": scores}

    def _outputs(self, params: dict, batch_stats: dict, features: jax.Array) -> dict[str, jax.Array]:
        """The outputs [windows, ...] for all windows, a chunk of them at a time; the last window fills the last one."""
        count, window = len(self.starts), self.method.window
        chunks = -(-count * window * math.prod(self.preset.frame_shape) // _CHUNK)
        size = -(-count // chunks)
        product = jnp.full(size, self.product, jnp.int32)

        def of_chunk(starts: jax.Array) -> dict[str, jax.Array]:
            windows = features[starts[:, None] + jnp.arange(window)]
            return self.method.outputs(params, batch_stats, windows, product)

        starts = np.pad(self.starts, (0, chunks * size - count), "edge").reshape(chunks, size)
        outputs = jax.lax.map(of_chunk, jnp.asarray(starts))
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:count], outputs)


def make(detector: Detector, samples: int) -> tuple[Program, Weights]:
    """The program of a trained workdir, and its weights.

    Raises:
        UserError: the inlier models cannot be fitted.
    """
    trained, choice = detector.trained, detector.scorer.choice
    states = jax.device_get([(group.params, group.batch_stats) for group in trained.states])
    params, batch_stats = jax.tree.map(lambda *x: np.concatenate(x)[: trained.recipe.num_runs], *states)
    weights = {"params": params, "batch_stats": batch_stats}
    if choice:
        runs = [models.models[detector.machine].arrays() for models in detector.scorer.models]
        weights["inlier"] = jax.tree.map(lambda *x: np.stack(x), *runs)
    product = trained.product(detector.machine)
    of_choice = (choice.kind, choice.p) if choice else (None, 0)
    program = Program(detector.preset, detector.statistics, trained.method, product, samples, *of_choice)
    return program, flax.traverse_util.flatten_dict(weights, sep="/")
