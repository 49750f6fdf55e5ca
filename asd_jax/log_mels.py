"""The log-mels that a training needs, read once and held in host memory as stored.

float16: 80 KB for 10 s; paper 1's largest outlier set, 23,000 clips, is 1.9 GB.
"""

import dataclasses
import itertools
from collections.abc import Collection, Iterator, Sequence

import jax
import numpy as np
import tensorflow as tf

from asd_jax import hosts
from asd_jax.clips import Machine, StoredClip
from asd_jax.records import Store


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

    def last_windows(self, window: int) -> "LogMels":
        """The same clips, of each its last `window` frames alone."""
        return dataclasses.replace(
            self, first=self.first + self.length - window, length=np.full_like(self.length, window)
        )

    def band_statistics(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of every mel band [mels] over all frames."""
        count, sums = 0, np.zeros((2, self.frames.shape[1]))
        for log_mel in self:
            log_mel = log_mel.astype(np.float64)
            count, sums = count + len(log_mel), sums + [log_mel.sum(0), (log_mel**2).sum(0)]
        mean, square = sums / count
        return mean.astype(np.float32), np.sqrt(np.maximum(square - mean**2, 1e-6)).astype(np.float32)

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
        for clip, log_mel in _clips(store, machine, split):
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


def _clips(store: Store, machine: Machine, split: str) -> Iterator[tuple[StoredClip, np.ndarray]]:
    """The machine's clips; each of several processes reads its share of them and gets the others' from them."""
    if jax.process_count() == 1:
        return store.clips(machine, split)
    share = hosts.dealt(store.find(machine).clips.get(split, 1))  # where there are none, reading tells
    return hosts.pooled(store.clips(machine, split, share) if share else [])


def join(parts: Sequence[LogMels]) -> LogMels:
    """Clips that share one memory, as one."""
    return LogMels(
        parts[0].frames,
        np.concatenate([part.first for part in parts]),
        np.concatenate([part.length for part in parts]),
        sum((part.clips for part in parts), ()),
    )
