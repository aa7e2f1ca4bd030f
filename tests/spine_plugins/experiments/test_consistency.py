"""Classes asked for against classes seen: counts, shares, intervals, per-class metrics, the ceiling."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import confusion_matrix

from spine_plugins.experiments import consistency
from spine_plugins.experiments.predictions import read_predictions
from spine_plugins.experiments.results import read_experiment
from stylegan2ada.files import write_json
from tests.spine_plugins.experiments.tree import KINDS, Tree


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    made = Tree(tmp_path).consistency("multi", 0, 0.7).consistency("multi", 1, 0.9)
    made.gans.append({"arm": "multi", "title": "MultiConditional", "seeds": [0, 1], "kimg": 4, "classes": 4})
    return made


def test_counts_are_those_of_scikit_learn(tree: Tree) -> None:
    (found,) = consistency.matrices(read_experiment(tree.plan()))
    expected = np.zeros((4, 4), dtype=int)
    for seed in (0, 1):
        table = read_predictions(tree.folder / "tasks" / f"consistency-multi-{seed}" / "predictions.csv")
        assert table is not None
        asked = [int(label) for label in table.labels]
        expected += confusion_matrix(asked, table.probabilities.argmax(axis=1), labels=range(4))
    assert np.array_equal(found.counts, expected)
    assert found.shares.sum(axis=1) == pytest.approx(np.ones(4))
    assert found.title == "MultiConditional" and found.classes == KINDS


def test_a_row_per_class_and_one_for_all(tree: Tree) -> None:
    table = consistency.table(read_experiment(tree.plan()))
    assert [r["class"] for r in table.records] == [*KINDS, None]
    first: Any = table.records[0]
    right = first["seen"]["No finding"]
    interval = stats.binomtest(right, first["asked"]).proportion_ci(method="wilson")
    assert first["seen_as_asked"]["low"] == pytest.approx(interval.low, rel=1e-9)
    both: Any = table.records[-1]
    assert [seed["seed"] for seed in both["seeds"]] == ["0", "1"]
    assert both["seen_as_asked"]["low"] < 0.7  # two trainings that differ say little of a third


def test_what_the_classifier_finds_on_real_images_is_the_ceiling(tree: Tree) -> None:
    rows = [[f"{i}.png", str(i % 4), "", *("0.7" if j == (0 if i % 4 == 3 else i % 4) else "0.1"
             for j in range(4))] for i in range(40)]  # fmt: skip
    tree.table("predict-judge", "predict", {"row": None, "role": "judge", "on": "eight"}, KINDS, rows)
    table = consistency.table(read_experiment(tree.plan()))
    assert [r.get("on_real_images") for r in table.records[:4]] == [1.0, 1.0, 1.0, 0.0]
    assert any("finds few of: Osteophytes" in text for text in table.warnings)


def test_the_judges_card_tells_what_it_finds_on_real_images(tree: Tree) -> None:
    place = tree.folder / "tasks" / "classifier-judge"
    place.mkdir()
    confusion = [[8, 2, 0, 0], [0, 10, 0, 0], [5, 0, 5, 0], [0, 0, 0, 0]]
    metrics = {"val": {"confusion": confusion}, "test": None}
    write_json(place / "classifier.json", {"class_names": list(KINDS), "metrics": metrics})
    tree.task("classifier-judge", "classifier", {"row": None, "role": "judge"}, ["classifier.json"])
    table = consistency.table(read_experiment(tree.plan()))
    assert [r.get("on_real_images") for r in table.records[:4]] == [0.8, 1.0, 0.5, None]


def test_metrics_of_a_class_stand_in_its_row(tree: Tree) -> None:
    for seed in (0, 1):
        of = {"class": KINDS[2], "num_real": 50}
        tree.quality("multi", seed, {"fid1k_tiny": 55.5 + seed, "pr1k3_tiny_recall": 0.02}, **of)
        of = {"class": KINDS[3], "num_real": 8, "num_features": 4}
        tree.quality("multi", seed, {"fid1k_tiny": 9.0, "pr1k3_tiny_recall": 0.5}, **of)
    table = consistency.table(read_experiment(tree.plan()))
    metrics: Any = table.records[2]["metrics"]
    fid, recall = metrics["fid1k_tiny"], metrics["pr1k3_tiny_recall"]
    assert fid["value"] == 56 and fid["low"] < 56 < fid["high"]  # of two trainings
    assert fid["without_bias"]["value"] < 56
    assert recall["resolution"] == 1 / 50 and 0 <= recall["low"] < 0.02 < recall["high"]
    # 128 features of 50 images: no covariance to compare.
    assert fid["rank_deficient"] and table.cells[2][6] == "\u2013"
    assert table.cells[2][8].startswith("0.0200 (0.0") and table.cells[2][9] == "50"
    assert table.cells[3][6].startswith("9.00 (")
    assert any("No FID is shown of 1 classes: 128 features of at most 50" in text for text in table.warnings)
    assert any("moves recall by more than 5 %: Osteophytes (8)" in text for text in table.warnings)
    assert table.records[1]["metrics"] == {}
    assert {len(cells) for cells in table.cells} == {len(table.heads)}


def test_nothing_judged_yet(tmp_path: Path) -> None:
    table = consistency.table(read_experiment(Tree(tmp_path).data().plan()))
    assert table.records == [] and table.warnings == ["No fakes have been judged yet."]
