"""The demo runs real commands in order, remembers what is done, and goes on after any interruption."""

from __future__ import annotations

import csv
import html
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from spine_plugins import demo_command as room
from spine_plugins.__main__ import VERBS
from stylegan2ada.errors import StoppedOnRequest, UserError
from stylegan2ada.options import Voice

QUIET = Voice(None)


def python(code: str) -> tuple[str, ...]:
    return ("-c", code)


def test_a_step_is_stamped_only_when_it_succeeds(tmp_path: Path) -> None:
    (tmp_path / "done").mkdir()
    good = room.Step("good", "", python("open('{out}/made', 'w').close()"), 1)
    room.run_step(good, tmp_path, QUIET)
    assert room._is_done(tmp_path, good)
    assert (tmp_path / "made").exists()
    bad = room.Step("bad", "", python("raise SystemExit(3)"), 1)
    with pytest.raises(UserError, match="exit code 3.*To begin anew, remove") as caught:
        room.run_step(bad, tmp_path, QUIET)
    assert caught.value.exit_code == 3
    assert not room._is_done(tmp_path, bad)
    stopped = room.Step("stopped", "", python("raise SystemExit(75)"), 1)
    with pytest.raises(StoppedOnRequest):
        room.run_step(stopped, tmp_path, QUIET)


def test_an_answer_that_is_no_zero_is_said_and_the_demo_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An audit that finds a leak, or that could not have seen one, is a result and no failure."""
    (tmp_path / "done").mkdir()
    for code in (0, 6, 7):
        step = room.Step("asked", "", python(f"raise SystemExit({code})"), 1, answers=room._AUDITED)
        room.run_step(step, tmp_path, QUIET)
        assert room._AUDITED[code] in capsys.readouterr().out
        assert room._is_done(tmp_path, step)
    with pytest.raises(UserError, match="exit code 5"):
        room.run_step(
            room.Step("asked", "", python("raise SystemExit(5)"), 1, answers=room._AUDITED), tmp_path, QUIET
        )


def test_only_the_audit_uses_the_test_images(tmp_path: Path) -> None:
    """Images that a classifier was measured on are refused as a hold-out."""
    users = [step.name for step in room.steps(1) if "{out}/spine-test.zip" in " ".join(step.command)]
    assert users == ["audit"]


def test_the_precision_is_measured_once_for_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another answer later would be another command, and the training would begin anew."""
    import torch

    record = tmp_path / "precision"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for is_faster, expected in ((True, "bf16"), (False, "bf16")):
        monkeypatch.setattr(room, "bf16_is_faster", lambda is_faster=is_faster: is_faster)
        assert room.precision_for(record) == expected
    record.unlink()
    assert room.precision_for(record) == "fp32"
    record.unlink()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert room.precision_for(record) == "auto"
    assert "--precision=bf16" in next(s for s in room.steps(1, "bf16") if s.name == "train").command


def test_an_interrupt_while_precision_is_measured_is_a_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(record: Path) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(room, "precision_for", interrupted)
    result = CliRunner().invoke(room.demo, [f"--out={tmp_path / 'demo'}"])
    assert result.exit_code == StoppedOnRequest.exit_code
    assert "goes on from here" in result.output


def test_a_changed_command_is_done_again_and_leftovers_are_removed(tmp_path: Path) -> None:
    (tmp_path / "done").mkdir()
    (tmp_path / "half").mkdir()
    step = room.Step("x", "", python("import os; os.mkdir('{out}/half')"), 1, ("half",))
    room.run_step(step, tmp_path, QUIET)
    assert room._is_done(tmp_path, step)
    assert not room._is_done(tmp_path, room.Step("x", "", python("pass"), 1))


def test_every_step_names_a_real_command() -> None:
    for step in room.steps(2):
        assert step.command[:2] == ("-m", "spine_plugins"), "no script, or the demo would need a clone"
        assert step.command[2] in VERBS


def test_steps_and_seconds_for_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """What the steps print goes to standard error, too; what was done before took no time."""
    plan = [room.Step(name, name, python(f"print('{name} says')"), 1) for name in ("one", "two")]
    monkeypatch.setattr(room, "steps", lambda kimg, precision: plan)
    monkeypatch.setattr(room, "bf16_is_faster", lambda: True)
    room.demo([f"--out={tmp_path / 'demo'}", "--json=-"], standalone_mode=False)
    printed = capfd.readouterr()
    found = json.loads(printed.out)
    assert [step["name"] for step in found["steps"]] == ["one", "two"]
    assert 0 < sum(step["seconds"] for step in found["steps"]) <= found["seconds"]
    assert "one says" in printed.err
    assert "What was made" in printed.err
    room.demo([f"--out={tmp_path / 'demo'}", "--json=-"], standalone_mode=False)
    again = json.loads(capfd.readouterr().out)
    assert again["steps"] == [{"name": "one", "seconds": None}, {"name": "two", "seconds": None}]


@pytest.mark.slow
def test_the_whole_demo_survives_interruptions(tmp_path: Path) -> None:
    """Stopped by Ctrl-C at several moments and started again, it ends with everything made."""
    out = tmp_path / "demo"
    command = [sys.executable, "-m", "spine_plugins", "demo", "--out", str(out), "--kimg=1"]
    for patience_sec in (4, 15, 45):
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        child = subprocess.Popen(command, cwd=room._HOME, start_new_session=True, **quiet)
        time.sleep(patience_sec)
        if child.poll() is None:  # Ctrl-C reaches the whole group, as in a terminal
            os.killpg(child.pid, signal.SIGINT)
            # On a busy computer Python may not have come as far as the first line of ours.
            assert child.wait(timeout=120) in ((75, 0) if (out / "done").exists() else (130,)), patience_sec
    done = subprocess.run(command, cwd=room._HOME, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "What was made" in done.stdout
    for name in (
        "spine-train.zip",
        "classifier.safetensors",
        "synthetic.zip",
        "synthetic_card.json",
        "report.html",
        "release/card.html",
        "release/checksums.txt",
    ):
        assert (out / name).stat().st_size > 0
    factors = csv.DictReader((out / "dicom/factors.csv").read_text().splitlines())
    assert {row["view"] for row in factors} == {"lateral"}, "so short a training does not cover two views"
    audit = json.loads(next(out.glob("runs/*/audit/audit.json")).read_text())
    assert audit["inputs"]["holdout"]["images"] >= 200, "with fewer no audit can see anything"
    assert "Meaning: " in done.stdout
    assert audit["statement"] in html.unescape((out / "report.html").read_text())
    checked = [sys.executable, "-m", "spine_plugins", "release", "verify", str(out / "release")]
    assert subprocess.run(checked, cwd=room._HOME, check=False).returncode == 0
    again = subprocess.run(command, cwd=room._HOME, capture_output=True, text=True, timeout=60, check=False)
    assert again.stdout.count("done before") == len(room.steps(1))
    shutil.rmtree(out)


def test_signals_of_the_child_count_as_a_stop(tmp_path: Path) -> None:
    (tmp_path / "done").mkdir()
    code = f"import os; os.kill(os.getpid(), {int(signal.SIGINT)})"
    hears = "signal.pthread_sigmask(signal.SIG_UNBLOCK, [2])"  # as our commands do with their first line
    step = room.Step(
        "sig", "", python(f"import signal; signal.signal(2, signal.SIG_DFL); {hears}; {code}"), 1
    )
    with pytest.raises(StoppedOnRequest):
        room.run_step(step, tmp_path, QUIET)
