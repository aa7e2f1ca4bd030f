"""Real processes, really killed: what is left continues to the same bits as a run that nobody touched."""

from __future__ import annotations

import datetime
import json
import os
import platform
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from stylegan2ada.checkpoints.training_state import load_state
from stylegan2ada.training.run_dir import REQUEUE_FILE, STATE_FILE
from tests.stylegan2ada.training.toy import compare_folders, toy_dataset

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "stylegan2ada" / "train.py"


_started: list[subprocess.Popen] = []


@pytest.fixture(autouse=True)
def _nothing_is_left_running():
    yield
    while _started:
        process = _started.pop()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


class Command:
    """One start of the train command in the background."""

    def __init__(self, outdir: Path, data: Path, *flags: str) -> None:
        outdir.mkdir(exist_ok=True)
        self.log = outdir / f"console-{time.time_ns()}.txt"
        sizes = ("--metrics=none", "--cbase=64", "--cmax=8", "--batch=8", "--device=cpu", "--target=0.1")
        self.outdir = outdir
        with open(self.log, "wb") as output:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    str(SCRIPT),
                    f"--outdir={outdir}",
                    f"--data={data}",
                    "--cond=1",
                    *sizes,
                    *flags,
                ],
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                start_new_session=True,
            )
        _started.append(self.process)

    @property
    def run_dir(self) -> Path:
        (found,) = [path for path in self.outdir.iterdir() if path.is_dir()]
        return found  # one run, however often it was started

    def finish(self, timeout: float = 300) -> int:
        return self.process.wait(timeout)

    def text(self) -> str:
        return self.log.read_text()

    def wait_until_it_trains(self) -> None:
        while self.process.poll() is None and "tick " not in self.text():
            time.sleep(0.05)
        assert self.process.poll() is None, self.text()

    def is_writing_its_state(self) -> bool:
        return any(self.outdir.glob(f"*/.{STATE_FILE}.*.tmp"))


def same_state(one: Path, other: Path) -> None:
    """Everything in two saved states is equal, clocks and file sizes aside."""
    mine, theirs = load_state(one / STATE_FILE), load_state(other / STATE_FILE)
    for state in (mine, theirs):
        for name in ("elapsed_sec", "log", "collector"):
            del state[name]
        for rank in state["ranks"]:
            del rank["stats"]  # timings among them; stats.jsonl is compared instead
    _same(mine, theirs, "state")


