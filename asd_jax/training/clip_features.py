"""The features that a training needs, read once and held in host memory as stored.

Log-mels as float16, for 10 s: 80 KB of `paper1`, so that its largest outlier set, 23,000 clips, is 1.9 GB; 280 KB of
`paper2`.
"""

import dataclasses
import itertools
import math
from collections.abc import Collection, Iterator, Sequence

import jax
import numpy as np
import tensorflow as tf

from asd_jax.base.errors import UserError
from asd_jax.datasets.clips import Machine, StoredClip
from asd_jax.devices import hosts
from asd_jax.records.store import Store

_ALIGNED = 64
_MOST_FRAMES = 2**31 - 1  # int32 says where a window begins


@dataclasses.dataclass(frozen=True)
class ClipFeatures:
    """Features of many clips, back to back.

    Attributes:
        frames: [all frames, ...], type as stored; a tensor, since tf.data would copy an array.
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

    def select(self, clips: Sequence[int]) -> "ClipFeatures":
        """The same memory, other clips."""
        return ClipFeatures(
            self.frames,
            self.first[np.array(clips, int)],
            self.length[np.array(clips, int)],
            tuple(self.clips[i] for i in clips),
        )

    def last_windows(self, window: int) -> "ClipFeatures":
        """The same clips, of each its last `window` frames alone."""
        return dataclasses.replace(
            self, first=self.first + self.length - window, length=np.full_like(self.length, window)
        )

    def band_statistics(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of every mel band [mels] over all frames of log-mels."""
        count, sums = 0, np.zeros((2, *self.frames.shape[1:]))
        for features in self:
            features = features.astype(np.float64)
            count, sums = count + len(features), sums + [features.sum(0), (features**2).sum(0)]
        mean, square = sums / count
        return mean.astype(np.float32), np.sqrt(np.maximum(square - mean**2, 1e-6)).astype(np.float32)

    def __iter__(self) -> Iterator[np.ndarray]:
        """The features [frames, ...], clip by clip."""
        for first, length in zip(self.first, self.length, strict=True):
            yield self.frames[first : first + length].numpy()


def load_features(
    store: Store, machines: Sequence[Machine], split: str, window: int, domains: Collection[str] = ()
) -> list[ClipFeatures]:
    """Reads the machines' clips of a split and of some domains (all where none are named).

    Clips shorter than a window are left out, and counted in a printed sentence. All machines share one memory, of the
    size of the features; where older data do not say how many frames they are, they are read twice.

    Returns:
        The clips of each machine, in the order given.

    Raises:
        UserError: a record is damaged, or there are more than the manifest says.
    """
    memory = _allocate(sum(_frames(store, machine, split, domains) for machine in machines), store)
    end, lengths, clips, last = 0, [], [], [0]
    for machine in machines:
        short = 0
        for clip, features in _clips(store, machine, split):
            if domains and clip.domain not in domains:
                continue
            if len(features) < window:
                short += 1
                continue
            if end + len(features) > len(memory):
                raise UserError(
                    f"The manifest in {store.data_dir} counts fewer frames of {'/'.join(machine)} than are there: "
                    "prepare it again."
                )
            memory[end : end + len(features)] = features
            end += len(features)
            lengths.append(len(features))
            clips.append(clip)
        if short:
            print(f"Left out {short} clips of {'/'.join(machine)} that are shorter than one window ({window} frames)")
        last.append(len(clips))
    length = np.array(lengths, np.int64)
    frames = tf.experimental.dlpack.from_dlpack(memory[:end].__dlpack__())  # the same memory
    everything = ClipFeatures(frames, length.cumsum() - length, length, tuple(clips))
    return [everything.select(range(begin, end)) for begin, end in itertools.pairwise(last)]


def _frames(store: Store, machine: Machine, split: str, domains: Collection[str]) -> int:
    """The frames of a machine's clips together, those of clips shorter than a window among them."""
    stored = store.find(machine)
    if stored.frames is not None:
        return sum(
            count
            for name, count in stored.frames.items()
            if name.startswith(f"{split} ") and (not domains or name.split()[1] in domains)
        )
    if not stored.clips.get(split):
        return 0  # reading raises the error
    return sum(len(features) for clip, features in store.clips(machine, split) if not domains or clip.domain in domains)


def _allocate(frames: int, store: Store) -> np.ndarray:
    """Memory [frames, ...] that TensorFlow can take as it is: it begins at a multiple of 64 bytes."""
    if frames > _MOST_FRAMES:
        raise UserError(
            f"The clips have {frames:,} frames together, and at most {_MOST_FRAMES:,} can be addressed: name fewer "
            "machines or a smaller outlier set."
        )
    shape = (frames, *store.preset.frame_shape)
    size = math.prod(shape) * np.dtype(store.dtype).itemsize
    memory = np.empty(size + _ALIGNED, np.uint8)
    begin = -memory.ctypes.data % _ALIGNED
    return memory[begin : begin + size].view(store.dtype).reshape(shape)


def _clips(store: Store, machine: Machine, split: str) -> Iterator[tuple[StoredClip, np.ndarray]]:
    """The machine's clips; each of several processes reads its share of them and gets the others' from them."""
    if jax.process_count() == 1:
        return store.clips(machine, split)
    share = hosts.dealt(store.find(machine).clips.get(split, 1))  # where there are none, reading raises the error
    return hosts.pooled(store.clips(machine, split, share) if share else [])


def join(parts: Sequence[ClipFeatures]) -> ClipFeatures:
    """Clips that share one memory, as one."""
    return ClipFeatures(
        parts[0].frames,
        np.concatenate([part.first for part in parts]),
        np.concatenate([part.length for part in parts]),
        sum((part.clips for part in parts), ()),
    )
