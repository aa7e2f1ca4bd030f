"""How good scores are, and how sure that is: pure functions in float64, from labels and scores to numbers.

Labels are 0 or 1, scores any reals that order the images. Where `weights` are taken they count images, [n],
or, one row per bootstrap resample, [B, n]; the answer then has shape [B].

    >>> labels, scores = [0, 0, 0, 1, 1, 1], [0.1, 0.4, 0.6, 0.5, 0.8, 0.9]
    >>> interval = sp.statistics.delong_interval(labels, scores)
    >>> round(interval.value, 3), interval.method
    (0.889, 'DeLong')
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Array = NDArray[np.float64]
Weights = Array | NDArray[np.int64]  # how often each image counts: [n], or [B, n] for B resamples
Values = float | Array  # a number, or one per row of weights
_CHUNK_VALUES = 4_000_000  # of a bootstrap at once


class IntervalJson(TypedDict):
    """An Interval as cards and tables keep it; None where a number is undefined."""

    value: float | None
    low: float | None
    high: float | None
    method: str


@dataclass(frozen=True)
class Interval:
    """An estimate with the bounds of its interval and how they were found; NaN where undefined."""

    value: float
    low: float
    high: float
    method: str

    def as_dict(self) -> IntervalJson:
        """For JSON, which knows no NaN."""
        value, low, high = map(_finite, (self.value, self.low, self.high))
        return {"value": value, "low": low, "high": high, "method": self.method}

    def text(self, *, of: str = "95 %", between: str = " to ") -> str | None:
        """See interval_text."""
        return interval_text(self.as_dict(), of=of, between=between)


def interval_text(
    interval: Mapping[str, object],  # value, low and high, as a card or any other JSON has them
    *,
    of: str = "95 %",  # its level; "": the reader knows
    between: str = " to ",
) -> str | None:
    """`0.812 (95 % 0.754 to 0.866)`; without bounds `0.812`; None if there is no value."""
    value, low, high = (_finite(interval.get(name)) for name in ("value", "low", "high"))
    if value is None:
        return None
    if low is None or high is None:
        return f"{value:.3f}"
    return f"{value:.3f} ({of}{' ' if of else ''}{low:.3f}{between}{high:.3f})"


@dataclass(frozen=True)
class Difference:
    """Of two measures on the same images: first minus second."""

    value: float
    low: float
    high: float
    p_value: float  # two-sided, of no difference
    method: str


# Ranking


def auc(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> Values:
    """Share of (positive, negative) pairs in the right order, ties counting half; NaN without such pairs."""
    # Both [..., m], one entry per distinct score: ties have fallen together.
    positive, negative = _tallies(labels, scores, weights)
    # Per distinct score the negatives below it, and half of those beside it: O(n log n) instead of all pairs.
    below = np.cumsum(negative, axis=-1) - negative / 2
    pairs = positive.sum(axis=-1) * negative.sum(axis=-1)
    return _values(_ratio((positive * below).sum(axis=-1), pairs))


def average_precision(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> Values:
    """Area under the precision-recall curve as a sum of steps, thresholds at the distinct scores."""
    # From the highest score down, since a threshold chooses all that is at or above it.
    positive, negative = (part[..., ::-1] for part in _tallies(labels, scores, weights))
    hits = np.cumsum(positive, axis=-1)
    chosen = hits + np.cumsum(negative, axis=-1)
    # A resample may have drawn nothing so far: 0, because NaN would survive its factor of 0 positives.
    precision = np.divide(hits, chosen, out=np.zeros_like(hits), where=chosen > 0)
    # Steps, no trapezoids: lines between these points are too optimistic (Davis and Goadrich 2006).
    return _values(_ratio((positive * precision).sum(axis=-1), positive.sum(axis=-1)))


def roc_curve(
    labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None
) -> tuple[Array, Array, Array]:
    """(1 - specificity, sensitivity, thresholds) from (0, 0) to (1, 1); positive means score >= threshold."""
    positive, negative = (part[..., ::-1] for part in _tallies(labels, scores, weights))
    start = np.zeros((*positive.shape[:-1], 1))
    # No score reaches infinity: it is the threshold of (0, 0), where nothing is called positive.
    thresholds = np.append(np.inf, np.unique(np.asarray(scores, dtype=np.float64))[::-1])

    def curve(part: Array) -> Array:
        total = part.sum(axis=-1, keepdims=True)
        return np.concatenate([start, _ratio(np.cumsum(part, axis=-1), total)], axis=-1)

    return curve(negative), curve(positive), thresholds


def sensitivity_at_specificity(
    labels: ArrayLike, scores: ArrayLike, specificity: float = 0.9, weights: ArrayLike | None = None
) -> Values:
    """The best sensitivity of all thresholds whose specificity is at least so high (no interpolation)."""
    false_positive, sensitivity, _ = roc_curve(labels, scores, weights)
    # The slack is for rounding only: 1 of 10 false positives shall count as a specificity of 0.9.
    allowed = false_positive <= 1 - specificity + 1e-9
    # Only a threshold that exists can be applied to new images, so nothing is read off between two.
    best = np.where(allowed, sensitivity, 0).max(axis=-1)
    best = best + 0 * (false_positive + sensitivity)[..., -1]  # NaN where a class is missing
    return _values(best)


# Calibration


def brier(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Mean squared error of probabilities [n] to labels [n], or of rows [n, k] to one-hot rows, summed."""
    error = (np.asarray(probabilities, dtype=np.float64) - np.asarray(labels, dtype=np.float64)) ** 2
    # Summed over classes as in Brier (1950): two one-hot columns give twice the value of one column.
    return float(error.mean() if error.ndim == 1 else error.sum(axis=1).mean())


