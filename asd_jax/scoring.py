"""Clip scores from a trained workdir: every window of every clip, once, and the mean over the windows of a clip."""

import collections
import dataclasses
import itertools
import json
import os
from collections.abc import Iterable, Iterator

import jax
import ml_collections
import numpy as np
from tqdm import tqdm

from asd_jax import experiment, parallel
from asd_jax.checkpoints import RunCheckpoints, restore_newest
from asd_jax.errors import UserError
from asd_jax.files import write_atomically
from asd_jax.input_pipeline import LogMels

_HELD_BACK = "held_back_scores.json"


@dataclasses.dataclass(frozen=True)
class Trained:
    """All runs of a workdir, ready to score.

    Attributes:
        config: what they were trained with.
        mesh: the devices they score on.
        states: groups of runs, each with as many as the mesh holds side by side (the last one may repeat a run).
    """

    config: ml_collections.ConfigDict
    mesh: jax.sharding.Mesh
    states: list[parallel.State]

    def score(self, log_mels: Iterable[np.ndarray], total: int | None = None) -> np.ndarray:
        """Anomaly scores [runs, clips] of log-mels [frames, mels], each at least one window long (paper 1, section 3).

        The mean over every window of a clip. `total` clips, where known, are for a progress bar.
        """
        config = self.config
        method = experiment.make_method(config)
        step = parallel.score_step(self.mesh, method.score)
        if total is not None:
            log_mels = tqdm(log_mels, total=total, unit="clip", desc="scoring")
        sums: dict[int, np.ndarray] = collections.defaultdict(lambda: np.zeros(config.num_runs))
        counts: dict[int, int] = collections.Counter()

        def add(scores: list[jax.Array], clips: np.ndarray) -> None:
            scores = np.concatenate([np.asarray(group) for group in scores])[: config.num_runs]
            for clip in np.unique(clips[clips >= 0]).tolist():
                mine = clips == clip
                sums[clip] += scores[:, mine].sum(1, dtype=np.float64)
                counts[clip] += int(mine.sum())

        pending = None
        for windows, clips in window_batches(log_mels, config.window, config.score_hop, config.batch_size):
            scores = [step(states, windows) for states in self.states]
            if pending:  # read back one batch late, while the devices work on this one
                add(*pending)
            pending = (scores, clips)
        if pending is None:
            return np.zeros((config.num_runs, 0))
        add(*pending)
        return np.stack([sums[clip] / counts[clip] for clip in range(len(counts))], 1)


def load_trained(workdir: str) -> Trained:
    """Restores the runs of a workdir, each at its newest checkpoint.

    Raises:
        UserError: it is no workdir, or a run has no checkpoint.
    """
    config = experiment.load_config(workdir)
    experiment.enable_compilation_cache(config)
    training = experiment.load_summary(workdir)
    mesh = parallel.make_mesh(config.num_runs, config.batch_size)
    method = experiment.make_method(config)
    optimizer, _ = experiment.make_optimizer(config, training["steps_per_epoch"])
    like = parallel.single_run(mesh, method.init, optimizer)
    runs = []
    for run in range(config.num_runs):
        checkpoints = RunCheckpoints(workdir, run)
        found = restore_newest([checkpoints], [like])
        checkpoints.close()
        if found is None:
            raise UserError(
                f"Run {run} in {workdir} has no checkpoint yet: run tools/train.py with the same config again."
            )
        step, [state] = found
        if step < training["num_steps"]:
            print(f"Run {run} is not finished: scored as it was after step {step} of {training['num_steps']}.")
        runs.append(state)
    width = mesh.shape[parallel.RUN]
    runs += [runs[-1]] * (-len(runs) % width)
    groups = [parallel.stack_runs(mesh, runs[i : i + width]) for i in range(0, len(runs), width)]
    return Trained(config, mesh, groups)


def held_back_scores(workdir: str) -> dict[str, float]:
    """File name -> score, mean over the runs, of the normal clips that training did not see; none where it saw all."""
    path = os.path.join(workdir, _HELD_BACK)
    if os.path.exists(path):
        with open(path) as file:
            return json.load(file)
    if experiment.load_summary(workdir)["held_back"]:
        raise UserError(
            f"The held-back clips of {workdir} are not scored yet: run tools/train.py with the same config again."
        )
    return {}


def score_held_back(workdir: str, clips: LogMels) -> None:
    """Scores them, where that has not been done, and keeps the scores in the workdir."""
    if os.path.exists(os.path.join(workdir, _HELD_BACK)):
        return
    scores = load_trained(workdir).score(clips, len(clips)).mean(0).tolist()
    text = json.dumps(dict(zip(clips.names, scores, strict=True)), indent=2) + "\n"
    write_atomically(os.path.join(workdir, _HELD_BACK), text)


def window_batches(
    log_mels: Iterable[np.ndarray], window: int, hop: int, batch_size: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Cuts clips [frames, mels] into windows, and the windows of many clips into batches of one size.

    Yields:
        (windows [batch, window, mels], clip number of each [batch]); -1 marks the padding of the last batch.
    """
    # One window at a time, as views: an hour-long recording takes no more memory than its log-mel.
    windows_of_clips = (
        (view, clip)
        for clip, log_mel in enumerate(log_mels)
        for view in np.lib.stride_tricks.sliding_window_view(log_mel, window, axis=0)[::hop].swapaxes(1, 2)
    )
    while batch := list(itertools.islice(windows_of_clips, batch_size)):
        windows, clips = np.stack([view for view, _ in batch]), np.array([clip for _, clip in batch])
        padding = batch_size - len(batch)
        yield np.pad(windows, ((0, padding), (0, 0), (0, 0))), np.pad(clips, (0, padding), constant_values=-1)
