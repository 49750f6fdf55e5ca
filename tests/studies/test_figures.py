"""Pictures: they hold the data that they were given, and nothing is cut off."""

import matplotlib.image
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.container import BarContainer

from asd_jax.studies import figures
from asd_jax.studies.figures import ANOMALOUS, NORMAL, OTHER_IDS, OTHER_TYPES, Panel

COUNTS = {NORMAL: 12, ANOMALOUS: 7, OTHER_IDS: 9, OTHER_TYPES: 5}
NAMES = ("proposed", "without mixup", "only product ids", "without machine loss")


def panel(seed=0, groups=tuple(COUNTS)):
    rng = np.random.default_rng(seed)
    points = [rng.normal(10 * place, 1, (COUNTS[group], 8)) for place, group in enumerate(groups)]
    return Panel(np.concatenate(points), np.concatenate([np.full(COUNTS[group], group) for group in groups]))


def figure(panels=4):
    return figures.tsne_figure(
        "Clips of ToyTrain 03 and others", {name: panel(i) for i, name in enumerate(NAMES[:panels])}
    )


def test_every_panel_holds_every_clip_in_its_group():
    drawn = figure()
    assert [axis.get_title() for axis in drawn.axes] == list(NAMES)
    for axis in drawn.axes:
        assert {points.get_label(): len(points.get_offsets()) for points in axis.collections} == COUNTS
    [legend] = drawn.legends
    assert sorted(text.get_text() for text in legend.get_texts()) == sorted(COUNTS)


def test_groups_that_lie_apart_are_drawn_apart():
    [axis] = figure(1).axes
    places = {points.get_label(): np.asarray(points.get_offsets()) for points in axis.collections}
    everything, groups = (
        np.concatenate(list(places.values())),
        np.repeat(list(places), [len(p) for p in places.values()]),
    )
    distance = np.linalg.norm(everything[:, None] - everything[None], axis=-1) + np.diag(np.full(len(groups), np.inf))
    assert np.mean(groups[distance.argmin(1)] == groups) > 0.9


def test_a_group_without_clips_is_in_no_legend():
    drawn = figures.tsne_figure("", {"one": panel(0, (NORMAL, ANOMALOUS)), "two": panel(1, (NORMAL, OTHER_IDS))})
    assert {text.get_text() for text in drawn.legends[0].get_texts()} == {NORMAL, ANOMALOUS, OTHER_IDS}


def test_the_same_numbers_give_the_same_picture(tmp_path):
    for name in "ab":
        drawn = figure(1)
        for kind in ("png", "svg"):
            figures.save(drawn, tmp_path / f"{name}.{kind}")
    for kind in ("png", "svg"):
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()
    assert matplotlib.image.imread(tmp_path / "a.png").shape[1] == 1400


def test_no_text_is_cut_and_the_legend_covers_no_panel(monkeypatch):
    monkeypatch.setattr(figures, "_two_dimensions", lambda embedding: embedding[:, :2])
    for panels in (1, 3, 4):
        drawn = figure(panels)
        renderer = FigureCanvasAgg(drawn).get_renderer()
        drawn.draw(renderer)
        texts = [drawn._suptitle, *drawn.legends[0].get_texts(), *(axis.title for axis in drawn.axes)]
        boxes = [text.get_window_extent(renderer) for text in texts]
        for box in boxes:
            assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= drawn.bbox.x1 and box.y1 <= drawn.bbox.y1
        titles = sorted((box for box in boxes[-panels:]), key=lambda box: (-round(box.y0), box.x0))
        assert not any(one.overlaps(other) for one in titles for other in titles if one is not other)
        legend = drawn.legends[0].get_window_extent(renderer)
        assert not any(legend.overlaps(axis.get_window_extent(renderer)) for axis in drawn.axes)


def is_whole(drawn):
    """Whether all that is drawn lies within the figure."""
    drawn.draw(FigureCanvasAgg(drawn).get_renderer())
    box = drawn.get_tightbbox()  # inches
    width, height = drawn.get_size_inches()
    return box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height


def overlaps(boxes):
    return any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i])


FAMILIES = {
    "baselines": ["autoencoder", "DCASE 2020 baseline", "MAF"],
    "matching": ["(a) same type", "(b) other types", "(c) both"],
    "mismatching": ["(d) other machines", "(e) TAU scenes", "(f) AudioSet"],
}
TYPES = ("ToyCar", "ToyConveyor", "fan", "pump", "slider", "valve")


def bars(types=TYPES, left_out=()):
    """Scores that are all different."""
    labels = [label for of_family in FAMILIES.values() for label in of_family]
    return {
        kind: {
            label: (45.0 + 7 * place + i, 1 + i / 10) for i, label in enumerate(labels) if (kind, label) not in left_out
        }
        for place, kind in enumerate(types)
    }


