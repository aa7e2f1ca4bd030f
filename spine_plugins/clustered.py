"""Measures of images that belong together, of several trainings each: covariances, intervals, differences.

Images of one patient are alike, so patients are what was sampled (Obuchowski 1997). A training is one draw
of many that could have been made, so trainings are to a method what readers are to an imaging technique:
their spread joins that of the test images (Obuchowski and Rockette 1995, degrees of freedom by Hillis 2007).

    >>> labels, groups = [0, 0, 0, 1, 1, 1], ["a", "b", "c", "d", "e", "f"]
    >>> found = auc_covariance(labels, groups, [0.1, 0.4, 0.6, 0.5, 0.8, 0.9])
    >>> interval = replicated_interval(found, Replicates([0]))
    >>> round(interval.value, 3)
    0.889
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from spine_plugins.statistics import Array, Difference, Interval, placements

_NO_SPREAD = 1e-12  # of an AUC: less is rounding


@dataclass(frozen=True)
class Estimates:
    """What k trainings reached on the same images, and how the choice of patients moves them together."""

    values: Array  # [k]
    covariance: Array  # [k, k] of test sampling alone

    def chosen(self, runs: Sequence[int]) -> Estimates:
        """Only these trainings."""
        return Estimates(self.values[list(runs)], self.covariance[np.ix_(runs, runs)])


@dataclass(frozen=True)
class Replicates:
    """The trainings of one method: which, and which of them share what was drawn first (their GAN)."""

    runs: Sequence[int]  # places in an Estimates
    units: Sequence[Hashable] | None = None  # of each run; None: each alone

    def weights(self, k: int) -> Array:
        """[units, k]: each unit as the mean of its runs, however many it has."""
        units = list(self.units if self.units is not None else range(len(self.runs)))
        names = list(dict.fromkeys(units))
        found = np.zeros((len(names), k))
        for run, unit in zip(self.runs, units, strict=True):
            found[names.index(unit), run] += 1
        return found / found.sum(axis=1, keepdims=True)


# How the choice of patients moves a measure.


def auc_covariance(labels: ArrayLike, groups: Sequence[Hashable], *scores: ArrayLike) -> Estimates:
    """AUC of each score and their covariance when whole groups are drawn (Obuchowski 1997).

    With every group of size 1 this is the covariance of DeLong; NaN with fewer than two groups of a class.
    """
    y, member = np.asarray(labels).astype(bool), _members(groups)
    clusters = int(member.max()) + 1
    found = [placements(labels, s) for s in scores]
    of_positive = np.stack([p for p, _ in found], axis=1)  # [positives, k]
    of_negative = np.stack([n for _, n in found], axis=1)
    m, n = len(of_positive), len(of_negative)
    k = len(found)
    if not m or not n:
        return Estimates(np.full(k, np.nan), np.full((k, k), np.nan))
    values = of_positive.mean(axis=0)
    # Per group how far its placements are from what its images would have on average: [clusters, k]
    x = _sums(of_positive - values, member[y], clusters)
    z = _sums(of_negative - values, member[~y], clusters)
    with_positive, with_negative = len(np.unique(member[y])), len(np.unique(member[~y]))
    if with_positive < 2 or with_negative < 2:
        return Estimates(values, np.full((k, k), np.nan))
    # S10 / m + S01 / n + (S11 + its transpose) / (m n) of the paper, with its factors I / (I - 1).
    covariance = with_positive / (with_positive - 1) * (x.T @ x) / m**2
    covariance += with_negative / (with_negative - 1) * (z.T @ z) / n**2
    crossed = clusters / (clusters - 1) * (x.T @ z) / (m * n)
    return Estimates(values, covariance + crossed + crossed.T)


def mean_covariance(groups: Sequence[Hashable], *values: ArrayLike) -> Estimates:
    """Mean over images of each list (1 and 0 for right and wrong: accuracy), and their covariance.

    The ratio estimator of cluster samples: a group counts with as many images as it has.
    """
    member, columns = _members(groups), np.stack([np.asarray(v, dtype=np.float64) for v in values], axis=1)
    clusters, means = int(member.max()) + 1, columns.mean(axis=0)
    if clusters < 2:
        return Estimates(means, np.full((len(means), len(means)), np.nan))
    x = _sums(columns - means, member, clusters) / len(columns)
    return Estimates(means, clusters / (clusters - 1) * (x.T @ x))


# Several trainings of one method.


def replicated_interval(
    found: Estimates,
    method: Replicates,
    level: float = 0.95,
    *,
    by: str = "Obuchowski",  # whose covariance
) -> Interval:
    """Mean over the trainings with the interval of another patient sample and another training.

    On the logit scale, so that it ends before 0 and 1. One training knows nothing of others: its interval is
    of the patients alone. NaN bounds where nothing varies, as at an AUC of 1.
    """
    spread = _spread(found, method)
    name = f"{by}, {spread.units} trainings" if spread.units > 1 else f"{by}, one training"
    value, error = spread.value, np.sqrt(spread.variance)
    if not 0 < value < 1 or not error > _NO_SPREAD:
        return Interval(value, np.nan, np.nan, name)
    half = _quantile(level, spread.freedom) * error / (value * (1 - value))
    centre = special.logit(value)
    return Interval(value, float(special.expit(centre - half)), float(special.expit(centre + half)), name)


def replicated_difference(
    found: Estimates, first: Replicates, second: Replicates, level: float = 0.95, *, by: str = "Obuchowski"
) -> Difference:
    """Mean of the first method's trainings less the second's, on the same patients."""
    return replicated_contrast(found, [(1.0, first), (-1.0, second)], level, by=by)


def replicated_contrast(
    found: Estimates,
    terms: Sequence[tuple[float, Replicates]],  # a sum of methods' means, each with its factor
    level: float = 0.95,
    *,
    by: str = "Obuchowski",
) -> Difference:
    """A sum such as a difference or a slope over methods, paired by patient, and the test that it is 0."""
    spreads = [_spread(found, method) for _, method in terms]
    factors = [factor for factor, _ in terms]
    weight = sum((c * s.weight for c, s in zip(factors, spreads)), np.zeros(len(found.values)))
    # What all methods share by the choice of patients does not move their difference.
    by_test = float(weight @ found.covariance @ weight)
    beyond = sum(
        c**2 * (s.variance - float(s.weight @ found.covariance @ s.weight)) for c, s in zip(factors, spreads)
    )
    value, error = float(weight @ found.values), float(np.sqrt(max(by_test + beyond, 0.0)))
    # Satterthwaite: only the spreads of trainings were estimated from few.
    below = sum((c**2 * s.between) ** 2 / (s.units - 1) for c, s in zip(factors, spreads) if s.units > 1)
    freedom = error**4 / below if below > 0 else np.inf
    name = f"{by}, paired by patient; {' and '.join(str(s.units) for s in spreads)} trainings"
    if np.isnan(error):
        return Difference(value, np.nan, np.nan, np.nan, name)
    if error <= _NO_SPREAD:
        is_zero = abs(value) <= _NO_SPREAD
        return Difference(value, value, value, 1.0 if is_zero else 0.0, name)
    p_value = 2 * _t_below(-abs(value) / error, freedom)
    half = _quantile(level, freedom) * error
    return Difference(value, value - half, value + half, p_value, name)


@dataclass(frozen=True)
class VarianceSplit:
    """Where the variance of one training's value comes from; None: there was no second one to tell."""

    test: float  # another sample of patients
    seed: float | None  # the classifier's
    draw: float | None  # other images of the same GAN
    gan: float | None  # another training of the GAN


