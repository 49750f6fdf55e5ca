"""Pictures: they hold the data that they were given, and nothing is cut off."""

import matplotlib.image
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg

from asd_jax import figures
from asd_jax.figures import ANOMALOUS, NORMAL, OTHER_IDS, OTHER_TYPES, Panel

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
