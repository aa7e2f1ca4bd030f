"""Several runs as one table: settings that differ, and series that may stand on one pair of axes."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from spine_plugins.runs.documents import as_dict, finite
from spine_plugins.runs.naming import flat_options
from spine_plugins.runs.reading import Measured, Run
from spine_plugins.statistics import Interval
from stylegan2ada.training import run_files

Point = tuple[float, float]  # (kimg, value)

_NUMBER_IN_NAME = re.compile(r"(\d+)k")  # fid50k_full compares 50,000 fakes
_OFFICIAL_DETECTORS = {"ppl": "vgg16"}  # by the beginning of a metric's name; the others use Inception
_RESAMPLES = 2000
_FEWEST_PAIRS = 3


@dataclass(frozen=True)
class Setting:
    """One choice that is not the same in all runs."""

    name: str  # dotted, as in training_options.json
    values: list[str | None]  # by run; None: not said


@dataclass(frozen=True)
class Yardstick:
    """What a value was measured with; values of two yardsticks are never joined."""

    result: str  # e.g. fid50k_full
    detector: str
    num_fake: int | None
    sha256: str | None = None  # of a detector that is not the field's own

    def text(self) -> str:
        n = "unknown n" if self.num_fake is None else f"n = {self.num_fake:,}"
        which = self.detector if self.sha256 is None else f"{self.detector} {self.sha256[:8]}"
        return f"{self.result} ({which}, {n})"

    @property
    def is_low_better(self) -> bool:
        return self.result.startswith(run_files.LOWER_IS_BETTER)


def settings_that_differ(runs: list[Run]) -> list[Setting]:
    """Of training_options.json, the way to the run's own folder aside."""
    flat = [dict(flat_options(run.options)) for run in runs]
    names = dict.fromkeys(name for found in flat for name in found)
    rows = [Setting(name, [found.get(name) for found in flat]) for name in names]
    return [row for row in rows if len(set(row.values)) > 1]


def measurements(runs: list[Run]) -> dict[Yardstick, list[list[Point]]]:
    """{yardstick: by run [(kimg, value)]}; a run that was not measured with it has none."""
    found: dict[Yardstick, list[list[Point]]] = {}
    for i, run in enumerate(runs):
        for name, lines in run.metrics.items():
            for line in lines:
                if line.kimg is None:
                    continue
                for result, value in line.results.items():
                    series = found.setdefault(_yardstick(name, result, line), [[] for _ in runs])
                    series[i].append((line.kimg, value))
    return found


def _yardstick(metric: str, result: str, line: Measured) -> Yardstick:
    """What the record says; the official program's records say nothing, and its names all."""
    record = line.record
    start = next((s for s in _OFFICIAL_DETECTORS if metric.startswith(s)), "")
    detector = str(record.get("detector") or _OFFICIAL_DETECTORS.get(start, "inception"))
    known = finite(record.get("num_fake"))
    in_name = _NUMBER_IN_NAME.search(metric)
    n = int(known) if known is not None else 1000 * int(in_name[1]) if in_name else None
    own = str(record["detector_sha256"]) if record.get("is_comparable") is False else None
    return Yardstick(result, detector, n, own)


# What came of it.


@dataclass(frozen=True)
class Outcome:
    """One yardstick, run by run."""

    yardstick: Yardstick
    last: list[Point | None]
    best: list[Point | None]
    threshold: float | None  # the best value of the worst run: all have reached it
    reached: list[float | None]  # kimg at which each did


def outcome(yardstick: Yardstick, series: list[list[Point]]) -> Outcome:
    """Last and best values, and who was there first."""
    usable = [[point for point in points if math.isfinite(point[1])] for points in series]
    sign = 1 if yardstick.is_low_better else -1
    best = [min(points, key=lambda p: (sign * p[1], p[0]), default=None) for points in usable]
    values = [point[1] for point in best if point is not None]
    threshold = None
    reached: list[float | None] = [None] * len(series)
    if len(values) > 1:  # alone there is nothing to be faster than
        threshold = max(values, key=lambda v: sign * v)
        reached = [next((x for x, y in points if sign * y <= sign * threshold), None) for points in usable]
    return Outcome(yardstick, [p[-1] if p else None for p in usable], best, threshold, reached)


# Arms: runs that differ in their seed alone.


def arms(runs: list[Run]) -> list[list[int]]:
    """Runs (by index) with equal settings but for the seed; in the order of their first."""
    found: dict[tuple[tuple[str, str], ...], list[int]] = {}
    for i, run in enumerate(runs):
        same = tuple(sorted((k, v) for k, v in flat_options(run.options) if k != "random_seed"))
        found.setdefault(same, []).append(i)
    return list(found.values())


@dataclass(frozen=True)
class ArmDifference:
    """The best values of two arms, paired by seed: second minus first."""

    first: int  # the arm's number
    second: int
    pairs: int
    interval: Interval


def differences_of_arms(runs: list[Run], found: Outcome) -> list[ArmDifference]:
    """Between the first arm and each other one, where enough seeds are common to both."""
    groups = arms(runs)
    by_seed = [
        {str(runs[i].options.get("random_seed")): point[1] for i in arm if (point := found.best[i])}
        for arm in groups
    ]
    made = []
    for number in range(1, len(groups)):
        common = [seed for seed in by_seed[0] if seed in by_seed[number]]
        if len(common) >= _FEWEST_PAIRS:
            deltas = np.array([by_seed[number][seed] - by_seed[0][seed] for seed in common])
            made.append(ArmDifference(0, number, len(common), _paired_bootstrap(deltas)))
    return made


def _paired_bootstrap(deltas: np.ndarray) -> Interval:
    picked = np.random.default_rng(0).integers(0, len(deltas), size=(_RESAMPLES, len(deltas)))
    low, high = np.quantile(deltas[picked].mean(axis=1), [0.025, 0.975])
    method = f"bootstrap of {len(deltas)} pairs of seeds"
    return Interval(float(deltas.mean()), float(low), float(high), method)


# Cost.


def typical(run: Run, name: str) -> float | None:
    """The median of a statistic over the run's ticks, its first aside: that one warms up."""
    values = [y for _, y in run.series(name) if math.isfinite(y)]
    return float(np.median(values[1:] or values)) if values else None


def highest(run: Run, name: str) -> float | None:
    """The largest value of a statistic."""
    return max((y for _, y in run.series(name) if math.isfinite(y)), default=None)


def trained_by(run: Run) -> str:
    """Which program trained: ours writes its own part of the options, the official one none."""
    if run.ours:
        return f"spinegan {as_dict(run.ours.get('provenance')).get('version') or ''}".strip()
    return "the official program" if run.options else "unknown"


def rows_of_table(runs: list[Run], names: Iterable[str]) -> Iterator[tuple[str, str, float, float, str, str]]:
    """(run, name, kimg, value, detector, n) of every value, for a CSV."""
    for i, run in enumerate(runs):
        label = f"{chr(65 + i % 26)} {run.name}"
        for name in names:
            yield from ((label, name, x, y, "", "") for x, y in run.series(name))
        for yardstick, series in measurements(runs).items():
            n = "" if yardstick.num_fake is None else str(yardstick.num_fake)
            yield from ((label, yardstick.result, x, y, yardstick.detector, n) for x, y in series[i])
