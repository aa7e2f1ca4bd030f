"""p-values by relabelling: against enumeration, and never too small."""

from __future__ import annotations

import itertools

import numpy as np

from spine_plugins.audit.permutation import Relabelling, hits_tail, tail


def test_hits_are_counted_exactly_as_by_enumeration() -> None:
    is_train = np.array([True, True, True, False, False, False, False])
    hit = np.array([True, True, False, True, False, False, False])
    ways = list(itertools.combinations(range(7), 3))
    as_many = sum(sum(hit[i] for i in way) >= 2 for way in ways)
    found = hits_tail(hit, is_train)
    assert found.statistic == 2
    assert np.isclose(found.p_value, as_many / len(ways))


def test_draws_keep_the_number_of_train_patients_and_the_truth_comes_first() -> None:
    is_train = np.arange(20) < 7
    labels = Relabelling.draw(is_train, seed=3, draws=50).labels
    assert (labels.sum(axis=0) == 7).all()
    assert (labels[:, 0].astype(bool) == is_train).all()
    assert len({tuple(column) for column in labels.T}) > 40


def test_linear_is_the_sum_over_train() -> None:
    relabelling = Relabelling.draw(np.arange(9) < 4, seed=1, draws=5)
    scores = np.random.default_rng(0).normal(size=(2, 9))
    expected = [[row[column.astype(bool)].sum() for column in relabelling.labels.T] for row in scores]
    np.testing.assert_allclose(relabelling.linear(scores), expected, rtol=1e-5)


def test_the_largest_of_several_statistics_pays_for_having_been_chosen() -> None:
    rng = np.random.default_rng(2)
    p_values = [tail(rng.normal(size=(4, 200))).p_value for _ in range(400)]
    assert abs(np.mean(np.array(p_values) <= 0.1) - 0.1) < 0.045  # three standard errors
    assert min(p_values) >= 1 / 200


def test_a_statistic_that_never_changes_says_nothing() -> None:
    assert tail(np.ones((1, 100))).p_value == 1