def test_every_bar_has_its_height_its_deviation_and_a_colour_of_its_family():
    groups = bars(left_out=[("fan", "MAF")])
    [axis] = figures.bars_figure("title", groups, FAMILIES).axes
    assert [label.get_text() for label in axis.get_xticklabels()] == list(TYPES)
    drawn = {container.get_label(): container for container in axis.containers if isinstance(container, BarContainer)}
    colours = {}
    for family, labels in FAMILIES.items():
        for label in labels:
            have = {kind: scores[label] for kind, scores in groups.items() if label in scores}
            assert [bar.get_height() for bar in drawn[label]] == [mean for mean, _ in have.values()]
            centres = [bar.get_x() + bar.get_width() / 2 for bar in drawn[label]]
            assert [round(x) for x in centres] == [TYPES.index(kind) for kind in have]
            [segments] = [lines.get_segments() for lines in drawn[label].errorbar.lines[2]]
            ends = [(mean - deviation, mean + deviation) for mean, deviation in have.values()]
            np.testing.assert_allclose([segment[:, 1] for segment in segments], ends)
            colours.setdefault(family, set()).add(drawn[label][0].get_facecolor())
    assert [len(found) for found in colours.values()] == [3, 3, 3]
    hues = {
        family: {int(np.argmax(c[:3])) if np.ptp(c[:3]) > 0 else None for c in cs} for family, cs in colours.items()
    }
    assert hues == {"baselines": {None}, "matching": {2}, "mismatching": {0}}
    lowest = min(bar.get_y() + bar.get_height() for container in drawn.values() for bar in container)
    assert axis.get_ylim()[0] <= lowest - 1


@pytest.mark.parametrize("types", [TYPES, TYPES[:1]], ids=len)
def test_bars_stand_apart_and_nothing_is_cut_or_covered(types):
    drawn = figures.bars_figure("AUC by machine type", bars(types), FAMILIES)
    assert is_whole(drawn)
    renderer = FigureCanvasAgg(drawn).get_renderer()
    [axis] = drawn.axes
    legends = [legend.get_window_extent(renderer) for legend in drawn.legends]
    assert [legend.get_title().get_text() for legend in drawn.legends] == list(FAMILIES)
    assert not overlaps([axis.get_tightbbox(renderer), *legends])
    assert not overlaps([label.get_window_extent(renderer) for label in axis.get_xticklabels()])
    assert not overlaps([patch.get_window_extent(renderer) for patch in axis.patches])


SIZES = (4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16392)


def curve(shift=0.0, sizes=SIZES):
    points = {size: (50 + 3 * i + shift, 1 + i / 10) for i, size in enumerate(sizes)}
    return figures.Curve(points, {"autoencoder": (70.0 + shift, 1.0), "MAF": (75.0 + shift, 1.0)})


def test_every_panel_holds_its_points_their_deviations_and_the_levels():
    panels = {"fan": curve(), "pump": curve(2.0, SIZES[:5])}
    axes = figures.sizes_figure("title", panels).axes
    assert [axis.get_title() for axis in axes] == list(panels)
    for axis, panel in zip(axes, panels.values(), strict=True):
        assert axis.get_xscale() == "log"
        [container] = axis.containers
        line, _, [bars_] = container.lines
        assert dict(zip(*line.get_data(), strict=True)) == {size: mean for size, (mean, _) in panel.points.items()}
        ends = [(mean - deviation, mean + deviation) for mean, deviation in panel.points.values()]
        np.testing.assert_allclose([segment[:, 1] for segment in bars_.get_segments()], ends)
        levels = {one.get_label(): set(one.get_ydata()) for one in axis.lines if one.get_label() in panel.levels}
        assert levels == {name: {mean} for name, (mean, _) in panel.levels.items()}
        low, high = axis.get_ylim()
        assert low <= min(end for end, _ in ends) and high >= max(end for _, end in ends)


@pytest.mark.parametrize("count", [1, 3, 7])
@pytest.mark.parametrize("sizes", [SIZES, (4,), (1000, 5000, 20000)], ids=len)
def test_sizes_can_be_read_and_nothing_is_cut_or_covered(count, sizes):
    names = (*TYPES, "average")[:count]
    drawn = figures.sizes_figure("AUC by the number of outlier clips", {name: curve(sizes=sizes) for name in names})
    assert is_whole(drawn)
    renderer = FigureCanvasAgg(drawn).get_renderer()
    [legend] = drawn.legends
    assert [text.get_text() for text in legend.get_texts()] == ["autoencoder", "MAF", "proxy outliers"]
    assert not overlaps([legend.get_window_extent(renderer), *(axis.get_tightbbox(renderer) for axis in drawn.axes)])
    for axis in drawn.axes:
        assert not overlaps([label.get_window_extent(renderer) for label in axis.get_xticklabels()])
