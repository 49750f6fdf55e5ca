"""The systems, a file each: what is learned from a batch, what comes out for a window, and the keys of its recipe."""

from asd_jax.methods import autoencoder, ddcsad, maf, multitask, proxy_outlier
from asd_jax.methods.method import Method, Validated
from asd_jax.methods.recipe import Recipe

METHODS: dict[str, type[Recipe]] = {
    "proxy_outlier": proxy_outlier.Recipe,
    "autoencoder": autoencoder.Recipe,
    "maf": maf.Recipe,
    "multitask": multitask.Recipe,
    "ddcsad": ddcsad.Recipe,
}

__all__ = ["METHODS", "Method", "Recipe", "Validated"]
