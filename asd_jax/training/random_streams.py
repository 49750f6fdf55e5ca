"""Seeds of random streams, folded from what they are for: no stream has a memory, and no two are alike."""

import tensorflow as tf

SUBSET, TARGET, OUTLIER, HELD_BACK, WINDOW = range(5)
"""What a stream is for."""


def stream_seed(seed: int, *folds: int | tf.Tensor) -> tf.Tensor:
    """The seed of a stateless operation, from the experiment's seed and what the stream is for."""
    key = tf.constant([seed & 0x7FFFFFFF, seed >> 31], tf.int32)
    for fold in folds:
        key = fold_in(key, fold)
    return key


def fold_in(key: tf.Tensor, fold: int | tf.Tensor) -> tf.Tensor:
    """Another seed for every number."""
    return tf.random.fold_in(key, tf.cast(fold, tf.int32), alg="philox")
