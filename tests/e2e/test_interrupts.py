"""Ctrl-C at any moment of any command: a quiet 130, or 75 with the state saved; nobody hangs or stays."""

from __future__ import annotations

import datetime
import json
import os
import platform
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from stylegan2ada import interrupts
from stylegan2ada.checkpoints import save_network
from stylegan2ada.checkpoints.training_state import load_state
from stylegan2ada.images import save_png
from stylegan2ada.networks.stylegan2 import Discriminator, Generator
from stylegan2ada.training import run_files
from tests.stylegan2ada.training.toy import toy_dataset

ROOT = Path(__file__).parents[2]
PATIENCE_SEC = 5.0  # after the interrupt, on an idle machine
LONGEST_SEC = 6.0  # of the moments that are drawn
TRAIN = ("--cond=1", "--metrics=none", "--cbase=64", "--cmax=8", "--batch=8", "--device=cpu", "--kimg=100",
         "--tick=0.05", "--snap=1")  # fmt: skip


@dataclass(frozen=True)
class Told:
    """How one interrupted command ended."""

    name: str
    moment_sec: float
    code: int | None  # None: it was done before
    seconds: float


def commands(place: Path) -> dict[str, list[str]]:
    """Command lines by name; `{new}` stands for a folder of one try's own."""
    data = toy_dataset(place / "toy.zip", resolution=16)
    G = Generator(z_dim=8, c_dim=2, w_dim=8, img_resolution=16, img_channels=1,
                  synthesis_kwargs={"channel_base": 64, "channel_max": 8})  # fmt: skip
    D = Discriminator(c_dim=2, img_resolution=16, img_channels=1, channel_base=64, channel_max=8)
    save_network({"G": G, "D": D, "G_ema": G, "augment_pipe": None}, place / "net.pkl")
    save_png((torch.rand(16, 16) * 255).byte().numpy(), place / "target.png")
    spinegan = ["-m", "spine_plugins"]
    source = place / "dicom"
    subprocess.run(
        [sys.executable, *spinegan, "phantom", f"--out={source}", "--n=60", "--size=96x80"],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    train = ["stylegan2ada/train.py", "--outdir={new}", f"--data={data}", *TRAIN]
    network = f"--network={place / 'net.pkl'}"
    return {
        "train, workers 1": [*train, "--workers=1"],
        "train, workers 2": [*train, "--workers=2"],
        "train, workers 3": [*train, "--workers=3"],
        "train, 2 processes": [*train, "--gpus=2"],
        "generate": ["stylegan2ada/generate.py", network, "--seeds=0-100000", "--class=0", "--outdir={new}"],
        "metrics": ["stylegan2ada/calc_metrics.py", network, f"--data={data}", "--metrics=fid50k_full@tiny"],
        "project": ["stylegan2ada/projector.py", network, f"--target={place / 'target.png'}", "--class=0",
                    "--num-steps=100000", "--outdir={new}"],
        "mix": ["stylegan2ada/style_mixing.py", network, "--rows=0-300", "--cols=0-300", "--styles=0-1",
                "--class=0", "--outdir={new}"],
        "dataset": ["stylegan2ada/dataset_tool.py", f"--source={data}", "--dest={new}.zip"],
        "convert": ["dataset_tool_dicom.py", f"--source={source}", "--dest={new}.zip", "--resolution=32",
                    "--workers=2"],
        "phantom": [*spinegan, "phantom", "--out={new}", "--n=100000", "--size=96x80", "--workers=2"],
        "classify": [*spinegan, "classify", "train", f"--data={data}", f"--val={data}", "--arch=cnn13k",
                     "--out={new}.safetensors", "--epochs=100000"],
        "report": [*spinegan, "report", str(place), "--out={new}.html"],
        "demo": [*spinegan, "demo", "--out={new}"],
    }  # fmt: skip


def interrupted(name: str, line: list[str], new: Path, moment_sec: float) -> Told:
    """One command in a session of its own; its whole group gets the signal, as from a terminal."""
    words = [word.replace("{new}", str(new)) for word in line]
    log = new.with_suffix(".log")
    with (
        open(log, "wb") as output,
        interrupts.born_deaf(by_multiprocessing=False),
    ):  # until the first line that is ours
        process = subprocess.Popen(
            [sys.executable, *words], cwd=ROOT, stdout=output, stderr=subprocess.STDOUT,
            start_new_session=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip
    try:
        try:
            process.wait(moment_sec)
        except subprocess.TimeoutExpired:
            began = time.monotonic()
            os.killpg(process.pid, signal.SIGINT)
            code: int | None = process.wait(60)
        else:
            began, code = time.monotonic(), None
        seconds = time.monotonic() - began
        where = f"{name}, after {moment_sec:.2f} s: {log.read_text()[-3000:]}"
        # -2: the command was over and Python closing; shells call that 130, too.
        assert code in (None, 75, 130, -signal.SIGINT), f"exit code {code}: {where}"
        text = log.read_text()
        assert "Traceback" not in text and "KeyboardInterrupt" not in text and "terminate" not in text, where
        left = in_session(process.pid)
        deadline = time.monotonic() + 2
        while left and time.monotonic() < deadline:  # a helper that ends by itself, seeing us gone
            time.sleep(0.05)
            left = in_session(process.pid)
        assert not left, f"left behind {left}: {where}"
        if name.startswith("train") and code == 75:
            (run_dir,) = new.iterdir()
            assert (run_dir / run_files.REQUEUE).exists()
            load_state(run_dir / run_files.STATE)
        return Told(name, moment_sec, code, seconds)
    finally:
        if process.poll() is None or in_session(process.pid):
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def patience_sec() -> float:
    """As long as it may take here and now: processes of others take their share of the cores."""
    return PATIENCE_SEC * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def in_session(leader: int) -> list[str]:
    """Command lines of living processes in the session that a process has begun."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == leader and fields[0] != "Z":
                found.append((entry / "cmdline").read_text().replace("\0", " "))
        except (OSError, ValueError, IndexError):
            continue
    return found


def at_random_moments(place: Path, tries: int, seed: int) -> list[Told]:
    lines = commands(place)
    rnd = random.Random(seed)
    names = list(lines)
    rnd.shuffle(names)
    return [
        interrupted(name, lines[name], place / f"try{number}", rnd.uniform(0, LONGEST_SEC))
        for number, name in enumerate((names * tries)[:tries])
    ]


@pytest.mark.slow
def test_ten_moments(tmp_path: Path) -> None:
    told = at_random_moments(tmp_path, 10, seed=1)
    print(told)
    assert max(one.seconds for one in told) < patience_sec()


@pytest.mark.proof
def test_a_hundred_moments(tmp_path: Path) -> None:
    told = at_random_moments(tmp_path, 100, seed=2)
    today = datetime.date.today().isoformat()
    facts = {"date": today, "machine": platform.machine(), "cores": os.cpu_count(),
             "python": platform.python_version(), "torch": torch.__version__}  # fmt: skip
    codes = [one.code for one in told]
    counts = {str(code): codes.count(code) for code in dict.fromkeys(codes)}
    slowest = max(told, key=lambda one: one.seconds)
    facts |= {"load": os.getloadavg(), "patience_sec": patience_sec()}
    summary = {
        "moments": len(told),
        "codes": counts,
        "slowest": vars(slowest),
        "each": [vars(t) for t in told],
    }
    folder = ROOT / "benchmarks" / "proofs"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"interrupts-{today}.json").write_text(json.dumps(facts | summary, indent=1) + "\n")
    assert slowest.seconds < patience_sec(), slowest
