"""The clips that a recipe names: those to train on, and those that training must not see."""

import dataclasses
import difflib
from collections.abc import Collection, Sequence

import numpy as np
import tensorflow as tf

from asd_jax.base.errors import UserError
from asd_jax.datasets import is_machine
from asd_jax.datasets.clips import Machine
from asd_jax.methods import Recipe
from asd_jax.methods.recipe import HalfOutliers
from asd_jax.records.store import open_store
from asd_jax.training import clip_features, random_streams
from asd_jax.training.clip_features import ClipFeatures, join
from asd_jax.training.input_pipeline import EveryWindowSampler, HalfOutliersSampler, Sampler
from asd_jax.training.outliers import check_target, outlier_machines
from asd_jax.training.random_streams import stream_seed


@dataclasses.dataclass(frozen=True)
class TrainingData:
    """What a training may see, and the normal clips that it must not.

    Attributes:
        machines: the target machines, sorted; a product is a place in this list.
        classes: of the targets' clips, sorted, where the recipe has classes.
        target: their normal clips.
        outliers: the pooled outlier set; no clip where the recipe names none.
        held_back: further clips of the targets, kept from training: paper 1 may set a decision threshold by them, paper
            2 chooses the epoch and fits the inlier models.
        held_back_outliers: the same share of the outliers; none in paper 1.
    """

    machines: tuple[Machine, ...]
    classes: tuple[str, ...]
    target: ClipFeatures
    outliers: ClipFeatures
    held_back: ClipFeatures
    held_back_outliers: ClipFeatures

    def products(self, clips: ClipFeatures) -> np.ndarray:
        """[clips] which product each target clip is of."""
        places = {machine: place for place, machine in enumerate(self.machines)}
        return np.array([places[clip.machine] for clip in clips.clips], np.int32)

    def sampler(self, recipe: Recipe) -> Sampler:
        """What the batches of the recipe hold."""
        labels, asked = {"product": self.products(self.target)}, recipe.sampler
        if recipe.class_of is not None:
            places = {name: place for place, name in enumerate(self.classes)}
            labels["class"] = np.array([places[recipe.class_of(clip)] for clip in self.target.clips], np.int32)
        if isinstance(asked, HalfOutliers):
            of_set = (recipe.batch_size, recipe.window, asked.num_outliers)
            return HalfOutliersSampler(self.target, self.outliers, labels, *of_set)
        return EveryWindowSampler(self.target, labels, recipe.batch_size, recipe.window, asked.hop)


def load_data(recipe: Recipe) -> TrainingData:
    """Reads the clips that the recipe names: the targets' and those of their outlier set."""
    store = open_store(recipe.data_dir, recipe.features)
    groups = store.groups()
    targets = target_machines(recipe, groups)
    for target in targets:
        check_target(target, groups)
    pool = _outlier_machines(recipe, targets, groups)
    everything = clip_features.load_features(store, [*targets, *pool], "train", recipe.window, recipe.domains)
    mine, others = everything[: len(targets)], everything[len(targets) :]
    for machine, clips in zip(targets, mine, strict=True):
        there = store.find(machine).domains
        if recipe.domains and not set(recipe.domains) & set(there):
            raise UserError(
                f"No clip of {'/'.join(machine)} is of config.domains={recipe.domains}: in {recipe.data_dir} it "
                f"has {', '.join(there)}; name a domain that is there."
            )
        _check_not_empty(recipe, clips, f"normal clip of {'/'.join(machine)}")
    classes = {recipe.class_of(clip) for clips in mine for clip in clips.clips} if recipe.class_of else ()
    # A system without steps sees no clip in training: all of them are held back.
    target, held_back = _hold_back(recipe, mine) if recipe.sampler else (mine[0].select([]), join(mine))
    outliers = join(others) if others else target.select([])
    held_back_outliers = target.select([])
    if pool:
        _check_not_empty(recipe, outliers, f"clip of outlier set {recipe.sampler.outlier_set}")
        if recipe.validation_share is not None:
            held = [clips for clips in others if len(clips)]
            outliers, held_back_outliers = _hold_back(recipe, held, not_the_last=True)
        if recipe.sampler.last_window and not any(map(is_machine, pool)):
            outliers = outliers.last_windows(recipe.window)
    return TrainingData(tuple(targets), tuple(sorted(classes)), target, outliers, held_back, held_back_outliers)


def target_machines(recipe: Recipe, there: Collection[Machine]) -> list[Machine]:
    """The target machines, sorted: those that the recipe names, or all that are there of its type, or of any type.

    Raises:
        UserError: there is no machine of the type.
    """
    if recipe.machine_id:
        return [(recipe.machine_type, machine_id) for machine_id in sorted(set(recipe.machine_id.split(",")))]
    machines = sorted(m for m in there if recipe.machine_type in ("", m[0]) and is_machine(m))
    if not machines:
        types = sorted({machine[0] for machine in there if is_machine(machine)})
        near = difflib.get_close_matches(recipe.machine_type, types, 1)
        raise UserError(
            f"No training clips of config.machine_type={recipe.machine_type!r} in {recipe.data_dir}: "
            f"{', '.join(types) or 'none'} are there{f'; did you mean {near[0]!r}?' if near else '.'}"
        )
    return machines


def _outlier_machines(recipe: Recipe, targets: Sequence[Machine], groups: dict[Machine, str]) -> list[Machine]:
    if not isinstance(recipe.sampler, HalfOutliers):
        return []
    outlier_set = recipe.sampler.outlier_set
    pool = {machine for target in targets for machine in outlier_machines(outlier_set, target, groups)}
    return sorted(pool - set(targets))


def _check_not_empty(recipe: Recipe, clips: ClipFeatures, what: str) -> None:
    if not len(clips):
        raise UserError(f"No {what} is one window ({recipe.window} frames) long: longer recordings are needed.")


def _hold_back(
    recipe: Recipe, machines: Sequence[ClipFeatures], not_the_last: bool = False
) -> tuple[ClipFeatures, ClipFeatures]:
    """(clips to train on, held back) of several machines, the same number or share of each.

    `not_the_last`: a machine that has one clip alone keeps it for the training.
    """
    kept, share = [], recipe.validation_share
    for clips in machines:
        count = recipe.held_back if share is None else max(1, round(share * len(clips)))
        kept.append(hold_back(clips, min(count, len(clips) - 1) if not_the_last else count, recipe.seed))
    return tuple(join(parts) for parts in zip(*kept, strict=True))


def hold_back(clips: ClipFeatures, count: int, seed: int) -> tuple[ClipFeatures, ClipFeatures]:
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
