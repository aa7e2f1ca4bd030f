"""ROC and calibration plots as PNG; matplotlib is only needed here."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import special, stats

from spine_plugins import statistics as st
from spine_plugins.classifier.answers import scores_of
from spine_plugins.classifier.cards import ClassMetrics, Metrics
from stylegan2ada import files
from stylegan2ada.errors import MissingError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from spine_plugins.classifier.labelled import LabelledImages

_INCHES, _DPI = (4.6, 4.4), 150
_MOST_CURVES = 13
_RESAMPLES = 200  # enough for a band that is looked at; the numbers in the legend have their own
Place = Literal["lower right", "upper left"]


def is_available() -> bool:
    return importlib.util.find_spec("matplotlib") is not None


def draw_roc(data: LabelledImages, logits: np.ndarray, metrics: Metrics, path: Path) -> None:
    """One curve per class with its 95% band; its AUC, interval and number of images in the legend."""
    assert data.task is not None
    figure, axes = _canvas("1 - specificity", "sensitivity")
    # The diagonal is a classifier that guesses.
    axes.plot([0, 1], [0, 1], color="0.7", lw=0.8, ls="--")
    grid = np.linspace(0, 1, 101)
    for y, score, row in _classes(data, scores_of(logits, data.task), metrics):
        false_positive, sensitivity, _ = st.roc_curve(y, score)
        label = f"{row['class']}: {st.interval_text(row['auc'], of='')}, n = {int(y.sum())} of {len(y)}"
        (line,) = axes.plot(false_positive, sensitivity, lw=1.3, label=label)
        low, high = _roc_band(y, score, data.groups, grid)
        axes.fill_between(grid, low, high, color=line.get_color(), alpha=0.15, lw=0)
    _write(figure, axes, path, "lower right")


def draw_calibration(data: LabelledImages, logits: np.ndarray, metrics: Metrics, path: Path) -> None:
    """Observed share against predicted probability, with a 95% band (Wilson); dots grow with their images."""
    assert data.task is not None
    figure, axes = _canvas("predicted probability", "observed share")
    # The diagonal is a classifier whose word can be taken.
    axes.plot([0, 1], [0, 1], color="0.7", lw=0.8, ls="--")
    for y, p, row in _classes(data, special.expit(scores_of(logits, data.task)), metrics):
        # Fewer bins than the ECE has: a dot of two or three images would be noise.
        found = st.reliability(y, p, bins=10)
        there = found.count > 0
        label = f"{row['class']}: ECE {row['ece']:.3f}, n = {int(y.sum())} of {len(y)}"
        (line,) = axes.plot(found.predicted[there], found.observed[there], lw=1.0, label=label)
        # Areas in points squared; the 4 keeps a nearly empty bin visible.
        sizes = 4 + 120 * found.count[there] / len(y)
        counts = found.count[there].astype(int)
        hits = np.rint(found.observed[there] * counts).astype(int)
        bands = [stats.binomtest(k, n).proportion_ci(method="wilson") for k, n in zip(hits, counts)]
        low, high = np.array([(band.low, band.high) for band in bands]).T
        axes.fill_between(found.predicted[there], low, high, color=line.get_color(), alpha=0.15, lw=0)
        axes.scatter(found.predicted[there], found.observed[there], s=sizes, color=line.get_color())
    _write(figure, axes, path, "upper left")


def _roc_band(
    y: np.ndarray, score: np.ndarray, groups: list[str] | None, grid: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Pointwise 95% of the sensitivity at each false positive rate, resampling whole groups."""
    rng, unit = np.random.default_rng(0), np.unique(groups or np.arange(len(y)), return_inverse=True)[1]
    members = [np.flatnonzero(unit == g) for g in range(unit.max() + 1)]
    curves = []
    for _ in range(_RESAMPLES):
        drawn = np.concatenate([members[g] for g in rng.integers(0, len(members), len(members))])
        if 0 < y[drawn].sum() < len(drawn):
            false_positive, sensitivity, _ = st.roc_curve(y[drawn], score[drawn])
            curves.append(np.interp(grid, false_positive, sensitivity))
    if not curves:
        return np.full(len(grid), np.nan), np.full(len(grid), np.nan)
    low, high = np.quantile(curves, [0.025, 0.975], axis=0)
    return low, high


def _classes(
    data: LabelledImages, scores: np.ndarray, metrics: Metrics
) -> list[tuple[np.ndarray, np.ndarray, ClassMetrics]]:
    """(labels, scores, row of the table) of the classes that can be measured."""
    assert data.targets is not None
    rows = [
        (data.targets[:, k], scores[:, k], row)
        for k, row in enumerate(metrics["per_class"])
        if row["auc"]["value"] is not None
    ]
    return rows[:_MOST_CURVES]


def _canvas(x_title: str, y_title: str) -> tuple[Figure, Axes]:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingError(
            "plots need matplotlib, which is not installed; run: pip install 'spinegan[report]'"
        ) from error
    figure = Figure(figsize=_INCHES, dpi=_DPI, layout="constrained")  # no pyplot: nothing global, no window
    axes = figure.subplots()
    # A little beyond 0 and 1, so that curves along the edges are not cut in half.
    axes.set(xlabel=x_title, ylabel=y_title, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    return figure, axes


def _write(figure: Figure, axes: Axes, path: Path, place: Place) -> None:
    axes.legend(loc=place, fontsize=7, frameon=False)
    # matplotlib would write its version into the file: after an update the same plot would differ.
    with files.atomic_write(path) as file:
        figure.savefig(file, format="png", metadata={"Software": None})
