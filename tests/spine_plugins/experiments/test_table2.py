"""Table 2 from metric files: means, intervals, resolution, who was faster, and what is no comparison."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from spine_plugins.experiments import curves, sweep, table1, table2
from spine_plugins.experiments.results import read_experiment
from stylegan2ada.files import write_json
from tests.spine_plugins.experiments.tree import Tree, record

ADA = [[100, 60, 40], [104, 66, 44], [98, 63, 42]]
SPINE = [[100, 42, 36], [104, 43, 37], [98, 44, 38]]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    tree = Tree(tmp_path_factory.mktemp("out")).gan("ada", ADA).gan("spine", SPINE)
    table = table2.table(read_experiment(tree.plan()))
    return {str(r["arm"]): r for r in table.records}


def test_a_distance_has_the_t_interval_over_trainings(rows: dict[str, dict[str, Any]]) -> None:
    fid = rows["ada"]["metrics"]["fid50k_full"]
    last = [values[-1] for values in ADA]
    assert fid["value"] == pytest.approx(42)
    low, high = stats.t.interval(0.95, 2, np.mean(last), stats.sem(last))
    assert (fid["low"], fid["high"]) == pytest.approx((low, high), rel=1e-9)
    assert [seed["value"] for seed in fid["seeds"]] == last
    assert rows["ada"]["kimg"] == 4 and rows["ada"]["n_trainings"] == 3


def test_recall_has_steps_of_one_real_image(rows: dict[str, dict[str, Any]]) -> None:
    recall = rows["ada"]["metrics"]["pr50k3_full_recall"]
    assert recall["resolution"] == pytest.approx(1 / 500)
    assert rows["ada"]["metrics"]["pr50k3_full_precision"]["resolution"] == pytest.approx(1 / 1000)
    assert rows["ada"]["metrics"]["fid50k_full"]["resolution"] is None


def test_one_training_has_wilsons_interval_of_its_images() -> None:
    """The paper's recall of 60 of 3,773 images."""
    found = curves.arm_interval([60 / 3773], 3773, 0.95)
    expected = stats.binomtest(60, 3773).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-9)
    assert found.low < 73 / 3773 < found.high  # SpineGAN's: the headline gain is inside
    nothing = curves.arm_interval([0.0], 3773, 0.95)
    assert nothing.low == 0 and 0 < nothing.high < 0.0015


