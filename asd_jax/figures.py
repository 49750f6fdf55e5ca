"""Pictures of what a network makes of sounds."""

import io
from collections.abc import Mapping
from typing import NamedTuple

import matplotlib
import numpy as np
from etils import epath
from matplotlib.figure import Figure
from sklearn.manifold import TSNE

from asd_jax.files import write_atomically

NORMAL, ANOMALOUS, OTHER_IDS, OTHER_TYPES = "normal", "anomalous", "other IDs (normal)", "other types (normal)"

_MARKS = {  # in the order of drawing: marker, and a colour of Okabe and Ito's, which the colour-blind tell apart
    OTHER_TYPES: ("s", "#999999"),
    OTHER_IDS: ("^", "#009E73"),
    NORMAL: ("o", "#0072B2"),
    ANOMALOUS: ("X", "#D55E00"),
}
_PAGE = 7.0  # inches, the width of a page's text
_STYLE = {"font.size": 9, "axes.titlesize": 9, "svg.hashsalt": "asd_jax"}
_COLUMNS = 3


class Panel(NamedTuple):
    """The embeddings [clips, width] of one detector, and which group [clips] each clip is of (NORMAL, ...)."""

    embedding: np.ndarray
    group: np.ndarray


def tsne_figure(title: str, panels: Mapping[str, Panel]) -> Figure:
    """A panel for every detector: its embeddings in two dimensions by t-SNE, the same for the same numbers.

    Distances within a panel have a meaning only between near points; axes have none.
    """
    columns = min(_COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(_PAGE, 0.6 + rows * _PAGE / max(columns, 2)), layout="constrained")
        figure.suptitle(title)
        axes = figure.subplots(rows, columns, squeeze=False).flat
        for axis in axes[len(panels) :]:
            axis.remove()
        for axis, (name, panel) in zip(axes, panels.items(), strict=False):
            axis.set(title=name, xticks=[], yticks=[], box_aspect=1)
            places = _two_dimensions(panel.embedding)
            for group, (marker, colour) in _MARKS.items():
                mine = places[panel.group == group]
                if len(mine):
                    axis.scatter(*mine.T, s=16, marker=marker, color=colour, linewidths=0, alpha=0.8, label=group)
        marks = {
            label: mark for axis in figure.axes for mark, label in zip(*axis.get_legend_handles_labels(), strict=True)
        }
        shown = [group for group in (NORMAL, ANOMALOUS, OTHER_IDS, OTHER_TYPES) if group in marks]
        figure.legend([marks[group] for group in shown], shown, loc="outside lower center", ncols=len(shown))
    return figure


def save(figure: Figure, path: epath.PathLike) -> None:
    """Writes the picture, in the format that the path's ending names."""
    path, content = epath.Path(path), io.BytesIO()
    kind = path.suffix[1:]
    with matplotlib.rc_context(_STYLE):
        figure.savefig(content, format=kind, dpi=200, metadata={"Date": None} if kind == "svg" else None)
    write_atomically(path, content.getvalue())


def _two_dimensions(embedding: np.ndarray) -> np.ndarray:
    perplexity = min(30, (len(embedding) - 1) / 3)
    # A start at the principal components fails where all embeddings are equal. The default method's threads wait for
    # each other on busy cores, longer than the exact gradients of a few hundred points take.
    tsne = TSNE(perplexity=perplexity, init="random", method="exact", random_state=0)
    return tsne.fit_transform(embedding.astype(np.float64))
