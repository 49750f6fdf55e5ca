"""The clips that a config names: those to train on, and those that training must not see."""

import dataclasses
from collections.abc import Sequence

import ml_collections
import numpy as np
import tensorflow as tf

from asd_jax import experiment, log_mels, random_streams, records
from asd_jax.clips import Machine
from asd_jax.errors import UserError
from asd_jax.input_pipeline import EveryWindow, HalfOutliers, Sampler
from asd_jax.log_mels import LogMels, join
from asd_jax.outliers import check_target, outlier_machines
from asd_jax.random_streams import stream_seed


@dataclasses.dataclass(frozen=True)
class TrainingData:
    """What a training may see, and the normal clips that it must not.

    Attributes:
        machines: the target machines, sorted; a product is a place in this list.
        target: their normal clips.
        outliers: the pooled outlier set; no clip where the config names none.
        held_back: further clips of the targets, kept from training: paper 1 may set a decision threshold by them, paper
            2 chooses the epoch and fits the inlier models.
        held_back_outliers: the same share of the outliers; none in paper 1.
    """

    machines: tuple[Machine, ...]
    target: LogMels
    outliers: LogMels
    held_back: LogMels
    held_back_outliers: LogMels

    def products(self, clips: LogMels) -> np.ndarray:
        """[clips] which product each target clip is of."""
        places = {machine: place for place, machine in enumerate(self.machines)}
        return np.array([places[clip.machine] for clip in clips.clips], np.int32)

    def sampler(self, config: ml_collections.ConfigDict) -> Sampler:
        """What the batches of the config hold."""
        products = self.products(self.target)
        if "outlier_set" in config:
            of_set = (config.batch_size, config.window, config.num_outliers)
            return HalfOutliers(self.target, self.outliers, products, *of_set)
        return EveryWindow(self.target, products, config.batch_size, config.window, config.hop)


def load_data(config: ml_collections.ConfigDict) -> TrainingData:
    """Reads the clips that the config names: the targets' and those of their outlier set."""
    store = records.open_store(config.data_dir, config.features)
    groups = store.groups()
    targets = experiment.target_machines(config, groups)
    for target in targets:
        check_target(target, groups)
    pool = _outlier_machines(config, targets, groups)
    everything = log_mels.load(store, [*targets, *pool], "train", config.window, config.get("domains"))
    mine, others = everything[: len(targets)], everything[len(targets) :]
    for machine, clips in zip(targets, mine, strict=True):
        there = store.find(machine).domains
        if "domains" in config and not set(config.domains) & set(there):
            raise UserError(
                f"No clip of {'/'.join(machine)} is of config.domains={tuple(config.domains)}: in {config.data_dir} it "
                f"has {', '.join(there)}; name a domain that is there."
            )
        _check_not_empty(config, clips, f"normal clip of {'/'.join(machine)}")
    target, held_back = _hold_back(config, mine)
    outliers = join(others) if others else target.select([])
    held_back_outliers = target.select([])
    if pool:
        _check_not_empty(config, outliers, f"clip of outlier set {config.outlier_set}")
        if experiment.is_validated(config):
            held = [clips for clips in others if len(clips)]
            outliers, held_back_outliers = _hold_back(config, held, not_the_last=True)
        if config.get("outlier_crop") == "last" and config.outlier_set in ("e", "f"):
            outliers = outliers.last_windows(config.window)
    return TrainingData(tuple(targets), target, outliers, held_back, held_back_outliers)


def _outlier_machines(
    config: ml_collections.ConfigDict, targets: Sequence[Machine], groups: dict[Machine, str]
) -> list[Machine]:
    if "outlier_set" not in config:
        return []
    pool = {machine for target in targets for machine in outlier_machines(config.outlier_set, target, groups)}
    return sorted(pool - set(targets))


def _check_not_empty(config: ml_collections.ConfigDict, clips: LogMels, what: str) -> None:
    if not len(clips):
        raise UserError(f"No {what} is one window ({config.window} frames) long: longer recordings are needed.")


def _hold_back(
    config: ml_collections.ConfigDict, machines: Sequence[LogMels], not_the_last: bool = False
) -> tuple[LogMels, LogMels]:
    """(clips to train on, held back) of several machines, the same number or share of each.

    `not_the_last`: a machine that has one clip alone keeps it for the training.
    """
    kept = []
    for clips in machines:
        share = config.get("validation_share")
        count = config.held_back if share is None else max(1, round(share * len(clips)))
        kept.append(hold_back(clips, min(count, len(clips) - 1) if not_the_last else count, config.seed))
    return tuple(join(parts) for parts in zip(*kept, strict=True))


def hold_back(clips: LogMels, count: int, seed: int) -> tuple[LogMels, LogMels]:
    """(clips to train on, `count` clips chosen by the seed that training must not see)."""
    if count >= len(clips):
        machine = "/".join(clips.clips[0].machine)
        raise UserError(
            f"Holding back {count} clips of {machine} leaves nothing to train on: it has {len(clips)} normal clips; "
            "hold back fewer (config.held_back, config.validation_share)."
        )
    order_seed = stream_seed(seed, random_streams.HELD_BACK)
    order = tf.random.experimental.stateless_shuffle(tf.range(len(clips)), order_seed).numpy()
    return clips.select(np.sort(order[count:])), clips.select(np.sort(order[:count]))
