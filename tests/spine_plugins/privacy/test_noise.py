"""The noise is the Gaussian that was accounted for, unrepeatable, and added once."""

from __future__ import annotations

import multiprocessing

import numpy as np
import pytest
import scipy.stats
import torch

from spine_plugins.privacy.noise import SeededChance, SystemChance, add_noise, gaussian, tosses


@pytest.mark.parametrize("chance", [SystemChance(), SeededChance(3)])
def test_it_is_standard_normal_and_independent(chance) -> None:
    drawn = gaussian(chance, 100_001).numpy()
    assert abs(drawn.std() - 1) < 0.01 and abs(drawn.mean()) < 0.02
    assert scipy.stats.kstest(drawn, "norm").pvalue > 1e-6
    assert abs(np.corrcoef(drawn[1:], drawn[:-1])[0, 1]) < 0.02
    assert len(np.unique(drawn)) == len(drawn)


def test_uniform_numbers_never_are_zero() -> None:
    drawn = SystemChance().uniform(100_000)
    assert 0 < drawn.min() and drawn.max() <= 1
    assert scipy.stats.kstest(drawn, "uniform").pvalue > 1e-6


def test_the_systems_noise_ignores_every_seed() -> None:
    draws = []
    for _ in range(2):
        torch.manual_seed(0)
        np.random.seed(0)
        draws.append(gaussian(SystemChance(), 8))
    assert not torch.equal(*draws)
    assert torch.equal(gaussian(SeededChance(1), 8), gaussian(SeededChance(1), 8))


def test_a_forked_process_draws_numbers_of_its_own() -> None:
    SystemChance().uniform(1)  # the generator has begun before the fork
    with multiprocessing.get_context("fork").Pool(2) as pool:
        theirs = pool.map(_drawn, range(2), chunksize=1)
    assert len({tuple(some) for some in [*theirs, _drawn(0)]}) == 3


def _drawn(_: int) -> list[float]:
    return list(SystemChance().uniform(4))


def test_it_leaves_torchs_and_numpys_generators_alone() -> None:
    torch.manual_seed(0)
    np.random.seed(0)
    expected = torch.rand(1), np.random.rand()
    torch.manual_seed(0)
    np.random.seed(0)
    gaussian(SystemChance(), 100)
    assert (torch.rand(1), np.random.rand()) == expected


def test_it_is_added_to_all_tensors_with_the_deviation_that_was_asked_for() -> None:
    tensors = [torch.full([200, 300], 5.0), torch.full([1000], -2.0)]
    add_noise(tensors, 0.3, SystemChance())
    assert float(tensors[0].std()) == pytest.approx(0.3, rel=0.02)
    assert float(tensors[0].mean()) == pytest.approx(5, abs=0.01)
    assert float(tensors[1].std()) == pytest.approx(0.3, rel=0.1)


@pytest.mark.parametrize("probability", [0.01, 0.5, 1.0])
def test_coins_fall_as_often_as_they_should(probability: float) -> None:
    count = 200_000
    heads = int(tosses(SystemChance(), probability, count).sum())
    deviation = np.sqrt(count * probability * (1 - probability))
    assert abs(heads - count * probability) <= 4.5 * deviation
