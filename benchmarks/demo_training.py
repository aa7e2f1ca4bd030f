"""What the kernels bring to the demo's training: `train` as the demo starts it, plain against compiled.

    python benchmarks/demo_training.py --demo=demo --kimg=2 --repeats=5

`--demo` is a folder that `spinegan demo` has left. A B A B; CPU seconds of whole commands, one thread,
their starts included.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from benchmarks import timing
from spine_plugins import demo_command


def command(demo: Path, precision: str, ops: str, kimg: float, out: str) -> list[str]:
    """The demo's own, with another length and folder."""
    (words,) = (step.command for step in demo_command.steps(1, precision) if step.name == "train")
    filled = [sys.executable, *(word.format(out=demo) for word in words)]
    changed = ("--outdir=", "--kimg=", "--continue=", "--snap=")
    kept = [word for word in filled if not word.startswith(changed)]
    return [*kept, f"--outdir={out}", f"--kimg={kimg:g}", "--snap=1000", f"--ops={ops}"]


def trained(demo: Path, precision: str, ops: str, kimg: float) -> None:
    with tempfile.TemporaryDirectory() as out:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        words = command(demo, precision, ops, kimg, out)
        subprocess.run(words, env=environment, check=True, stdout=subprocess.DEVNULL)


def cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--demo", type=Path, required=True)
    parser.add_argument("--kimg", type=float, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    record = {"machine": timing.machine(torch.device("cpu")), "kimg": asked.kimg, "threads": 1}
    for precision in ("bf16", "fp32"):
        sides = {
            ops: partial(trained, asked.demo, precision, ops, asked.kimg) for ops in ("plain", "compiled")
        }
        seconds = timing.interleaved(sides, asked.repeats, cpu_of_children, warm_up=0)
        found = timing.summary(seconds["plain"], seconds["compiled"])
        print(timing.line(f"the demo's training, {asked.kimg:g} kimg, {precision}", found), flush=True)
        record[precision] = {"seconds": seconds, "summary": found}
    print(f"written: {timing.save('demo-training', record, asked.out)}")


if __name__ == "__main__":
    main()
