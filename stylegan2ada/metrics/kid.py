"""Kernel distance (Binkowski et al. 2018): unbiased MMD^2 with k(x, y) = (x.y / d + 1)^3, over subsets."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from stylegan2ada.metrics.fid import check_features

Random = int | np.random.RandomState | np.random.Generator  # a number is the seed of a generator


def kid(
    real: ArrayLike,
    fake: ArrayLike,
    *,
    subsets: int = 100,
    max_size: int = 1000,
    rng: Random | None = None,  # None: a generator of its own, always the same
) -> float:
    """Mean over subsets of the unbiased MMD^2 between real [n, d] and fake [m, d].

    Computed in the precision of the features: float32, as detectors give them, repeats the reference program.
    Per subset rng is asked for a `choice` for fakes first, then for reals.
    """
    return float(np.mean(kid_subsets(real, fake, subsets=subsets, max_size=max_size, rng=rng)))


def kid_subsets(
    real: ArrayLike,
    fake: ArrayLike,
    *,
    subsets: int = 100,
    max_size: int = 1000,
    rng: Random | None = None,
) -> np.ndarray:
    """The value of each subset, [subsets]; their spread is what a bootstrap would call the noise of one."""
    reals, fakes = np.asarray(real), np.asarray(fake)
    check_features(reals, fakes)
    if rng is None or isinstance(rng, int | np.integer):
        rng = np.random.default_rng(rng or 0)
    size = min(len(reals), len(fakes), max_size)
    assert size >= 2, f"KID needs two images of each kind, not {size}"
    values = np.empty(subsets)
    for i in range(subsets):
        # Without replacement: a repeated image, paired with itself, would bias the mean.
        x = fakes[rng.choice(len(fakes), size, replace=False)]
        y = reals[rng.choice(len(reals), size, replace=False)]
        values[i] = _unbiased_mmd2(x, y)
    return values


def _unbiased_mmd2(x: np.ndarray, y: np.ndarray) -> float:
    # Unbiased: pairs of an image with itself (the diagonal) say nothing about the distribution.
    m = len(x)
    within = _kernel(x, x) + _kernel(y, y)
    across = _kernel(x, y)
    return ((within.sum() - np.trace(within)) / (m - 1) - across.sum() * 2 / m) / m


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x @ y.T / x.shape[1] + 1) ** 3