@dataclass(frozen=True)
class Reliability:
    """Per bin of predicted probability: how many, what was said, what was true. Empty bins are NaN."""

    count: Array
    predicted: Array
    observed: Array


def reliability(labels: ArrayLike, probabilities: ArrayLike, bins: int = 15) -> Reliability:
    """Bins of equal width over [0, 1]."""
    y, p = np.asarray(labels, dtype=np.float64), np.asarray(probabilities, dtype=np.float64)
    # A probability of exactly 1 belongs into the last bin, not into one beyond it.
    place = np.minimum((p * bins).astype(np.int64), bins - 1)
    count = np.bincount(place, minlength=bins).astype(np.float64)
    said, true = (np.bincount(place, values, minlength=bins) for values in (p, y))
    return Reliability(count, _ratio(said, count), _ratio(true, count))


def expected_calibration_error(labels: ArrayLike, probabilities: ArrayLike, bins: int = 15) -> float:
    """Mean distance between what was said and what was true over the bins, weighted by their counts."""
    found = reliability(labels, probabilities, bins)
    # Empty bins are NaN, which a count of 0 would not remove from the sum.
    gap = np.nan_to_num(np.abs(found.predicted - found.observed))
    return float((found.count * gap).sum() / found.count.sum())


# DeLong: the variance of an AUC from placement values (DeLong, DeLong and Clarke-Pearson 1988)


def placements(labels: ArrayLike, scores: ArrayLike) -> tuple[Array, Array]:
    """Per positive the share of negatives below, per negative the share of positives above; ties half."""
    y, s = _checked(labels, scores)
    positive, negative = s[y], s[~y]
    # The rank among all less the rank among one's own kind counts those of the other kind below: O(n log n).
    from scipy.stats import rankdata  # slow to import; readers of intervals need none of it

    everywhere = rankdata(s)  # midranks
    # Without the other kind there is no share: the 1 avoids 0 / 0, and delong_covariance answers NaN.
    of_positive = (everywhere[y] - rankdata(positive)) / max(len(negative), 1)
    of_negative = 1 - (everywhere[~y] - rankdata(negative)) / max(len(positive), 1)
    return of_positive, of_negative


def delong_covariance(labels: ArrayLike, *scores: ArrayLike) -> tuple[Array, Array]:
    """AUC [k] of k scores on the same images, and their covariance [k, k]."""
    found = [placements(labels, s) for s in scores]
    positives, negatives = np.stack([p for p, _ in found]), np.stack([n for _, n in found])
    m, n = positives.shape[1], negatives.shape[1]
    # One image of a kind has no sample variance: the AUC stands without an interval.
    if m < 2 or n < 2:
        return positives.mean(axis=1) if m and n else np.full(len(found), np.nan), np.full(
            (len(found), len(found)), np.nan
        )
    # S10 / m + S01 / n of the paper; np.cov of a single score is a number, hence atleast_2d.
    return positives.mean(axis=1), np.atleast_2d(np.cov(positives) / m + np.cov(negatives) / n)


def delong_interval(labels: ArrayLike, scores: ArrayLike, level: float = 0.95) -> Interval:
    """AUC with its normal interval, cut at 0 and 1; images count as independent."""
    values, covariance = delong_covariance(labels, scores)
    half = _normal_quantile(level) * float(np.sqrt(covariance[0, 0]))
    value = float(values[0])
    # The normal approximation knows no bounds: near an AUC of 1 its end would lie above perfection.
    return Interval(value, max(value - half, 0.0), min(value + half, 1.0), "DeLong")


def delong_difference(
    labels: ArrayLike, first: ArrayLike, second: ArrayLike, level: float = 0.95
) -> Difference:
    """AUC of the first minus AUC of the second score, paired on the same images."""
    values, covariance = delong_covariance(labels, first, second)
    difference = float(values[0] - values[1])
    # Scores of the same images rise and fall together; without the covariance hardly any gap would count.
    # Rounding can leave a tiny negative variance for scores that order alike.
    error = float(np.sqrt(max(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1], 0.0)))
    # Without any spread the quotient is 0 / 0 or infinite: then equal and different are both certain.
    if error > 1e-12:
        p_value = float(2 * special.ndtr(-abs(difference) / error))
    else:
        p_value = 1.0 if abs(difference) < 1e-12 else 0.0
    half = _normal_quantile(level) * error
    return Difference(difference, difference - half, difference + half, p_value, "DeLong, paired")


# Bootstrap


