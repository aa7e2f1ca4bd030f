"""The GANs of an experiment by what their metric files say: curves, last values, who was there first."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from spine_plugins.compare import joined
from spine_plugins.compare.joined import Point, Yardstick
from spine_plugins.experiments.results import Arm, Experiment, metric_records
from spine_plugins.runs.documents import Document, as_dict, finite, number
from spine_plugins.runs.reading import Measured, Run, read_run
from spine_plugins.statistics import Interval
from stylegan2ada.errors import UserError
from stylegan2ada.training import run_files

_SHARE_OF = {"precision": "num_fake", "recall": "num_real", "coverage": "num_real"}  # whose images they count


@dataclass(frozen=True)
class Trained:
    """One training of an arm."""

    arm: Arm
    seed: int | None
    run: Run


@dataclass(frozen=True)
class Series:
    """One yardstick: by training the (kimg, value) of every snapshot that was measured with it."""

    yardstick: Yardstick
    points: list[list[Point]]
    images: int | None  # that a share counts: its resolution is 1 / images

    @property
    def name(self) -> str:
        return self.yardstick.result


def trained(experiment: Experiment) -> list[Trained]:
    """All GANs that have begun, with the metrics of their run folders and of their tasks."""
    extra: dict[tuple[str | None, str | None], list[Document]] = {}
    for task in experiment.of_kind("metrics"):
        path = experiment.output(task, "metrics.json")
        if path is not None and task.facts.get("class") is None:
            key = (task.fact("arm"), task.fact("seed"))
            extra.setdefault(key, []).extend(metric_records(path))
    arms = {arm.name: arm for arm in experiment.arms}
    found = []
    for task in experiment.of_kind("gan"):
        arm = arms.get(task.fact("arm") or "")
        if arm is None:
            continue
        try:
            run = read_run(task.folder / "run")
        except UserError:  # not begun, or a network of another kind than has snapshots
            continue
        seed = finite(task.facts.get("seed"))
        more = extra.get((task.fact("arm"), task.fact("seed")), [])
        found.append(Trained(arm, None if seed is None else int(seed), _with(run, more)))
    order = list(arms)
    return sorted(found, key=lambda t: (order.index(t.arm.name), -1 if t.seed is None else t.seed))


def of_runs(title: str, runs: Sequence[Run]) -> list[Trained]:
    """Run folders as trainings of one arm, whoever started them."""
    loss = str(as_dict(runs[0].options.get("loss_kwargs")).get("class_name") or "").lower()
    name = "spine" if "spine" in loss else "ada" if "stylegan2" in loss or loss == "ada" else title
    arm = Arm(name, title, (), None, None, None, {})
    return [Trained(arm, i, run) for i, run in enumerate(runs)]


def _with(run: Run, records: Sequence[Document]) -> Run:
    """The run with further measurements; what stands in its own files counts."""
    metrics = {name: list(lines) for name, lines in run.metrics.items()}
    for record in records:
        name, kimg = str(record.get("metric")), run_files.kimg_of(str(record.get("snapshot_pkl") or ""))
        lines = metrics.setdefault(name, [])
        if kimg is None or any(line.kimg == kimg for line in lines):
            continue
        results = {key: number(value) for key, value in as_dict(record.get("results")).items()}
        lines.append(Measured(kimg, {k: v for k, v in results.items() if v is not None}, record))
        lines.sort(key=lambda line: -1 if line.kimg is None else line.kimg)
    return dataclasses.replace(run, metrics=metrics)


def series_of(runs: Sequence[Trained]) -> list[Series]:
    """What was measured, in the order of the paper's columns."""
    found = joined.measurements([t.run for t in runs])
    made = [Series(yardstick, points, _images(yardstick, runs)) for yardstick, points in found.items()]
    return sorted(made, key=lambda s: (_order(s.name), s.name))


def _order(name: str) -> int:
    parts = ("fid", "precision", "recall", "kid", "density", "coverage")
    return next((i for i, part in enumerate(parts) if part in name), len(parts))


def _images(yardstick: Yardstick, runs: Sequence[Trained]) -> int | None:
    count = next((of for word, of in _SHARE_OF.items() if yardstick.result.endswith(word)), None)
    counts = {
        finite(line.record.get(count))
        for t in runs
        for lines in t.run.metrics.values()
        for line in lines
        if count is not None and yardstick.result in line.results
    } - {None}
    return int(min(c for c in counts if c is not None)) if counts else None


