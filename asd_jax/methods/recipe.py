"""What a recipe is: a frozen dataclass of keys, each with its type, default, range, and whether it changes the weights.

Every method has its own, in its file. What such a file declares is all that is known of its keys: the command line, the
overrides of a study and the config of a workdir are checked by it (`asd_jax.recipes`).
"""

import dataclasses
from collections.abc import Callable, Collection
from typing import Any, ClassVar

import numpy as np

from asd_jax.datasets.clips import StoredClip
from asd_jax.methods.method import Method
from asd_jax.sound.presets import PRESETS

OUTLIER_SETS = ("a", "b", "c", "d", "e", "f", "all", "other_types")
PRECISIONS = ("float32", "bfloat16")

BandStatistics = Callable[[], tuple[np.ndarray, np.ndarray]]
"""Computes mean and standard deviation [mels] of the mel bands of all clips to train on."""


@dataclasses.dataclass(frozen=True)
class Key:
    """What is allowed for a key of a recipe.

    Attributes:
        within: the smallest and the largest number, both allowed; of a list, for each of its numbers.
        among: the texts that are allowed, or what has them as keys; of a list, for each of its texts.
        length: how many entries a list has; any number where None.
        needed: whether an empty text is refused.
        trains: whether the key changes the weights; others may be changed when a training goes on.
    """

    within: tuple[float, float] | None = None
    among: Collection[str] | None = None
    length: int | None = None
    needed: bool = False
    trains: bool = True


def key(
    default: Any,
    *,
    within: tuple[float, float] | None = None,
    among: Collection[str] | None = None,
    length: int | None = None,
    needed: bool = False,
    trains: bool = True,
) -> Any:
    """A field of a recipe; see `Key`."""
    return dataclasses.field(default=default, metadata={"key": Key(within, among, length, needed, trains)})


@dataclasses.dataclass(frozen=True)
class HalfOutliers:
    """Batches of both papers: half windows of the target machines, half of the outlier set.

    Attributes:
        outlier_set: see `asd_jax.training.outliers`.
        num_outliers: clips of the set; all where None.
        last_window: whether recordings of no machine (sets e and f) show their last window only.
    """

    outlier_set: str
    num_outliers: int | None = None
    last_window: bool = False


@dataclasses.dataclass(frozen=True)
class EveryWindow:
    """Batches of paper 1's baselines: every window of the target machines, `hop` frames apart."""

    hop: int


@dataclasses.dataclass(frozen=True)
class InlierChoice:
    """Which inlier models score the embeddings: `kind` "gmm", "lof" or "none", with `p` components or neighbours."""

    kind: str
    p: int


@dataclasses.dataclass(frozen=True)
class ExponentialDecay:
    """A learning rate that falls by a factor every epoch (paper 1, section 4)."""

    rate: float
    factor: float


@dataclasses.dataclass(frozen=True)
class OneCycle:
    """The one-cycle schedule (paper 2), which rises to `rate` and falls again; the first momentum does the opposite."""

    rate: float


@dataclasses.dataclass(frozen=True)
class Recipe:
    """The keys that every method has, and what training and scoring ask of a recipe.

    The class attributes are the answers of a method that has no such key; one that has it makes it a field.
    """

    method: str
    seed: int = key(0, within=(0, 2**31 - 1))
    num_runs: int = key(1, within=(1, 1000))  # independent trainings; paper 1 gives means over 3

    # Data
    data_dir: str = key("", needed=True)  # what tools/prepare.py wrote
    features: str = key("paper1", among=PRESETS)
    machine_type: str = key("")
    machine_id: str = key("")
    window: int = key(256, within=(1, 10**4))  # frames

    # Training
    precision: str = key("float32", among=PRECISIONS)  # of activations; parameters are float32
    batch_size: int = key(64, within=(1, 2**20))
    num_epochs: int = key(100, within=(1, 10**6))
    learning_rate: float = key(1e-4, within=(1e-12, 1))

    # Housekeeping
    checkpoint_epochs: int = key(5, within=(1, 10**6))  # epochs between checkpoints
    compilation_cache: str = key("~/.cache/asd_jax", trains=False)  # empty: compile anew each time

    title: ClassVar[str]
    """What the detector is, for people who do not know the papers."""
    papers_machines: ClassVar[int] = 1
    """Target machines of the network in its paper."""
    domains: ClassVar[tuple[str, ...]] = ()
    """Of the clips to train on and to evaluate; all where none are named."""
    held_back: ClassVar[int] = 0
    """Normal clips of every target machine that are kept from training, from which a decision threshold is found."""
    validation_share: ClassVar[float | None] = None
    """Share of every machine's clips that is kept from training and chooses the epoch; None: the last weights stay."""
    validation_epochs: ClassVar[int] = 1
    score_hop: ClassVar[int | None] = None
    """Frames between the windows of a clip in scoring, where that can be chosen."""
    steps_per_dispatch: ClassVar[int | None] = None
    """Steps that the devices take without the host, which needs the features there; None: one step, windows given."""
    inlier_choice: ClassVar[InlierChoice | None] = None
    """Inlier models for the embeddings that the network gives; None where it gives scores."""
    learning_rate_decay: ClassVar[float | None] = None
    """Factor on the learning rate every epoch; None: it goes through one cycle."""
    beta2: ClassVar[float] = 0.999
    weight_decay: ClassVar[float] = 0.0

    frame_rank: ClassVar[int] = 1
    """Axes of a frame of the features that the system takes: 1 of log-mels, 0 of samples."""
    class_of: ClassVar[Callable[[StoredClip], str] | None] = None
    """A method that says which class a target's clip is of, for systems that learn more classes than machines."""

    @property
    def sampler(self) -> HalfOutliers | EveryWindow | None:
        """What the batches hold; None: a system without steps, whose backend learns from all clips of the targets."""
        raise NotImplementedError

    @property
    def schedule(self) -> ExponentialDecay | OneCycle:
        """How the learning rate goes."""
        if self.learning_rate_decay is None:
            return OneCycle(self.learning_rate)
        return ExponentialDecay(self.learning_rate, self.learning_rate_decay)

    def build(self, machines: int, classes: int) -> Method:
        """The system for so many target machines, and classes of their clips where it has such."""
        raise NotImplementedError

    def resolved(self) -> "Recipe":
        """The recipe with every key that depends on the machine type filled in."""
        return self

    def begin(self, params: dict, batch_stats: dict, bands: BandStatistics) -> tuple[dict, dict]:
        """What a training begins with, made of fresh parameters and batch statistics of one run."""
        del bands
        return params, batch_stats

    @property
    def n_mels(self) -> int:
        """Mel bands of a frame."""
        return PRESETS[self.features].n_mels