def bootstrap_counts(
    n: int,
    groups: Sequence[Hashable] | None = None,  # which images belong together; None: each alone
    *,
    resamples: int,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """[resamples, n]: how often each image is drawn when whole groups are drawn with replacement."""
    # Images of one patient are alike: drawn one by one, they would make the interval too narrow.
    member = np.arange(n) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1].ravel()
    assert len(member) == n, (len(member), n)
    g = int(member.max()) + 1
    # Counts say all about a draw with replacement, and a weighted statistic needs no copies of the images.
    drawn = rng.multinomial(g, np.full(g, 1 / g), size=resamples)
    # An image is drawn as often as its group, so the number of images differs between resamples.
    return drawn[:, member]


def bootstrap_values(
    statistic: Callable[[Weights], Values],
    n: int,
    groups: Sequence[Hashable] | None = None,
    *,
    resamples: int = 2000,
    seed: int = 0,  # the same one draws the same groups, for every statistic of these images
) -> Array:
    """[resamples]: a weighted statistic in every resample of whole groups."""
    # One generator for all chunks: a new one for each would repeat the same draws.
    rng = np.random.default_rng(seed)
    rows = max(1, _CHUNK_VALUES // n)  # all resamples at once would take gigabytes
    parts = [
        np.asarray(
            statistic(bootstrap_counts(n, groups, resamples=min(rows, resamples - start), rng=rng)),
            dtype=np.float64,
        )
        for start in range(0, resamples, rows)
    ]
    return np.concatenate(parts)


def bootstrap_interval(
    statistic: Callable[[Weights], Values],  # [B, n] -> [B], and [n] -> number
    n: int,
    groups: Sequence[Hashable] | None = None,
    *,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
    unit: str = "study",  # what a group is, for the name of the method
) -> Interval:
    """Percentile interval of a weighted statistic; resamples in which it is undefined (NaN) are left out."""
    values = bootstrap_values(statistic, n, groups, resamples=resamples, seed=seed)
    # The estimate is that of the data: the mean of the resamples would add the bootstrap's bias.
    value = float(statistic(np.ones(n)))
    return percentile_interval(value, values, level, "image" if groups is None else unit)


def percentile_interval(value: float, resampled: Array, level: float, unit: str) -> Interval:
    """An estimate with the percentiles of its resamples."""
    # A rare class may be missing from a resample; one NaN kept would make both percentiles NaN.
    usable = resampled[~np.isnan(resampled)]
    tails = (50 * (1 - level), 50 * (1 + level))
    low, high = np.percentile(usable, tails) if len(usable) else (np.nan, np.nan)
    name = f"{unit} bootstrap, {len(resampled)} resamples, percentile"
    return Interval(value, float(low), float(high), name)


def holm(p_values: ArrayLike) -> Array:
    """p-values adjusted for testing all of them (Holm 1979), in the order given."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    # The smallest of m counts m times, the next m - 1 times; a later one is never below an earlier one.
    stepped = np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p))))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1)
    return adjusted


def sigmoid(logits: ArrayLike) -> Array:
    """Logits to probabilities in float64."""
    return special.expit(np.asarray(logits, dtype=np.float64))


def _finite(value: object) -> float | None:
    """None for NaN, infinity and what is no number at all."""
    # To Python, True and False are integers; as an estimate they are a damaged file.
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # an integer that no float holds; JSON allows them
        return None


def _normal_quantile(level: float) -> float:
    # Two-sided: half of what the level leaves out lies beyond either end.
    return float(special.ndtri((1 + level) / 2))


def _checked(labels: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.bool_], Array]:
    y, s = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    if y.shape != s.shape or y.ndim != 1:
        raise ValueError(f"labels {y.shape} and scores {s.shape} must be lists of one length")
    if not np.isin(y, (0, 1)).all():
        raise ValueError("labels must be 0 or 1")
    # NaN would sort last and pass as the highest score without a word.
    if not np.isfinite(s).all():
        raise ValueError("scores must be finite")
    return y.astype(bool), s


def _tallies(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None) -> tuple[Array, Array]:
    """Weight of positives and of negatives per distinct score, ascending: [..., m] each."""
    y, s = _checked(labels, scores)
    w = np.ones(len(s)) if weights is None else np.asarray(weights, dtype=np.float64)
    # Images of one score cannot be told apart by a threshold: they are one step of every curve.
    order = np.argsort(s, kind="stable")
    # NaN differs from every score, so the first one starts a step like all others.
    starts = np.flatnonzero(np.diff(s[order], prepend=np.nan) != 0)
    w, y = w[..., order], y[order]
    return np.add.reduceat(w * y, starts, axis=-1), np.add.reduceat(w * ~y, starts, axis=-1)


def _ratio(above: ArrayLike, below: ArrayLike) -> Array:
    """Elementwise, NaN where the denominator is zero."""
    above, below = np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64)
    shape = np.broadcast_shapes(above.shape, below.shape)
    # `where` leaves the NaN of `out` standing, and NumPy has no division by zero to warn of.
    return np.divide(above, below, out=np.full(shape, np.nan), where=below != 0)


def _values(found: Array) -> Values:
    return float(found) if found.ndim == 0 else found
