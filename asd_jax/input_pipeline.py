"""TFRecords -> batches of windows.

The log-mels that a training needs are read once and held in host memory as stored (float16: 80 KB for 10 s; paper 1's
largest outlier set, 23,000 clips, is 1.9 GB), so that every batch can be drawn exactly as the papers say. What a batch
holds depends only on (seed, run, epoch, step): a resumed training goes on with the very batches it would have seen.
"""

import dataclasses
import itertools
from collections.abc import Collection, Iterator, Sequence

import numpy as np
import tensorflow as tf

from asd_jax.clips import Machine, StoredClip
from asd_jax.errors import UserError
from asd_jax.records import Store

# What a random stream is for, folded into its seed, so that no two streams are alike.
_SUBSET, _NORMAL, _OUTLIER, _HELD_BACK = range(4)


@dataclasses.dataclass(frozen=True)
class LogMels:
    """Log-mels of many clips, back to back.

    Attributes:
        frames: [all frames, mels], type as stored; a tensor, since tf.data would copy an array.
        first: [clips], where each clip begins in `frames`.
        length: [clips], its number of frames.
        clips: [clips], what each is.
    """

    frames: tf.Tensor
    first: np.ndarray
    length: np.ndarray
    clips: tuple[StoredClip, ...]

    def __len__(self) -> int:
        return len(self.clips)

    @property
    def names(self) -> tuple[str, ...]:
        """[clips], file names."""
        return tuple(clip.name for clip in self.clips)

    def select(self, clips: Sequence[int]) -> "LogMels":
        """The same memory, other clips."""
        return LogMels(
            self.frames,
            self.first[np.array(clips, int)],
            self.length[np.array(clips, int)],
            tuple(self.clips[i] for i in clips),
        )

    def __iter__(self) -> Iterator[np.ndarray]:
        """The log-mels [frames, mels], clip by clip."""
        for first, length in zip(self.first, self.length, strict=True):
            yield self.frames[first : first + length].numpy()


def load(
    store: Store, machines: Sequence[Machine], split: str, window: int, domains: Collection[str] | None = None
) -> list[LogMels]:
    """Reads the machines' clips of a split and of some domains (all where None).

    Clips shorter than a window are left out, and counted in a printed sentence. All machines share one memory: its size
    is that of the log-mels, and twice that while they are read.

    Returns:
        The clips of each machine, in the order given.

    Raises:
        UserError: a record is damaged.
    """
    buffer, lengths, clips, last = bytearray(), [], [], [0]
    for machine in machines:
        short = 0
        for clip, log_mel in store.clips(machine, split):
            if domains is not None and clip.domain not in domains:
                continue
            if len(log_mel) < window:
                short += 1
                continue
            buffer += log_mel.tobytes()
            lengths.append(len(log_mel))
            clips.append(clip)
        if short:
            print(f"Left out {short} clips of {'/'.join(machine)} that are shorter than one window ({window} frames)")
        last.append(len(clips))
    length = np.array(lengths, np.int64)
    frames = tf.constant(np.frombuffer(buffer, store.dtype).reshape(-1, store.preset.n_mels))
    everything = LogMels(frames, length.cumsum() - length, length, tuple(clips))
    return [everything.select(range(begin, end)) for begin, end in itertools.pairwise(last)]


def join(parts: Sequence[LogMels]) -> LogMels:
    """Clips that share one memory, as one."""
    return LogMels(
        parts[0].frames,
        np.concatenate([part.first for part in parts]),
        np.concatenate([part.length for part in parts]),
        sum((part.clips for part in parts), ()),
    )


def hold_back(clips: LogMels, count: int, seed: int) -> tuple[LogMels, LogMels]:
    """(clips to train on, `count` clips chosen by the seed that training must not see)."""
    if count >= len(clips):
        machine = "/".join(clips.clips[0].machine)
        raise UserError(
            f"Holding back {count} clips of {machine} leaves nothing to train on: it has {len(clips)} normal clips; "
            "hold back fewer (config.held_back, config.validation_share)."
        )
    order = tf.random.experimental.stateless_shuffle(tf.range(len(clips)), _seed(seed, _HELD_BACK)).numpy()
    return clips.select(np.sort(order[count:])), clips.select(np.sort(order[:count]))


