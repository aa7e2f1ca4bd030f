"""Does a network draw what it is asked for? Classes asked for against what another classifier sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spine_plugins.experiments import measured_again
from spine_plugins.experiments.curves import arm_interval
from spine_plugins.experiments.exports import UNKNOWN, Table, bounds, shown, with_bounds
from spine_plugins.experiments.measured_again import OfImages
from spine_plugins.experiments.predictions import Predictions, read_predictions
from spine_plugins.experiments.results import Experiment, Task
from spine_plugins.runs.documents import Document, as_dict, as_list, finite, read_json
from spine_plugins.statistics import Interval

_FEW_RIGHT = 0.6  # on real images: below, the classifier cannot judge a class


@dataclass(frozen=True)
class Matrix:
    """Of one arm, over its trainings."""

    arm: str
    title: str
    classes: tuple[str, ...]
    counts: np.ndarray  # [asked, seen]
    by_seed: dict[str, float]  # {GAN seed: share seen as asked}

    @property
    def shares(self) -> np.ndarray:
        """Rows sum to 1; NaN where nothing was asked."""
        asked = self.counts.sum(axis=1, keepdims=True)
        return np.divide(self.counts, asked, out=np.full(self.counts.shape, np.nan), where=asked > 0)


def matrices(experiment: Experiment) -> list[Matrix]:
    """One for each arm whose fakes were judged."""
    titles = {arm.name: arm.title for arm in experiment.arms}
    found: dict[str, list[tuple[Task, Predictions]]] = {}
    for task in experiment.of_kind("consistency"):
        path = experiment.output(task, "predictions.csv")
        table = read_predictions(path) if path is not None else None
        if table is not None:
            found.setdefault(task.fact("arm") or "?", []).append((task, table))
    return [_matrix(arm, titles.get(arm, arm), judged) for arm, judged in found.items()]


def _matrix(arm: str, title: str, judged: Sequence[tuple[Task, Predictions]]) -> Matrix:
    classes = judged[0][1].classes
    counts = np.zeros((len(classes), len(classes)), dtype=np.int64)
    by_seed = {}
    for task, table in judged:
        if table.classes != classes:
            continue
        own = confusion(table)
        counts += own
        by_seed[task.fact("gan_seed") or "0"] = float(own.trace() / max(own.sum(), 1))
    return Matrix(arm, title, classes, counts, by_seed)


def confusion(table: Predictions) -> np.ndarray:
    """[asked, seen] counts; rows whose label is no class are left out."""
    k = len(table.classes)
    asked = np.array([int(label) if label.isdigit() else -1 for label in table.labels])
    seen = table.probabilities.argmax(axis=1)
    usable = (asked >= 0) & (asked < k)
    return np.bincount(asked[usable] * k + seen[usable], minlength=k * k).reshape(k, k)


def table(experiment: Experiment) -> Table:
    """A row per arm and class: how many are seen as asked, as what else, and the class's own metrics."""
    title = "Consistency: classes asked for against classes seen by an independent classifier"
    made, cells, warnings = [], [], []
    level = experiment.analysis.level
    ceiling = _on_reals(experiment)
    for matrix in matrices(experiment):
        own = measured_again.of_classes(experiment, matrix.arm)
        warnings += [f"{matrix.title}: {text}" for text in measured_again.few_images(own)]
        for k, name in enumerate(matrix.classes):
            record = _record(matrix, k, ceiling.get(name), own.get(name, {}), level)
            made.append(record)
            cells.append(_cells(record, matrix))
        warnings += [] if len(matrix.by_seed) > 1 else [f"{matrix.title}: one training only."]
        made.append(_all(matrix, level))
        cells.append([f"{matrix.title}: all", str(matrix.counts.sum()),
                      *_right(as_dict(made[-1]["seen_as_asked"])), "", "", "", "", "", ""])  # fmt: skip
    weak = [name for name, share in ceiling.items() if share < _FEW_RIGHT]
    if weak:
        warnings.append(f"On real images the classifier itself finds few of: {', '.join(weak)}.")
    if not made:
        warnings.append("No fakes have been judged yet.")
    heads = ["Asked for", "fakes", "seen as asked", f"{100 * level:g} % interval", "most often seen as",
             "of real images", "FID", "KID", "recall", "real images"]  # fmt: skip
    notes = ["The classifier that judges was in no loss. Its share on real images is what could be reached."]
    if any(as_dict(record.get("metrics")) for record in made):
        notes.append(
            "FID, KID and recall compare fakes of a class with real images of that class; intervals are of "
            "other images, by halves. Recall goes in steps of 1 / real images."
        )
    return Table("consistency", title, made, heads, cells, {"level": level}, notes, warnings)


