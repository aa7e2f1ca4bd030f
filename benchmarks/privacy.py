"""Cost of the private step of D: over the usual step, with and without R1, and memory against chunk size.

    python benchmarks/privacy.py [--sizes 32,64] [--batch 32] [--repeats 5]

The usual step is a joint forward and backward of as many reals and fakes. The private one takes the gradient
of each sample, clips, sums, and adds noise of the system's generator. One thread, process CPU time.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import softplus

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from benchmarks import timing
from spine_plugins.privacy.noise import SystemChance
from spine_plugins.privacy.private_step import PrivateStep, Reals, StepSettings
from stylegan2ada.networks.stylegan2 import Discriminator

LIMITS = {"without R1": 1.7, "with R1": 2.4}  # DP step over non-private step
GAMMA = 1.0


def parts(side: int, batch: int) -> tuple[Discriminator, Reals, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    D = Discriminator(
        2, side, 1, channel_base=2048, channel_max=64, mapping_kwargs={"num_layers": 2},
        epilogue_kwargs={"mbstd_num_channels": 0},
    )  # fmt: skip
    c = torch.eye(2)[torch.arange(batch) % 2]
    reals = Reals(torch.randn(batch, 1, side, side), c, torch.arange(batch))
    return D, reals, torch.randn(batch, 1, side, side), c


def usual(D: Discriminator, reals: Reals, fakes: torch.Tensor, c: torch.Tensor, *, r1: bool) -> None:
    """One step of the usual kind: fakes, then reals and their penalty."""
    parameters = list(D.requires_grad_(True).parameters())
    fake = torch.autograd.grad(softplus(D(fakes, c)).mean(), parameters, allow_unused=True)
    img = reals.images.clone().requires_grad_(r1)
    logits = D(img, reals.labels)
    loss = softplus(-logits).mean()
    if r1:
        (slope,) = torch.autograd.grad(logits.sum(), img, create_graph=True)
        loss = loss + GAMMA / 2 * slope.square().sum([1, 2, 3]).mean()
    torch.autograd.grad(loss, parameters, allow_unused=True)
    D.requires_grad_(False)
    del fake


def private_step(D: Discriminator, batch: int, *, r1: bool, chunk: int, method: Any = "vmap") -> PrivateStep:
    settings = StepSettings(
        clip=1.0, noise_multiplier=1.0, batch=batch, r1="real" if r1 else "off", r1_gamma=GAMMA, chunk=chunk,
        method=method,
    )  # fmt: skip
    return PrivateStep(D, [name for name, _ in D.named_parameters()], settings, SystemChance())


def cost(side: int, batch: int, repeats: int) -> dict[str, Any]:
    D, reals, fakes, c = parts(side, batch)
    _, clock = timing.clock_for(torch.device("cpu"), threads=1)
    found: dict[str, Any] = {"parameters": sum(p.numel() for p in D.parameters())}
    for name, r1 in (("without R1", False), ("with R1", True)):
        sides: dict[str, Callable[[], object]] = {"usual": partial(usual, D, reals, fakes, c, r1=r1)}
        for chunk in (8, batch):
            sides[f"vmap, chunk {chunk}"] = partial(
                private_step(D, batch, r1=r1, chunk=chunk).gradients, reals, fakes, c
            )
        sides["loop"] = partial(
            private_step(D, batch, r1=r1, chunk=1, method="loop").gradients, reals, fakes, c
        )
        seconds = timing.interleaved(sides, repeats, clock)
        base = sorted(seconds["usual"])[repeats // 2]
        ratios = {
            side: sorted(times)[repeats // 2] / base for side, times in seconds.items() if side != "usual"
        }
        found[name] = {"usual_s": base, "over_usual": ratios, "limit": LIMITS[name]}
        print(
            f"{side}x{side}, batch {batch}, {name}: " + ", ".join(f"{k} x{v:.2f}" for k, v in ratios.items())
        )
    return found


_PEAK = """
import sys, threading, time, torch
sys.path.insert(0, {root!r})
torch.set_num_threads(1)
from benchmarks.privacy import parts, private_step
D, reals, fakes, c = parts({side}, {batch})
private_step(D, {batch}, r1=True, chunk=1, method="loop").gradients(reals, fakes, c)
page, peak, done = 4096 / 2**20, [0.0], []
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * page
def watch():
    while not done:
        peak[0] = max(peak[0], resident())
        time.sleep(0.001)
before = resident()
thread = threading.Thread(target=watch)
thread.start()
private_step(D, {batch}, r1=True, chunk={chunk}, method={method!r}).gradients(reals, fakes, c)
done.append(1)
thread.join()
print(peak[0] - before)
"""


def memory(side: int, batch: int) -> dict[str, float]:
    """MB that a step with R1 takes at its peak, by chunk size; each in a process of its own."""
    found = {}
    for name, method, chunk in [("loop", "loop", 1), *((str(k), "vmap", k) for k in (1, 4, 8, 16, batch))]:
        code = _PEAK.format(root=str(ROOT), side=side, batch=batch, chunk=chunk, method=method)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        found[name] = round(float(done.stdout), 1)
    print(f"{side}x{side}: MB at the peak: " + json.dumps(found))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="32,64")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=timing.RESULTS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    sides = [int(size) for size in given.sizes.split(",")]
    record = {
        "machine": timing.machine(torch.device("cpu")),
        "batch": given.batch,
        "cost": {str(side): cost(side, given.batch, given.repeats) for side in sides},
        "memory_mb": {str(side): memory(side, given.batch) for side in sides},
    }
    timing.save("privacy", record, given.out)


if __name__ == "__main__":
    main()
