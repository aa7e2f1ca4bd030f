"""How sure a number is that rests on two sets of images: measured again on random halves of both.

A bootstrap with replacement puts images in twice. An image and its copy are nearest neighbours, which shrinks
the manifolds of precision and recall, and fewer different images raise FID. Halves drawn without replacement
have no copies, and for a mean over n images their spread is that of n images: the half has 2 / n of the
variance of one image, of which the finite set that it is drawn from takes one half away. (Half-sampling:
Efron 1982, chapter 8; Politis and Romano 1994 for statistics in general.) What all halves have in common,
such as an FID that is higher because images are fewer, is no spread and drops out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from spine_plugins.statistics import Interval

RESAMPLES = 100
MOST_FAKES = 10_000  # of a network: distances between a half of them are taken for every half
_METHOD = "halves of real and generated images"

Measure = Callable[[np.ndarray, np.ndarray], Mapping[str, float]]  # of rows of two sets


@dataclass(frozen=True)
class Resampled:
    """A measure of two sets, and the same of every pair of halves."""

    value: float
    halves: np.ndarray


def measure_again(
    measure: Measure,
    real: np.ndarray,
    fake: np.ndarray,
    groups: Sequence[object] | None,  # of the real images: whole groups go into a half
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Resampled]:
    """All results of `measure`. Equal real images and seeds give equal halves of them, whatever the fakes."""
    whole = measure(real, fake)
    found = [measure(real[r], fake[f]) for r, f in _halves(len(real), len(fake), groups, resamples, seed)]
    return {name: Resampled(value, np.array([one[name] for one in found])) for name, value in whole.items()}


def _halves(
    reals: int, fakes: int, groups: Sequence[object] | None, resamples: int, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Indices; every second pair is the complement of the one before, so that odd sets are halved fairly."""
    of_reals, of_fakes = np.random.default_rng([seed, 0]), np.random.default_rng([seed, 1])
    units = (
        np.arange(reals) if groups is None else np.unique([str(g) for g in groups], return_inverse=True)[1]
    )
    for _ in range(0, resamples, 2):
        parts = [_cut(of_reals, units), _cut(of_fakes, np.arange(fakes))]
        yield parts[0], parts[1]
        yield _others(reals, parts[0]), _others(fakes, parts[1])


def _cut(rng: np.random.Generator, units: np.ndarray) -> np.ndarray:
    number = int(units.max(initial=-1)) + 1
    return np.flatnonzero(np.isin(units, rng.permutation(number)[: number // 2]))


def _others(n: int, chosen: np.ndarray) -> np.ndarray:
    return np.setdiff1d(np.arange(n), chosen, assume_unique=True)


def image_interval(found: Sequence[Resampled], level: float, *, least: float, most: float) -> Interval:
    """Of the mean over networks that were measured against the same real images: had other images been taken.

    The halves of the real images are the same for all networks, so their luck stays, and that of the fakes
    evens out over networks.
    """
    value, halves = _means(found)
    spread = float(halves.std(ddof=1)) if len(halves) > 1 else math.nan
    if not math.isfinite(value) or not spread > 0:  # 0 of n in every half says nothing about the next image
        return Interval(value, math.nan, math.nan, f"{_METHOD}: none, all halves agree")
    half = _quantile(level) * spread
    return Interval(value, max(value - half, least), min(value + half, most), _METHOD)


def without_bias(found: Sequence[Resampled], level: float) -> Interval:
    """What a distance would be with images without end, whose plug-in bias goes as 1 / n; for FID.

    Halves have twice that bias, so their mean lies above the value by as much as the value above the limit.
    """
    value, halves = _means(found)
    if not math.isfinite(value) or len(halves) < 2:
        return Interval(math.nan, math.nan, math.nan, _METHOD)
    limit = 2 * value - float(halves.mean())
    half = _quantile(level) * float(halves.std(ddof=1))
    return Interval(limit, limit - half, limit + half, f"extrapolated from {_METHOD}")


def _means(found: Sequence[Resampled]) -> tuple[float, np.ndarray]:
    length = min((len(one.halves) for one in found), default=0)
    if not length:
        return (float(np.mean([one.value for one in found])) if found else math.nan), np.empty(0)
    halves = np.mean([one.halves[:length] for one in found], axis=0)
    return float(np.mean([one.value for one in found])), halves[np.isfinite(halves)]


def _quantile(level: float) -> float:
    return float(special.ndtri((1 + level) / 2))


def bounds_of(name: str) -> tuple[float, float]:
    """Between what a result can lie, by its name."""
    if name.endswith(("precision", "recall", "coverage")):
        return 0.0, 1.0
    return (
        -math.inf if name.startswith("kid") else 0.0
    ), math.inf  # the unbiased kernel distance may be negative
