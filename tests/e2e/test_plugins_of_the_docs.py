"""The loss and the term of docs/plugins.md, word for word, train from a folder of the user's own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from stylegan2ada.data.writer import DatasetWriter

ROOT = Path(__file__).parent.parent.parent


def examples() -> dict[str, str]:
    """{file name: text} of the python blocks that begin with `# name.py`."""
    text = (ROOT / "docs" / "plugins.md").read_text()
    blocks = re.findall(r"```python\n(# (\w+\.py)\n.*?)```", text, flags=re.DOTALL)
    return {name: block for block, name in blocks}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mine")
    for name, text in examples().items():
        (folder / name).write_text(text)
    rng = np.random.default_rng(0)
    with DatasetWriter(folder / "data.zip") as writer:
        for i in range(8):
            writer.add(rng.integers(0, 255, size=(16, 16), dtype=np.uint8), label=i % 2)
    return folder


def test_the_examples_are_as_short_as_promised() -> None:
    def code_lines(text: str) -> int:
        return sum(1 for line in text.splitlines() if line.strip() and not line.strip().startswith("#"))

    assert code_lines(examples()["my_loss.py"]) <= 12
    assert code_lines(examples()["my_term.py"]) <= 6


@pytest.mark.parametrize(
    "flag", ["--loss=my_loss.MyLoss", pytest.param("--term=my_term.factory:0.1", marks=pytest.mark.slow)]
)
def test_they_train(flag: str, folder: Path) -> None:
    command = [
        sys.executable,
        str(ROOT / "stylegan2ada" / "train.py"),
        f"--outdir={folder}/runs-{flag[2:6]}",
        f"--data={folder}/data.zip",
        "--cond=1",
        flag,
        "--aug=noaug",
        "--batch=4",
        "--cbase=64",
        "--cmax=4",
        "--kimg=1",
        "--tick=0.004",
        "--snap=1000",
        "--metrics=none",
    ]
    environment = os.environ | {"PYTHONPATH": str(folder), "DNNLIB_CACHE_DIR": str(folder / "cache")}
    run_a_little(command, environment, Path(f"{folder}/runs-{flag[2:6]}"))


def run_a_little(command: list[str], environment: dict[str, str], outdir: Path) -> None:
    """Train until the second tick is in the statistics, then stop as a scheduler would."""
    child = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert child.stdout is not None
    seen = []
    for line in child.stdout:
        seen.append(line)
        if line.startswith("tick 2"):
            child.terminate()
            break
    seen += child.stdout.readlines()
    child.stdout.close()
    assert child.wait(timeout=60) == 75, "".join(seen)
    (run,) = outdir.iterdir()
    last = json.loads((run / "stats.jsonl").read_text().splitlines()[-1])
    assert np.isfinite(last["Loss/G/loss"]["mean"])
