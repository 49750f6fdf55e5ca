"""Clips cut into windows, and the windows of many clips into batches of one size."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np


def window_batches(
    clips: Iterable[np.ndarray], window: int, starts: Callable[[int], np.ndarray], batch_size: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Cuts clips [frames, ...] into windows, and the windows of many clips into batches of one size.

    `starts(frames)` gives the first frames of a clip's windows.

    Yields:
        (windows [batch, window, ...], clip number of each [batch]); -1 marks the padding of the last batch.
    """
    batch, owners, filled = None, np.full(batch_size, -1), 0
    for clip, features in enumerate(clips):
        todo = starts(len(features))
        while len(todo):
            # Only so many windows at a time: an hour-long recording takes no more memory than its features.
            now, todo = np.split(todo, [batch_size - filled])
            windows = features[now[:, None] + np.arange(window)]
            if batch is None:
                batch = np.zeros((batch_size, *windows.shape[1:]), windows.dtype)
            batch[filled : filled + len(now)], owners[filled : filled + len(now)] = windows, clip
            filled += len(now)
            if filled == batch_size:
                yield batch, owners
                batch, owners, filled = None, np.full(batch_size, -1), 0
    if filled:
        yield batch, owners
