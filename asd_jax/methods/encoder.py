"""What the systems of paper 2 share: the keys of its encoder."""

import dataclasses

import jax.numpy as jnp

from asd_jax.methods.recipe import Recipe, key
from asd_jax.models.efficientnet import Encoder
from asd_jax.models.norms import DATA


@dataclasses.dataclass(frozen=True)
class Network:
    """Keys of `Encoder`."""

    width: float = key(1.0, within=(0.01, 100))  # factor on EfficientNet-B0's channels
    depth: float = key(1.0, within=(0.01, 10))  # factor on its blocks per stage
    dropout: float = key(0.3, within=(0, 0.999))  # of the pooled features
    drop_path: float = key(0.0, within=(0, 0.999))  # of the last block; it grows from 0 with the depth
    remat: bool = key(False)  # compute activations again for the gradients: less memory, more time


def build_encoder(recipe: Recipe, products: int) -> Encoder:
    """The encoder of a recipe that has a `Network`."""
    return Encoder(products, **vars(recipe.network), dtype=jnp.dtype(recipe.precision), axis_name=DATA)
