"""The speed scripts run, compare and record; no time is asserted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from stylegan2ada.ops import build

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


@pytest.mark.slow
def test_tiny_run_writes_a_dated_record(tmp_path):
    arguments = ["--sizes", "tiny", "--repeats", "2", "--orders", "forward,2nd order", "--out", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "ops.py"), *arguments], capture_output=True, text=True, timeout=120
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


@pytest.mark.slow
def test_a_profile_adds_up(tmp_path):
    try:
        build.ensure("cpu", may_build=True, seconds=300)
    except build.Unavailable as reason:
        pytest.skip(str(reason))
    command = [sys.executable, str(BENCHMARKS / "compiled_profile.py"), "--iteration", "8x4", "--out"]
    done = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("compiled-profile-*.json")
    record = json.loads(path.read_text())
    assert list(record["seconds"]) == ["Gmain", "Greg", "Dmain", "Dreg", "iteration"]
    for name, both in record["seconds"].items():
        for who, seconds in both.items():
            kinds = record["by_kind"][name][who]
            assert sum(kinds.values()) == pytest.approx(sum(seconds.values()))
            assert kinds["gradients of convolutions"] > 0
            assert ("our kernels" in kinds) == (who == "compiled")
    table = path.with_suffix(".txt").read_text()
    assert table.count("gradients of convolutions") == 5 and table in done.stdout
