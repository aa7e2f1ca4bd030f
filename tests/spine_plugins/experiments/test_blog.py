"""The blog's experiments: accuracies with intervals, what more transforms do, curves by epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spine_plugins.experiments import blog
from spine_plugins.experiments.predictions import read_predictions
from spine_plugins.experiments.results import read_experiment
from stylegan2ada.files import write_json
from tests.spine_plugins.experiments.tree import Tree

DOSES = ("none", "flip", "flip-rotate", "flip-rotate-zoom")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    made = Tree(tmp_path_factory.mktemp("out"), patients=120).data()
    for dose, augment in enumerate(DOSES):
        name = f"real-{augment}"
        against = None if dose == 0 else "real-none"
        made.row(name, 2.4 - 0.6 * dose, group="blog", paper=0.92, against=against, train=["real"])
        for seed in range(3):
            facts = {"row": name, "arm": None, "gan_seed": None, "draw": None, "seed": seed, "role": "arm"}
            command = ["spinegan", "classify", "train", f"--augment={augment}"]
            made.task(f"classifier-{name}-{seed}", "classifier", facts, ["classifier.json"], command=command)
    made.row("warm", 2.4, group="blog", paper=0.93, against="real-none", arm="dcgan", train=["real"])
    made.plan()
    return made


def test_accuracies_are_shares_of_right_answers(tree: Tree) -> None:
    table = blog.table(read_experiment(tree.folder))
    first: Any = table.records[0]
    shares = []
    for seed in range(3):
        found = read_predictions(tree.folder / "tasks" / f"predict-real-none-{seed}" / "predictions.csv")
        assert found is not None
        shares.append(np.mean(found.probabilities.argmax(axis=1) == tree.labels))
    assert first["accuracy"]["value"] == pytest.approx(np.mean(shares), abs=1e-9)
    assert first["accuracy"]["low"] < first["accuracy"]["value"] < first["accuracy"]["high"]
    assert first["verdict"] in ("inside", "outside")
    worst: Any = table.records[3]
    assert worst["difference"]["against"] == "real-none"
    assert worst["difference"]["value"] == pytest.approx(
        worst["accuracy"]["value"] - first["accuracy"]["value"], abs=1e-9
    )


def test_more_transforms_are_a_dose_with_a_slope(tree: Tree) -> None:
    table = blog.table(read_experiment(tree.folder))
    assert [r["transforms"] for r in table.records] == [0, 1, 2, 3, None]
    dose: Any = table.facts["dose_response"]
    accuracies = [point["accuracy"] for point in dose["points"]]
    slope = dose["slope_per_transform"]
    assert slope["value"] == pytest.approx(np.polyfit(range(4), accuracies, 1)[0], abs=1e-9)
    assert slope["high"] < 0 and slope["p"] < 0.05  # here each one really costs
    assert any("Each further classic transform changes accuracy by \u2212" in note for note in table.notes)


def test_curves_are_of_every_classifier(tree: Tree) -> None:
    histories = blog.histories(read_experiment(tree.folder))
    assert len(histories) == 5 and all(len(runs) == 3 for runs in histories.values())
    found = blog.curve(histories["warm"], "val_accuracy")
    assert found is not None
    assert found[0] == pytest.approx([1 - 0.6 / e for e in range(1, 6)])
    assert blog.curve(histories["warm"], "train_accuracy") is None


def test_two_doses_make_no_slope_and_no_row_no_table(tmp_path: Path) -> None:
    Tree(tmp_path).data().row("b1", 2.0, group="blog").plan()
    table = blog.table(read_experiment(tmp_path))
    assert table.facts["dose_response"] is None
    plain = [{"row": "b1", "group": "lacking"}]
    write_json(tmp_path / "plan.json", {"name": "x", "rows": plain, "tables": ["blog"]})
    assert [r["row"] for r in blog.table(read_experiment(tmp_path)).records] == ["b1"]
    write_json(tmp_path / "plan.json", {"name": "x", "rows": plain, "tables": ["table1", "blog"]})
    assert blog.table(read_experiment(tmp_path)).records == []
