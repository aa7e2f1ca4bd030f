"""medGAN by command line: exact continuation, wrong data, every mode, and the gates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spine_plugins.recipes.medgan import MODES
from spine_plugins.recipes.tables import factor_table, read_table, write_table
from tests.spine_plugins.recipes.making import check_exact, invoke, refusal, run


def table(folder: Path, n: int = 300, k: int = 12) -> Path:
    made = factor_table(n, k, seed=0)
    write_table(folder / "codes.csv", made.columns, made.values)
    return folder / "codes.csv"


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spine_plugins.recipes.medgan._AE_STEPS", 2)


@pytest.mark.usefixtures("short")
def test_continuation_is_exact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_exact(tmp_path, monkeypatch, "medgan", "train", f"--data={table(tmp_path)}", stop_after=3)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("mode", MODES)
def test_every_mode_goes_from_table_to_table(tmp_path: Path, mode: str) -> None:
    data = table(tmp_path)
    found = run("medgan", "train", f"--data={data}", f"--out={tmp_path / 'm'}", "--steps=1", f"--mode={mode}")
    assert found["codes_per_row_real"] > 0
    run("medgan", "apply", f"--model={tmp_path / 'm'}", f"--out={tmp_path / 'x.csv'}", "--n=25")
    drawn = read_table(tmp_path / "x.csv")
    assert drawn.columns == read_table(data).columns
    assert set(np.unique(drawn.values)) <= {0, 1}


@pytest.mark.usefixtures("short")
def test_evaluate_knows_the_training_rows_and_others(tmp_path: Path) -> None:
    data = table(tmp_path)
    run("medgan", "train", f"--data={data}", f"--out={tmp_path / 'm'}", "--steps=1")
    keys = {"corr", "rmse", "codes_per_row_real", "codes_per_row", "pair_corr", "dead_codes", "exact_copies"}
    assert keys | {"membership_auc"} <= set(
        run("medgan", "evaluate", f"--model={tmp_path / 'm'}", f"--data={data}")
    )
    other = factor_table(100, 12, seed=5)
    write_table(tmp_path / "other.csv", other.columns, other.values)
    found = run("medgan", "evaluate", f"--model={tmp_path / 'm'}", f"--data={tmp_path / 'other.csv'}")
    assert 0 <= found["membership_auc"] <= 1
    data.unlink()
    found = run("medgan", "evaluate", f"--model={tmp_path / 'm'}", f"--data={tmp_path / 'other.csv'}")
    assert found["membership_auc"] is None
    assert "not where it was" in found["note"]


@pytest.mark.usefixtures("short")
def test_counts_come_out_as_counts(tmp_path: Path) -> None:
    values = np.random.default_rng(0).poisson([1, 3, 0.2], (200, 3)).astype(np.float32)
    write_table(tmp_path / "n.csv", ("a", "b", "c"), values)
    run("medgan", "train", f"--data={tmp_path / 'n.csv'}", f"--out={tmp_path / 'm'}", "--steps=1")
    run("medgan", "apply", f"--model={tmp_path / 'm'}", f"--out={tmp_path / 'x.csv'}", "--n=30")
    assert np.loadtxt(tmp_path / "x.csv", delimiter=",", skiprows=1).shape == (30, 3)


def test_wrong_data(tmp_path: Path) -> None:
    out = f"--out={tmp_path / 'm'}"
    (tmp_path / "x.zip").touch()
    assert "learns from a table" in refusal("medgan", "train", f"--data={tmp_path / 'x.zip'}", out)
    assert invoke("medgan", "train", f"--data={tmp_path / 'no.csv'}", out).exit_code == 3
    other = factor_table(50, 5, 0)
    write_table(tmp_path / "five.csv", other.columns, other.values)
    five = f"--val={tmp_path / 'five.csv'}"
    assert "other columns" in refusal("medgan", "train", f"--data={table(tmp_path)}", out, five)
    assert not (tmp_path / "m").exists()


@pytest.mark.slow
def test_the_successor_keeps_what_the_loss_without_pretraining_loses(tmp_path: Path) -> None:
    """The shortened gate: a broken method fails the first half, a vacuous gate the second."""
    data = table(tmp_path, n=4000, k=60)
    found = {}
    for mode in ("wgan-gp", "gan"):
        out = tmp_path / mode
        found[mode] = run(
            "medgan", "train", f"--data={data}", f"--out={out}", "--steps=200", f"--mode={mode}"
        )
    print(found)
    good, bad = found["wgan-gp"], found["gan"]
    assert good["corr"] > 0.98
    assert good["rmse"] < 0.03
    # After a quarter of the steps it lies at .75 to .83, by the number of threads; the gate is a proof.
    assert good["pair_corr"] > 0.5
    assert good["membership_auc"] == pytest.approx(0.5, abs=0.06)
    assert bad["rmse"] > 1.5 * good["rmse"]
    assert bad["pair_corr"] < good["pair_corr"] - 0.05


@pytest.mark.proof
def test_the_gate(tmp_path: Path) -> None:
    from tests.spine_plugins.recipes.proving import leave

    data = table(tmp_path, n=11_111, k=100)
    found = {}
    for mode, steps in (("wgan-gp", 800), ("medgan", 400), ("gan", 400), ("gan-p", 200), ("gan-pa", 200)):
        out = tmp_path / mode
        found[mode] = run(
            "medgan", "train", f"--data={data}", f"--out={out}", f"--steps={steps}", f"--mode={mode}"
        )
    leave("recipe-medgan", found)
    assert found["medgan"]["corr"] > 0.95 > found["gan"]["corr"]
    good = found["wgan-gp"]
    assert good["corr"] > 0.99
    assert good["rmse"] < 0.02
    assert good["codes_per_row"] == pytest.approx(good["codes_per_row_real"], rel=0.1)
    assert good["pair_corr"] > 0.9
    assert good["dead_codes"] == 0
    assert 0.45 <= good["membership_auc"] <= 0.55
