"""The test set of an experiment and what its classifiers said of it, image by image."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spine_plugins.experiments.results import Experiment, Task
from spine_plugins.runs.dataset import description
from spine_plugins.runs.documents import Document, as_dict, as_list, finite, read_json, read_text, whole
from stylegan2ada.data.splits import groups_in_table

_MOST_LEVELS = 8  # of an attribute that makes subgroups
_SIDE_FILES = ("attributes.csv", "factors.csv")  # X_attributes.csv beside X.zip: the user's, the phantoms'


@dataclass(frozen=True)
class TestSet:
    """The images that all rows were measured on."""

    names: list[str]
    labels: np.ndarray  # [n] the class's number
    groups: list[str]  # per image its patient, study, or itself
    unit: str  # what a group is
    classes: tuple[str, ...]
    attributes: dict[str, list[str]]  # {name: per image}: what makes subgroups

    @property
    def n_groups(self) -> int:
        return len(set(self.groups))


@dataclass(frozen=True)
class Training:
    """One classifier of a row, and what it said of the test images."""

    row: str
    seed: int | None
    draw: int | None
    gan: int | None
    probabilities: np.ndarray  # [n, classes] in the order of the test set
    train_images: int | None
    steps: int | None
    task: Task
    classifier_command: str  # that trained it

    @property
    def scores(self) -> np.ndarray:
        """Log odds of the second of two classes: probabilities near 1 still differ."""
        p = np.maximum(self.probabilities, 1e-300)
        return np.log(p[:, 1]) - np.log(p[:, 0])

    @property
    def said(self) -> np.ndarray:
        return self.probabilities.argmax(axis=1)


@dataclass(frozen=True)
class Predictions:
    """A table of `spinegan classify predict`."""

    names: list[str]
    labels: list[str]
    groups: list[str]
    classes: tuple[str, ...]
    probabilities: np.ndarray  # [n, classes]


def read_predictions(path: Path) -> Predictions | None:
    """The table, or None if it is none."""
    rows = list(csv.reader(io.StringIO(read_text(path))))
    if len(rows) < 2 or rows[0][:3] != ["name", "label", "group"] or len(rows[0]) < 5:
        return None
    try:
        p = np.array([[float(value) for value in row[3:]] for row in rows[1:]])
    except ValueError:
        return None
    if p.ndim != 2 or not np.isfinite(p).all():
        return None
    columns = zip(*(row[:3] for row in rows[1:]))
    names, labels, groups = (list(column) for column in columns)
    return Predictions(names, labels, groups, tuple(head.removeprefix("p_") for head in rows[0][3:]), p)


def read_test_set(path: Path) -> TestSet | None:
    """Labels, patients and attributes of a data set; None if it cannot be read or has no classes."""
    meta = description(path)
    labels = {
        str(entry[0]): number
        for entry in map(as_list, as_list(meta.get("labels")))
        if len(entry) == 2 and (number := _class_number(entry[1])) is not None
    }
    if not labels:
        return None
    names = sorted(labels)
    table = {str(k): {str(a): None if b is None else str(b) for a, b in as_dict(v).items()}
             for k, v in as_dict(meta.get("groups")).items()}  # fmt: skip
    groups, unit = groups_in_table(table, names) if table else (names, "image")
    classes = tuple(map(str, as_list(meta.get("label_names"))))
    numbers = np.array([labels[name] for name in names])
    if len(classes) <= numbers.max():
        classes = tuple(f"class {k}" for k in range(max(int(numbers.max()) + 1, 2)))
    return TestSet(names, numbers, groups, unit, classes, _attributes(path, names))


def _class_number(label: object) -> int | None:
    """Of an exclusive class: its number, or the place of the 1; None for several findings or none."""
    if isinstance(label, list):
        values = [finite(value) for value in label]
        if len(values) == 1 and values[0] in (0, 1):
            return int(values[0])
        return values.index(1.0) if sorted(v or 0 for v in values) == [0] * (len(values) - 1) + [1] else None
    return whole(label)


def _attributes(path: Path, names: Sequence[str]) -> dict[str, list[str]]:
    """{attribute: level of each image} of tables beside the data set, where there are few levels."""
    stem = path.stem if path.suffix == ".zip" else path.name
    found: dict[str, list[str]] = {}
    for ending in _SIDE_FILES:
        rows = list(csv.DictReader(io.StringIO(read_text(path.with_name(f"{stem}_{ending}")))))
        if not rows:
            continue
        key = next(iter(rows[0]))  # the first column names the image
        by_name = {str(row.get(key)): row for row in rows}
        if not all(name in by_name for name in names):
            continue
        for column in (c for c in rows[0] if c not in (key, None, "split")):
            levels = [str(by_name[name].get(column) or "") for name in names]
            if 2 <= len(set(levels) - {""}) <= _MOST_LEVELS:
                found.setdefault(column, levels)
    return found


def test_set_of(experiment: Experiment) -> TestSet | None:
    """The test set by its file, or else as the predictions have it."""
    path = experiment.data("test")
    found = read_test_set(path) if path is not None and path.exists() else None
    if found is not None:
        return found
    for task in experiment.of_kind("predict"):
        file = experiment.output(task, "predictions.csv") if _is_of_row(task) else None
        table = read_predictions(file) if file is not None else None
        if table is not None and all(label.isdigit() for label in table.labels):
            known = any(table.groups)
            groups = [g or f"alone: {n}" for g, n in zip(table.groups, table.names)] if known else table.names
            labels = np.array([int(label) for label in table.labels])
            return TestSet(table.names, labels, groups, "patient" if known else "image", table.classes, {})
    return None


def _is_of_row(task: Task) -> bool:
    return task.fact("row") is not None and (task.fact("role") or "arm") == "arm"


def trainings(experiment: Experiment, test: TestSet) -> tuple[dict[str, list[Training]], list[str]]:
    """({row: its classifiers}, sentences about predictions that could not be used)."""
    found: dict[str, list[Training]] = {}
    troubles = []
    for task in experiment.of_kind("predict"):
        if not _is_of_row(task) or not task.is_done or (task.fact("on") or "test") != "test":
            continue
        path = experiment.output(task, "predictions.csv")
        if path is None:
            troubles.append(f"{task.id}: its predictions are not there any more, or were changed; left out")
            continue
        table = read_predictions(path)
        place = {} if table is None else {name: i for i, name in enumerate(table.names)}
        if table is None or not all(name in place for name in test.names):
            troubles.append(f"{task.id}: its predictions are not of the test images; left out")
            continue
        row = str(task.fact("row"))
        found.setdefault(row, []).append(Training(
            row=row,
            seed=whole(task.facts.get("seed")),
            draw=whole(task.facts.get("draw")),
            gan=whole(task.facts.get("gan_seed")),
            probabilities=table.probabilities[[place[name] for name in test.names]],
            train_images=whole(task.facts.get("train_images")),
            steps=whole(task.facts.get("steps")),
            task=task,
            classifier_command=_trainer(experiment, task),
        ))  # fmt: skip
    return found, troubles


def _trainer(experiment: Experiment, prediction: Task) -> str:
    """The command of the classifier whose predictions these are: the one with the same facts."""
    same = ("row", "arm", "gan_seed", "draw", "seed")
    for task in experiment.of_kind("classifier"):
        is_final = (task.fact("role") or "arm") == "arm"  # a warm start has one before
        if is_final and all(task.facts.get(name) == prediction.facts.get(name) for name in same):
            return task.command
    return ""


def history(experiment: Experiment, row: str) -> list[list[Document]]:
    """Of each classifier of a row what happened epoch by epoch, from its card."""
    found = []
    for task in experiment.of_kind("classifier"):
        if task.fact("row") == row and task.is_done and (task.fact("role") or "arm") == "arm":
            cards = [read_json(p) for p in sorted(task.folder.glob("classifier*.json"))]
            epochs = next((as_list(card.get("history")) for card in cards if card.get("history")), [])
            if epochs:
                found.append([as_dict(epoch) for epoch in epochs])
    return found
