"""The verbs: what they say, what they refuse, and with which exit code."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from spine_plugins.experiments import plans_command, work
from spine_plugins.experiments.folder import LOCK
from stylegan2ada import locks
from tests.spine_plugins.experiments.plans import SMALL, STAND_IN, TASKS, calls, write_plan


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The small plan, its commands played by the stand-in."""
    real = work.Job
    monkeypatch.setattr(work, "Job", lambda **fields: real(**(fields | {"program": STAND_IN})))
    monkeypatch.setenv("DNNLIB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("SPINEGAN_DETECTORS", raising=False)
    return write_plan(tmp_path)


def say(*words: object) -> Result:
    return CliRunner().invoke(plans_command.experiments, [str(word) for word in words])


def test_plans_are_listed_and_shown(plan: Path) -> None:
    listed = say("plan").output
    assert all(name in listed for name in ("paper", "paper-mini", "spine-sweep", "fracture", "smoke"))
    shown = say("plan", "--plan", plan, "--json", "-")
    found = json.loads(shown.stdout)
    assert [task["id"] for task in found["tasks"]] == TASKS and found["missing"] == []
    assert found["hours"] > 0 and found["bytes"] > 0 and "measured" in found["constants"]
    assert "assumed, not measured: dcgan@64" in found["constants"]
    (seconds,) = [task["seconds"] for task in found["tasks"] if task["id"] == "draw-ada-0-0-8"]
    assert f"draw-ada-0-0-8  {seconds:.0f} s  needs gan-ada-0" in say("plan", "--plan", plan).output


def test_a_dry_run_creates_nothing(plan: Path, tmp_path: Path) -> None:
    shown = say("run", "--plan", plan, "--out", tmp_path / "out", "--dry-run", "--workers", 2)
    assert shown.exit_code == 0 and "with 2 workers about" in shown.output
    assert not (tmp_path / "out").exists()


def test_run_status_and_run_again_without_the_plan(plan: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (tmp_path / "fail").write_text("gan-ada-0/work")
    ran = say(
        "run", "--plan", plan, "--out", out, "--executor", "serial", "--no-tables", "--json", tmp_path / "j"
    )
    assert (
        ran.exit_code == 5 and "1 of 9 tasks failed, 3 could not follow. First gan-ada-0: exit" in ran.output
    )
    assert json.loads((tmp_path / "j").read_bytes())["states"] == {"done": 5, "failed": 1, "skipped": 3}
    told = say("status", out)
    assert "5 of 9 tasks done; nothing works on it now" in told.output
    assert "failed: gan-ada-0: exit code 2: the stand-in was told to fail" in told.output
    with locks.hold(out / LOCK, "it"):
        assert json.loads(say("status", out, "--json", "-").stdout)["running"] is True
        again = say("run", "--out", out, "--executor", "serial", "--no-tables")
        assert again.exit_code == 2 and f"process {os.getpid()}" in again.output
    (tmp_path / "fail").unlink()
    calls(tmp_path)
    assert say("run", "--out", out, "--executor", "serial", "--no-tables").exit_code == 0
    assert len(calls(tmp_path)) == 4
    assert say("run", "--out", out, "--device", "cuda").exit_code == 2


def test_what_is_missing_stops_it_before_anything_starts(plan: Path, tmp_path: Path) -> None:
    write_plan(tmp_path, SMALL + '[metrics]\nnames = ["fid50k_full"]\n')
    out = tmp_path / "out"
    refused = say("run", "--plan", plan, "--out", out, "--executor", "serial")
    assert refused.exit_code == 3 and "the detector inception is nowhere" in refused.output
    assert not out.exists() and calls(tmp_path) == []
    without = say(
        "run", "--plan", plan, "--out", out, "--executor", "serial", "--no-tables", "--without-missing"
    )
    assert without.exit_code == 0 and len(calls(tmp_path)) == len(TASKS)
    record = json.loads((out / "tasks/metrics-ada-0-000001/task.json").read_bytes())
    assert record["state"] == "skipped" and "the detector inception is nowhere" in record["why"]


def test_freeze_then_plan_says_so(plan: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    frozen = say("freeze", "--plan", plan, "--out", out, "--json", "-")
    assert len(json.loads(frozen.stdout)["plan_sha256"]) == 64
    assert json.loads((out / "plan.json").read_bytes())["frozen"]["valid"] is True
    assert say("freeze", "--plan", plan, "--out", out).exit_code == 2


def test_mistakes_are_one_sentence(plan: Path, tmp_path: Path) -> None:
    assert "holds no experiment" in say("status", tmp_path).output
    assert "--speed takes NAME=SECONDS" in say("plan", "--plan", plan, "--speed", "gan=fast").output
    unknown = say("plan", "--plan", plan, "--data", "tset=x.zip")
    assert "--data tset: the plan has no such data set; it has train, val, test" in unknown.output
    missing = say("plan", "--plan", plan, "--data", f"test={tmp_path}/x.zip")
    assert "MISSING, for 2 tasks" in missing.output and "--data test=ZIP" in missing.output
