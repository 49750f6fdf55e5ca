"""Pictures for a page, each of nothing but the numbers that it is given: SVG that takes the page's colours."""

import hashlib
import html
import io
import itertools
import re
from collections.abc import Mapping, Sequence

import librosa
import matplotlib
import matplotlib.image
import numpy as np
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from sklearn.metrics import roc_curve

from asd_jax.measures.metrics import MAX_FPR
from asd_jax.report.excerpts import Excerpt
from asd_jax.studies import figures

MEL_BOX = (0.13, 0.03, 0.855, 0.5)
"""Where in the picture of an excerpt the log-mel belongs: left, top, width, height, as shares of it."""

_NORMAL, _ANOMALOUS, _INK = "#0072b2", "#d55e00", "#010203"
_COLOURS = {_INK: "currentColor", _NORMAL: "var(--normal)", _ANOMALOUS: "var(--anomalous)"}
"""What stands in a picture -> what the page makes of it, in light and in dark."""

_LINES = (_INK, _ANOMALOUS, _NORMAL, "#009e73", "#cc79a7")
_STYLE = {
    "font.size": 9,
    "svg.fonttype": "none",
    "svg.hashsalt": "asd_jax",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "hatch.linewidth": 0.6,
    "legend.frameon": False,
    "savefig.transparent": True,
} | dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), _INK)
_BINS = 24
_HERTZ = (500, 1000, 2000, 4000)
_JPEG_QUALITY = 85
_COLUMNS = 400  # of a log-mel's picture at most


def histogram(groups: Mapping[str, np.ndarray], limit: float | None, limit_name: str) -> str:
    """How the scores of some groups of clips (`figures.NORMAL`, ...) are distributed, and a limit between them."""
    looks = {
        figures.NORMAL: {"facecolor": _NORMAL, "edgecolor": _NORMAL, "alpha": 0.6},
        figures.ANOMALOUS: {"facecolor": "none", "edgecolor": _ANOMALOUS, "hatch": "////", "linewidth": 1.4},
        figures.UNLABELLED: {"facecolor": _INK, "edgecolor": _INK, "alpha": 0.4},
    }
    everything = np.concatenate(list(groups.values()))
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(4.4, 3.0), layout="constrained")
        axis = figure.subplots()
        axis.set(xlabel="anomaly score of the clip", ylabel="clips")
        axis.yaxis.get_major_locator().set_params(integer=True)
        _plain(axis.xaxis, 7)
        edges = np.histogram_bin_edges(everything, _BINS)
        for name, scores in groups.items():
            axis.hist(scores, edges, histtype="stepfilled", label=f"{name} ({len(scores)})", **looks[name])
        if limit is not None:
            axis.axvline(limit, color=_INK, linestyle="--", linewidth=1.2, label=limit_name)
        figure.legend(loc="outside upper center", ncols=len(groups) + 1, handlelength=1.2, columnspacing=1.0)
    counts = ", ".join(
        f"{len(scores)} {name} with scores from {scores.min():.3g} to {scores.max():.3g}"
        for name, scores in groups.items()
    )
    limit_text = "" if limit is None else f"; {limit_name} {limit:.3g}"
    return _svg(figure, f"Histogram of the scores of {counts}{limit_text}.")


def roc(labels: np.ndarray, runs: np.ndarray) -> str:
    """The ROC curve of labelled clips by the mean score of the runs [runs, clips], with the region of the pAUC.

    Each of several runs has a thin curve.
    """
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(4.4, 3.0), layout="constrained")
        axis = figure.subplots()
        axis.set(xlabel="false alarms (share of normal clips)", ylabel="share of anomalous clips found")
        axis.set(xlim=(0, 1), ylim=(0, 1.01), box_aspect=1)
        axis.plot([0, 1], [0, 1], color=_INK, linewidth=0.8, linestyle=":")
        for scores in runs if len(runs) > 1 else ():
            axis.plot(*roc_curve(labels, scores)[:2], color=_INK, linewidth=0.6, alpha=0.45)
        rate, found = roc_curve(labels, runs.mean(0), drop_intermediate=False)[:2]
        axis.plot(rate, found, color=_ANOMALOUS, linewidth=1.8)
        within = np.append(rate[rate <= MAX_FPR], MAX_FPR)
        below = np.append(found[rate <= MAX_FPR], np.interp(MAX_FPR, rate, found))
        axis.fill_between(within, below, color=_ANOMALOUS, alpha=0.3, linewidth=0)
        axis.axvline(MAX_FPR, color=_INK, linewidth=0.6, alpha=0.6)
        axis.annotate("pAUC", (MAX_FPR, 0.05), (0.2, 0.05), va="center", arrowprops={"arrowstyle": "-", "color": _INK})
    return _svg(
        figure,
        f"ROC curve: up to {MAX_FPR:.0%} false alarms, {found[rate <= MAX_FPR].max():.0%} of the anomalous clips are "
        "found; the area below is marked.",
    )


