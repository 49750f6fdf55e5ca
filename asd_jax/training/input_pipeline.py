"""Features -> tf.data batches of windows.

What a batch holds depends only on (seed, run, epoch, step): a resumed training takes the very batches that it would
have seen. A sampler says which windows an epoch shows in which order; the windows themselves are cut out by one gather
a batch, on the host, or on the devices where the features lie there.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
import tensorflow as tf

from asd_jax.training import random_streams
from asd_jax.training.clip_features import ClipFeatures, join
from asd_jax.training.random_streams import fold_in, stream_seed


class Sampler(Protocol):
    """Which windows are shown.

    Attributes:
        frames: [all frames, ...], the features of all clips.
        labels: name -> [clips] int32, what is known of the clips ("product", "class").
        batch_size: rows of a batch.
        epoch_steps: steps of an epoch.
    """

    frames: tf.Tensor
    labels: Mapping[str, tf.Tensor]
    batch_size: int
    epoch_steps: int

    def windows(self, seed: int, run: int, epoch: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The first frames of all windows of a run's epoch, and their clips; [epoch_steps, batch_size] int32."""


class HalfOutliersSampler:
    """Both papers' batches: half of the target, half of the outliers.

    In every epoch each target clip is shown once, in random order, by one random window; the last batch is filled up
    with target clips of a further random order. To them come as many windows of outlier clips, each clip drawn
    uniformly from the set (or from `num_outliers` clips of it, which are fixed within a run).
    """

    def __init__(
        self,
        target: ClipFeatures,
        outliers: ClipFeatures,
        labels: Mapping[str, np.ndarray],
        batch_size: int,
        window: int,
        num_outliers: int | None = None,
    ) -> None:
        """What is to be shown.

        Args:
            target: normal clips of the target machines.
            outliers: the pooled outlier set, in the same memory.
            labels: name -> [target clips], such as which of the target machines each clip is of; outliers have -1.
            batch_size: rows of a batch, half of them of the target, which come first.
            window: frames of a window.
            num_outliers: size of the outlier set; None takes all of it.
        """
        both = join([target, outliers])  # so that one gather serves the whole batch
        self.frames, self.batch_size, self.num_outliers = both.frames, batch_size, num_outliers
        self.num_target, self.available = len(target), len(outliers)
        self.epoch_steps = -(-len(target) // (batch_size // 2))
        self.first, self.starts = tf.constant(both.first, tf.int32), tf.constant(both.length - window + 1, tf.int32)
        none = np.full(len(outliers), -1)
        self.labels = {name: tf.constant(np.concatenate([one, none]), tf.int32) for name, one in labels.items()}

    def windows(self, seed: int, run: int, epoch: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Sampler`."""
        half, steps = self.batch_size // 2, self.epoch_steps
        drawn_seed = stream_seed(seed, random_streams.OUTLIER, run, epoch)
        shown = _in_orders(self.num_target, steps * half, stream_seed(seed, random_streams.TARGET, run, epoch))
        subset = self._subset(stream_seed(seed, random_streams.SUBSET, run)) + self.num_target
        drawn = tf.random.stateless_uniform([steps * half], fold_in(drawn_seed, 0), 0, len(subset), tf.int32)
        clips = tf.stack([shown, tf.gather(subset, drawn)], 1)  # [steps * half, 2]
        clips = tf.reshape(tf.transpose(tf.reshape(clips, [steps, half, 2]), [0, 2, 1]), [steps, self.batch_size])
        position = tf.random.stateless_uniform([steps, self.batch_size], fold_in(drawn_seed, 1))
        count = tf.gather(self.starts, clips)
        start = tf.minimum(tf.cast(position * tf.cast(count, tf.float32), tf.int32), count - 1)
        return tf.gather(self.first, clips) + start, clips

    def _subset(self, seed: tf.Tensor) -> tf.Tensor:
        everything = tf.range(self.available)
        if self.num_outliers is None or self.num_outliers >= self.available:
            return everything
        return tf.random.experimental.stateless_shuffle(everything, seed)[: self.num_outliers]


class EveryWindowSampler:
    """Batches of paper 1's baselines: an epoch shows every window of every clip once, in random order.

    The last batch is filled up with windows of a further random order.
    """

    def __init__(
        self, clips: ClipFeatures, labels: Mapping[str, np.ndarray], batch_size: int, window: int, hop: int
    ) -> None:
        """What is to be shown.

        Args:
            clips: normal clips of the target machines.
            labels: name -> [clips], such as which of the target machines each clip is of.
            batch_size: rows of a batch.
            window: frames of a window.
            hop: frames from one window of a clip to the next.
        """
        self.frames, self.batch_size, self.hop = clips.frames, batch_size, hop
        counts = (clips.length - window) // hop + 1
        self.num_windows = int(counts.sum())
        self.epoch_steps = -(-self.num_windows // batch_size)
        self.first = tf.constant(clips.first, tf.int32)
        self.labels = {name: tf.constant(one, tf.int32) for name, one in labels.items()}
        self.ends = tf.constant(counts.cumsum(), tf.int32)  # of the clips' windows, counted through
        self.begins = tf.constant(counts.cumsum() - counts, tf.int32)

    def windows(self, seed: int, run: int, epoch: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Sampler`."""
        shape = [self.epoch_steps, self.batch_size]
        order_seed = stream_seed(seed, random_streams.WINDOW, run, epoch)
        number = _in_orders(self.num_windows, self.epoch_steps * self.batch_size, order_seed)
        clip = tf.searchsorted(self.ends, number, side="right")
        start = (number - tf.gather(self.begins, clip)) * self.hop
        return tf.reshape(tf.gather(self.first, clip) + start, shape), tf.reshape(clip, shape)


def _in_orders(count: int, length: int, seed: tf.Tensor) -> tf.Tensor:
    """[length] numbers below `count`: all of them in random order, then all of them in another one, and so on."""
    orders = [
        tf.random.experimental.stateless_shuffle(tf.range(count), fold_in(seed, i)) for i in range(-(-length // count))
    ]
    return tf.concat(orders, 0)[:length]


@dataclasses.dataclass(frozen=True)
class BatchBlock:
    """The batches of some steps in succession.

    Attributes:
        first_step: of the training's steps, the first in the block.
        count: how many there are.
        arrays: the labels [steps, runs, rows] int32, -1 for outliers, and "features" [steps, runs, rows, window, ...]
            as stored or "first" [steps, runs, rows] int32. There are always as many steps; those after `count` are
            zeros.
    """

    first_step: int
    count: int
    arrays: dict[str, np.ndarray]


def blocks(
    sampler: Sampler,
    *,
    seed: int,
    runs: Sequence[int],
    first_step: int,
    num_epochs: int,
    steps: int,
    window: int | None,
    rows: range | None = None,
) -> Iterator[BatchBlock]:
    """All batches from step `first_step` on, for several independent runs at once.

    Args:
        sampler: what the batches hold.
        seed: of the experiment.
        runs: the runs whose batches are stacked; each has its own random streams.
        first_step: steps already done.
        num_epochs: of the whole training.
        steps: of a block, at most; no block goes over the end of an epoch.
        window: frames of a window, which are cut out here ("features"); None leaves that to others ("first").
        rows: which rows of each batch this host needs; all where None.
    """
    rows = range(sampler.batch_size) if rows is None else rows
    first_epoch, done = divmod(first_step, sampler.epoch_steps)

    def of_epoch(epoch: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Blocks of an epoch: their first steps, numbers of steps, first frames and labels."""
        begin = tf.where(epoch == first_epoch, done, 0)
        parts = zip(*(sampler.windows(seed, run, epoch) for run in runs), strict=True)
        first, clip = (tf.stack(part, 1)[begin:, :, rows.start : rows.stop] for part in parts)
        labels = {name: tf.gather(of_clips, clip) for name, of_clips in sampler.labels.items()}
        left = sampler.epoch_steps - begin
        number = -(-left // steps)
        starts = tf.range(number) * steps
        first, labels = tf.nest.map_structure(
            lambda x: tf.reshape(
                tf.pad(x, [[0, number * steps - left], [0, 0], [0, 0]]), [-1, steps, len(runs), len(rows)]
            ),
            (first, labels),
        )
        first_steps = tf.cast(epoch, tf.int64) * sampler.epoch_steps + tf.cast(begin + starts, tf.int64)
        return first_steps, tf.minimum(steps, left - starts), first, labels

    def cut_out(first_step: tf.Tensor, count: tf.Tensor, first: tf.Tensor, labels: dict[str, tf.Tensor]) -> tuple:
        arrays = dict(labels)
        if window is None:
            arrays["first"] = first
        else:
            arrays["features"] = tf.gather(sampler.frames, first[..., None] + tf.range(window))
        return first_step, count, arrays

    data = tf.data.Dataset.range(first_epoch, num_epochs, output_type=tf.int32).map(of_epoch).prefetch(1).unbatch()
    data = data.map(cut_out, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    options = tf.data.Options()
    options.experimental_optimization.apply_default_optimizations = False  # they copy what `cut_out` reads from
    for first_step, count, arrays in data.prefetch(4).with_options(options).as_numpy_iterator():
        yield BatchBlock(int(first_step), int(count), arrays)