def _record(
    matrix: Matrix, k: int, on_reals: float | None, metrics: dict[str, OfImages], level: float
) -> Document:
    row = matrix.counts[k]
    n = int(row.sum())
    return {
        "arm": matrix.arm,
        "title": matrix.title,
        "class": matrix.classes[k],
        "asked": n,
        "seen": {name: int(count) for name, count in zip(matrix.classes, row)},
        "seen_as_asked": share_interval(int(row[k]), n, level).as_dict(),
        "most_often": matrix.classes[int(row.argmax())] if n else None,
        "on_real_images": on_reals,
        "metrics": {name: found.as_dict(level) for name, found in metrics.items()},
    }


def _all(matrix: Matrix, level: float) -> Document:
    right, n = int(matrix.counts.trace()), int(matrix.counts.sum())
    seeds = list(matrix.by_seed.values())
    # Trainings differ: with several of them theirs is the interval that counts.
    interval = arm_interval(seeds, n, level) if len(seeds) > 1 else share_interval(right, n, level)
    return {
        "arm": matrix.arm,
        "title": matrix.title,
        "class": None,
        "asked": n,
        "seen_as_asked": interval.as_dict(),
        "seeds": [{"seed": seed, "value": value} for seed, value in matrix.by_seed.items()],
    }


def share_interval(right: int, n: int, level: float) -> Interval:
    """Wilson's."""
    return arm_interval([right / n], n, level) if n else Interval(np.nan, np.nan, np.nan, "none asked")


def _cells(record: Document, matrix: Matrix) -> list[str]:
    metrics = {name: as_dict(found) for name, found in as_dict(record["metrics"]).items()}
    fid, kid, recall = (
        next((found for name, found in metrics.items() if word in name), {})
        for word in ("fid", "kid", "recall")
    )
    reals = next((found["num_real"] for found in metrics.values()), None)
    often = record["most_often"]
    return [
        f"{matrix.title}: {record['class']}",
        str(record["asked"]),
        *_right(as_dict(record["seen_as_asked"])),
        "itself" if often == record["class"] else str(often or ""),
        shown(record["on_real_images"]),
        UNKNOWN if fid.get("rank_deficient") else with_bounds(fid, _digits(fid)),
        with_bounds(kid, _digits(kid)),
        with_bounds(recall, 4),
        shown(reals, 0),
    ]


def _digits(found: Document) -> int:
    return 4 if (finite(found.get("value")) or 0) < 1 else 2


def _right(interval: Document) -> tuple[str, str]:
    return shown(interval["value"]), bounds(interval)


def _on_reals(experiment: Experiment) -> dict[str, float]:
    """Per class the share of real images that the judge finds, by its card or by `predict` tasks."""
    total: dict[str, np.ndarray] = {}
    for task in experiment.of_kind("classifier"):
        card = read_json(task.folder / "classifier.json") if task.fact("role") == "judge" else {}
        metrics = as_dict(card.get("metrics"))
        # Images that chose the epoch, where none were kept for the end.
        found = as_dict(metrics.get("test")) or as_dict(metrics.get("val"))
        names = map(str, as_list(card.get("class_names")))
        for k, (name, counts) in enumerate(zip(names, as_list(found.get("confusion")))):
            row = [finite(count) or 0.0 for count in as_list(counts)]
            total[name] = total.get(name, np.zeros(2)) + np.array([sum(row[k : k + 1]), sum(row)])
    for task in experiment.of_kind("predict"):
        path = experiment.output(task, "predictions.csv") if task.fact("role") == "judge" else None
        table = read_predictions(path) if path is not None else None
        if table is not None:
            for name, row, k in zip(table.classes, confusion(table), range(len(table.classes))):
                total[name] = total.get(name, np.zeros(2)) + np.array([row[k], row.sum()])
    return {name: float(right / n) for name, (right, n) in total.items() if n}
