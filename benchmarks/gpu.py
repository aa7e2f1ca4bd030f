"""All that is worth knowing on a card, in nine minutes: one command, nothing lost if it is cut off.

    python benchmarks/gpu.py --out results  # on the machine with the card
    python benchmarks/gpu.py --upstream ~/stylegan2-ada-pytorch --out results  # beside the official program
    python benchmarks/gpu.py --device cpu --dry --out results  # every branch that needs no card, tiny sizes

Each step is a process of its own with a time limit, the most valuable first; what it found is in the JSON
even if the next one hangs.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)  # the clone, so that this folder shadows nothing

from benchmarks import gpu_phases, gpu_work, timing  # noqa: E402

Found = dict[str, Any]
TAIL = 12  # lines of a step's words that are kept
PATIENCE = 10  # times as long may a dry step take, on a machine that does other things, too


@dataclass(frozen=True)
class Step:
    name: str
    do: Callable[[gpu_work.Job], None]
    seconds: int  # at most
    batch: int = 0  # of the phases


STEPS = (
    Step("environment", gpu_work.environment, 40),
    Step("build", gpu_work.build, 100),
    Step("tests", gpu_work.tests, 100),
    Step("kernels", gpu_work.kernels, 60),
    Step("phases-16", gpu_phases.phases, 75, batch=16),
    Step("train-fast", partial(gpu_work.train, flags=["--ops=auto", "--graphs=auto"]), 90),
    Step("phases-32", gpu_phases.phases, 60, batch=32),
    Step("train-plain", partial(gpu_work.train, flags=["--ops=plain", "--graphs=off"]), 90),
    Step("precision", gpu_phases.precisions, 60, batch=16),
    Step("phases-64", gpu_phases.phases, 60, batch=64),
    Step("upstream", gpu_phases.upstream, 90, batch=16),
)


def run_step(step: Step, options: list[str], folder: Path, seconds: float) -> Found:
    """What a step found, in a process of its own; never an exception."""
    result, log = folder / f"{step.name}.json", folder / f"{step.name}.log"
    command = [sys.executable, __file__, "--only", step.name, "--result", str(result), *options]
    begin = time.perf_counter()
    with log.open("w") as file:
        # A group of its own: what a step has started must not compute on beside the next one.
        process = subprocess.Popen(
            command, stdout=file, stderr=subprocess.STDOUT, cwd=ROOT, start_new_session=True
        )
        try:
            code = process.wait(seconds)
            ended = "done" if code == 0 else f"failed ({code})"
        except subprocess.TimeoutExpired:
            ended = f"cut off after {seconds:.0f} s"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    # Written piece by piece: what was found before the end counts.
    found = json.loads(result.read_text()) if result.exists() else {}
    words = log.read_text(errors="replace").splitlines()
    wall = round(time.perf_counter() - begin, 1)
    return {"step": step.name, "ended": ended, "seconds": wall, "found": found, "tail": words[-TAIL:]}


def table(steps: list[Found]) -> list[str]:
    """The short table: what a reader wants first."""
    found = {step["step"]: step["found"] for step in steps}
    lines = [f"{step['step']:<12s} {step['ended']:<22s} {step['seconds']:6.1f} s" for step in steps]
    lines.append("")
    for name, one in found.items():
        for row in one.get("phases", ()):
            if "iteration_ms" not in row:
                lines.append(f"{name:<10s} {row['mode']:<18s} {row['augment']:<8s} {row['why_not']}")
                continue
            lines.append(
                f"{name:<10s} {row['mode']:<18s} {row['augment']:<8s} {row['iteration_ms']:9.2f} ms "
                f"{row['sec_per_kimg']:7.3f} s/kimg {row['peak_gb']:6.2f} GB"
            )
        lines += kernel_lines(one.get("kernels", []))
        if "train" in one:
            row = one["train"]
            lines.append(
                f"{name:<10s} {row['sec_per_kimg']:.3f} s/kimg, first line at {row['first_line_sec']:.1f} s, "
                f"peak {row['peak_gb']:.2f} GB; {' '.join(row['flags'])}"
            )
    return lines


def kernel_lines(rows: list[Found]) -> list[str]:
    """One per kernel and implementation: the largest errors, and the speed where it counts."""
    lines = []
    for kernel, impl in dict.fromkeys((row["kernel"], row["impl"]) for row in rows):
        mine = [row for row in rows if (row["kernel"], row["impl"]) == (kernel, impl)]
        full = max(row["error"] for row in mine if row["type"] == "float32")
        half = max((row["error"] for row in mine if row["type"] != "float32"), default=0.0)
        speed = {(row["type"], row["layout"]): row["gb_per_s"] for row in mine}
        lines.append(
            f"{kernel:<24s} {impl:<9s} error {full:.0e} float32, {half:.0e} half; "
            f"GB/s {speed['float32', 'nchw']:.1f} nchw float32, "
            f"{speed.get(('bfloat16', 'nhwc'), 0):.1f} nhwc bfloat16"
        )
    return lines


@click.command()
@click.option("--device", default="cuda", show_default=True)
@click.option("--dry", is_flag=True, help="Tiny sizes: whether the script works, not how fast a machine is")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder of the JSON  [default: benchmarks/results]"
)
@click.option(
    "--upstream", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Official checkout"
)
@click.option("--steps", help="Only these, with commas  [default: all]")
@click.option("--minutes", default=9.0, show_default=True, help="Time for all steps together")
@click.option("--only", hidden=True, help="Do this step, here")
@click.option("--result", type=click.Path(path_type=Path), hidden=True, help="Where that step writes")
def main(
    device: str,
    dry: bool,
    out: Path | None,
    upstream: Path | None,
    steps: str | None,
    minutes: float,
    only: str | None,
    result: Path | None,
) -> None:
    """Build, test, compare and time on a GPU; leave a dated JSON and a short table."""
    if only is not None:
        assert result is not None
        step = next(step for step in STEPS if step.name == only)
        torch.backends.cudnn.benchmark = True
        gpu_phases.full_precision(tf32=False)
        step.do(gpu_work.Job(torch.device(device), dry, step.batch, upstream, result))
        return
    if device == "cuda" and not torch.cuda.is_available():
        raise click.UsageError(
            "there is no CUDA device here; --device cpu --dry tries the script without one"
        )
    wanted = (
        [step.name for step in STEPS if not (dry and step.batch > 16)] if steps is None else steps.split(",")
    )
    chosen = [step for step in STEPS if step.name in wanted]
    if not chosen:
        raise click.UsageError(f"--steps={steps}: use some of {', '.join(step.name for step in STEPS)}")
    options = [
        "--device",
        device,
        *(["--dry"] if dry else []),
        *(["--upstream", str(upstream)] if upstream else []),
    ]
    until = time.perf_counter() + 60 * minutes
    record: Found = {"machine": timing.machine(torch.device(device)), "dry": dry, "steps": []}
    with tempfile.TemporaryDirectory() as scratch:
        for step in chosen:
            left = until - time.perf_counter()
            if left < 5 and not dry:
                record["steps"].append(
                    {"step": step.name, "ended": "no time left", "seconds": 0.0, "found": {}}
                )
                continue
            limit = step.seconds * PATIENCE if dry else min(step.seconds, left)
            found = run_step(step, options, Path(scratch), limit)
            record["steps"].append(found)
            print(f"{step.name}: {found['ended']}, {found['seconds']} s", flush=True)
            if found["ended"] != "done":
                print("\n".join(f"    {line[:200]}" for line in found["tail"][-6:]), flush=True)
    record["table"] = table(record["steps"])
    print("\n".join(["", *record["table"]]))
    timing.save("gpu", record, out)


if __name__ == "__main__":
    main()
