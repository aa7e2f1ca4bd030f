"""The speed script runs, compares and records; no time is asserted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "ops.py"


@pytest.mark.slow
def test_tiny_run_writes_a_dated_record(tmp_path):
    arguments = ["--sizes", "tiny", "--repeats", "2", "--orders", "forward,2nd order", "--out", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("ops-*.json")
    record = json.loads(path.read_text())
    assert {"date", "cpu", "torch", "commit", "threads", "load_average"} <= set(record["machine"])
    assert {case["order"] for case in record["cases"]} == {"forward", "2nd order"}
    for case in record["cases"]:
        assert max(case["parity"]) < 1e-4
        assert [len(case["seconds"][impl]) for impl in ("ref", "fast")] == [2, 2]
        assert case["summary"]["ratio_min"] <= case["summary"]["ratio"] <= case["summary"]["ratio_max"]
