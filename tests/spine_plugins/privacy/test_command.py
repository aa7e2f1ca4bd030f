"""`spinegan dp`: numbers for people and programs, and what is refused."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from spine_plugins.privacy import accountant, figure1
from spine_plugins.privacy.command import dp


def run(*args: object) -> Result:
    return CliRunner().invoke(dp, [str(arg) for arg in args])


NUMBERS = ("--n=3773", "--batch=64", "--steps=200", "--delta=1e-5")


def test_account_gives_the_numbers_it_prints(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    result = run("account", *NUMBERS, "--noise-multiplier=2", f"--json={path}")
    assert result.exit_code == 0, result.output
    found = json.loads(path.read_text())
    expected = accountant.account(3773, 64, 200, 2, 1e-5)
    for name in ("epsilon", "epsilon_rdp", "epsilon_pld", "delta", "q", "releases", "versions"):
        assert found[name] == expected[name]
    assert set(found["risk"]) >= {"tpr_at_fpr_1e-2", "tpr_at_fpr_1e-3", "advantage"}
    assert f"epsilon {expected['epsilon']:.6g}" in result.output
    assert "membership advantage at most" in result.output


def test_calibrate_gives_the_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accountant, "has_library", lambda: False)
    result = run("calibrate", *NUMBERS, "--target-epsilon=2", "--json=-")
    found = json.loads(result.stdout)
    assert 1.99 < found["epsilon"] <= 2
    assert found["epsilon"] == accountant.account(3773, 64, 200, found["noise_multiplier"], 1e-5)["epsilon"]


def test_delta_is_chosen_small_enough_and_a_large_one_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accountant, "has_library", lambda: False)
    rest = ("account", "--n=100000", "--batch=64", "--steps=20", "--noise-multiplier=2")
    assert json.loads(run(*rest, "--json=-").stdout)["delta"] == pytest.approx(1e-6)
    assert "a whole record at random" in run(*rest, "--delta=1e-4").output


@pytest.mark.parametrize(
    ("args", "word"),
    [
        (("account", "--n=5", "--batch=1", "--steps=1"), "--noise-multiplier is missing"),
        (("account", *NUMBERS, "--noise-multiplier=0"), "without noise"),
        (("calibrate", *NUMBERS, "--target-epsilon=0"), "must be positive"),
        (("calibrate", "--batch=1", "--steps=1", "--target-epsilon=1"), "--n is missing"),
    ],
)
def test_what_is_refused(args, word: str) -> None:
    result = run(*args)
    assert result.exit_code == 2
    assert word in result.output


@pytest.mark.skipif(not accountant.has_library(), reason="dp-accounting is not installed")
@pytest.mark.slow
def test_figure1_writes_table_and_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three of the 22 rows; all of them are pinned in test_accountant and test_renyi."""
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(figure1, "DEVIATIONS", (0.03, 0.2, 2.0))
    bounds = {"epsilon_rdp": 2.0, "epsilon_pld": None}
    monkeypatch.setattr(figure1, "account", lambda *args: bounds)
    result = run("figure1", f"--out={tmp_path}", "--json=-")
    assert result.exit_code == 0, result.output
    with open(tmp_path / "figure1.csv") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(figure1.COLUMNS)
    assert float(rows[1]["tfp_release"]) == pytest.approx(1921447.668, rel=1e-6)
    assert float(rows[1]["ln_tfp_release"]) == pytest.approx(14.4686, abs=5e-5)
    assert float(rows[1]["tfp_text"]) == pytest.approx(3362510.588, rel=1e-6)
    assert rows[1]["pld_release"] == ""
    assert (tmp_path / "figure1.png").stat().st_size > 10_000
    assert json.loads(result.stdout)["guarantee"] == "none"


@pytest.mark.skipif(not accountant.has_library(), reason="dp-accounting is not installed")
def test_a_row_has_both_numbers_of_steps_and_all_bounds() -> None:
    found = figure1.row(2.0)
    assert list(found) == list(figure1.COLUMNS)
    assert found["rdp_text"] == pytest.approx(1.635703, rel=1e-6)
    assert found["pld_release"] == pytest.approx(1.074819, rel=1e-6)
