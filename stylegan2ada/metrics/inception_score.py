"""Inception score (Salimans et al. 2016): how sure and how varied a classifier's answers are."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class InceptionScore(NamedTuple):
    mean: float
    std: float  # over the splits, population


def inception_score(probs: ArrayLike, *, splits: int = 10) -> InceptionScore:
    """exp of the mean KL(p(y|x) || p(y)) of class probabilities [n, classes], in consecutive parts."""
    p = np.asarray(probs, dtype=np.float64)
    edges = [i * len(p) // splits for i in range(splits + 1)]
    # Of fewer images than parts some parts stay empty, and say nothing.
    scores = [_score(p[start:stop]) for start, stop in zip(edges[:-1], edges[1:]) if start < stop]
    return InceptionScore(float(np.mean(scores)), float(np.std(scores)))


def _score(p: np.ndarray) -> float:
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = p * (np.log(p) - np.log(p.mean(axis=0, keepdims=True)))
    return float(np.exp(np.where(p > 0, terms, 0).sum(axis=1).mean()))  # 0 log 0 = 0
