"""How the speed scripts measure and record: interleaved pairs, ratios per pair, one dated JSON."""

from __future__ import annotations

import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

RESULTS = Path(__file__).parent / "results"


def clock_for(device: torch.device, threads: int) -> tuple[str, Callable[[], float]]:
    """Name and function of the fairest clock: of the process with one CPU thread, else of the wall."""
    if device.type == "cuda":

        def synchronised() -> float:
            torch.cuda.synchronize()
            return time.perf_counter()

        return "wall, synchronised", synchronised
    if threads == 1:  # foreign load on the machine does not count
        return "process cpu", time.process_time
    return "wall", time.perf_counter


def interleaved(
    sides: Mapping[str, Callable[[], object]],  # name -> work; the first is the baseline
    repeats: int,
    clock: Callable[[], float],
    warm_up: int = 1,
) -> dict[str, list[float]]:
    """Seconds per side and repeat, in the order A B A B, after warming both up."""
    for _ in range(warm_up):
        for work in sides.values():
            work()
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, work in sides.items():
            start = clock()
            work()
            seconds[name].append(clock() - start)
    return seconds


def summary(base: list[float], other: list[float]) -> dict[str, float]:
    """Median seconds of both, and the ratio base / other per adjacent pair: median, least, largest."""
    ratios = [a / b for a, b in zip(base, other)]
    return {
        "base_s": statistics.median(base),
        "other_s": statistics.median(other),
        "ratio": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
    }


def line(name: str, found: Mapping[str, float]) -> str:
    return (
        f"{name:<54s} {found['base_s'] * 1e3:10.2f} ms {found['other_s'] * 1e3:10.2f} ms   "
        f"x{found['ratio']:.2f} [{found['ratio_min']:.2f}-{found['ratio_max']:.2f}]"
    )


def relative_l2(value: torch.Tensor, truth: torch.Tensor) -> float:
    """|value - truth| / |truth|."""
    value, truth = value.detach().double(), truth.detach().double()
    return float((value - truth).norm() / truth.norm().clamp_min(1e-30))


def machine(device: torch.device) -> dict[str, Any]:
    """What a number must be quoted with."""
    found = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "commit": _commit(),
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "load_average": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "device": str(device),
    }
    if device.type == "cuda":
        found.update(gpu=torch.cuda.get_device_name(device), cuda=torch.version.cuda)
    return found


def save(name: str, record: Mapping[str, Any], out: Path | None) -> Path:
    """Write NAME-DATE.json into `out`, by default benchmarks/results."""
    folder = out or RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d-%H%M%S")
    path = folder / f"{name}-{stamp}.json"
    path.write_text(json.dumps(record, indent=1) + "\n")
    print(f"written: {path}")
    return path


def _cpu_name() -> str:
    try:
        for row in Path("/proc/cpuinfo").read_text().splitlines():
            if row.startswith("model name"):
                return row.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _commit() -> str:
    root = Path(__file__).parent
    try:
        name = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "--short", "HEAD"], capture_output=True, text=True
        )
        dirty = subprocess.run(
            ["git", "-C", str(root), "status", "--porcelain", "-uno"], capture_output=True, text=True
        )
    except OSError:
        return "unknown"
    return (name.stdout.strip() or "unknown") + ("+changes" if dirty.stdout.strip() else "")
