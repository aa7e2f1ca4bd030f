"""What the tests look at, and what one of them answers; fakes of which some were exchanged for others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from spine_plugins.audit.inputs import Images, Inputs
from spine_plugins.audit.neighbours import ByReal, Found, Search
from spine_plugins.audit.permutation import Relabelling
from spine_plugins.statistics import Interval, bootstrap_interval
from stylegan2ada.protocols import JsonObject

RESAMPLES = 1000  # of intervals


@dataclass(frozen=True)
class Reals:
    """Training and held-out images in one list, and whom they show."""

    pixels: np.ndarray  # uint8 [n, C, H, W], training images first
    unit_of: np.ndarray  # int64 [n]
    unit_names: list[str]
    is_train: np.ndarray  # bool [units]
    labels: np.ndarray | None  # int64 [n] or float32 [n, c]; None unless both sets have them
    label_names: list[str] | None
    n_train: int  # images

    @property
    def n_units(self) -> int:
        return len(self.unit_names)

    def any_of_unit(self, values: np.ndarray) -> np.ndarray:
        """bool [units] from bool [n]."""
        found = np.zeros(self.n_units, dtype=bool)
        found[self.unit_of[values]] = True
        return found

    def largest_of_unit(self, values: np.ndarray) -> np.ndarray:
        """float64 [units] from [n]."""
        found = np.full(self.n_units, -np.inf)
        np.maximum.at(found, self.unit_of, values)
        return found

    def mean_of_unit(self, values: np.ndarray) -> np.ndarray:
        """float64 [units] from [n]."""
        return np.bincount(self.unit_of, values, self.n_units) / np.bincount(self.unit_of, None, self.n_units)


def pool(train: Images, holdout: Images) -> Reals:
    """Both sets of real images as the tests see them: their order says nothing."""
    names = list(dict.fromkeys([*train.units, *holdout.units]))
    number = {name: i for i, name in enumerate(names)}
    unit_of = np.array([number[name] for name in (*train.units, *holdout.units)], dtype=np.int64)
    is_train = np.zeros(len(names), dtype=bool)
    is_train[unit_of[: len(train)]] = True
    labels = None
    if train.labels is not None and holdout.labels is not None:
        if train.labels.shape[1:] == holdout.labels.shape[1:]:
            labels = np.concatenate([train.labels, holdout.labels])
    pixels = np.concatenate([train.pixels, holdout.pixels])
    return Reals(pixels, unit_of, names, is_train, labels, train.label_names, len(train))


@dataclass(frozen=True)
class Planted:
    """Doctored training images of one kind, of which a repeat plants some."""

    kind: str
    pixels: np.ndarray
    source: np.ndarray  # int64 [p]: the real image that each was made from
    labels: np.ndarray | None
    found: Found


@dataclass(frozen=True)
class Swap:
    """Some fakes exchanged for planted images."""

    removed: np.ndarray  # bool [m]
    planted: Planted
    chosen: np.ndarray  # int64: which of the planted images; none twice


@dataclass(frozen=True)
class Evidence:
    """All that was measured once, and that every test reads."""

    inputs: Inputs
    reals: Reals
    search: Search
    found: Found
    relabelling: Relabelling
    planted: Mapping[str, Planted]

    @property
    def fakes(self) -> Images:
        return self.inputs.fakes


@dataclass(frozen=True)
class Finding:
    """One test's answer; `more` is public and rounded by the caller, `private` never leaves private/."""

    statistic: float
    p_value: float
    estimate: Interval
    means: str  # what the estimate is, in a few words
    more: JsonObject = field(default_factory=dict)
    private: Mapping[str, np.ndarray] = field(default_factory=dict)  # columns of a table
    is_by_fake: bool = False  # a row of it is a fake; else a patient


@dataclass(frozen=True)
class NotRun:
    """Why a test could not be made."""

    reason: str


class Test(Protocol):
    """One of the six."""

    def finding(self) -> Finding:
        """Of the fakes as they are."""

    def p_value(self, swap: Swap | None = None) -> float:
        """Of the fakes as they are, or with some exchanged."""


def nearest_fakes(
    by_real: ByReal,
    swap: Swap | None,
    planted: ByReal | None,  # the same list, of the planted images
    n_fakes: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Distance and number of each real image's nearest fake; planted ones count from n_fakes on."""
    if swap is None or planted is None:
        return by_real.distance[:, 0], by_real.fake[:, 0]
    distance, number = _first(by_real, ~swap.removed)
    is_there = np.zeros(len(swap.planted.pixels), dtype=bool)
    is_there[swap.chosen] = True
    other, at = _first(planted, is_there)
    return np.minimum(distance, other), np.where(other < distance, n_fakes + at, number)


def _first(by_real: ByReal, is_there: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest that is there; infinitely far if none of those that were kept is."""
    there = is_there[by_real.fake]
    rank = there.argmax(axis=1)
    rows = np.arange(len(rank))
    distance = np.where(there[rows, rank], by_real.distance[rows, rank], np.inf)
    return distance, by_real.fake[rows, rank]


def excess(scores: np.ndarray, is_train: np.ndarray, seed: int, unit: str) -> Interval:
    """R = (rate of train - rate of hold-out) / (1 - rate of hold-out), resampled by patient."""

    def risk(weights: np.ndarray) -> np.ndarray:
        train, other = weights * is_train, weights * ~is_train
        with np.errstate(invalid="ignore", divide="ignore"):
            hit, control = ((w @ scores) / w.sum(axis=-1) for w in (train, other))
            return (hit - control) / (1 - control)

    return bootstrap_interval(
        risk, len(scores), range(len(scores)), resamples=RESAMPLES, seed=seed, unit=unit
    )
