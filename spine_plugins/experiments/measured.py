"""All classifiers of all rows on the same test images: estimates, their intervals, who is best."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np

from spine_plugins import statistics as st
from spine_plugins.clustered import (
    Estimates,
    Replicates,
    auc_covariance,
    between_trainings,
    chance_of_another_best,
    mean_covariance,
    replicated_interval,
    variance_split,
)
from spine_plugins.experiments import predictions
from spine_plugins.experiments.predictions import TestSet, Training
from spine_plugins.experiments.results import Analysis, Experiment, Row
from spine_plugins.runs.documents import Document

_SECONDARY = 500  # resamples of what no test rests on
_FEWEST_IMAGES = 10  # of each class in a subgroup
_SPECIFICITY = 0.9

Measure = Callable[[np.ndarray, np.ndarray, st.Weights | None], st.Values]


@dataclass(frozen=True)
class Measured:
    """All classifiers of all rows on the same images, side by side."""

    test: TestSet
    rows: list[Row]
    runs: list[Training]
    auc: Estimates
    auc_delong: Estimates  # as if no two images were of one patient
    accuracy: Estimates
    analysis: Analysis
    troubles: list[str]
    _resampled: dict[str, st.Array] = field(default_factory=dict)

    def resampled(self, row: Row) -> st.Array:
        """A row's mean AUC in every resample of patients: the same ones for every row; computed once."""
        if row.name not in self._resampled:
            y, scores = self.positives(), [self.runs[i].scores for i in self.of_row(row).runs]
            self._resampled[row.name] = st.bootstrap_values(
                lambda w: _mean_of(st.auc, y, scores, w),
                len(y),
                self.test.groups,
                resamples=self.analysis.resamples,
            )
        return self._resampled[row.name]

    def of_row(self, row: Row) -> Replicates:
        """Its runs; those that share what was drawn first are one unit."""
        places = [i for i, run in enumerate(self.runs) if run.row == row.name]
        for drawn in (lambda run: run.gan, lambda run: run.draw, lambda run: run.seed):
            units = [drawn(self.runs[i]) for i in places]
            if len(set(units)) > 1:
                return Replicates(places, units)
        return Replicates(places, [0] * len(places))

    def positives(self) -> np.ndarray:
        return (self.test.labels == 1).astype(int)


def measure(experiment: Experiment, rows: Sequence[Row]) -> Measured | None:
    """Everything that rests on predictions; None without a test set of two classes, or any prediction."""
    test = predictions.test_set_of(experiment)
    if test is None or len(test.classes) != 2 or len(set(test.labels)) != 2:
        return None
    by_row, troubles = predictions.trainings(experiment, test)
    runs = [run for row in rows for run in by_row.get(row.name, [])]
    if not runs:
        return None
    y = (test.labels == 1).astype(int)
    scores = [run.scores for run in runs]
    return Measured(
        test=test,
        rows=list(rows),
        runs=runs,
        auc=auc_covariance(y, test.groups, *scores),
        auc_delong=auc_covariance(y, range(len(y)), *scores),
        accuracy=mean_covariance(test.groups, *(run.said == test.labels for run in runs)),
        analysis=experiment.analysis,
        troubles=troubles,
    )


def secondary(m: Measured, row: Row) -> Document:
    """What stands beside the primary measure: other intervals, other measures, parts of the variance."""
    replicates, y = m.of_row(row), m.positives()
    runs = [m.runs[i] for i in replicates.runs]
    scores = [run.scores for run in runs]
    probabilities = [run.probabilities[:, 1] for run in runs]
    own = m.auc.chosen(replicates.runs)
    few = min(_SECONDARY, m.analysis.resamples)

    def interval(measure: Measure) -> st.IntervalJson:
        return st.bootstrap_interval(
            lambda w: _mean_of(measure, y, scores, w),
            len(y),
            m.test.groups,
            resamples=few,
            level=m.analysis.level,
            unit=m.test.unit,
        ).as_dict()

    split = variance_split(own, [run.draw for run in runs], [run.gan for run in runs])
    return {
        "auc_bootstrap": _bootstrap(m, row),
        "auc_delong": replicated_interval(m.auc_delong, replicates, m.analysis.level, by="DeLong").as_dict(),
        "variance": asdict(split),
        "auprc": interval(st.average_precision),
        "sensitivity_at_90_specificity": interval(_sensitivity),
        "brier": float(np.mean([st.brier(y, p) for p in probabilities])),
        "ece": float(np.mean([st.expected_calibration_error(y, p) for p in probabilities])),
        "subgroups": [gap for name, levels in m.test.attributes.items()
                      if (gap := _gap(m, name, levels, scores, few)) is not None],
    }  # fmt: skip


def _bootstrap(m: Measured, row: Row) -> st.IntervalJson:
    value = float(m.auc.values[list(m.of_row(row).runs)].mean())
    return st.percentile_interval(value, m.resampled(row), m.analysis.level, m.test.unit).as_dict()


def _sensitivity(y: np.ndarray, scores: np.ndarray, weights: st.Weights | None) -> st.Values:
    return st.sensitivity_at_specificity(y, scores, _SPECIFICITY, weights)


def _mean_of(
    measure: Measure, y: np.ndarray, scores: Sequence[np.ndarray], w: st.Weights | None
) -> st.Values:
    """Mean over the trainings, in every resample."""
    return sum(np.asarray(measure(y, s, w)) for s in scores) / len(scores)


def _gap(
    m: Measured, attribute: str, levels: Sequence[str], scores: Sequence[np.ndarray], resamples: int
) -> Document | None:
    """AUC in each subgroup, and between the best and the worst; None where fewer than two can be measured."""
    y, level_of = m.positives(), np.array(levels)
    members = {
        level: np.flatnonzero(level_of == level)
        for level in sorted(set(levels) - {""})
        if min(np.bincount(y[level_of == level], minlength=2)) >= _FEWEST_IMAGES
    }
    if len(members) < 2:
        return None

    def aucs(w: st.Weights) -> np.ndarray:  # [subgroups, ...]
        return np.stack([
            np.asarray(_mean_of(st.auc, y[i], [s[i] for s in scores], w[..., i]))
            for i in members.values()
        ])  # fmt: skip

    here = dict(zip(members, aucs(np.ones(len(y))).tolist()))
    best, worst = max(here, key=lambda k: here[k]), min(here, key=lambda k: here[k])
    b, w = list(members).index(best), list(members).index(worst)

    def gap(weights: st.Weights) -> st.Values:
        found = aucs(weights)
        difference = found[b] - found[w]
        return float(difference) if difference.ndim == 0 else difference

    found = st.bootstrap_interval(gap, len(y), m.test.groups, resamples=resamples, unit=m.test.unit)
    return {
        "attribute": attribute,
        "auc": [{"level": k, "n": len(members[k]), "auc": v} for k, v in here.items()],
        "best": best,
        "worst": worst,
        "gap": found.as_dict(),
    }


def best_row(m: Measured) -> Document | None:
    """The best of the rows that are no controls, and the chance that another sample would name another."""
    rows = [row for row in m.rows if not row.is_control and m.of_row(row).runs]
    if len(rows) < 2:
        return None
    between = [between_trainings(m.auc, m.of_row(row)) for row in rows]
    resampled = np.stack([m.resampled(row) for row in rows], axis=1)
    usable = resampled[~np.isnan(resampled).any(axis=1)]
    if not len(usable):
        return None
    best, chance = chance_of_another_best(usable, np.array(between))
    return {"row": rows[best].name, "title": rows[best].title, "chance_of_another": chance}
