"""Inlier models against scores known by hand, and what is refused."""

import numpy as np
import pytest
import scipy.stats
import skops.io
from sklearn.linear_model import LinearRegression
from sklearn.neighbors import LocalOutlierFactor
from sklearn.preprocessing import FunctionTransformer

from asd_jax.backends import BACKENDS, models
from asd_jax.base.errors import UserError
from tests.embeddings import join, make, normal

KINDS = ("gmm", "lof")


def two_machines(width=4):
    """Two IDs of six clips with five segments; the points of one are far from the other's."""
    return join(make(normal((6, 5, width)), "00"), make(normal((6, 5, width), seed=1) + 100, "01"))


@pytest.mark.parametrize(
    ("segment_scores", "expected"),
    [
        ([3.0], 3.0),
        ([1, 9, 2], (9 + 2) / 2),
        ([7, 1, 5, 2], (7 + 5) / 2),
        ([0, 4, 4, 4, 10], (4 + 4 + 4 + 10) / 4),
        ([10, 1, 9, 2, 8, 3, 7, 4, 6, 5], 8),
        ([2.0] * 10, 2),
    ],
)
def test_a_mixtures_clip_score_is_the_mean_of_the_upper_half(segment_scores, expected):
    assert BACKENDS["gmm"]().clip_score(np.array(segment_scores)) == expected
    assert BACKENDS["lof"]().clip_score(np.array(segment_scores)) == np.mean(segment_scores)


def test_one_component_scores_by_the_likelihood_of_its_gaussian():
    points = normal((20, 3, 4)) @ normal((4, 4), seed=1)
    fitted = models.fit(make(points), "gmm", 1, seed=0)
    rows = np.float32(points).reshape(-1, 4).astype(float)
    law = scipy.stats.multivariate_normal(rows.mean(0), np.cov(rows.T, bias=True) + 1e-6 * np.eye(4))
    other = np.float32(normal((5, 3, 4), seed=2))
    expected = [np.sort(-law.logpdf(clip))[1:].mean() for clip in other]  # of three segments, the upper two
    np.testing.assert_allclose(fitted.score(make(other)).score, expected, rtol=1e-9)


def test_local_outlier_factor_compares_densities():
    # A dense and a sparse cluster: at the same distance, a point near the dense one is the greater outlier.
    dense, sparse = 0.01 * normal((1, 100, 2)), normal((1, 100, 2), seed=1) + 50
    fitted = models.fit(make(np.concatenate([dense, sparse], 1)), "lof", 10, seed=0)
    inside_dense, beside_dense, inside_sparse, beside_sparse, far = fitted.score(
        make([[[0, 0]], [[1.5, 0]], [[50, 50]], [[51.5, 50]], [[500, 500]]])
    ).score
    assert inside_dense == pytest.approx(1, abs=0.15) and inside_sparse == pytest.approx(1, abs=0.15)
    assert far > beside_dense > 10 * beside_sparse


def test_local_outlier_factor_by_hand():
    # On the line 0, 1, 3: each point's neighbour, distance d to it and density 1 / max(d, the neighbour's own d).
    fitted = models.fit(make([[[0], [1], [3]]]), "lof", 1, seed=0)
    # 0 -> 1 (d 1), 1 -> 0 (d 1), 3 -> 1 (d 2, reach 2). The new point 7: neighbour 3, reach max(4, 2): density 1 / 4.
    assert fitted.score(make([[[7]]])).score == pytest.approx((1 / 2) / (1 / 4))
    assert fitted.score(make([[[7], [0.5]]])).score == pytest.approx((2 + 1) / 2)


@pytest.mark.parametrize("kind", KINDS)
def test_every_clip_is_scored_by_the_model_of_its_own_id(kind):
    fitted = models.fit(two_machines(), kind, 2, seed=0)
    here, there = normal((1, 5, 4), seed=3), normal((1, 5, 4), seed=3) + 100
    right = join(make(here, "00"), make(there, "01"))
    wrong = join(make(there, "00"), make(here, "01"))
    assert fitted.score(wrong).score.min() > 10 * fitted.score(right).score.max()