def _same(one, other, where: str) -> None:
    assert type(one) is type(other), where
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            _same(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for index, pair in enumerate(zip(one, other)):
            _same(*pair, f"{where}[{index}]")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    elif hasattr(one, "dtype"):
        assert (one == other).all(), where
    else:
        assert one == other, where


def kill_again_and_again(tmp_path: Path, *, kills: int, flags: list[str], seed: int) -> dict:
    """Run once undisturbed and, at the same time, once with kills; compare; returns what happened."""
    data = toy_dataset(tmp_path / "toy.zip", resolution=16)
    begin = time.monotonic()
    whole = Command(tmp_path / "whole", data, *flags)
    whole.wait_until_it_trains()
    rnd = random.Random(seed)
    moments, inside_writes = [], 0
    for kill in range(kills):
        run = Command(tmp_path / "killed", data, *flags, "--continue=latest")
        run.wait_until_it_trains()
        time.sleep(rnd.uniform(0.5, 5))
        if kill % 2 == 0:  # every other time, in the middle of writing the state
            deadline = time.monotonic() + 20
            while (
                not run.is_writing_its_state() and run.process.poll() is None and time.monotonic() < deadline
            ):
                time.sleep(0.0005)
        inside_writes += run.is_writing_its_state()
        assert run.process.poll() is None, f"finished before kill {kill + 1}: {run.text()}"
        run.process.send_signal(signal.SIGKILL)
        run.finish()
        moments.append(run.text().count("tick "))
    run = Command(tmp_path / "killed", data, *flags, "--continue=latest")
    assert run.finish() == 0, run.text()
    killed_sec = time.monotonic() - begin
    assert whole.finish() == 0, whole.text()
    same_state(whole.run_dir, run.run_dir)
    compare_folders(whole.run_dir, run.run_dir)
    lines = (whole.run_dir / "stats.jsonl").read_text().splitlines()
    assert re.search(r"Continuing at [\d.]+ kimg", run.text())
    return {
        "kills": kills,
        "kills_inside_a_state_write": inside_writes,
        "ticks": len(lines),
        "uninterrupted_sec": json.loads(lines[-1])["Timing/total_sec"]["mean"],
        "killed_sec": killed_sec,
    }


@pytest.mark.slow
def test_five_kills_change_nothing(tmp_path: Path) -> None:
    flags = ["--kimg=4", "--tick=0.16", "--snap=3", "--state-minutes=0.02"]
    told = kill_again_and_again(tmp_path, kills=5, flags=flags, seed=1)
    print(told)
    assert told["kills_inside_a_state_write"] >= 1
    assert told["uninterrupted_sec"] >= 20  # long enough for the kills to fall anywhere


@pytest.mark.proof
def test_twenty_kills_change_nothing(tmp_path: Path) -> None:
    flags = ["--kimg=6", "--tick=0.16", "--snap=3", "--state-minutes=0.02"]
    told = kill_again_and_again(tmp_path, kills=20, flags=flags, seed=2)
    assert told["kills_inside_a_state_write"] >= 5
    assert told["uninterrupted_sec"] >= 60
    today = datetime.date.today().isoformat()
    folder = ROOT / "benchmarks" / "proofs"
    folder.mkdir(parents=True, exist_ok=True)
    facts = {"date": today, "machine": platform.processor() or platform.machine(), "cores": os.cpu_count()}
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    (folder / f"kills-{today}.json").write_text(json.dumps(facts | versions | told, indent=2) + "\n")


@pytest.mark.slow
@pytest.mark.parametrize("signals", [[signal.SIGTERM, signal.SIGINT]], ids=["SIGTERM, SIGINT"])
def test_a_request_to_stop_saves_and_says_so(tmp_path: Path, signals: list[signal.Signals]) -> None:
    data = toy_dataset(tmp_path / "toy.zip", resolution=16)
    flags = [
        "--kimg=1",
        "--batch=16",
        "--tick=0.16",
        "--snap=100",
    ]  # no state but the one that the signal asks for
    whole = Command(tmp_path / "whole", data, *flags)
    for name in signals:
        run = Command(tmp_path / "stopped", data, *flags, "--continue=latest")
        run.wait_until_it_trains()
        time.sleep(1)
        run.process.send_signal(name)
        assert run.finish(60) == 75, run.text()
        assert "state saved" in run.text()
        assert "Traceback" not in run.text()
        assert (run.run_dir / REQUEUE_FILE).exists()
    run = Command(tmp_path / "stopped", data, *flags, "--continue=latest")
    assert (run.finish(), whole.finish()) == (0, 0)
    assert not (run.run_dir / REQUEUE_FILE).exists()
    same_state(whole.run_dir, run.run_dir)
    compare_folders(whole.run_dir, run.run_dir)


@pytest.mark.slow
def test_one_of_two_processes_dies(tmp_path: Path) -> None:
    data = toy_dataset(tmp_path / "toy.zip", resolution=16)
    flags = ["--gpus=2", "--kimg=1", "--batch=40", "--tick=0.12", "--snap=2", "--state-minutes=0.02"]
    run = Command(tmp_path / "killed", data, *flags)
    run.wait_until_it_trains()
    time.sleep(2)
    os.kill(workers_of(run.process.pid)[1], signal.SIGKILL)
    assert run.finish(60) not in (0, 75), run.text()
    assert "SIGKILL" in run.text()
    run = Command(tmp_path / "killed", data, *flags, "--continue=latest")
    run.wait_until_it_trains()
    time.sleep(1)
    run.process.send_signal(signal.SIGTERM)
    assert run.finish(60) == 75, run.text()
    run = Command(tmp_path / "killed", data, *flags, "--continue=latest")
    assert run.finish() == 0, run.text()
    whole = Command(tmp_path / "whole", data, *flags)
    assert whole.finish() == 0, whole.text()
    same_state(whole.run_dir, run.run_dir)
    compare_folders(whole.run_dir, run.run_dir)


def workers_of(launcher: int) -> list[int]:
    """Process ids of the ranks that a launcher has started."""
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    spawned = [pid for pid in children if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text()]
    assert len(spawned) == 2, spawned
    return [int(pid) for pid in spawned]