def variance_split(
    found: Estimates,
    draws: Sequence[Hashable],
    gans: Sequence[Hashable],
) -> VarianceSplit:
    """Variance components by unweighted means, negative ones 0; runs of one draw differ in their seed."""
    k = len(found.values)
    diagonal = found.covariance.diagonal().mean()
    apart = (found.covariance.sum() - found.covariance.trace()) / (k * (k - 1)) if k > 1 else diagonal
    # What the patients do to each run in its own way looks like a difference between seeds, and is not.
    own_noise = max(float(diagonal - apart), 0.0)
    cells: dict[Hashable, dict[Hashable, list[float]]] = {}
    for value, draw, gan in zip(found.values, draws, gans, strict=True):
        cells.setdefault(gan, {}).setdefault(draw, []).append(float(value))
    within = [values for by_draw in cells.values() for values in by_draw.values()]
    raw_seed = _pooled(within)
    means = [[float(np.mean(values)) for values in by_draw.values()] for by_draw in cells.values()]
    raw_draw = _pooled(means)
    raw_gan = _pooled([[float(np.mean(of_gan)) for of_gan in means]])
    # A mean of n seeds still moves by a part of their variance, and so on upwards.
    seed_noise = raw_seed if raw_seed is not None else own_noise
    from_seeds = seed_noise * float(np.mean([1 / len(values) for values in within]))
    draw_noise = max(raw_draw - from_seeds, 0.0) if raw_draw is not None else 0.0
    from_draws = float(np.mean([
        draw_noise / len(by_draw) + seed_noise / len(by_draw) ** 2 * sum(1 / len(v) for v in by_draw.values())
        for by_draw in cells.values()
    ]))  # fmt: skip
    return VarianceSplit(
        test=float(diagonal),
        seed=None if raw_seed is None else max(raw_seed - own_noise, 0.0),
        draw=None if raw_draw is None else draw_noise,
        gan=None if raw_gan is None else max(raw_gan - from_draws, 0.0),
    )