def curves(epochs: Sequence[dict], names: Sequence[str]) -> str:
    """Metrics of every epoch ("run", "epoch" and the names) over the epochs: a line for every run."""
    runs = sorted({epoch["run"] for epoch in epochs})
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(4.4, 2.6), layout="constrained")
        axis = figure.subplots()
        axis.set(xlabel="epoch")
        for name, colour in zip(names, itertools.cycle(_LINES)):
            for run in runs:
                points = [(e["epoch"], e[name]) for e in epochs if e["run"] == run and name in e]
                label = name.replace("_", " ") if run == runs[0] else None
                marker = "." if len(points) == 1 else None
                axis.plot(
                    *zip(*points, strict=True), color=colour, linewidth=1.2, alpha=0.8, marker=marker, label=label
                )
        figure.legend(loc="outside upper center", ncols=3)
    last = {name: np.mean([e[name] for e in epochs[-len(runs) :] if name in e]) for name in names}
    ends = ", ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in last.items())
    return _svg(figure, f"Training curves of {len(runs)} run(s) over {epochs[-1]['epoch']} epochs, at the end: {ends}.")


def along_time(excerpt: Excerpt, threshold: float | None, limits: tuple[float, float]) -> str:
    """The axes of an excerpt's log-mel, and the scores of its windows below it, between limits.

    The log-mel itself, by `log_mel_image`, is to be laid behind it at `MEL_BOX`.
    """
    left, top, width, height = MEL_BOX
    (begin, end), preset = excerpt.highest, excerpt.preset
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(4.6, 3.1))
        mel = figure.add_axes((left, 1 - top - height, width, height))
        bands = librosa.mel_frequencies(preset.n_mels + 2, fmin=preset.fmin, fmax=preset.fmax)[1:-1]
        shown = [hertz for hertz in _HERTZ if bands[0] <= hertz <= bands[-1]]
        mel.set(ylim=(-0.5, preset.n_mels - 0.5), xticks=[], ylabel="kHz")
        mel.set_yticks(np.interp(shown, bands, np.arange(preset.n_mels)), [f"{hertz / 1000:g}" for hertz in shown])
        score = figure.add_axes((left, 0.14, width, 1 - top - height - 0.14 - 0.03))
        score.set(xlabel="seconds", ylabel="score", ylim=limits)
        _plain(score.yaxis, 4)
        score.plot(excerpt.starts + excerpt.window / 2, excerpt.scores, color=_ANOMALOUS, marker=".", linewidth=1.4)
        if threshold is not None:
            score.axhline(threshold, color=_INK, linestyle="--", linewidth=1)
        score.axvspan(begin, end, color=_ANOMALOUS, alpha=0.2, linewidth=0)
        for axis in (mel, score):
            axis.set_xlim(excerpt.first, excerpt.first + excerpt.seconds)
        mel.axvline(begin, color="white", linewidth=1)
        mel.axvline(end, color="white", linewidth=1)
    return _svg(
        figure,
        f"Scores of {len(excerpt.scores)} windows along time, from {excerpt.scores.min():.3g} to "
        f"{excerpt.scores.max():.3g}, the highest from {begin:.1f} to {end:.1f} s.",
    )


def log_mel_image(log_mel: np.ndarray, limits: tuple[float, float]) -> bytes:
    """A log-mel [frames, mels] as a JPEG, low bands below; the limits, in decibel, are dark and bright.

    Of many frames, neighbours share a column, which shows their mean.
    """
    low, high = limits
    of_column = np.arange(0, len(log_mel), -(-len(log_mel) // _COLUMNS))
    columns = np.add.reduceat(log_mel, of_column) / np.diff([*of_column, len(log_mel)])[:, None]
    shares = np.clip((columns.T[::-1] - low) / (high - low), 0, 1)
    colours = (255 * matplotlib.colormaps["magma"](shares)[..., :3]).round().astype(np.uint8)
    content = io.BytesIO()
    matplotlib.image.imsave(content, colours, format="jpeg", pil_kwargs={"quality": _JPEG_QUALITY})
    return content.getvalue()


def embeddings(panel: figures.Panel) -> str:
    """Embeddings in two dimensions, by t-SNE."""
    with matplotlib.rc_context(_STYLE):
        figure = figures.tsne_figure("", {"": panel})
        figure.suptitle("")
        figure.set_size_inches(4.4, 3.0)
        figure.axes[0].spines[:].set_visible(False)
    counts = ", ".join(f"{np.sum(panel.group == group)} {group}" for group in dict.fromkeys(panel.group.tolist()))
    return _svg(figure, f"t-SNE of the embeddings of clips: {counts}.")


def _plain(axis: Axis, ticks: int) -> None:
    """At most so many ticks, whose numbers are short whatever their size."""
    axis.set_major_locator(MaxNLocator(ticks - 1))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))


def _svg(figure: Figure, alt: str) -> str:
    """An <svg> for the body of a page; its names are unlike those of all other pictures."""
    content = io.StringIO()
    with matplotlib.rc_context(_STYLE):
        figure.savefig(content, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = content.getvalue()
    text = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", text[text.index("<svg") :], flags=re.DOTALL)
    name = hashlib.sha256(text.encode()).hexdigest()[:8]
    text = re.sub(r'( id="|url\(#|href="#)', rf"\g<1>{name}-", text)
    for found, colour in _COLOURS.items():
        text = text.replace(found, colour)
    box = re.search(r'viewBox="[^"]*"', text)[0]
    alt = html.escape(alt)
    return re.sub(r"<svg[^>]*>", f'<svg {box} role="img" aria-label="{alt}">', text, count=1)
