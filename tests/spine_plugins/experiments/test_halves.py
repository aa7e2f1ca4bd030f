"""Intervals over images by halves of both sets, against what is known in closed form."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from spine_plugins.experiments.halves import Resampled, image_interval, measure_again, without_bias
from stylegan2ada.metrics.fid import fid
from stylegan2ada.metrics.precision_recall import precision_recall

ANY = {"least": -np.inf, "most": np.inf}


def mean_of_reals(real: np.ndarray, fake: np.ndarray) -> Mapping[str, float]:
    del fake
    return {"mean": float(real.mean())}


@pytest.mark.parametrize("n", [40, 41])
def test_the_spread_of_a_mean_is_that_of_the_textbook(n: int) -> None:
    real = np.random.default_rng(n).normal(size=(n, 1))
    found = measure_again(mean_of_reals, real, np.zeros((8, 1)), None, resamples=8000)["mean"]
    # Standard error of a mean of n, not of the n / 2 of a half.
    assert found.halves.std(ddof=1) == pytest.approx(real.std(ddof=1) / np.sqrt(n), rel=0.05)
    interval = image_interval([found], 0.95, **ANY)
    assert interval.high - interval.low == pytest.approx(2 * 1.959964 * found.halves.std(ddof=1), rel=1e-6)


def test_images_of_one_patient_count_once() -> None:
    patients = np.random.default_rng(0).normal(size=(30, 1))
    twice, groups = np.repeat(patients, 2, axis=0), [f"p{i // 2}" for i in range(60)]
    found = measure_again(mean_of_reals, twice, np.zeros((8, 1)), groups, resamples=8000)["mean"]
    assert found.halves.std(ddof=1) == pytest.approx(patients.std(ddof=1) / np.sqrt(30), rel=0.05)


def test_halves_of_the_reals_are_the_same_for_every_network() -> None:
    rng = np.random.default_rng(1)
    real = rng.normal(size=(31, 1))
    one, other = (
        measure_again(mean_of_reals, real, rng.normal(size=(size, 1)), None)["mean"] for size in (8, 50)
    )
    assert np.array_equal(one.halves, other.halves)
    # A half and its complement: together everything, once.
    assert 15 * one.halves[::2] + 16 * one.halves[1::2] == pytest.approx(np.full(50, real.sum()))


def test_the_luck_of_the_reals_stays_and_that_of_the_fakes_evens_out() -> None:
    rng = np.random.default_rng(2)
    real = rng.normal(size=(400, 1))

    def difference(r: np.ndarray, f: np.ndarray) -> Mapping[str, float]:
        return {"difference": float(f.mean() - r.mean())}

    found = [
        measure_again(difference, real, rng.normal(size=(400, 1)), None, resamples=4000)["difference"]
        for _ in range(4)
    ]
    both = image_interval(found, 0.95, **ANY)
    assert both.high - both.low == pytest.approx(2 * 1.96 * np.sqrt(1 / 400 + 1 / 400 / 4), rel=0.12)


def test_where_all_halves_agree_nothing_is_claimed() -> None:
    found = image_interval([Resampled(0.0, np.zeros(100))], 0.95, least=0, most=1)
    assert found.value == 0 and np.isnan(found.low) and np.isnan(found.high)
    assert "all halves agree" in found.method


def test_an_interval_stays_where_a_share_can_be() -> None:
    found = image_interval([Resampled(0.02, np.array([0.0, 0.1, 0.0, 0.04]))], 0.95, least=0, most=1)
    assert found.low == 0 < found.high < 1


@pytest.mark.slow
def test_fid_of_two_gaussians() -> None:
    """Against Frechet's closed form; a bootstrap with replacement would be off by twice the bias."""
    d, studies = 6, 250
    shift, scale = np.full(d, 0.3), np.linspace(0.5, 1.5, d)
    truth = float((shift**2).sum() + ((1 - scale) ** 2).sum())  # |m|^2 + sum (s_r - s_f)^2
    rng = np.random.default_rng(3)

    def measure(r: np.ndarray, f: np.ndarray) -> Mapping[str, float]:
        return {"fid": fid(r, f)}

    found, naive = [], []
    for study in range(studies):
        real, fake = rng.normal(size=(60, d)), shift + scale * rng.normal(size=(150, d))
        found.append(measure_again(measure, real, fake, None, seed=study)["fid"])
        drawn = [fid(real[rng.integers(60, size=60)], fake[rng.integers(150, size=150)]) for _ in range(60)]
        naive.append(np.quantile(drawn, [0.025, 0.975]))
    values = np.array([one.value for one in found])
    assert values.mean() > truth + 0.1  # the bias that is to be told apart from the spread
    of_images = [image_interval([one], 0.95, **ANY) for one in found]
    limits = [without_bias([one], 0.95) for one in found]

    def covers(low: float, high: float, true: float) -> bool:
        return low <= true <= high

    # The number at these counts of images, had others been taken; and the distance of the distributions.
    expected = float(values.mean())
    assert 0.92 <= np.mean([covers(i.low, i.high, expected) for i in of_images]) <= 0.99
    assert 0.90 <= np.mean([covers(i.low, i.high, truth) for i in limits]) <= 0.99
    assert np.mean([i.value for i in limits]) == pytest.approx(truth, abs=0.05)
    assert np.mean([covers(low, high, truth) for low, high in naive]) < 0.6


@pytest.mark.slow
def test_precision_and_recall_of_two_gaussians() -> None:
    """Against the spread of studies. That of a share with the other manifold held is about half of it."""
    rng = np.random.default_rng(0)

    def measure(r: np.ndarray, f: np.ndarray) -> Mapping[str, float]:
        return precision_recall(r, f, k=3, dtype="float32")._asdict()

    found = []
    for study in range(150):
        real, fake = rng.normal(size=(100, 4)), 0.5 + 0.9 * rng.normal(size=(200, 4))
        found.append(measure_again(measure, real, fake, None, resamples=60, seed=study))
    for name, images in (("precision", 200), ("recall", 100)):
        values = np.array([one[name].value for one in found])
        spread = np.mean([one[name].halves.std(ddof=1) for one in found])
        assert 0.9 <= spread / values.std(ddof=1) <= 1.35
        binomial = np.sqrt(values.mean() * (1 - values.mean()) / images)
        assert binomial < 0.8 * values.std(ddof=1)
        intervals = [image_interval([one[name]], 0.95, least=0, most=1) for one in found]
        assert 0.93 <= np.mean([i.low <= values.mean() <= i.high for i in intervals]) <= 1
