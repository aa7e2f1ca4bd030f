"""Steps of `gpu.py`: each a function of a job that writes what it finds as soon as it has found it."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks import timing
from stylegan2ada.data.writer import DatasetWriter
from stylegan2ada.networks.stylegan2 import modulated_conv2d
from stylegan2ada.ops import bias_act, upfirdn2d, use_impl

ROOT = Path(__file__).resolve().parent.parent
MODES = ("plain", "compiled", "plain+graphs", "compiled+graphs")
ROUNDS = 6  # of each mode, in turn; the first one finds out how many calls to time together
Row = dict[str, Any]
Kernel = Callable[[Tensor, str], Tensor]  # an operation on images, in an implementation


@dataclass
class Job:
    """What a step is asked."""

    device: torch.device
    dry: bool
    batch: int
    upstream: Path | None
    result: Path
    found: Row = field(default_factory=dict)

    @property
    def is_cuda(self) -> bool:
        return self.device.type == "cuda"

    @property
    def side(self) -> int:
        return 16 if self.dry else 256

    def keep(self, **found: Any) -> None:
        """On disk at once: a step may be cut off."""
        self.found |= found
        new = self.result.with_suffix(".new")
        new.write_text(json.dumps(self.found))
        new.replace(self.result)

    def clock(self) -> float:
        if self.is_cuda:
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


# What there is


def environment(job: Job) -> None:
    job.keep(python=sys.version.split()[0], torch=torch.__version__, cuda=torch.version.cuda)
    job.keep(nvcc=_said(["nvcc", "--version"]), compiled=compiled_missing(job.device) or "built")
    if job.is_cuda:
        properties = torch.cuda.get_device_properties(job.device)
        job.keep(card=properties.name, memory_gb=round(properties.total_memory / 2**30, 1))
        job.keep(
            driver=_said(["nvidia-smi", "--query-gpu=driver_version,power.limit", "--format=csv,noheader"])
        )


def build(job: Job) -> None:
    """The compiled library, and how long it took."""
    if importlib.util.find_spec("stylegan2ada.ops.build") is None:
        job.keep(built="not built: this version has no compiled operations")
        return
    command = [sys.executable, "-m", "stylegan2ada.ops.build"]
    if job.is_cuda:
        major, minor = torch.cuda.get_device_capability(job.device)
        command += ["--cuda-arch", f"{major}{minor}"]
    begin = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    seconds = round(time.perf_counter() - begin, 1)
    missing = compiled_missing(job.device)
    job.keep(
        built=missing or "built",
        build_sec=seconds,
        code=done.returncode,
        said=(done.stdout + done.stderr)[-800:],
    )


def tests(job: Job) -> None:
    """Those marked gpu; without a card merely that they are found."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "--no-header", "-p", "no:cacheprovider"]
    command += (
        ["tests/stylegan2ada/losses/test_gpu.py", "--collect-only"] if job.dry else ["tests/stylegan2ada"]
    )
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    print(done.stdout[-4000:], done.stderr[-1000:])
    lines = done.stdout.strip().splitlines() or [""]
    job.keep(tests=lines[-1], failed=[line for line in lines if line.startswith(("FAILED", "ERROR"))][:30])
    if done.returncode:
        sys.exit(done.returncode)


def compiled_missing(device: torch.device) -> str | None:
    """Why there are no compiled operations here; None: they are loaded."""
    if importlib.util.find_spec("stylegan2ada.ops.build") is None:
        return "not built: this version has no compiled operations"
    library = importlib.import_module("stylegan2ada.ops.build")
    try:
        library.ensure(device.type, may_build=False)
    except library.Unavailable as reason:
        return f"not built: {reason}"
    return None


# Kernels: right, and how near to a copy


def kernels(job: Job) -> None:
    """Parity with `ref` in float64, and bytes per second beside those of a copy."""
    n, channels, side = (2, 4, 16) if job.dry else (16, 128, 256)
    rows: list[Row] = []
    impls = ["fast"] if compiled_missing(job.device) else ["fast", "compiled"]
    job.keep(compiled=compiled_missing(job.device) or "built", copy_gb_per_s=copy_speed(job))
    for dtype in (torch.float32, torch.bfloat16, *([torch.float16] if job.is_cuda else [])):
        for layout in (torch.contiguous_format, torch.channels_last):
            torch.manual_seed(0)
            x = torch.randn([n, channels, side, side], device=job.device).to(dtype, memory_format=layout)
            for name, work in kernel_calls(x).items():
                truth = work(x[:2].double(), "ref")  # two images say as much, and fit any card
                for impl in impls:
                    y = work(x, impl)
                    seconds = fastest(job, partial(work, x, impl))
                    rows.append(
                        {
                            "kernel": name,
                            "impl": impl,
                            "type": str(dtype).removeprefix("torch."),
                            "layout": "nhwc" if layout is torch.channels_last else "nchw",
                            "error": timing.relative_l2(y[:2], truth),
                            "gb_per_s": (x.nbytes + y.nbytes) / seconds / 1e9,
                        }
                    )
                    job.keep(kernels=rows)


