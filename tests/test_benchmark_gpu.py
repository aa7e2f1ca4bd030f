"""The script for a card runs without one: every branch that needs none, and nothing is lost."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "gpu.py"


def script(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, timeout=1500
    )


@pytest.mark.slow
def test_a_dry_run_takes_every_step(tmp_path: Path) -> None:
    done = script("--device", "cpu", "--dry", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("gpu-*.json")
    record = json.loads(path.read_text())
    found = {step["step"]: step for step in record["steps"]}
    assert {name: step["ended"] for name, step in found.items()} == dict.fromkeys(found, "done"), record
    assert list(found) == [
        "environment", "build", "tests", "kernels", "phases-16", "train-fast", "train-plain", "precision",
        "upstream",
    ]  # fmt: skip
    assert len(found["precision"]["found"]["phases"]) == 6
    rows = {(row["mode"], row["augment"]): row for row in found["phases-16"]["found"]["phases"]}
    assert len(rows) == 8
    for augment in ("none", "bgc"):
        assert rows["plain", augment]["recorded"] == []
        captured = rows["plain+graphs", augment]
        assert (captured["recorded"], captured["said"]) == (["Gmain", "Greg", "Dmain", "Dreg"], [])
    assert all(row["error"] < 1e-2 for row in found["kernels"]["found"]["kernels"])
    for name in ("train-fast", "train-plain"):
        row = found[name]["found"]["train"]
        assert row["code"] == 0 and row["sec_per_kimg"] > 0 and 0 < row["first_line_sec"] < row["wall_sec"]
    assert "no --upstream was given" in done.stdout


@pytest.mark.slow
def test_a_step_that_fails_or_hangs_leaves_the_others(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; sys.argv[0] = sys.argv[1]; del sys.argv[1]; sys.path.insert(0, sys.argv[0])\n"
        "from pathlib import Path\n"
        "from benchmarks import gpu\n"
        "from benchmarks.gpu import STEPS, run_step\n"
        "folder = Path(sys.argv[1])\n"
        "cut = run_step(STEPS[0], ['--device', 'cpu', '--dry'], folder, 0.2)\n"
        "bad = run_step(STEPS[0], ['--device', 'nonsense'], folder, 300)\n"
        "print(cut['ended'], '|', bad['ended'], '|', len(gpu.table([cut, bad])))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(SCRIPT.parent.parent), str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    cut, bad, lines = done.stdout.split(" | ")
    assert cut == "cut off after 0 s" and bad == "failed (1)" and int(lines) == 3


@pytest.mark.slow
def test_without_a_card_it_says_what_to_do() -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("here is one")
    done = script()
    assert done.returncode == 2
    assert "--device cpu --dry" in done.stderr
