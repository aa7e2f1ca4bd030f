"""A private run by the command line: killed, continued, verified, reported; a changed ledger is refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from spine_plugins.privacy import ledger
from tests.spine_plugins.training.test_command import data

ROOT = Path(__file__).resolve().parent.parent.parent
FLAGS = [
    "--outdir=runs", "--data=d.zip", "--cond=1", "--cbase=64", "--cmax=4", "--device=cpu", "--tick=0.032",
    "--snap=1", "--dp-mode=sgd", "--dp-batch=8", "--dp-steps=12", "--dp-target-epsilon=5", "--dp-n-public=24",
    "--dp-r1=real",
]  # fmt: skip


def command(tmp_path: Path, *args: object) -> subprocess.Popen:
    environment = os.environ | {
        "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "DNNLIB_CACHE_DIR": str(tmp_path / "cache")
    }  # fmt: skip
    return subprocess.Popen(
        [sys.executable, *map(str, args)], cwd=tmp_path, env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def finished(process: subprocess.Popen) -> tuple[int, str]:
    output, _ = process.communicate(timeout=600)
    return process.returncode, output


def charged(book: Path) -> int:
    return len(book.read_bytes().splitlines()) if book.exists() else 0


@pytest.mark.slow
def test_kill_continue_verify_report_and_a_tampered_ledger(tmp_path: Path) -> None:
    data(tmp_path / "d.zip")
    training = command(tmp_path, ROOT / "train_spine.py", *FLAGS)
    begin, book = time.monotonic(), None
    # Killed without a chance to save, once a state is there.
    while time.monotonic() - begin < 300:
        found = list(tmp_path.glob("runs/*/privacy/ledger.jsonl"))
        book = found[0] if found else None
        if book and (book.parent.parent / "training-state.pt").exists() and charged(book) >= 5:
            break
        assert training.poll() is None, training.stdout.read() if training.stdout else ""
        time.sleep(0.02)
    training.send_signal(signal.SIGKILL)
    training.communicate()
    assert book is not None
    run_dir = book.parent.parent
    lost = charged(book)
    assert lost < 12, "it was too quick to be killed"
    code, output = finished(command(tmp_path, ROOT / "train_spine.py", f"--continue={run_dir}"))
    assert code == 0, output
    assert charged(book) == 12  # no more than was promised, lost ones counted
    verify = ["-m", "spine_plugins", "dp", "verify", run_dir]
    code, output = finished(command(tmp_path, *verify, "--json=v.json"))
    assert code == 0, output
    claimed = json.loads((tmp_path / "v.json").read_text())
    assert 4.9 < claimed["epsilon"] <= 5 and claimed["releases"] == 12
    code, output = finished(command(tmp_path, "-m", "spine_plugins", "report", run_dir))
    assert code == 0, output
    page = next(run_dir.glob("*.html")).read_text()
    assert "differentially private for one image" in page
    # Somebody leaves out a step.
    lines, _ = ledger.read(book)
    assert len(lines) == 12
    text = book.read_text().splitlines(keepends=True)
    book.write_text("".join(text[:4] + text[5:]))
    code, output = finished(command(tmp_path, *verify))
    assert code == 5 and "not what was written" in output
    code, output = finished(command(tmp_path, ROOT / "train_spine.py", f"--continue={run_dir}"))
    assert code == 5, output
