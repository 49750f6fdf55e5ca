"""The input pipeline's batches, on the devices before they are needed."""

import collections
from collections.abc import Iterator, Sequence
from typing import Any

from jax.sharding import Mesh

from asd_jax import input_pipeline, parallel
from asd_jax.input_pipeline import Block, Sampler


def feed(
    sampler: Sampler, mesh: Mesh, *, runs: Sequence[int], **options: Any
) -> Iterator[tuple[Block, parallel.Batch]]:
    """Blocks of batches and their arrays on the devices, the next one always under way.

    Args:
        sampler: what the batches hold.
        mesh: the devices; this host makes the rows that its own ones take.
        runs: side by side on the mesh.
        options: the others of `input_pipeline.blocks`.
    """
    local_runs, local_rows = parallel.local_rows(mesh, len(runs), sampler.batch_size)
    blocks = input_pipeline.blocks(sampler, runs=[runs[i] for i in local_runs], rows=local_rows, **options)
    ahead: collections.deque = collections.deque()
    for block in blocks:
        ahead.append((block, parallel.put_block(mesh, block.arrays)))
        if len(ahead) == 2:
            yield ahead.popleft()
    yield from ahead
