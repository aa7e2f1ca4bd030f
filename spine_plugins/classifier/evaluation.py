"""Logits and targets -> the measures of a classifier with intervals, and one row per image."""

from __future__ import annotations

import csv
import io
import math
from typing import Any

import numpy as np
from scipy import special

from spine_plugins import statistics as st
from spine_plugins.classifier.labelled import LabelledImages

RESAMPLES = 2000
SPECIFICITY = 0.9


def scores_of(logits: np.ndarray, task: str) -> np.ndarray:
    """float64 [N, k] log odds of each class against the rest: they rank without saturating."""
    z = logits.astype(np.float64)
    if task != "multiclass":
        return z
    others = np.where(np.eye(z.shape[1], dtype=bool), -np.inf, z[:, None, :])  # [N, k, k], itself left out
    return z - special.logsumexp(others, axis=2)


def ranking_score(targets: np.ndarray, logits: np.ndarray, task: str) -> float:
    """What an epoch is chosen by: the AUC, or its mean over the classes that have one."""
    return float(_macro(targets, scores_of(logits, task), None))


def evaluate(
    data: LabelledImages,
    logits: np.ndarray,  # [N, k]
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """All measures as plain JSON values; intervals resample whole patients or studies where known."""
    assert data.targets is not None and data.task is not None
    y, scores = data.targets, scores_of(logits, data.task)
    p = special.expit(scores)

    def interval(statistic: Any) -> dict[str, Any]:
        found = st.bootstrap_interval(
            statistic, len(data), data.groups, resamples=resamples, seed=seed, unit=data.unit
        )
        return found.as_dict()

    names = data.class_names[1:] if data.task == "binary" else data.class_names
    result: dict[str, Any] = {
        "n": len(data),
        "task": data.task,
        "unit": data.unit,
        "n_groups": None if data.groups is None else len(set(data.groups)),
        "auc": interval(lambda w: _macro(y, scores, w)),
        "auprc": interval(lambda w: _mean_defined(y, scores, w, st.average_precision)),
        "accuracy": _accuracy(y, scores, data.task),
        "brier": st.brier(y[:, 0], p[:, 0]) if data.task == "binary" else st.brier(y, p),
        "per_class": [
            _one_class(name, y[:, k], scores[:, k], p[:, k], interval) for k, name in enumerate(names)
        ],
    }
    result["ece"] = float(np.mean([row["ece"] for row in result["per_class"]]))
    if data.task == "binary":
        only = result["per_class"][0]
        result |= {key: only[key] for key in ("auc_delong", "sensitivity_at_90_specificity")}
        if data.groups is None:  # images count as independent anyway: the closed form has no resampling noise
            result["auc"] = only["auc_delong"]
    if data.task == "multiclass":
        k = y.shape[1]
        pairs = y.argmax(axis=1) * k + scores.argmax(axis=1)
        result["confusion"] = np.bincount(pairs, minlength=k * k).reshape(k, k).tolist()  # [true][said]
    return _plain(result)


def prediction_rows(
    data: LabelledImages, logits: np.ndarray, task: str, class_names: list[str]
) -> tuple[list[str], list[list[Any]]]:
    """(header, rows): name, label, group, and a probability per class."""
    p = special.expit(scores_of(logits, task))
    if task == "binary":
        p = np.concatenate([1 - p, p], axis=1)
    groups = data.groups or [""] * len(data)
    rows = [
        [name, label, group, *(f"{value:.8g}" for value in values)]
        for name, label, group, values in zip(data.names, _written(data), groups, p, strict=True)
    ]
    return ["name", "label", "group", *(f"p_{name}" for name in class_names)], rows


def per_class_rows(metrics: dict[str, Any]) -> tuple[list[str], list[list[Any]]]:
    """(header, rows) of the per-class table."""
    header = ["class", "n_positive"]
    measured = ("auc", "auprc", "sensitivity_at_90_specificity")
    header += [f"{name}{end}" for name in measured for end in ("", "_low", "_high")] + ["brier", "ece"]
    rows = []
    for entry in metrics["per_class"]:
        values = [entry[name][part] for name in measured for part in ("value", "low", "high")]
        rows.append([entry["class"], entry["n_positive"], *values, entry["brier"], entry["ece"]])
    return header, rows


def as_csv(header: list[str], rows: list[list[Any]]) -> bytes:
    """UTF-8 with Unix line ends; missing values are empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([header, *rows])
    return text.getvalue().encode()


def _one_class(name: str, y: np.ndarray, score: np.ndarray, p: np.ndarray, interval: Any) -> dict[str, Any]:
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


def _macro(y: np.ndarray, scores: np.ndarray, weights: np.ndarray | None) -> Any:
    return _mean_defined(y, scores, weights, st.auc)


def _mean_defined(y: np.ndarray, scores: np.ndarray, weights: np.ndarray | None, measure: Any) -> Any:
    """Mean over the classes that occur and are not everywhere; NaN if one of them is lost in a resample."""
    columns = [k for k in range(y.shape[1]) if 0 < y[:, k].sum() < len(y)]
    if not columns:
        return np.nan if weights is None else np.full(weights.shape[:-1], np.nan)
    return np.mean([measure(y[:, k], scores[:, k], weights) for k in columns], axis=0)


def _accuracy(y: np.ndarray, scores: np.ndarray, task: str) -> float:
    """Right at even odds; with independent findings all of an image's must be right."""
    if task == "multiclass":
        return float((scores.argmax(axis=1) == y.argmax(axis=1)).mean())
    return float(((scores > 0) == (y > 0.5)).all(axis=1).mean())


def _written(data: LabelledImages) -> list[str]:
    if data.targets is None:
        return [""] * len(data)
    if data.task == "multiclass":
        return [str(k) for k in data.targets.argmax(axis=1)]
    return [" ".join(str(int(v)) for v in row) for row in data.targets]


def _plain(value: Any) -> Any:
    """NaN is null in JSON."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
