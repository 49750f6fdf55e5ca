"""The input pipeline's batches, on the devices before they are needed."""

import collections
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from asd_jax.devices.mesh import Batch, local_rows, put_block, put_everywhere
from asd_jax.devices.steps import Steps
from asd_jax.training import input_pipeline
from asd_jax.training.input_pipeline import BatchBlock, Sampler


def feed(
    sampler: Sampler, steps: Steps, values: Mapping[str, np.ndarray], *, runs: Sequence[int], **options: Any
) -> Iterator[tuple[BatchBlock, tuple[Batch, Batch, jax.Array]]]:
    """Blocks of batches, and what the steps take of them on the devices, the next one always under way.

    Args:
        sampler: what the batches hold.
        steps: that take them; this host makes the rows that its own devices take.
        values: [num_steps] what changes from step to step.
        runs: side by side on the mesh.
        options: `seed`, `first_step` and `num_epochs` of `input_pipeline.blocks`.

    Yields:
        (block, (its arrays, its values, its number of steps)).
    """
    local_runs, mine = local_rows(steps.mesh, len(runs), sampler.batch_size)
    blocks = input_pipeline.blocks(
        sampler,
        runs=[runs[i] for i in local_runs],
        rows=mine,
        steps=steps.length,
        window=steps.method.window if steps.frames is None else None,
        **options,
    )
    ahead: collections.deque = collections.deque()
    for block in blocks:
        ahead.append((block, (put_block(steps.mesh, block.arrays), *_of_steps(steps, values, block))))
        if len(ahead) == 2:
            yield ahead.popleft()
    yield from ahead


def _of_steps(steps: Steps, values: Mapping[str, np.ndarray], block: BatchBlock) -> tuple[Batch, jax.Array]:
    """The values of a block's steps, after the end of the training the last ones again; and how many steps it has."""
    place = block.first_step + np.arange(steps.length)
    mine = {name: column[np.minimum(place, len(column) - 1)] for name, column in values.items()}
    count = np.array(block.count, np.int32)
    return {name: put_everywhere(steps.mesh, one) for name, one in mine.items()}, put_everywhere(steps.mesh, count)