def steps_per_epoch(num_target: int, batch_size: int) -> int:
    """Half of a batch is of the target, and an epoch shows every clip of it."""
    return -(-num_target // (batch_size // 2))


def batches(
    target: LogMels,
    outliers: LogMels,
    products: np.ndarray,
    *,
    seed: int,
    runs: Sequence[int],
    first_step: int,
    num_steps: int,
    batch_size: int,
    window: int,
    num_outliers: int | None = None,
    rows: range | None = None,
) -> Iterator[dict[str, np.ndarray]]:
    """Both papers' batches, from step `first_step` up to `num_steps`, for several independent runs at once.

    In every epoch each target clip is shown once, in random order, by one random window; the last batch is filled up
    with target clips of a further random order. To them come as many windows of outlier clips, each clip drawn
    uniformly from the set (or from `num_outliers` clips of it, which are fixed within a run).

    Args:
        target: normal clips of the target machines.
        outliers: the pooled outlier set, in the same memory.
        products: [target clips], which of the target machines each clip is of, from 0.
        seed: of the experiment.
        runs: the runs whose batches are stacked; each has its own random streams.
        first_step: steps already done.
        num_steps: steps of the whole training.
        batch_size: rows of a batch, half of them of the target.
        window: frames of a window.
        num_outliers: size of the outlier set; None takes all of it.
        rows: which rows of each batch this host needs; all where None.

    Yields:
        "log_mel" [runs, rows, window, mels] as stored; "product" [runs, rows] int32: that of the clip in the first,
        target half of a batch, -1 for outliers.
    """
    half = batch_size // 2
    steps = steps_per_epoch(len(target), batch_size)
    rows = range(batch_size) if rows is None else rows
    both = join([target, outliers])  # so that one gather serves the whole batch
    first, starts = tf.constant(both.first), tf.constant(both.length - window + 1)
    products = tf.constant(np.concatenate([products, np.full(len(outliers), -1)]), tf.int32)
    subsets = [_subset(len(outliers), num_outliers, _seed(seed, _SUBSET, run)) + len(target) for run in runs]

    def clips_and_windows(epoch: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Of a whole epoch: first frames of all windows, and the products of their clips [steps, runs, batch]."""
        per_run = []
        for run, subset in zip(runs, subsets, strict=True):
            order_seed, drawn_seed = _seed(seed, _NORMAL, run, epoch), _seed(seed, _OUTLIER, run, epoch)
            orders = [
                tf.random.experimental.stateless_shuffle(tf.range(len(target)), _seed_fold(order_seed, i))
                for i in range(-(-steps * half // len(target)))
            ]
            shown = tf.concat(orders, 0)[: steps * half]
            drawn = tf.random.stateless_uniform([steps * half], _seed_fold(drawn_seed, 0), 0, len(subset), tf.int32)
            clips = tf.stack([shown, tf.gather(subset, drawn)], 1)  # [steps * half, 2]
            clips = tf.reshape(tf.transpose(tf.reshape(clips, [steps, half, 2]), [0, 2, 1]), [steps, batch_size])
            position = tf.random.stateless_uniform([steps, batch_size], _seed_fold(drawn_seed, 1))
            count = tf.gather(starts, clips)
            start = tf.minimum(tf.cast(position * tf.cast(count, tf.float32), tf.int64), count - 1)
            per_run.append((tf.gather(first, clips) + start, tf.gather(products, clips)))
        begins, product = zip(*per_run, strict=True)
        return tf.stack(begins, 1), tf.stack(product, 1)

    def windows(begin: tf.Tensor, product: tf.Tensor) -> dict[str, tf.Tensor]:
        begin, product = begin[:, rows.start : rows.stop], product[:, rows.start : rows.stop]
        log_mel = tf.gather(both.frames, begin[..., None] + tf.range(window, dtype=tf.int64))
        return {"log_mel": log_mel, "product": product}

    data = tf.data.Dataset.range(first_step // steps, -(-num_steps // steps))
    data = data.map(clips_and_windows).unbatch().skip(first_step % steps)
    data = data.take(num_steps - first_step).map(windows, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return data.prefetch(4).as_numpy_iterator()


def _subset(available: int, wanted: int | None, seed: tf.Tensor) -> tf.Tensor:
    if wanted is None or wanted >= available:
        return tf.range(available)
    return tf.random.experimental.stateless_shuffle(tf.range(available), seed)[:wanted]


def _seed(seed: int, *folds: int | tf.Tensor) -> tf.Tensor:
    key = tf.constant([seed & 0x7FFFFFFF, seed >> 31], tf.int32)
    for fold in folds:
        key = _seed_fold(key, fold)
    return key


def _seed_fold(key: tf.Tensor, fold: int | tf.Tensor) -> tf.Tensor:
    return tf.random.fold_in(key, tf.cast(fold, tf.int32), alg="philox")