def kernel_calls(x: Tensor) -> dict[str, Kernel]:
    """Each operation, and with its gradient (whose bytes count as little as if it were free)."""
    b = torch.randn(x.shape[1], device=x.device)
    f = upfirdn2d.setup_filter([1, 3, 3, 1], device=x.device)
    kernel = torch.randn(x.shape[1], x.shape[1], 3, 3, device=x.device)
    styles, noise = (
        torch.randn(*x.shape[:2], device=x.device),
        torch.randn_like(x[:, :1], dtype=torch.float32),
    )

    def layer(v: Tensor, impl: str) -> Tensor:
        """A convolution with all that may be fused to its end; mostly the convolution's own time."""
        wide = torch.promote_types(v.dtype, torch.float32)
        w, s, n = (t.to(wide) for t in (kernel, styles[: len(v)], noise[: len(v)]))
        with use_impl(impl):
            y = modulated_conv2d(v, w, s, noise=n, padding=1, fused_modconv=False)
            return bias_act.bias_act(y, b.to(v), act="lrelu", clamp=256)

    calls: dict[str, Kernel] = {
        "layer": layer,
        "bias_act": lambda v, impl: bias_act.bias_act(v, b.to(v), act="lrelu", clamp=256, impl=impl),
        "upsample2d": lambda v, impl: upfirdn2d.upsample2d(v, f, impl=impl),
        "downsample2d": lambda v, impl: upfirdn2d.downsample2d(v, f, impl=impl),
        "filter2d": lambda v, impl: upfirdn2d.filter2d(v, f, impl=impl),
    }
    return calls | {f"{name} + gradient": partial(_gradient, work) for name, work in calls.items()}


def _gradient(work: Kernel, x: Tensor, impl: str) -> Tensor:
    x = x.detach().requires_grad_()
    y = work(x, impl)
    (slope,) = torch.autograd.grad(y, x, y.detach())
    return slope


def copy_speed(job: Job) -> float:
    x = torch.zeros(2**16 if job.dry else 2**27, device=job.device)
    return 2 * x.nbytes / fastest(job, x.clone) / 1e9


def fastest(job: Job, work: Callable[[], object]) -> float:
    """Seconds of one call, median of a few groups."""
    calls = 1 if job.dry else 20
    work()
    found = []
    for _ in range(1 if job.dry else 5):
        begin = job.clock()
        for _ in range(calls):
            work()
        found.append((job.clock() - begin) / calls)
    return statistics.median(found)


# The command


def train(job: Job, flags: list[str]) -> None:
    """Seconds per kimg of the real command, data and statistics included."""
    images, kimg = (64, 1) if job.dry else (2000, 4)
    known = subprocess.run(
        [sys.executable, "stylegan2ada/train.py", "--help"], cwd=ROOT, capture_output=True, text=True
    ).stdout
    flags = [flag for flag in flags if flag.partition("=")[0] in known]
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        write_images(place / "data.zip", job.side, images)
        command = [
            sys.executable,
            "stylegan2ada/train.py",
            f"--outdir={place / 'runs'}",
            f"--data={place / 'data.zip'}",
        ]
        command += [
            "--cond=1",
            f"--kimg={kimg}",
            "--tick=1",
            "--snap=50",
            "--metrics=none",
            f"--device={job.device}",
        ]
        command += ["--cbase=64", "--cmax=4", "--batch=64", "--aug=noaug"] if job.dry else []
        begin, first = time.perf_counter(), None
        with subprocess.Popen([*command, *flags], cwd=ROOT, stdout=subprocess.DEVNULL) as process:
            while process.poll() is None:
                if first is None and any(p.stat().st_size for p in place.glob("runs/*/stats.jsonl")):
                    first = time.perf_counter() - begin
                time.sleep(0.05)
        (path,) = place.glob("runs/*/stats.jsonl")
        lines = [json.loads(line) for line in path.read_text().splitlines()]
    # The first ticks tune kernels and record graphs; the last one is what a run costs.
    job.keep(
        train={
            "flags": flags,
            "code": process.returncode,
            "wall_sec": time.perf_counter() - begin,
            "first_line_sec": first or 0.0,
            "sec_per_kimg": lines[-1]["Timing/sec_per_kimg"]["mean"],
            "all_sec_per_kimg": [line["Timing/sec_per_kimg"]["mean"] for line in lines],
            "peak_gb": max(line["Resources/peak_gpu_mem_gb"]["mean"] for line in lines),
        }
    )


def write_images(path: Path, side: int, count: int) -> None:
    """Smooth grey images of two classes."""
    rng = np.random.RandomState(0)
    y, x = np.mgrid[0:side, 0:side] / side
    with DatasetWriter(path) as writer:
        for index in range(count):
            a, b, shift = *rng.uniform(1, 6, 2), rng.uniform(0, 6)
            wave = 128 + 90 * np.sin(a * 6 * x + shift) * np.cos(b * 6 * y) + rng.randn(side, side) * 6
            writer.add(np.clip(wave, 0, 255).astype(np.uint8), label=index % 2)


def clocks() -> str:
    query = "clocks.sm,clocks.mem,power.draw,temperature.gpu"
    return _said(["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"])


def _said(command: list[str]) -> str:
    if shutil.which(command[0]) is None:
        return "not there"
    with contextlib.suppress(subprocess.SubprocessError):
        return subprocess.run(command, capture_output=True, text=True, timeout=20).stdout.strip()[-300:]
    return "gives no answer"
