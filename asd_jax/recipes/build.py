"""The method of a recipe, and its optimiser with what changes from step to step."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import optax

from asd_jax.base.errors import UserError
from asd_jax.devices.steps import Steps
from asd_jax.methods import Method, Recipe
from asd_jax.methods.recipe import ExponentialDecay
from asd_jax.sound.presets import PRESETS

_RISE = 0.3  # share of a one-cycle schedule in which the rate rises


def make_method(recipe: Recipe, machines: int = 1, classes: int = 0) -> Method:
    """The system that the recipe describes, for so many target machines and classes of their clips.

    Raises:
        UserError: the window does not fit the network.
    """
    method = recipe.build(machines, classes)
    try:
        jax.eval_shape(method.init, jax.random.key(0))
    except ValueError as error:
        raise UserError(f"config.window={recipe.window} does not fit the network: {error}") from error
    return method


@dataclasses.dataclass(frozen=True)
class AdamW:
    """Adam whose rate and first momentum are data, given with every step; without decay of the weights it is Adam."""

    b2: float
    weight_decay: float

    def __call__(self, values: dict[str, jax.Array]) -> optax.GradientTransformation:
        """The optimiser at the values of one step."""
        if not self.weight_decay:  # optax would read all parameters for a decay of 0
            return optax.adam(values["learning_rate"], b1=values["b1"], b2=self.b2)
        return optax.adamw(values["learning_rate"], b1=values["b1"], b2=self.b2, weight_decay=self.weight_decay)


def make_optimizer(recipe: Recipe) -> AdamW:
    """The optimiser of the recipe."""
    return AdamW(recipe.beta2, recipe.weight_decay)


def make_steps(
    recipe: Recipe,
    method: Method,
    mesh: jax.sharding.Mesh,
    values: Mapping[str, np.ndarray],
    frames: int | None,
    dtype: Any,
) -> Steps:
    """The training steps of a recipe, to be compiled; features of so many `frames` lie on the devices where given."""
    return Steps(
        mesh,
        method,
        make_optimizer(recipe),
        recipe.validation_share is not None,
        recipe.steps_per_dispatch or 1,
        recipe.batch_size,
        tuple(values),
        ("product",) if recipe.class_of is None else ("class", "product"),
        PRESETS[recipe.features].frame_shape,
        frames,
        dtype,
    )


def step_values(recipe: Recipe, epoch_steps: int) -> dict[str, np.ndarray]:
    """What changes from step to step [num_steps]: "progress" from 0 to 1, "learning_rate", first momentum "b1".

    The one-cycle schedule's first momentum is low while the rate is high (PyTorch's values).
    """
    steps, schedule = epoch_steps * recipe.num_epochs, recipe.schedule
    number = np.arange(steps)
    if isinstance(schedule, ExponentialDecay):
        rate = schedule.rate * schedule.factor ** (number // epoch_steps)
        momentum = np.full(steps, 0.9)
    else:
        rises = int(_RISE * steps)
        rising = optax.cosine_onecycle_schedule(steps, schedule.rate, _RISE, div_factor=25, final_div_factor=1e4)
        falling = optax.piecewise_interpolate_schedule("cosine", 0.95, {rises: 0.85 / 0.95, steps: 0.95 / 0.85})
        rate, momentum = (np.asarray(jax.vmap(one)(number)) for one in (rising, falling))
    values = {"progress": number / steps, "learning_rate": rate, "b1": momentum}
    return {name: np.asarray(value, np.float32) for name, value in values.items()}