@pytest.mark.parametrize("kind", KINDS)
def test_scores_do_not_depend_on_the_order_of_the_rows_and_keep_what_is_known_of_the_clips(kind):
    fitted = models.fit(two_machines(), kind, 2, seed=0)
    tests = join(
        make(normal((2, 5, 4), seed=4) + 100, "01", 1, "anomaly", "target", "eval"),
        make(normal((3, 5, 4), seed=5), "00"),
    )
    scored = fitted.score(tests)
    assert scored.clip.tolist() == ["anomaly_0", "anomaly_1", "clip_0", "clip_1", "clip_2"]
    assert scored.machine_id.tolist() == ["01"] * 2 + ["00"] * 3
    assert scored.label.tolist() == [1, 1, 0, 0, 0]
    assert scored.domain.tolist() == ["target"] * 2 + ["source"] * 3
    assert scored.part.tolist() == ["eval"] * 2 + ["dev"] * 3
    order = np.random.default_rng(0).permutation(len(tests.clip))
    shuffled = fitted.score(tests.select(order))
    together = dict(zip(shuffled.clip, shuffled.score, strict=True))
    np.testing.assert_allclose(scored.score, [together[name] for name in scored.clip], rtol=1e-9)
    alone = fitted.score(tests.select(tests.clip == "clip_1"))
    np.testing.assert_allclose(alone.score, scored.score[3:4], rtol=1e-9)


def test_no_clip_is_no_score():
    fitted = models.fit(two_machines(), "lof", 2, seed=0)
    assert fitted.score(two_machines().select(np.zeros(60, bool))).score.shape == (0,)


