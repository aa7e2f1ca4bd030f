"""Real starts of the command beside each other, and the end of one whose processes refuse."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stylegan2ada import files
from stylegan2ada.training import run_files
from tests.stylegan2ada.training.toy import toy_dataset

ROOT = Path(__file__).parents[3]
TINY = ("--cond=1", "--metrics=none", "--cbase=64", "--cmax=4", "--batch=40", "--device=cpu", "--aug=noaug",
        "--kimg=1", "--tick=0.12", "--snap=50", "--state-minutes=0.001")  # fmt: skip


def left_of_launchers(temp: Path) -> list[str]:
    return [path.name for path in temp.iterdir() if path.name.startswith(("torchelastic", "spinegan"))]


def command(*flags: str, temp: Path) -> list[str]:
    temp.mkdir(exist_ok=True)
    return [sys.executable, str(ROOT / "stylegan2ada" / "train.py"), *flags]


def start(*flags: str, temp: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(*flags, temp=temp), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "TMPDIR": str(temp)},
    )  # fmt: skip


@pytest.mark.slow
def test_of_two_that_go_on_at_once_one_is_refused(tmp_path: Path) -> None:
    data = toy_dataset(tmp_path / "toy.zip", resolution=8)
    temp = tmp_path / "temp"
    first = start(f"--outdir={tmp_path / 'out'}", f"--data={data}", *TINY, "--gpus=2", temp=temp)
    while first.poll() is None and not list(tmp_path.glob(f"out/*/{run_files.STATE}")):
        time.sleep(0.05)
    first.send_signal(signal.SIGTERM)
    said, _ = first.communicate(timeout=60)
    assert first.returncode == 75, said
    (run_dir,) = (tmp_path / "out").iterdir()
    both = [start(f"--continue={run_dir}", temp=temp) for _ in range(2)]
    texts = [process.communicate(timeout=120)[0] for process in both]
    codes = [process.returncode for process in both]
    assert sorted(codes) == [0, 2], texts
    refused = texts[codes.index(2)]
    assert "is being written to by process" in refused.splitlines()[-1]
    assert "Traceback" not in refused
    lines = [json.loads(line) for line in (run_dir / run_files.STATS).read_text().splitlines()]
    assert [line["Progress/tick"]["mean"] for line in lines] == list(range(len(lines)))
    assert sum(e.event == "continued" for e in run_files.read_events(run_dir)) == 1
    assert not (run_dir / run_files.LOCK).exists()
    assert not left_of_launchers(temp)


@pytest.mark.slow
def test_a_refusal_of_two_processes_is_one_sentence(tmp_path: Path) -> None:
    data, temp = toy_dataset(tmp_path / "toy.zip", resolution=8), tmp_path / "temp"
    dead = temp / f"spinegan-launch-{files._HOST}-{2**22 + 1}-abc"  # of a launcher that was killed
    dead.mkdir(parents=True)
    process = start(f"--outdir={tmp_path / 'out'}", f"--data={data}", *TINY, "--gpus=2",
                    "--precision=fp16", temp=temp)  # fmt: skip
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 2, said
    end = said[said.index("R1 gamma") :].splitlines()[1:]
    assert [line for line in end if line] == [
        "Error: --precision=fp16 needs a CUDA device, not cpu; use bf16 or fp32"
    ]
    assert not left_of_launchers(temp)
