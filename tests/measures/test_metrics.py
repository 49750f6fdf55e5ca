"""AUC, pAUC, decisions, means and the gamma threshold against answers known by hand."""

import functools
import operator

import numpy as np
import pytest
import scipy.stats

from asd_jax.base.errors import UserError
from asd_jax.measures import metrics
from asd_jax.scoring.thresholds import gamma_threshold


def test_auc_is_the_share_of_pairs_in_the_right_order():
    generator = np.random.default_rng(0)
    labels = generator.permutation([0] * 30 + [1] * 20)
    scores = np.round(generator.normal(size=50) + labels, 1)  # rounded, so that some are tied
    normal, anomalous = scores[labels == 0], scores[labels == 1]
    pairs = (anomalous[:, None] > normal).mean() + 0.5 * (anomalous[:, None] == normal).mean()
    assert metrics.auc(labels, scores) == pytest.approx(pairs)


def test_pauc_of_known_rankings():
    normal = list(range(20))
    assert metrics.pauc([0] * 20 + [1], [*normal, 100]) == 1
    # One normal clip of 20 scores higher: the curve is 0 up to FPR 0.05 and 1 up to 0.1, an area of 0.05.
    standardised = 0.5 * (1 + (0.05 - 0.1**2 / 2) / (0.1 - 0.1**2 / 2))
    assert metrics.pauc([0] * 20 + [1], [*normal, 18.5]) == pytest.approx(standardised)
    assert metrics.pauc([0] * 20 + [1] * 20, [1.0] * 40) == pytest.approx(0.5)


def test_precision_recall_f1_by_hand():
    labels = [0, 0, 0, 1, 1, 1, 1, 1]
    decisions = [1, 0, 0, 1, 1, 0, 0, 0]
    assert metrics.precision_recall_f1(labels, decisions) == pytest.approx((2 / 3, 2 / 5, 1 / 2))
    assert metrics.precision_recall_f1(labels, [0] * 8) == (0, 0, 0)


@pytest.mark.parametrize("labels, found", [([0, 0], "all 2 are normal"), ([1], "all 1 are anomalous"), ([], "no clip")])
@pytest.mark.parametrize("measure", [metrics.auc, metrics.pauc, metrics.precision_recall_f1])
def test_one_class_is_refused(measure, labels, found):
    with pytest.raises(UserError, match=found):
        measure(labels, [0] * len(labels))


def test_means():
    assert metrics.arithmetic_mean([[0.5, 1.0], [1.0, 0.0]]) == [0.75, 0.5]
    first, second = metrics.harmonic_mean([[0.5, 1.0], [1.0, 0.0]])
    assert first == pytest.approx(2 / 3)
    assert 0 < second < 1e-15  # a zero pulls the harmonic mean down to nearly, not exactly, zero


def test_last_digits_follow_the_formulas_of_the_challenge():
    # Adding in another order, or dividing by means and counts instead, is as right and ends in other digits.
    for seed in range(50):
        rows = np.random.default_rng(seed).uniform(0.3, 1, size=(42, 2))
        assert metrics.arithmetic_mean(rows) == (functools.reduce(operator.add, rows) / 42).tolist()
        assert metrics.harmonic_mean(rows) == (42 / functools.reduce(operator.add, 1 / rows)).tolist()
    for hits in range(1, 50):
        precision, recall = hits / (hits + 10), hits / 50
        found = metrics.precision_recall_f1([1] * 50 + [0] * 10, [1] * hits + [0] * (50 - hits) + [1] * 10)
        assert found == (precision, recall, 2 * precision * recall / (precision + recall))


def test_harmonic_mean_of_all_weighs_every_auc_and_pauc_alike():
    assert metrics.harmonic_mean_of_all([0.5, 1.0, 1.0], [0.5, 0.25, 0.5]) == pytest.approx(6 / (2 + 1 + 1 + 2 + 4 + 2))


@pytest.mark.parametrize("shape", [0.8, 2.0, 20.0])
@pytest.mark.parametrize("location", [-30.0, 0.0])
def test_gamma_threshold_finds_the_quantile_of_a_gamma_law(shape, location):
    law = scipy.stats.gamma(shape, loc=location, scale=3)
    scores = law.rvs(20_000, random_state=1)
    for quantile in (0.5, 0.9, 0.99):
        threshold = gamma_threshold(scores, quantile)
        assert np.mean(scores < threshold) == pytest.approx(quantile, abs=0.02)
        assert threshold == pytest.approx(law.ppf(quantile), abs=0.1 * law.std())


def test_gamma_threshold_moves_along_with_the_scores():
    scores = np.random.default_rng(0).gamma(2, size=40)
    threshold = gamma_threshold(scores, 0.9)
    assert gamma_threshold(5 * scores - 1000, 0.9) == pytest.approx(5 * threshold - 1000)


def test_gamma_threshold_of_scores_that_lean_left_is_that_of_a_normal_law():
    scores = -np.random.default_rng(0).gamma(2, size=40)
    assert gamma_threshold(scores, 0.9) == pytest.approx(
        scipy.stats.norm.ppf(0.9, loc=scores.mean(), scale=scores.std())
    )


def test_gamma_threshold_of_degenerate_scores():
    assert gamma_threshold([0.1] * 10, 0.9) == 0.1
    assert -1 < gamma_threshold([-2, -1], 0.9) < 0
    assert np.isfinite(gamma_threshold([0] * 50 + [1000], 0.9))
    with pytest.raises(UserError, match="at least 2"):
        gamma_threshold([1.0], 0.9)
    with pytest.raises(UserError, match="NaN"):
        gamma_threshold([1.0, float("nan")], 0.9)
