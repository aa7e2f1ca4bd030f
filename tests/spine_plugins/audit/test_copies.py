"""Votes against their definition, ratio by ratio, under every relabelling."""

from __future__ import annotations

import numpy as np
import pytest

from spine_plugins.audit.copies import THRESHOLDS, Ballot, ratios, votes
from spine_plugins.audit.neighbours import by_fake
from spine_plugins.audit.permutation import Relabelling, tail


@pytest.mark.parametrize("dimensions", [1, 2, 12])
def test_votes_are_those_of_the_ratios(dimensions: int) -> None:
    rng = np.random.default_rng(dimensions)
    unit_of = np.repeat(np.arange(20), 2)  # 20 patients, two images each: all fit into the list
    fakes, reals = rng.normal(size=(50, dimensions)), rng.normal(size=(40, dimensions))
    fakes[:3] = reals[:3]  # copies, at distance 0
    distance = np.linalg.norm(fakes[:, None] - reals[None], axis=2)
    relabelling = Relabelling.draw(np.arange(20) < 8, seed=0, draws=30)
    cast = votes(by_fake(distance, unit_of), relabelling)
    for draw in range(31):
        is_train = relabelling.labels[:, draw].astype(bool)[unit_of]
        to_train, to_other = distance[:, is_train].min(axis=1), distance[:, ~is_train].min(axis=1)
        for t, threshold in enumerate(THRESHOLDS):
            expected = (to_train < threshold * to_other).astype(int) - (to_other < threshold * to_train)
            found = np.zeros(50, dtype=int)
            there = cast.of >= 0
            found[there] = cast.rows[cast.of[there], t, draw]
            np.testing.assert_array_equal(found, expected)
            assert cast.sum()[t, draw] == expected.sum()


def test_ratios_are_those_of_the_distances() -> None:
    rng = np.random.default_rng(4)
    distance = rng.uniform(1, 2, size=(30, 12))
    is_train = np.arange(12) < 5
    found = ratios(by_fake(distance, np.arange(12)), is_train)
    np.testing.assert_allclose(found, distance[:, is_train].min(axis=1) / distance[:, ~is_train].min(axis=1))


def test_seven_visible_copies_are_needed_where_six_tests_share_a_level() -> None:
    distance = np.random.default_rng(1).uniform(1.0, 1.1, size=(40, 400))
    is_train = np.arange(400) < 200

    def p_value(copies: int) -> float:
        d = distance.copy()
        d[np.arange(copies), np.arange(copies)] = 0.01
        relabelling = Relabelling.draw(is_train, seed=2)
        return tail(votes(by_fake(d, np.arange(400)), relabelling).sum()).p_value

    assert 6 * p_value(10) < 0.05
    assert 6 * p_value(5) > 0.05


def test_blurred_copies_are_named_at_the_threshold_where_they_show() -> None:
    rng = np.random.default_rng(3)
    distance = rng.uniform(1.0, 1.1, size=(60, 100))
    distance[:20, :10] = np.where(np.arange(10) == np.arange(20)[:, None] % 10, 0.74, 1.05)  # r about 0.74
    is_train = np.arange(100) < 40
    ballot = Ballot(by_fake(distance, np.arange(100)), {}, Relabelling.draw(is_train, seed=1))
    found = tail(ballot.votes.sum())
    assert found.p_value < 0.01
    assert THRESHOLDS[found.which] == 0.8
    assert (ballot.votes.observed(found.which)[:20] == 1).all()
    assert not ballot.votes.observed().any()  # nothing at 0.6
