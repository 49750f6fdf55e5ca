"""Made-up embeddings for the tests."""

import numpy as np

from asd_jax.backends.embeddings import Embeddings


def make(
    points, machine_id="00", label=0, name="clip", domain="source", part="dev", probability=0.5, step=3, kind="fan"
):
    """Embeddings of one machine from points [clips, segments, width]."""
    clips, segments, width = np.shape(points)
    rows = clips * segments
    return Embeddings(
        embedding=np.asarray(points, np.float32).reshape(rows, width),
        clip=np.repeat([f"{name}_{i}" for i in range(clips)], segments),
        segment=np.tile(np.arange(segments), clips),
        machine_type=np.full(rows, kind),
        machine_id=np.full(rows, machine_id),
        label=np.full(rows, label),
        domain=np.full(rows, domain),
        part=np.full(rows, part),
        probability=np.full(rows, probability, np.float32),
        step=step,
    )


def join(*parts):
    """The rows of all parts."""
    columns = zip(*(list(vars(part).values())[:-1] for part in parts), strict=True)
    return Embeddings(*map(np.concatenate, columns), step=parts[0].step)


def normal(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)