def chance_of_another_best(
    resampled: Array,  # [B, methods]: each method's value in every resample of patients
    between: Array,  # [methods]: variance of a method's mean by its trainings
    *,
    seed: int = 0,
) -> tuple[int, float]:
    """(best method, share of resamples in which another one is ahead)."""
    best = int(np.argmax(resampled.mean(axis=0)))
    noise = np.random.default_rng(seed).standard_normal(resampled.shape) * np.sqrt(between)
    ahead = np.argmax(resampled + noise, axis=1)
    return best, float((ahead != best).mean())


def between_trainings(found: Estimates, method: Replicates) -> float:
    """Variance of a method's mean by its trainings beyond what the choice of patients explains."""
    spread = _spread(found, method)
    return max(spread.variance - float(spread.weight @ found.covariance @ spread.weight), 0.0)


@dataclass(frozen=True)
class _Spread:
    """A method's mean and how it varies."""

    value: float
    weight: Array  # [k] of the runs in the mean
    variance: float
    between: float  # S^2 / units, the part that was estimated from few trainings
    units: int
    freedom: float


def _spread(found: Estimates, method: Replicates) -> _Spread:
    rows = method.weights(len(found.values))  # [units, k]
    units, weight = len(rows), rows.mean(axis=0)
    value = float(weight @ found.values)
    by_test = float(weight @ found.covariance @ weight)
    if units < 2:
        return _Spread(value, weight, by_test, 0.0, units, np.inf)
    covariance = rows @ found.covariance @ rows.T
    common = (covariance.sum() - covariance.trace()) / (units * (units - 1))
    mean_square = float(np.var(rows @ found.values, ddof=1))
    # MS / r + Cov2 of Obuchowski and Rockette; patients alone set the least.
    between = mean_square / units
    variance = max(between + max(float(common), 0.0), by_test)
    freedom = variance**2 / (between**2 / (units - 1)) if between > 0 else np.inf
    return _Spread(value, weight, variance, between, units, freedom)


def _pooled(samples: Sequence[Sequence[float]]) -> float | None:
    """Variance within samples, pooled; None if none has two values."""
    freedom = sum(len(sample) - 1 for sample in samples)
    if freedom < 1:
        return None
    return sum(float(np.var(sample)) * len(sample) for sample in samples) / freedom


def _members(groups: Sequence[Hashable]) -> NDArray[np.int64]:
    """[n]: the number of each image's group."""
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(group, len(numbers)) for group in groups], dtype=np.int64)


def _sums(rows: Array, member: NDArray[np.int64], clusters: int) -> Array:
    """[n, k] -> [clusters, k]"""
    found = np.zeros((clusters, rows.shape[1]))
    np.add.at(found, member, rows)
    return found


def _quantile(level: float, freedom: float) -> float:
    tail = (1 + level) / 2
    return float(special.ndtri(tail) if np.isinf(freedom) else special.stdtrit(freedom, tail))


def _t_below(value: float, freedom: float) -> float:
    return float(special.ndtr(value) if np.isinf(freedom) else special.stdtr(freedom, value))
