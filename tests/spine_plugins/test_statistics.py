"""Statistics against scikit-learn, brute force over pairs, hand examples, and against one another."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from spine_plugins import statistics as st


def scores_and_labels(n: int = 300, seed: int = 0, decimals: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Rounded scores, so that there are ties."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < 0.35).astype(int)
    return labels, np.round(rng.normal(labels * 1.2), decimals)


def brute_auc(labels: np.ndarray, scores: np.ndarray) -> float:
    pairs = [(a > b) + 0.5 * (a == b) for a in scores[labels == 1] for b in scores[labels == 0]]
    return float(np.mean(pairs))


@pytest.mark.parametrize("seed", range(4))
def test_ranking_equals_scikit_learn(seed: int) -> None:
    labels, scores = scores_and_labels(seed=seed)
    assert st.auc(labels, scores) == pytest.approx(metrics.roc_auc_score(labels, scores), abs=1e-12)
    expected = metrics.average_precision_score(labels, scores)
    assert st.average_precision(labels, scores) == pytest.approx(expected, abs=1e-12)
    fpr, tpr, thresholds = metrics.roc_curve(labels, scores, drop_intermediate=False)
    for ours, theirs in zip(st.roc_curve(labels, scores), (fpr, tpr, thresholds), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)


def test_weights_are_repetitions() -> None:
    labels, scores = scores_and_labels(80)
    weights = np.random.default_rng(5).integers(0, 4, (6, 80))
    for name in ("auc", "average_precision", "sensitivity_at_specificity"):
        function = getattr(st, name)
        together = function(labels, scores, weights=weights)
        alone = [function(np.repeat(labels, row), np.repeat(scores, row)) for row in weights]
        np.testing.assert_allclose(together, alone, atol=1e-12)


def test_undefined_is_nan() -> None:
    assert np.isnan(st.auc([1, 1], [0.2, 0.3]))
    assert np.isnan(st.average_precision([0, 0], [0.2, 0.3]))
    assert np.isnan(st.sensitivity_at_specificity([0, 0], [0.2, 0.3]))
    with pytest.raises(ValueError, match="0 or 1"):
        st.auc([0, 2], [0.1, 0.2])
    with pytest.raises(ValueError, match="finite"):
        st.auc([0, 1], [0.1, np.nan])


def test_sensitivity_at_specificity_by_hand() -> None:
    # Ten negatives at 0.0 ... 0.9: one may be above the threshold, so it lies just above 0.8.
    negatives = np.arange(10) / 10
    positives = np.array([0.95, 0.85, 0.81, 0.8, 0.5])
    labels = np.array([0] * 10 + [1] * 5)
    scores = np.concatenate([negatives, positives])
    assert st.sensitivity_at_specificity(labels, scores, 0.9) == pytest.approx(3 / 5)
    assert st.sensitivity_at_specificity(labels, scores, 0.95) == pytest.approx(1 / 5)
    assert st.sensitivity_at_specificity(labels, scores, 0.0) == 1


def test_placements_are_brute_force_shares() -> None:
    labels, scores = scores_and_labels(60)
    of_positive, of_negative = st.placements(labels, scores)
    positive, negative = scores[labels == 1], scores[labels == 0]
    wins = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    np.testing.assert_allclose(of_positive, wins.mean(axis=1), atol=1e-12)
    np.testing.assert_allclose(of_negative, wins.mean(axis=0), atol=1e-12)


def test_delong_variance_is_that_of_placements_and_near_the_bootstrap() -> None:
    labels, scores = scores_and_labels(400, decimals=12)  # no ties
    wins = scores[labels == 1][:, None] > scores[labels == 0]
    by_hand = np.var(wins.mean(1), ddof=1) / len(wins) + np.var(wins.mean(0), ddof=1) / wins.shape[1]
    value, covariance = st.delong_covariance(labels, scores)
    assert value[0] == pytest.approx(brute_auc(labels, scores), abs=1e-12)
    assert covariance[0, 0] == pytest.approx(by_hand, rel=1e-9)
    found = st.delong_interval(labels, scores)
    resampled = st.bootstrap_interval(lambda w: st.auc(labels, scores, w), 400, seed=1)
    assert found.high - found.low == pytest.approx(2 * 1.959964 * np.sqrt(by_hand), rel=1e-6)
    assert found.low == pytest.approx(resampled.low, abs=0.01)
    assert found.high == pytest.approx(resampled.high, abs=0.01)
    assert resampled.value == found.value
    assert resampled.method.startswith("image bootstrap, 2000")


def test_delong_interval_covers_the_truth() -> None:
    # Normal scores one apart: the true AUC is Phi(1 / sqrt 2) = 0.76025.
    rng = np.random.default_rng(3)
    labels = np.repeat([0, 1], 60)
    found = [st.delong_interval(labels, rng.normal(labels)) for _ in range(400)]
    share = np.mean([i.low <= 0.76025 <= i.high for i in found])
    assert 0.92 <= share <= 0.975, share


def test_paired_difference() -> None:
    rng = np.random.default_rng(7)
    labels = np.repeat([0, 1], [150, 100])
    shared = rng.normal(size=250)
    good = labels * 1.5 + shared + 0.3 * rng.normal(size=250)
    bad = labels * 0.7 + shared + 0.3 * rng.normal(size=250)
    found = st.delong_difference(labels, good, bad)
    assert found.value == pytest.approx(brute_auc(labels, good) - brute_auc(labels, bad), abs=1e-12)
    both = [st.placements(labels, s) for s in (good, bad)]
    error = np.sqrt(
        np.var(both[0][0] - both[1][0], ddof=1) / 100 + np.var(both[0][1] - both[1][1], ddof=1) / 150
    )
    assert (found.high - found.low) / 2 == pytest.approx(1.959964 * error, rel=1e-6)
    boot = st.bootstrap_interval(lambda w: st.auc(labels, good, w) - st.auc(labels, bad, w), 250)
    assert (boot.low, boot.high) == pytest.approx((found.low, found.high), abs=0.02)
    alone = [st.delong_covariance(labels, s)[1][0, 0] for s in (good, bad)]
    assert error < np.sqrt(sum(alone))  # pairing helps: the scores share most of their noise
    assert found.p_value < 1e-3
    same = st.delong_difference(labels, good, 3 * good + 1)
    assert (same.value, same.p_value) == (0, 1)


def test_paired_p_values_are_uniform_without_a_difference() -> None:
    rng = np.random.default_rng(11)
    labels = np.repeat([0, 1], 50)
    p = [
        st.delong_difference(labels, labels + rng.normal(size=100), labels + rng.normal(size=100)).p_value
        for _ in range(400)
    ]
    assert 0.02 <= np.mean(np.array(p) < 0.05) <= 0.085


def test_study_bootstrap_is_wider_where_images_cluster() -> None:
    rng = np.random.default_rng(2)
    groups = np.repeat(np.arange(60), 5)
    labels = np.repeat((rng.random(60) < 0.5).astype(int), 5)
    scores = labels + np.repeat(rng.normal(size=60), 5) + 0.1 * rng.normal(size=300)  # a study is alike
    by_study = st.bootstrap_interval(lambda w: st.auc(labels, scores, w), 300, groups)
    by_image = st.bootstrap_interval(lambda w: st.auc(labels, scores, w), 300)
    ratio = (by_study.high - by_study.low) / (by_image.high - by_image.low)
    assert 1.8 < ratio < 2.8  # sqrt(5) = 2.24 for identical images
    assert by_study.method.startswith("study bootstrap")


def test_bootstrap_draws_whole_groups() -> None:
    groups = ["b", "a", "b", "c"]
    counts = st.bootstrap_counts(4, groups, resamples=50, rng=np.random.default_rng(0))
    assert (counts[:, 0] == counts[:, 2]).all()
    assert (counts[:, 0] + counts[:, 1] + counts[:, 3] == 3).all()


def test_calibration() -> None:
    labels, scores = scores_and_labels(500)
    p = st.sigmoid(scores)
    assert st.brier(labels, p) == pytest.approx(metrics.brier_score_loss(labels, p), abs=1e-12)
    assert st.brier([[1, 0], [0, 1]], [[0.75, 0.25], [0.5, 0.5]]) == pytest.approx((0.125 + 0.5) / 2)
    # Two bins: four images said 0.25 (one true), two said 1.0 (one true).
    said, true = [0.25] * 4 + [1.0] * 2, [1, 0, 0, 0, 1, 0]
    assert st.expected_calibration_error(true, said, bins=2) == pytest.approx(0.5 * 2 / 6)
    found = st.reliability(true, said, bins=4)
    np.testing.assert_array_equal(found.count, [0, 4, 0, 2])
    np.testing.assert_array_equal(found.observed, [np.nan, 0.25, np.nan, 0.5])


def test_holm_by_hand() -> None:
    np.testing.assert_allclose(st.holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(st.holm([0.6, 0.9]), [1, 1])


def test_text_of_an_interval() -> None:
    found = st.Interval(0.8126, 0.75, 0.86649, "DeLong")
    assert found.text() == st.interval_text(found.as_dict()) == "0.813 (95 % 0.750 to 0.866)"
    assert found.text(of="", between=" \u2013 ") == "0.813 (0.750 \u2013 0.866)"
    nan = float("nan")
    assert st.Interval(0.8, nan, nan, "DeLong").text() == "0.800"
    assert st.Interval(nan, nan, nan, "DeLong").text() is None
    assert st.Interval(nan, 0.1, nan, "DeLong").as_dict() == {
        "value": None, "low": 0.1, "high": None, "method": "DeLong",
    }  # fmt: skip
    # What a damaged or hostile card may hold.
    for value in (None, "0.5", True, [], 10**400):
        assert st.interval_text({"value": value}) is None
    assert st.interval_text({"value": 1, "low": "x", "high": 2}) == "1.000"
