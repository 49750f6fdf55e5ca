"""Pictures, each of nothing but the numbers that it is given."""

import io
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib
import numpy as np
from etils import epath
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator
from sklearn.manifold import TSNE

from asd_jax.base.files import write_atomically

NORMAL, ANOMALOUS, UNLABELLED = "normal", "anomalous", "not labelled"
OTHER_IDS, OTHER_TYPES = "other IDs (normal)", "other types (normal)"

_MARKS = {  # in the order of drawing: marker, and a colour of Okabe and Ito's, which the colour-blind tell apart
    OTHER_TYPES: ("s", "#999999"),
    OTHER_IDS: ("^", "#009E73"),
    UNLABELLED: ("D", "#CC79A7"),
    NORMAL: ("o", "#0072B2"),
    ANOMALOUS: ("X", "#D55E00"),
}
_PAGE = 7.0  # inches, the width of a page's text
_STYLE = {"font.size": 9, "axes.titlesize": 9, "svg.hashsalt": "asd_jax"}
_COLUMNS = 3
_TICKS = 5  # numbers of clips that are written below a panel
_DASHES = ("-", "--", ":")
_CHANCE = 50.0  # AUC in percent

_PALETTES = (  # dark to light, one for each family of bars
    ("#444444", "#888888", "#bbbbbb"),
    ("#08519c", "#4292c6", "#9ecae1"),
    ("#a63603", "#f16913", "#fdae6b"),
)


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
        shown = [group for group in (NORMAL, ANOMALOUS, UNLABELLED, OTHER_IDS, OTHER_TYPES) if group in marks]
        figure.legend([marks[group] for group in shown], shown, loc="outside lower center", ncols=len(shown))
    return figure


Score = tuple[float, float]
"""Mean and standard deviation of an AUC, in percent."""


def bars_figure(title: str, groups: Mapping[str, Mapping[str, Score]], families: Mapping[str, Sequence[str]]) -> Figure:
    """A group of bars for every machine type, with error bars.

    Args:
        title: of the picture.
        groups: machine type -> label of a bar -> score; a label may be missing, its place is left empty.
        families: name of a family of bars, which get shades of one colour -> its labels. At most three, of three.
    """
    colours = {
        label: (family, palette[place])
        for (family, labels), palette in zip(families.items(), _PALETTES, strict=False)
        for place, label in enumerate(labels)
    }
    shown = [label for label in colours if any(label in bars for bars in groups.values())]
    width = 0.8 / len(shown)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(_PAGE, 3.6), layout="constrained")
        axis = figure.subplots()
        axis.set(title=title, ylabel="AUC in %", xlim=(-0.5, len(groups) - 0.5))
        axis.set_xticks(range(len(groups)), groups)
        handles: dict[str, list] = {}
        for place, label in enumerate(shown):
            family, colour = colours[label]
            scores = {group: bars[label] for group, bars in enumerate(groups.values()) if label in bars}
            handle = axis.bar(
                [group + (place - (len(shown) - 1) / 2) * width for group in scores],
                [mean for mean, _ in scores.values()],
                0.9 * width,
                yerr=[deviation for _, deviation in scores.values()],
                color=colour,
                error_kw={"elinewidth": 0.8, "capsize": 0},
                label=label,
            )
            handles.setdefault(family, []).append(handle)
        _limit(axis, [score for bars in groups.values() for score in bars.values()])
        for (family, of_family), corner in zip(handles.items(), ("left", "center", "right"), strict=False):
            figure.legend(handles=of_family, title=family, loc=f"outside lower {corner}")
    return figure


class Curve(NamedTuple):
    """A panel of `sizes_figure`.

    Attributes:
        points: number of outlier clips -> score.
        levels: name of a detector without outliers -> its score, of which the mean is drawn.
    """

    points: Mapping[int, Score]
    levels: Mapping[str, Score]


def sizes_figure(title: str, panels: Mapping[str, Curve]) -> Figure:
    """A panel for every machine type: AUC over the number of outlier clips, on a logarithmic axis."""
    columns = min(_COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    sizes = sorted({size for curve in panels.values() for size in curve.points})
    ticks = sizes[:: -(-len(sizes) // _TICKS)]
    levels = list(dict.fromkeys(name for curve in panels.values() for name in curve.levels))
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(_PAGE, 1.0 + 2.2 * rows), layout="constrained")
        figure.suptitle(title)
        axes = figure.subplots(rows, columns, sharey=True, squeeze=False).flat
        for axis in axes[len(panels) :]:
            axis.remove()
        lines = {}
        for axis, (name, curve) in zip(axes, panels.items(), strict=False):
            axis.set(title=name, xscale="log", xlim=(sizes[0] / 1.4, sizes[-1] * 1.4))
            axis.xaxis.set(major_locator=FixedLocator(ticks), minor_locator=NullLocator())
            axis.xaxis.set_major_formatter(FixedFormatter([str(size) for size in ticks]))
            for place, level in enumerate(levels):
                if level in curve.levels:
                    style = {"linestyle": _DASHES[place], "color": _PALETTES[0][0]}
                    lines[level] = axis.axhline(curve.levels[level][0], linewidth=1.2, label=level, **style)
            points = sorted(curve.points.items())
            means, deviations = [mean for _, (mean, _) in points], [deviation for _, (_, deviation) in points]
            style = {"color": _PALETTES[1][0], "marker": "o", "markersize": 3, "linewidth": 1.2, "capsize": 2}
            lines["proxy outliers"] = axis.errorbar([size for size, _ in points], means, deviations, **style)
        _limit(figure.axes[0], [score for c in panels.values() for score in (*c.points.values(), *c.levels.values())])
        for axis in figure.axes[::columns]:
            axis.set_ylabel("AUC in %")
        for axis in figure.axes[-columns:]:  # the lowest of every column
            axis.set_xlabel("number of outlier clips")
        figure.legend(lines.values(), lines, loc="outside lower center", ncols=len(lines))
    return figure


def _limit(axis: Axes, scores: Sequence[Score]) -> None:
    """From the whole ten below all scores, less their deviations, and below chance, to 100."""
    lowest = min([_CHANCE, *(mean - deviation for mean, deviation in scores)])
    axis.set_ylim(10 * np.floor(lowest / 10), 101)


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
