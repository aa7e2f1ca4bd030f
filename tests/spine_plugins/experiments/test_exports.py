"""One table in four files: the same numbers, in the form that each reader expects."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from spine_plugins.experiments import exports
from spine_plugins.experiments.exports import Table
from tests.spine_plugins.experiments.tree import read_csv

TABLE = Table(
    name="toy",
    title="A & B",
    records=[
        {"row": "a_1", "auc": {"value": 0.5, "low": float("nan"), "high": 0.75}, "difference": None,
         "seeds": [{"seed": 0, "auc": 0.5}]},
        {"row": "=1+1", "auc": {"value": 0.25, "low": 0.125, "high": 1.0}, "difference": {"p": 0.04},
         "seeds": []},
    ],
    heads=["Row", "AUC"],
    cells=[["a_1 | x", "0.500"], ["100 % <b>", "\u22120.250"]],
    facts={"level": 0.95},
    notes=["about 5 % of it"],
    warnings=["small"],
)  # fmt: skip


def test_json_has_everything_and_no_nan(tmp_path: Path) -> None:
    exports.write_table(TABLE, tmp_path)
    text = (tmp_path / "toy.json").read_text()
    assert "NaN" not in text
    found = json.loads(text)
    assert found["rows"][0]["auc"] == {"value": 0.5, "low": None, "high": 0.75}
    assert found["level"] == 0.95 and found["warnings"] == ["small"]


def test_csv_is_flat_and_inert(tmp_path: Path) -> None:
    exports.write_table(TABLE, tmp_path)
    first, second = read_csv(tmp_path / "toy.csv")
    assert first["auc.high"] == "0.75" and first["auc.low"] == "" and first["seeds"] == "0:0.5"
    assert "difference" not in first and first["difference.p"] == "" and second["difference.p"] == "0.04"
    assert second["row"] == "'=1+1"  # no spreadsheet shall calculate it


def test_markdown_cells_cannot_break_the_table() -> None:
    lines = exports.markdown(TABLE).splitlines()
    assert lines[2] == "| Row | AUC |" and lines[3] == "|---|---:|"
    assert lines[4] == r"| a\_1 \| x | 0.500 |"
    assert r"\<b\>" in lines[5]
    assert "- Warning: small" in lines


def test_latex_escapes_what_is_special() -> None:
    text = exports.latex(TABLE)
    assert r"a\_1 | x & 0.500 \\" in text
    assert r"100 \% \textless{}b\textgreater{} & $-$0.250 \\" in text
    assert text.count("&") == 3 + 1  # one between cells of each row, and the title's, escaped
    assert r"\caption{A \& B." in text


@pytest.mark.slow
def test_latex_compiles(tmp_path: Path) -> None:
    program = shutil.which("pdflatex")
    if program is None:
        pytest.skip("no pdflatex here")
    source = r"\documentclass{article}\usepackage{booktabs}\begin{document}" + exports.latex(TABLE)
    (tmp_path / "x.tex").write_text(source + r"\end{document}")
    done = subprocess.run([program, "-interaction=batchmode", "x.tex"], cwd=tmp_path, check=False)
    assert done.returncode == 0


def test_numbers_for_people() -> None:
    assert exports.shown(-0.0304) == "\u22120.030" and exports.shown(None) == "\u2013"
    assert exports.signed(0.02) == "+0.020" and exports.signed(-0.02) == "\u22120.020"
    assert exports.p_text(0.00001) == "< 0.001" and exports.p_text(float("nan")) == "\u2013"
    assert exports.with_bounds({"value": 0.5, "low": 0.4, "high": 0.6}) == "0.500 (0.400 \u2013 0.600)"
    assert exports.with_bounds({"value": 0.5, "low": None, "high": None}) == "0.500"
