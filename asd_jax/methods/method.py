"""What training and scoring ask of a system: what is learned from a batch, and what comes out for a window."""

from typing import Any, Protocol

import jax
import numpy as np


class Method(Protocol):
    """What training and scoring ask of a system.

    Attributes:
        window: frames of a window.
    """

    window: int

    def init(self, key: jax.Array) -> tuple[dict, dict]:
        """Fresh parameters and batch statistics."""

    def loss(
        self, params: dict, batch_stats: dict, batch: dict, key: jax.Array, progress: jax.Array
    ) -> tuple[jax.Array, tuple[dict, dict]]:
        """The loss of one training batch.

        Args:
            params: the network's parameters.
            batch_stats: its running statistics.
            batch: "features" [batch, window, ...] as stored and "product" [batch], the target machine's number, which
                is -1 for outliers; where the recipe has classes (`Recipe.class_of`) also "class" [batch], -1 for
                outliers. Where a mesh axis splits the batch, these are the rows on one device.
            key: for what the step draws; the same on all devices of a split batch.
            progress: share of the training's steps that are done.

        Returns:
            (loss, (new batch statistics, metrics)); loss and metrics are means over rows.
        """

    def outputs(self, params: dict, batch_stats: dict, windows: jax.Array, product: jax.Array) -> dict[str, jax.Array]:
        """What is known of windows: "score" [batch], or "embedding" [batch, width] and others.

        Args:
            params: the network's parameters.
            batch_stats: its running statistics.
            windows: their features [batch, window, ...].
            product: [batch] which target machine each is of; -1 for others.
        """

    def starts(self, frames: int) -> np.ndarray:
        """First frames of the windows that a clip of so many frames is scored by."""


class Validated(Method, Protocol):
    """A system of which the weights with the smallest validation loss are kept."""

    def validation_starts(self, frames: int) -> np.ndarray:
        """First frames of the windows of a held-back clip by which the weights are chosen."""

    def validation_loss(self, outputs: dict[str, Any], product: np.ndarray) -> jax.Array:
        """The loss [] of the `outputs` of held-back windows, whose products [windows] are -1 for outliers."""
