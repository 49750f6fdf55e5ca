"""The systems, a file each: what is learned from a batch, what comes out for a window, and the keys of its recipe.

autoencoder: paper 1's reconstruction baseline.
ddcsad: a rival of paper 2.
encoder: what the systems of paper 2 share.
maf: paper 1's density baseline.
method: what training and scoring ask of a system.
multitask: paper 2's detector.
proxy_outlier: paper 1's detector.
recipe: what every recipe is.
segments: the segments of paper 2.
"""

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