def test_an_id_without_a_model_is_told():
    fitted = models.fit(two_machines(), "lof", 2, seed=0)
    with pytest.raises(UserError, match=r"Machine fan/02 has no inlier model \(there are: fan/00, fan/01\)"):
        fitted.score(make(normal((1, 5, 4)), "02"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", [4, 128])
def test_models_score_the_same_after_storing(kind, width, tmp_path):
    fitted = models.fit(two_machines(width), kind, 3, seed=5)
    fitted.save(tmp_path / "inlier")
    fitted.save(tmp_path / "inlier")
    assert {path.name for path in (tmp_path / "inlier").iterdir()} == {"inlier.json", "fan_00.skops", "fan_01.skops"}
    loaded = models.InlierModels.load(tmp_path / "inlier")
    assert (loaded.kind, loaded.p, loaded.seed) == (kind, 3, 5)
    tests = join(make(normal((2, 5, width), seed=6), "00"), make(normal((2, 5, width), seed=7), "01"))
    np.testing.assert_array_equal(loaded.score(tests).score, fitted.score(tests).score)


def test_foreign_and_damaged_models_are_refused(tmp_path):
    load = models.InlierModels.load
    with pytest.raises(UserError, match="no inlier models in"):
        load(tmp_path)
    models.fit(two_machines(), "lof", 3, seed=0).save(tmp_path)
    path = tmp_path / "fan_01.skops"
    whole = path.read_bytes()
    foreign = [
        skops.io.dumps(FunctionTransformer(make)),  # would call a function of ours
        skops.io.dumps(LocalOutlierFactor(metric=normal)),  # likewise, inside an inlier model
        skops.io.dumps(LinearRegression()),  # a type that is trusted, and no inlier model
        models.fit(two_machines(), "gmm", 3, seed=0).models["fan", "01"].dumps(),
        whole[: len(whole) // 2],
        b"",
    ]
    for content in foreign:
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"01\.skops is no stored inlier model or is damaged"):
            load(tmp_path)
    path.unlink()
    with pytest.raises(UserError, match=r"01\.skops"):
        load(tmp_path)
    (tmp_path / "inlier.json").write_text("[]")
    with pytest.raises(UserError, match=r"inlier\.json is damaged"):
        load(tmp_path)


def test_too_few_embeddings_for_p_are_told():
    one_is_short = join(make(normal((4, 5, 4)), "00"), make(normal((4, 4, 4)), "01"))  # 20 and 16 embeddings
    models.fit(one_is_short, "gmm", 16, seed=0)
    models.fit(one_is_short, "lof", 15, seed=0)
    with pytest.raises(UserError, match=r"Machine fan/01 has 16 .* gmm with config.inlier_p=17 needs at least 17"):
        models.fit(one_is_short, "gmm", 17, seed=0)
    with pytest.raises(UserError, match=r"Machine fan/01 has 16 .* lof with config.inlier_p=16 needs at least 17"):
        models.fit(one_is_short, "lof", 16, seed=0)
    with pytest.raises(UserError, match=r"has 1 .* config.inlier_p=1 needs at least 2"):
        models.fit(make(normal((1, 1, 4))), "gmm", 1, seed=0)


def test_values_that_mean_nothing_are_told():
    with pytest.raises(UserError, match="inlier_p=0 was given"):
        models.fit(two_machines(), "gmm", 0, seed=0)
    with pytest.raises(UserError, match="inlier model 'knn': expected one of gmm, lof"):
        models.fit(two_machines(), "knn", 2, seed=0)
    broken = two_machines()
    broken.embedding[40] = np.nan
    for kind in KINDS:
        with pytest.raises(UserError, match=r"cannot be fitted to the embeddings of machine fan/01 \(Input .* NaN"):
            models.fit(broken, kind, 2, seed=0)


@pytest.mark.parametrize("kind", KINDS)
def test_collapsed_embeddings_are_told(kind):
    rounding = 1 + 1e-7 * normal((6, 5, 4))
    for collapsed in (np.zeros((6, 5, 4)), np.full((6, 5, 4), 7.0), rounding):
        both = join(make(normal((6, 5, 4)), "00"), make(collapsed, "01"))
        with pytest.raises(UserError, match="embeddings of machine fan/01 have collapsed, all 30 are equal"):
            models.fit(both, kind, 2, seed=0)
    models.fit(make(1 + 1e-3 * normal((6, 5, 4))), kind, 2, seed=0)  # close together, and yet different


def test_spread_by_hand():
    # 00: two points at distance 3 from their mean (4, 0), so of mean square norm 25. 01: the mean is zero.
    both = join(make([[[4, 3]], [[4, -3]]], "00"), make([[[1, 0]], [[-1, 0]]], "01"), make([[[0, 0]]], "02"))
    assert models.spread(both) == pytest.approx({("fan", "00"): 3 / 5, ("fan", "01"): 1, ("fan", "02"): 0})


@pytest.mark.parametrize(("kind", "p"), [("gmm", 5), ("lof", 3)])
def test_cross_scores_are_those_of_models_that_did_not_see_the_clip(kind, p):
    points = normal((10, 5, 4))
    points[3] += 30  # one clip by itself, five segments of it: a component, or neighbours, of its own
    embeddings = join(make(points, "00"), make(normal((10, 5, 4), seed=1) + 100, "01"))
    seen = models.fit(embeddings, kind, p, seed=0).score(embeddings)
    cross = models.cross_scores(embeddings, kind, p, seed=0)
    for field in ("clip", "machine_type", "machine_id", "label", "domain", "part"):
        np.testing.assert_array_equal(getattr(cross, field), getattr(seen, field))
    assert cross.score[3] > 10 * abs(seen.score[3])
    assert np.argmax(cross.score) == 3
    again = models.cross_scores(embeddings, kind, p, seed=0)
    np.testing.assert_array_equal(cross.score, again.score)


def test_with_as_few_clips_as_folds_every_clip_is_left_out_once():
    embeddings = join(make(normal((4, 5, 4)), "00"), make(normal((3, 5, 4), seed=1), "01"))
    cross = models.cross_scores(embeddings, "lof", 3, seed=0, folds=5)
    for clip, (product_id, name) in enumerate(zip(cross.machine_id, cross.clip, strict=True)):
        mine = (embeddings.machine_id == product_id) & (embeddings.clip == name)
        others = embeddings.select((embeddings.machine_id == product_id) & ~mine)
        expected = models.fit(others, "lof", 3, seed=0).score(embeddings.select(mine)).score
        np.testing.assert_allclose(cross.score[clip], expected[0])


def test_folds_are_even_within_every_id(monkeypatch):
    fitted = []
    fit = models.fit
    monkeypatch.setattr(models, "fit", lambda embeddings, *rest: fitted.append(embeddings) or fit(embeddings, *rest))
    models.cross_scores(join(make(normal((10, 2, 4)), "00"), make(normal((7, 2, 4)), "01")), "lof", 2, seed=0, folds=5)
    clips = [[sum(e.machine_id == product_id) // 2 for product_id in ("00", "01")] for e in fitted]
    assert sorted(clips) == [[8, 5], [8, 5], [8, 6], [8, 6], [8, 6]]


def test_too_few_clips_for_cross_scores_are_told():
    with pytest.raises(UserError, match="Machine fan/01 has 1 clip"):
        models.cross_scores(join(make(normal((6, 5, 4)), "00"), make(normal((1, 5, 4)), "01")), "lof", 2, seed=0)
    with pytest.raises(UserError, match="Machine fan/00 has 5 .* needs at least 6"):
        models.cross_scores(make(normal((2, 5, 4))), "gmm", 6, seed=0)


def test_the_seed_reaches_the_mixture():
    embeddings = make(normal((10, 5, 4)))
    scores = [models.fit(embeddings, "gmm", 8, seed).score(embeddings).score for seed in (0, 0, 1)]
    np.testing.assert_array_equal(scores[0], scores[1])
    assert not np.allclose(scores[0], scores[2])
