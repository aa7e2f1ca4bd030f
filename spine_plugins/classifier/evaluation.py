"""Logits and targets -> the measures of a classifier with intervals, and one row per image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from spine_plugins import statistics as st
from spine_plugins.classifier import answers
from spine_plugins.classifier.answers import Task, scores_of
from spine_plugins.classifier.cards import ClassMetrics, Metrics

if TYPE_CHECKING:
    from spine_plugins.classifier.labelled import LabelledImages

RESAMPLES = 2000
SPECIFICITY = 0.9
Statistic = Callable[[st.Weights], st.Values]
Measure = Callable[[np.ndarray, np.ndarray, st.Weights | None], st.Values]  # of labels and scores


def ranking_score(targets: np.ndarray, logits: np.ndarray, task: Task) -> float:
    """What an epoch is chosen by: the AUC, or its mean over the classes that have one."""
    return float(_macro(targets, scores_of(logits, task), None))


def evaluate(
    data: LabelledImages,
    logits: np.ndarray,  # [N, outputs]
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Metrics:
    """All measures as plain JSON values; intervals resample whole patients or studies where known."""
    assert data.targets is not None and data.task is not None
    # Ranking needs log odds, which never tie at 1; calibration needs probabilities. [n, outputs] each
    y, scores = data.targets, scores_of(logits, data.task)
    p = special.expit(scores)

    def interval(statistic: Statistic) -> st.IntervalJson:
        # One seed for every measure: all of them see the same resamples and differ for no other reason.
        found = st.bootstrap_interval(
            statistic, len(data), data.groups, resamples=resamples, seed=seed, unit=data.unit
        )
        return found.as_dict()

    per_class = [
        _one_class(name, y[:, k], scores[:, k], p[:, k], interval)
        for k, name in enumerate(answers.answered(data.task, data.class_names))
    ]
    result: Metrics = {
        "n": len(data),
        "task": data.task,
        "unit": data.unit,
        "n_groups": None if data.groups is None else len(set(data.groups)),
        "auc": interval(lambda w: _macro(y, scores, w)),
        "auprc": interval(lambda w: _mean_defined(y, scores, w, st.average_precision)),
        "accuracy": accuracy(y, scores, data.task),
        "brier": st.brier(y, p),
        "per_class": per_class,
        "ece": float(np.mean([row["ece"] for row in per_class])),
    }
    if answers.has_one_logit(data.task):
        (only,) = per_class
        result["auc_delong"] = only["auc_delong"]
        result["sensitivity_at_90_specificity"] = only["sensitivity_at_90_specificity"]
        if data.groups is None:  # images count as independent anyway: the closed form has no resampling noise
            result["auc"] = only["auc_delong"]
    if data.task == "multiclass":
        k = y.shape[1]
        # A number for each (true, said), so that one count fills the table of k x k.
        pairs = y.argmax(axis=1) * k + scores.argmax(axis=1)
        result["confusion"] = np.bincount(pairs, minlength=k * k).reshape(k, k).tolist()
    return result


def prediction_rows(
    data: LabelledImages, logits: np.ndarray, task: Task, class_names: Sequence[str]
) -> tuple[list[str], list[list[str]]]:
    """(header, rows): name, label, group, and a probability per class."""
    p = answers.class_probabilities(logits, task)
    groups = data.groups or [""] * len(data)
    labels = [""] * len(data)
    if data.targets is not None and data.task is not None:
        labels = answers.written(data.targets, data.task)
    rows = [
        [name, label, group, *(f"{value:.8g}" for value in values)]
        for name, label, group, values in zip(data.names, labels, groups, p, strict=True)
    ]
    return ["name", "label", "group", *(f"p_{name}" for name in class_names)], rows


def per_class_rows(metrics: Metrics) -> tuple[list[str], list[list[str | float | None]]]:
    """(header, rows) of the per-class table."""
    header = ["class", "n_positive"]
    for name in ("auc", "auprc", "sensitivity_at_90_specificity"):
        header += [name, f"{name}_low", f"{name}_high"]
    rows = []
    for entry in metrics["per_class"]:
        measured = (entry["auc"], entry["auprc"], entry["sensitivity_at_90_specificity"])
        values = [number for found in measured for number in (found["value"], found["low"], found["high"])]
        rows.append([entry["class"], entry["n_positive"], *values, entry["brier"], entry["ece"]])
    return [*header, "brier", "ece"], rows


def _one_class(
    name: str,
    y: np.ndarray,
    score: np.ndarray,
    p: np.ndarray,
    interval: Callable[[Statistic], st.IntervalJson],
) -> ClassMetrics:
    return {
        "class": name,
        "n_positive": int(y.sum()),
        "auc": interval(lambda w: st.auc(y, score, w)),
        "auc_delong": st.delong_interval(y, score).as_dict(),
        "auprc": interval(lambda w: st.average_precision(y, score, w)),
        "sensitivity_at_90_specificity": interval(
            lambda w: st.sensitivity_at_specificity(y, score, SPECIFICITY, w)
        ),
        "brier": st.brier(y, p),
        "ece": st.expected_calibration_error(y, p),
    }


def _macro(y: np.ndarray, scores: np.ndarray, weights: st.Weights | None) -> st.Values:
    return _mean_defined(y, scores, weights, st.auc)


def _mean_defined(
    y: np.ndarray, scores: np.ndarray, weights: st.Weights | None, measure: Measure
) -> st.Values:
    """Mean over the classes that occur and are not everywhere; NaN if one of them is lost in a resample."""
    # Chosen on all images, not per resample: a mean over changing classes would measure their mixture.
    columns = [k for k in range(y.shape[1]) if 0 < y[:, k].sum() < len(y)]
    if not columns:
        return np.nan if weights is None else np.full(weights.shape[:-1], np.nan)
    return np.stack([measure(y[:, k], scores[:, k], weights) for k in columns]).mean(axis=0)


def accuracy(y: np.ndarray, scores: np.ndarray, task: Task) -> float:
    """Right at even odds; with independent findings all of an image's must be right."""
    if task == "multiclass":
        return float((scores.argmax(axis=1) == y.argmax(axis=1)).mean())
    return float(((scores > 0) == (y > 0.5)).all(axis=1).mean())
