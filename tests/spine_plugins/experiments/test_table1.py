"""Table 1 from predictions of known truth: values, intervals, differences, verdicts, controls, gaps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from spine_plugins import statistics as st
from spine_plugins.clustered import auc_covariance
from spine_plugins.experiments import table1
from spine_plugins.experiments.exports import Table
from spine_plugins.experiments.predictions import read_predictions
from spine_plugins.experiments.results import read_experiment
from stylegan2ada.files import write_json
from tests.spine_plugins.experiments.tree import Tree


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    made = Tree(tmp_path_factory.mktemp("out")).data()
    made.row("real", 1.6, paper=0.856).row("spine-500", 1.7, gans=3, arm="spine", paper=0.2)
    made.row("ada-500", 0.6, seeds=2, gans=2, arm="ada", paper=0.843)
    made.row("oracle", 3.2, group="control").row("shuffled", 0.0, group="control")
    made.plan()
    return made


@pytest.fixture(scope="module")
def table(tree: Tree) -> Table:
    return table1.table(read_experiment(tree.folder))


def by_row(table: Table) -> dict[str, dict[str, Any]]:
    return {str(record["row"]): record for record in table.records}


def predicted(tree: Tree, name: str) -> np.ndarray:
    found = read_predictions(tree.folder / "tasks" / f"predict-{name}" / "predictions.csv")
    assert found is not None
    return found.probabilities


def test_values_are_means_of_what_scikit_learn_finds(tree: Tree, table: Table) -> None:
    record = by_row(table)["real"]
    p = [predicted(tree, f"real-{seed}") for seed in range(3)]
    aucs = [roc_auc_score(tree.labels, one[:, 1]) for one in p]
    assert [run["auc"] for run in record["seeds"]] == pytest.approx(aucs, abs=1e-9)
    assert [run["seed"] for run in record["seeds"]] == [0, 1, 2]
    assert record["auc"]["value"] == pytest.approx(np.mean(aucs), abs=1e-9)
    assert record["auprc"]["value"] == pytest.approx(
        np.mean([average_precision_score(tree.labels, one[:, 1]) for one in p]), abs=1e-9
    )
    briers = [brier_score_loss(tree.labels, one[:, 1]) for one in p]
    assert record["brier"] == pytest.approx(np.mean(briers), abs=1e-9)
    accuracy = np.mean([((one[:, 1] > 0.5) == tree.labels).mean() for one in p])
    assert record["accuracy"]["value"] == pytest.approx(accuracy, abs=1e-9)
    assert (record["n_images"], record["n_patients"]) == (len(tree.labels), tree.patients)


def test_intervals_know_patients_and_trainings(tree: Tree, table: Table) -> None:
    record = by_row(table)["real"]
    scores = [np.log(p[:, 1] / p[:, 0]) for p in (predicted(tree, f"real-{s}") for s in range(3))]
    found = auc_covariance(tree.labels, tree.groups.tolist(), *scores)
    common = (found.covariance.sum() - found.covariance.trace()) / 6
    error = np.sqrt(np.var(found.values, ddof=1) / 3 + common)
    width = record["auc"]["high"] - record["auc"]["low"]
    assert width >= 2 * 1.9 * error
    delong, bootstrap = record["auc_delong"], record["auc_bootstrap"]
    assert width > 1.1 * (delong["high"] - delong["low"])
    assert bootstrap["high"] - bootstrap["low"] == pytest.approx(width, rel=0.35)
    assert "patient" in bootstrap["method"]


def test_a_row_in_the_shape_that_other_programs_rely_on(table: Table) -> None:
    record = by_row(table)["spine-500"]
    assert set(record) >= {"row", "paper", "auc", "seeds", "n_images", "n_patients", "difference",
                           "train_images", "steps", "verdict"}  # fmt: skip
    assert set(record["auc"]) == {"value", "low", "high", "method"}
    assert set(record["difference"]) >= {"against", "value", "low", "high", "p", "p_holm"}
    assert (record["train_images"], record["steps"]) == (400, 1000)


def test_verdicts_compare_the_papers_value_with_our_interval(table: Table) -> None:
    rows = by_row(table)
    assert rows["real"]["verdict"] == "inside"
    assert rows["spine-500"]["verdict"] == "outside"
    assert rows["oracle"]["verdict"] is None


def test_differences_are_adjusted_over_claims_and_controls_apart(table: Table) -> None:
    rows = by_row(table)
    assert rows["real"]["difference"] is None
    claims = ("spine-500", "ada-500")
    holm = st.holm([rows[name]["difference"]["p"] for name in claims])
    assert [rows[name]["difference"]["p_holm"] for name in claims] == pytest.approx(holm.tolist())
    ada = rows["ada-500"]["difference"]
    assert ada["value"] < 0 and ada["not_inferior"] is False
    assert rows["oracle"]["difference"]["low"] > 0 and rows["oracle"]["difference"]["p_holm"] < 0.05


def test_the_variance_of_a_row_goes_to_what_was_drawn_again(table: Table) -> None:
    real, spine = by_row(table)["real"]["variance"], by_row(table)["spine-500"]["variance"]
    assert real["test"] > 0 and real["seed"] is not None and real["gan"] is None
    assert spine["gan"] is not None and spine["seed"] is None  # each GAN has one classifier here


def test_subgroups_come_from_the_table_beside_the_data(tree: Tree, table: Table) -> None:
    (gap,) = by_row(table)["real"]["subgroups"]
    assert gap["attribute"] == "sex" and {level["level"] for level in gap["auc"]} == {"f", "m"}
    for level in gap["auc"]:
        here = tree.sex == level["level"]
        expected = [roc_auc_score(tree.labels[here], predicted(tree, f"real-{s}")[here, 1]) for s in range(3)]
        assert level["auc"] == pytest.approx(np.mean(expected), abs=1e-9)
    assert gap["gap"]["value"] >= 0


def test_who_is_best_and_what_speaks_against_it(table: Table) -> None:
    assert table.facts["best"]["row"] in ("real", "spine-500")  # type: ignore[index]
    assert 0 < table.facts["best"]["chance_of_another"] < 0.9  # type: ignore[index]
    said = " ".join(table.warnings)
    assert "Fewer than 3 classifier seeds: ada 500." in said
    assert "oracle" not in said and "shuffled" not in said  # the controls did as they must


def test_rows_that_were_trained_longer_are_named(tmp_path: Path) -> None:
    made = Tree(tmp_path).data().row("real", 1.6).row("warm", 1.6).row("twice", 1.6)
    for seed in range(3):
        place = tmp_path / "tasks" / f"predict-twice-{seed}" / "task.json"
        task = json.loads(place.read_text())
        write_json(place, task | {"facts": task["facts"] | {"steps": 2000}})
    made.plan()
    said = table1.table(read_experiment(tmp_path)).warnings
    assert "Trained for other than the 1000 steps of most rows: twice (2000)." in said
    made.rows[0]["by"] = "epochs"
    made.plan()
    said = table1.table(read_experiment(tmp_path)).warnings
    assert any("by epochs, as the paper prints" in text for text in said)


def test_failed_controls_are_told(tmp_path: Path) -> None:
    made = Tree(tmp_path).data().row("real", 2.0)
    made.row("oracle", 2.0, group="control").row("shuffled", 2.0, group="control").plan()
    said = " ".join(table1.table(read_experiment(tmp_path)).warnings)
    assert "leaves out 0.5 although its labels were shuffled" in said
    assert "would hardly show what good fakes bring" in said


def test_what_failed_or_was_changed_is_said_and_the_rest_stands(tmp_path: Path) -> None:
    made = Tree(tmp_path).data().row("real", 1.6).row("warm", 1.6).row("late", 1.0, seeds=0)
    why = "the disk is full; make room"
    made.task("classifier-late-0", "classifier", {"row": "late", "seed": 0}, [], state="failed", why=why)
    made.plan()
    with open(tmp_path / "tasks" / "predict-warm-1" / "predictions.csv", "a") as file:
        file.write("more,1,,0.5,0.5\n")
    experiment = read_experiment(tmp_path)
    table = table1.table(experiment)
    rows = by_row(table)
    assert rows["late"]["auc"]["value"] is None and rows["late"]["n_runs"] == 0
    assert "the disk is full" in rows["late"]["missing"][0]
    assert rows["warm"]["n_runs"] == 2
    assert experiment.changed == ["tasks/predict-warm-1/predictions.csv"]
    assert any("predict-warm-1" in text for text in table.warnings)
    assert any("classifier-late-0 failed: the disk is full" in text for text in table.warnings)


def test_predictions_of_other_images_are_left_out(tmp_path: Path) -> None:
    made = Tree(tmp_path).data().row("real", 1.6)
    place = tmp_path / "tasks" / "predict-real-2"
    lines = (place / "predictions.csv").read_text().splitlines()
    (place / "predictions.csv").write_text("\n".join(lines[:-1]) + "\n")
    task = {"id": "predict-real-2", "kind": "predict", "state": "done", "outputs": {},
            "facts": {"row": "real", "seed": 2, "role": "arm"}}  # fmt: skip
    write_json(place / "task.json", task)
    made.plan()
    table = table1.table(read_experiment(tmp_path))
    assert by_row(table)["real"]["n_runs"] == 2
    assert any("not of the test images" in text for text in table.warnings)


def test_without_the_test_set_the_predictions_tell_labels_and_patients(tree: Tree, tmp_path: Path) -> None:
    made = Tree(tmp_path).row("real", 1.6, paper=0.856)
    made.plan()
    moved = by_row(table1.table(read_experiment(tmp_path)))["real"]
    assert moved["n_patients"] == made.patients
    assert moved["auc"]["value"] is not None and moved["subgroups"] == []


def test_images_without_patients_are_warned_about(tmp_path: Path) -> None:
    Tree(tmp_path).data(groups=False).row("real", 1.6).plan()
    table = table1.table(read_experiment(tmp_path))
    assert any("does not say whose images" in text for text in table.warnings)
    record = by_row(table)["real"]
    assert record["auc"]["low"] == pytest.approx(record["auc_delong"]["low"], abs=1e-12)


def test_nothing_predicted_yet(tmp_path: Path) -> None:
    Tree(tmp_path).data().plan()
    table = table1.table(read_experiment(tmp_path))
    assert table.records == [] and "no predictions" in table.warnings[0]