def arm_interval(values: Sequence[float], images: int | None, level: float) -> Interval:
    """Mean over trainings, with the interval of other trainings and, for a share, of other images.

    The images of a share are drawn again with the other set's manifold held: the variance is binomial, what
    a bootstrap of them tends to. A distance such as FID cannot be drawn again from its value alone, so one
    training has no interval.
    """
    usable = np.array([v for v in values if math.isfinite(v)])
    if not len(usable):
        return Interval(np.nan, np.nan, np.nan, "not measured")
    mean, k = float(usable.mean()), len(usable)
    between = float(usable.var(ddof=1)) / k if k > 1 else 0.0
    tail = (1 + level) / 2
    name = f"t over {k} trainings" if k > 1 else "one training"
    if images is None:
        half = float(special.stdtrit(k - 1, tail)) * math.sqrt(between) if k > 1 else np.nan
        return Interval(mean, mean - half, mean + half, name)
    # Wilson's interval, with as many images as make its variance that of both sources together.
    inside = min(max(mean, 0.5 / images), 1 - 0.5 / images)
    binomial = inside * (1 - inside) / images
    variance = binomial + between
    z = float(special.ndtri(tail))
    if between > 0:
        z = float(special.stdtrit(variance**2 / (between**2 / (k - 1)), tail))
    n = inside * (1 - inside) / variance
    centre = (mean + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(mean * (1 - mean) / n + z * z / (4 * n * n))
    # At 0 of n the lower end is 0 but for rounding.
    low, high = max(centre - half, 0.0), min(centre + half, 1.0)
    return Interval(
        mean, 0.0 if mean == 0 else low, 1.0 if mean == 1 else high, f"Wilson, {images} images; {name}"
    )


@dataclass(frozen=True)
class Speed:
    """When the trainings of two arms reached what all of them have reached."""

    threshold: float
    reached: dict[int, float]  # {seed: kimg} of the arm
    against: dict[int, float]  # of the other
    difference: Interval  # kimg, paired by seed: the arm less the other; negative is faster


def speed(series: Series, runs: Sequence[Trained], arm: str, other: str, level: float) -> Speed | None:
    """kimg to the best value of the worst training of both; None where one was not measured."""
    chosen = [i for i, t in enumerate(runs) if t.arm.name in (arm, other) and series.points[i]]
    found = joined.outcome(series.yardstick, [series.points[i] for i in chosen])
    if found.threshold is None:
        return None
    by_arm: dict[str, dict[int, float]] = {arm: {}, other: {}}
    for i, kimg in zip(chosen, found.reached):
        seed = runs[i].seed
        if kimg is not None and seed is not None:
            by_arm[runs[i].arm.name][seed] = kimg
    if not by_arm[arm] or not by_arm[other]:
        return None
    common = sorted(by_arm[arm].keys() & by_arm[other].keys())
    deltas = np.array([by_arm[arm][seed] - by_arm[other][seed] for seed in common])
    return Speed(found.threshold, by_arm[arm], by_arm[other], _paired(deltas, level))


def _paired(deltas: np.ndarray, level: float) -> Interval:
    k = len(deltas)
    if not k:
        return Interval(np.nan, np.nan, np.nan, "no seed in common")
    mean = float(deltas.mean())
    if k < 2:
        return Interval(mean, np.nan, np.nan, "one pair of seeds")
    half = float(special.stdtrit(k - 1, (1 + level) / 2)) * float(deltas.std(ddof=1)) / math.sqrt(k)
    return Interval(mean, mean - half, mean + half, f"t over {k} pairs of seeds")


def band(points: Sequence[Sequence[Point]]) -> list[tuple[float, float, float, float]]:
    """(kimg, mean, lowest, highest) over the trainings of an arm, at every kimg that all of them have."""
    finite_only = [{x: y for x, y in p if math.isfinite(y)} for p in points if p]
    if not finite_only:
        return []
    common = set.intersection(*(set(p) for p in finite_only))
    at = ((x, [p[x] for p in finite_only]) for x in sorted(common))
    return [(x, float(np.mean(ys)), min(ys), max(ys)) for x, ys in at]
