"""Whether train patients and held-out patients could be exchanged: p-values by relabelling patients.

If the fakes know nothing of who was in the training set, every way to call as many patients `train` is as
likely as the true one. Whatever depends on the labels alone then has a known distribution, however the
fakes depend on each other: no independence of fakes is assumed, which a binomial test would need.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import stats

DRAWS = 2000


@dataclass(frozen=True)
class Tail:
    """A statistic and how often chance exceeds it."""

    statistic: float
    p_value: float
    which: int = 0  # of several statistics the one that stands out


@dataclass(frozen=True)
class Relabelling:
    """Which patients are `train`: the truth in column 0, then as many draws; uint8 [units, 1 + draws]."""

    labels: NDArray[np.uint8]

    @classmethod
    def draw(cls, is_train: np.ndarray, seed: int, draws: int = DRAWS) -> Relabelling:
        """`is_train` is bool [units]."""
        rng = np.random.default_rng(seed)
        truth = is_train.astype(np.uint8)[:, None]
        # As many patients of each kind as there are: only who they are is drawn.
        drawn = rng.permuted(np.repeat(truth, draws, axis=1), axis=0)
        return cls(np.concatenate([truth, drawn], axis=1))

    @property
    def truth(self) -> NDArray[np.bool_]:
        """bool [units]"""
        return self.labels[:, 0].astype(bool)

    @cached_property
    def _as_float(self) -> NDArray[np.float32]:
        # Products in float32 are fast, and exact enough for sums that are only compared.
        return self.labels.astype(np.float32)

    def linear(self, scores: np.ndarray) -> np.ndarray:
        """[k, 1 + draws]: the scores [k, units] summed over whoever is called train."""
        return np.atleast_2d(scores).astype(np.float32) @ self._as_float


def tail(values: np.ndarray) -> Tail:
    """Of the largest of several statistics [k, 1 + draws], standardised first; column 0 is what was seen.

    The observed column takes part in mean, deviation and count, so the p-value is never too small.
    """
    mean, deviation = values.mean(axis=1, keepdims=True), values.std(axis=1, keepdims=True)
    # A statistic that never changes says nothing, and must not divide by 0.
    steady = deviation < 1e-9 * np.maximum(np.abs(mean), 1)
    standardised = np.where(steady, 0.0, (values - mean) / np.where(steady, 1.0, deviation))
    largest = standardised.max(axis=0)
    # Rounding must not decide between equals.
    exceeds = largest >= largest[0] - 1e-9
    return Tail(float(largest[0]), float(exceeds.mean()), int(standardised[:, 0].argmax()))


def hits_tail(is_hit: np.ndarray, is_train: np.ndarray) -> Tail:
    """Of the number of train patients among those hit, bool [units]: exact, no draws are needed."""
    hits, of_train = int(is_hit.sum()), int((is_hit & is_train).sum())
    p_value = stats.hypergeom.sf(of_train - 1, len(is_hit), int(is_train.sum()), hits)
    return Tail(float(of_train), float(min(p_value, 1.0)))
