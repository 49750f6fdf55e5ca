"""What a page shows of many clips and machines."""

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from asd_jax.base.errors import UserError
from asd_jax.report import excerpts, page, sections
from asd_jax.report.excerpts import Excerpt
from asd_jax.report.findings import Part
from asd_jax.sound.presets import PRESETS
from tests.report.parsed import Parsed


def test_of_a_long_clip_the_surroundings_of_the_highest_window_are_shown():
    frames, window, hop = 4000, 64, 512
    log_mel = np.arange(frames, dtype=np.float32)[:, None] * np.ones(128, np.float32)
    starts = np.arange(0, frames - window + 1, 8)
    wave = np.arange(frames * hop, dtype=np.float32)
    for highest in (0, len(starts) // 2, len(starts) - 1):
        scores = np.where(np.arange(len(starts)) == highest, 1.0, 0.0)
        excerpt = excerpts._around_highest(PRESETS["paper1"], log_mel, starts, window, scores, wave)
        assert excerpt.seconds <= excerpts.EXCERPT_SECONDS and excerpt.scores.max() == 1.0
        begin, end = excerpt.highest
        assert begin == pytest.approx(starts[highest] * hop / 16000) and end == pytest.approx(begin + 63 * hop / 16000)
        assert excerpt.first <= begin and end <= excerpt.first + excerpt.seconds
        assert excerpt.log_mel[0, 0] * hop == excerpt.wave[0] == pytest.approx(excerpt.first * 16000)
        assert len(excerpt.wave) == len(excerpt.log_mel) * hop


def part_of(scores, labels, threshold=None, machine=("fan", "00"), runs=1):
    names = tuple(f"{i}.wav" for i in range(len(scores)))
    return Part(machine, None, names, np.array([scores] * runs, float), np.array(labels), threshold, {})


def test_clips_to_show_are_the_ends_and_the_wrongly_judged():
    labels = [0, 1, 0, 0, 0, 0, 0, 0, 1, 1]  # of scores 0 to 9
    part = part_of(range(10), labels, threshold=6.5)
    shown = {9: ["most anomalous"], 8: ["most anomalous"], 0: ["most normal"], 1: ["most normal", "missed"]}
    assert part.to_show(2, 4) == shown | {7: ["false alarm"]}
    assert part.to_show(2, 1) == shown
    assert part_of(range(10), [-1] * 10, 6.5).to_show(1, 4) == {9: ["most anomalous"], 0: ["most normal"]}
    every_one_wrong = part_of(range(10), [1] * 5 + [0] * 5, 4.5).to_show(0, 4)
    assert every_one_wrong == {0: ["missed"], 9: ["false alarm"], 1: ["missed"], 8: ["false alarm"]}
    assert "2 of them and calls 1 of the 7 normal" in sections.headline(part)


def test_the_limit_finds_what_the_roc_curve_says():
    rng = np.random.default_rng(0)
    for count in (3, 10, 25, 40):
        scores, labels = rng.normal(size=2 * count).round(1), np.repeat([0, 1], count)
        part = part_of(scores + labels, labels)
        rate, found, _ = roc_curve(labels, scores + labels, drop_intermediate=False)
        decided = part.decisions(part.limit())
        assert decided.false_alarms <= 0.1 * count and decided.found == round(found[rate <= 0.1].max() * count)
        assert decided.passed + decided.false_alarms == decided.found + decided.missed == count


def test_a_page_shows_some_machines_and_lists_all():
    parts = [("run", part_of([0, 1], [0, 1], machine=("fan", f"{i:02}"))) for i in range(30)]
    assert page._chosen(parts, []) == parts[: page.SECTIONS]
    assert page._chosen(parts, ["fan/20", "fan/03"]) == [parts[3], parts[20]]
    with pytest.raises(UserError, match="fan/99: expected some of fan/00"):
        page._chosen(parts, ["fan/99"])
    with pytest.raises(UserError, match="11 sections.* at most 10"):
        page._chosen(parts, [f"fan/{i:02}" for i in range(11)])
    anchors = {id(part): f"machine-{i}" for i, (_, part) in enumerate(parts[:10])}
    table = Parsed(page._results(parts, anchors, several=False))
    assert len(table.tables[0]) == 31 and sum(tag == "a" for tag, _ in table.tags) == 10


def test_a_page_stays_small():
    preset, rng = PRESETS["paper2"], np.random.default_rng(0)
    frames = int(excerpts.EXCERPT_SECONDS * preset.sample_rate / preset.hop)
    starts, wave = np.arange(300) * 0.03, rng.normal(size=frames * preset.hop)
    worst = Excerpt(0.0, rng.normal(size=(frames, 224)), preset, starts, 2.0, rng.normal(size=300), wave, 16000)
    card = sections._excerpt(part_of([0], [0]), "name", worst, (-3.0, 3.0), (-4.0, 4.0), 0.2)
    clips = page.SECTIONS * (2 * sections.ENDS + sections.WRONG)
    assert clips * len(card) < page.LARGEST < 2 * clips * len(card)
