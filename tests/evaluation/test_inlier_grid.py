"""The grid over inlier models picks what tells the development clips apart."""

import numpy as np
import pytest

from asd_jax.backends import models
from asd_jax.base.errors import UserError
from asd_jax.evaluation import inlier_grid
from asd_jax.evaluation.inlier_grid import GridRow, best, grid
from asd_jax.measures import metrics
from tests.embeddings import join, make, normal


def clusters(centres, clips, seed, scale=0.1):
    """[clips, 2 segments, 2]: the clips lie around the centres in turn."""
    centres = np.array(centres, float)
    return centres[np.arange(clips) % len(centres)][:, None] + scale * normal((clips, 2, 2), seed)


RING = [(3, 0), (0, 3), (-3, 0), (0, -3)]
BETWEEN = [(0, 0), (1.5, 1.5), (-1.5, 1.5), (1.5, -1.5)]


def four_modes(machine_id):
    """Normal clips in four clusters, anomalous ones between them: (fit on, development)."""
    fit_on = make(clusters(RING, 40, seed=0), machine_id)
    dev = join(
        make(clusters(RING, 20, seed=1), machine_id),
        make(clusters(BETWEEN, 20, seed=2), machine_id, label=1, name="anomaly"),
    )
    return fit_on, dev


def test_the_grid_holds_every_kind_and_p_and_finds_the_number_of_clusters():
    (fit_a, dev_a), (fit_b, dev_b) = four_modes("00"), four_modes("01")
    rows = grid(join(fit_a, fit_b), join(dev_a, dev_b), seed=0)
    assert [(row.p, row.kind) for row in rows] == [
        (p, kind) for p in (1, 2, 4, 8, 16, 32, 64) for kind in ("gmm", "lof")
    ]
    of = {(row.kind, row.p): row for row in rows}
    assert of["gmm", 1].mean < 0.2  # one Gaussian finds the middle the most normal
    assert of["gmm", 4].mean == 1 and of["gmm", 2].mean < 1
    assert of["lof", 64].mean < of["lof", 8].mean  # neighbours from other clusters
    assert {row.reason for row in rows} == {""}
    chosen = best(rows)
    assert chosen.mean == 1
    for row in rows:
        assert set(row.auc) == set(row.pauc) == {("fan", "00"), ("fan", "01")}
        assert row.mean == pytest.approx(
            metrics.harmonic_mean([[v] for v in [*row.auc.values(), *row.pauc.values()]])[0]
        )


def test_measures_are_those_of_each_id(monkeypatch):
    monkeypatch.setattr(inlier_grid, "POINTS", (1, 4))
    fit_a, dev_a = four_modes("00")
    fit_b, dev_b = four_modes("01")
    dev_b.label[:] = 1 - dev_b.label  # told apart, the wrong way round
    fit_on, dev = join(fit_a, fit_b), join(dev_a, dev_b)
    one, four = [row for row in grid(fit_on, dev, seed=0) if row.kind == "gmm"]
    assert four.auc == {("fan", "00"): 1, ("fan", "01"): 0}
    assert four.pauc["fan", "00"] == 1 and 0.4 < four.pauc["fan", "01"] < 0.5
    assert four.mean < 1e-10
    clips = models.fit(fit_b, "gmm", 1, seed=0).score(dev_b)
    assert one.auc["fan", "01"] == metrics.auc(clips.label, clips.score)
    assert one.pauc["fan", "01"] == metrics.pauc(clips.label, clips.score)


def test_ids_that_are_not_developed_on_are_left_alone(monkeypatch):
    monkeypatch.setattr(inlier_grid, "POINTS", (1, 4))
    fit_a, dev_a = four_modes("00")
    evaluation = make(np.zeros((1, 2, 2)), "03")  # cannot be fitted
    assert grid(join(fit_a, evaluation), dev_a, seed=0) == grid(fit_a, dev_a, seed=0)


def test_points_with_too_few_embeddings_are_kept_with_the_reason():
    fit_on, dev = four_modes("00")
    rows = grid(fit_on.select(np.arange(16)), dev, seed=0)
    failed = {(row.kind, row.p): row.reason for row in rows if row.mean is None}
    assert set(failed) == {("gmm", 32), ("gmm", 64), ("lof", 16), ("lof", 32), ("lof", 64)}
    assert "Machine fan/00 has 16 embeddings" in failed["lof", 16]
    assert best(rows).mean is not None


def test_where_nothing_can_be_fitted_the_reason_is_told():
    _, dev = four_modes("00")
    rows = grid(make(np.ones((40, 2, 2))), dev, seed=0)
    assert len(rows) == 14
    with pytest.raises(UserError, match="None of the inlier models could be fitted: .* collapsed"):
        best(rows)


def test_what_no_p_can_mend_is_raised():
    fit_on, dev = four_modes("00")
    _, other = four_modes("02")
    with pytest.raises(UserError, match="Machine fan/02 has no inlier model"):
        grid(fit_on, join(dev, other), seed=0)
    with pytest.raises(UserError, match="all 20 are normal"):
        grid(fit_on, dev.select(dev.label == 0), seed=0)


def test_among_equal_means_the_first_row_is_best():
    rows = [GridRow("gmm", 1, {}, {}, None, "too few")]
    rows += [GridRow(kind, p, {}, {}, mean) for kind, p, mean in [("lof", 1, 0.5), ("gmm", 2, 0.9), ("lof", 2, 0.9)]]
    assert best(rows) is rows[2]
