"""Paper 2's Figure 3: how the encoders of a study place clips, by t-SNE."""

import itertools
import os
from collections.abc import Sequence

import numpy as np

from asd_jax.backends.embeddings import Embeddings
from asd_jax.datasets.clips import StoredClip
from asd_jax.recipes.workdir import Workdir
from asd_jax.records.store import Store
from asd_jax.scoring.scorer import embed
from asd_jax.scoring.trained import Trained, load_trained
from asd_jax.studies import figures

_SHOWN = 100
"""About how many clips of other machine IDs, and of other machine types, a picture shows."""


def draw(
    store: Store, out: str, machine_type: str, machine_ids: Sequence[str], encoders: Sequence[tuple[str, str]]
) -> None:
    """Writes OUT/tsne_<type>_<ID>.png and .svg for every machine ID, unless these have not changed since.

    Args:
        store: the prepared data.
        out: the folder.
        machine_type: of the machines.
        machine_ids: those to draw.
        encoders: (name, workdir) for each panel; the first run of the workdir is shown.
    """
    paths = {machine_id: os.path.join(out, f"tsne_{machine_type}_{machine_id}") for machine_id in machine_ids}
    made = max(os.stat(_test_embeddings(workdir)).st_mtime_ns for _, workdir in encoders)
    if all(os.path.exists(f"{path}.png") and os.stat(f"{path}.png").st_mtime_ns == made for path in paths.values()):
        return
    trained = [load_trained(Workdir(workdir)) for _, workdir in encoders]
    other_types = _clips_of_other_types(store, trained[0])
    points = {name: _points(workdir, one, other_types) for (name, workdir), one in zip(encoders, trained, strict=True)}
    for machine_id, path in paths.items():
        panels = {name: panel(machine_id, *of_encoder) for name, of_encoder in points.items()}
        title = f"Clips of {machine_type} {machine_id} and others: t-SNE of their embeddings"
        figure = figures.tsne_figure(title, panels)
        for kind in ("svg", "png"):
            figures.save(figure, f"{path}.{kind}")
        os.utime(f"{path}.png", ns=(made, made))  # the same time, not a later one: clocks are set back too


def _test_embeddings(workdir: str) -> str:
    return str(Workdir(workdir).embeddings(0, "test"))


def _clips_of_other_types(store: Store, trained: Trained) -> list[tuple[StoredClip, np.ndarray]]:
    """Normal clips, at least one window long, as many of every machine: test clips where it has some."""
    recipe = trained.recipe
    machines = [machine for machine in sorted(store.machines) if machine[0] != recipe.machine_type]
    found = []
    for machine in machines:
        split = "test" if store.find(machine).clips.get("test") else "train"
        normal = (
            (clip, features)
            for clip, features in store.clips(machine, split)
            if clip.domain in recipe.domains and clip.label == 0 and len(features) >= recipe.window
        )
        found += itertools.islice(normal, -(-_SHOWN // len(machines)))
    return found


def _points(
    workdir: str, trained: Trained, other_types: Sequence[tuple[StoredClip, np.ndarray]]
) -> tuple[np.ndarray, Embeddings, np.ndarray]:
    """The test clips' mean embeddings, what the clips are, and the mean embeddings of the other types' clips."""
    points, clips = clip_means(Embeddings.load(_test_embeddings(workdir)))
    of_types = np.zeros((0, points.shape[1]), np.float32)
    if other_types:
        embedded = embed(trained, other_types)[1][0]
        of_types = clip_means(embedded)[0]
    return points, clips, of_types


def panel(machine_id: str, points: np.ndarray, clips: Embeddings, of_types: np.ndarray) -> figures.Panel:
    """The clips of one machine ID among the others."""
    mine, normal = clips.machine_id == machine_id, clips.label == 0
    of_others = np.flatnonzero(~mine & normal)
    of_others = of_others[np.linspace(0, len(of_others), min(_SHOWN, len(of_others)), endpoint=False).astype(int)]
    parts = [
        (figures.NORMAL, points[mine & normal]),
        (figures.ANOMALOUS, points[mine & (clips.label == 1)]),
        (figures.UNLABELLED, points[mine & (clips.label < 0)]),
        (figures.OTHER_IDS, points[of_others]),
        (figures.OTHER_TYPES, of_types),
    ]
    return figures.Panel(
        np.concatenate([part for _, part in parts]),
        np.concatenate([np.full(len(part), group) for group, part in parts]),
    )


def clip_means(embeddings: Embeddings) -> tuple[np.ndarray, Embeddings]:
    """The mean embedding of every clip [clips, width], and its first row, which says what it is."""
    first = np.flatnonzero(embeddings.segment == 0)
    counts = np.diff([*first, len(embeddings.segment)])
    return np.add.reduceat(embeddings.embedding, first) / counts[:, None], embeddings.select(first)