def test_a_bootstrap_of_the_reals_with_the_fakes_held_has_that_width() -> None:
    rng = np.random.default_rng(0)
    reached = rng.random(500) < 0.16
    drawn = rng.choice(reached, (4000, 500)).mean(axis=1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    found = curves.arm_interval([float(reached.mean())], 500, 0.95)
    assert found.high - found.low == pytest.approx(high - low, rel=0.06)


def test_trainings_that_differ_widen_a_share() -> None:
    alone = curves.arm_interval([0.2], 1000, 0.95)
    apart = curves.arm_interval([0.1, 0.2, 0.3], 1000, 0.95)
    assert apart.value == pytest.approx(0.2)
    assert apart.high - apart.low > 4 * (alone.high - alone.low)
    assert 0 < apart.low and apart.high < 1


def test_one_distance_alone_has_no_interval() -> None:
    found = curves.arm_interval([40.0], None, 0.95).as_dict()
    assert (found["value"], found["low"], found["high"]) == (40.0, None, None)


def test_who_was_there_first_paired_by_seed(rows: dict[str, dict[str, Any]]) -> None:
    assert rows["ada"]["speed"] == []
    fid = next(s for s in rows["spine"]["speed"] if s["metric"] == "fid50k_full")
    assert fid["threshold"] == 44  # the best of the worst training
    assert fid["reached"] == {0: 2, 1: 2, 2: 2} and fid["against"] == {0: 4, 1: 4, 2: 4}
    assert fid["difference"]["value"] == -2


def test_a_detector_of_ones_own_is_no_comparison_with_the_paper(rows: dict[str, dict[str, Any]]) -> None:
    fid = rows["ada"]["metrics"]["fid50k_full"]
    assert fid["paper"] == 32.7 and fid["verdict"] is None


def test_with_the_fields_detector_the_paper_is_inside_or_outside(tmp_path: Path) -> None:
    tree = Tree(tmp_path).gan("spine", [[100, 33], [100, 35]])
    for path in tmp_path.glob("tasks/*/run/metric-*.jsonl"):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        path.write_text("\n".join(json.dumps(line | {"is_comparable": True}) for line in lines))
    (row,) = table2.table(read_experiment(tree.plan())).records
    metrics: Any = row["metrics"]
    assert metrics["fid50k_full"]["verdict"] == "inside"
    assert metrics["pr50k3_full_recall"]["verdict"] == "outside"


def test_metrics_of_tasks_join_those_of_the_run(tmp_path: Path) -> None:
    tree = Tree(tmp_path).gan("ada", [[100, 50]])
    place = tmp_path / "tasks" / "metrics-ada-0-000008"
    place.mkdir()
    later = record("fid50k_full", {"fid50k_full": 30.0}, 8)
    write_json(place / "metrics.json", {"records": [later]})
    tree.task("metrics-ada-0-000008", "metrics", {"arm": "ada", "seed": 0, "kimg": 8}, ["metrics.json"])
    (row,) = table2.table(read_experiment(tree.plan())).records
    metrics: Any = row["metrics"]
    assert row["kimg"] == 8 and metrics["fid50k_full"]["value"] == 30


def test_a_gan_without_a_run_folder_is_left_out(tmp_path: Path) -> None:
    tree = Tree(tmp_path).gan("ada", [[100, 50]])
    tree.gans.append({"arm": "late", "title": "Late", "seeds": [0], "kimg": 4})
    tree.task("gan-late-0", "gan", {"arm": "late", "seed": 0}, [], state="waiting")
    table = table2.table(read_experiment(tree.plan()))
    assert [r["arm"] for r in table.records] == ["ada"]
    empty = table2.table(read_experiment(Tree(tmp_path / "empty").data().plan()))
    assert empty.records == [] and "No snapshot has been measured" in empty.warnings[0]


def test_bands_are_of_the_moments_that_all_have() -> None:
    found = curves.band([[(0, 1.0), (2, 3.0)], [(0, 2.0), (2, 5.0), (4, 1.0)]])
    assert found == [(0, 1.5, 1.0, 2.0), (2, 4.0, 3.0, 5.0)]


def test_a_sweep_sets_what_varies_beside_what_came_of_it(tmp_path: Path) -> None:
    tree = Tree(tmp_path).data().row("real", 1.0)
    tree.row("ada-500", 1.0, gans=3, arm="ada").row("spine-500", 2.5, gans=3, arm="spine")
    tree.gan("ada", ADA).gan("spine", SPINE, tags={"weight": "0.05", "task": "abnormality"})
    experiment = read_experiment(tree.plan())
    found = sweep.table(experiment, table1.table(experiment), table2.table(experiment))
    by_arm: dict[str, Any] = {str(r["arm"]): r for r in found.records}
    assert by_arm["spine"]["varied"] == {"weight": "0.05", "task": "abnormality"}
    assert by_arm["spine"]["best_gain"]["value"] > 0 and by_arm["spine"]["best_gain"]["row"] == "spine 500"
    assert found.heads[1:3] == ["weight", "task"] and found.cells[1][1] == "0.05"


def test_intervals_of_other_images_stand_beside_those_of_other_trainings(tmp_path: Path) -> None:
    tree = Tree(tmp_path).gan("ada", [[90.0, 50.0], [90.0, 52.0]]).gan("spine", [[90.0, 40.0]])
    for seed, fid in enumerate((50.0, 52.0)):
        tree.quality("ada", seed, {"fid50k_full": fid})
    tree.quality("spine", 0, {"fid50k_full": 40.0, "pr50k3_full_recall": 0.1}, num_real=100)
    (tmp_path / "tasks/gan-spine-0/run/metric-pr50k3_full.jsonl").unlink()
    table = table2.table(read_experiment(tree.plan()))
    rows: Any = table.records
    ada, spine = (row["metrics"]["fid50k_full"] for row in rows)
    spread = 51 * np.std([0.9, 1.3, 1.0, 1.2], ddof=1)
    assert ada["images"]["value"] == 51
    assert ada["images"]["high"] - 51 == pytest.approx(1.959964 * spread, rel=1e-6)
    # Halves lie higher by 0.1 of the value; so does the value above images without end.
    assert ada["images"]["without_bias"]["value"] == pytest.approx(51 * 0.9)
    assert spine["low"] is None and spine["images"]["low"] is not None
    assert table.cells[1][3].startswith("40.00 (images ")
    assert "; images " in table.cells[0][3]
    assert table.cells[1][5] == "\u2013; paper 0.0194"  # no interval around nothing
    assert any("128 features of 100 real images: not of full rank" in text for text in table.warnings)


def test_halves_of_another_snapshot_are_not_used(tmp_path: Path) -> None:
    tree = Tree(tmp_path).gan("ada", [[90.0, 50.0]]).quality("ada", 0, {"fid50k_full": 50.0}, kimg=2)
    (row,) = table2.table(read_experiment(tree.plan())).records
    metrics: Any = row["metrics"]
    assert metrics["fid50k_full"]["images"] is None
