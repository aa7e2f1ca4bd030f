"""Speed of the compiled kernels on a CPU: whole phases and generation, `fast` against `compiled`, A B A B.

    python -m stylegan2ada.ops.build && python benchmarks/compiled.py --threads 1
    python benchmarks/compiled.py --only generation --repeats 9

Both sides have the same weights and inputs; parity is printed first. With one thread the clock is the CPU
time of the process, so that other load counts little. The interval is of the median, from order statistics.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

import click
import torch

sys.path[0] = str(Path(__file__).resolve().parent.parent)  # the clone, so that this folder shadows nothing

from benchmarks import step, timing  # noqa: E402
from stylegan2ada.networks import stylegan2  # noqa: E402
from stylegan2ada.ops import build  # noqa: E402

# What the kernels are asked to bring, by what is timed and in which precision.
GATES = {
    ("generation", "fp32"): 1.15,
    ("generation", "bf16"): 1.35,
    ("iteration", "fp32"): 1.08,
    ("iteration", "bf16"): 1.2,
}
NO_PHASE_BELOW = 0.98


def sides(side: int, n: int, precision: str, settings: step.Settings) -> tuple[step.Side, step.Side]:
    """(fast, compiled) with equal weights, off their initial values."""
    options = {"r1_gamma": 0.0002 * side**2 / n, "style_mixing_prob": 0.9}
    torch.manual_seed(0)
    base, other = (step.own_side(name, side, options, settings) for name in ("fast", "compiled"))
    with torch.no_grad():
        for network in (base.G, base.D):
            for parameter in network.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.02)
    other.G.load_state_dict(base.G.state_dict())
    other.D.load_state_dict(base.D.state_dict())
    if precision == "bf16":
        for each in (base, other):
            stylegan2.set_precision(each.G, "bfloat16")
            stylegan2.set_precision(each.D, "bfloat16")
    return base, other


def interval(base: list[float], other: list[float]) -> tuple[float, float]:
    """Of the median ratio, at least 95 % by the sign test (from 9 pairs on the second and last but one)."""
    ratios = sorted(a / b for a, b in zip(base, other))
    n, cut, tail, term = len(ratios), 0, 0.0, 0.5 ** len(ratios)
    while cut < n // 2:
        tail += term
        if 2 * tail > 0.05:
            break
        cut += 1
        term *= (n - cut + 1) / cut
    return ratios[max(cut - 1, 0)], ratios[min(n - cut, n - 1)]


def report(name: str, precision: str, seconds: dict[str, list[float]], title: str) -> dict[str, Any]:
    base, other = seconds["fast"], seconds["compiled"]
    found = timing.summary(base, other)
    low, high = interval(base, other)
    gate = GATES.get((name, precision), NO_PHASE_BELOW)
    verdict = "reached" if found["ratio"] >= gate else "NOT REACHED"
    print(
        timing.line(title, found) + f"   median in [{low:.2f}, {high:.2f}]   gate x{gate}: {verdict}",
        flush=True,
    )
    return {**found, "low": low, "high": high, "gate": gate, "is_reached": found["ratio"] >= gate}


def time_generation(side: int, n: int, precision: str, settings: step.Settings) -> dict[str, Any]:
    base, other = sides(side, n, precision, settings)
    for each in (base, other):
        each.G.eval()
        each.D.eval()
    batch = step.batch_of(side, n, settings.device)
    parity = step.check_parity(base, other, batch, precision, [])
    work = {each.name: partial(each.images, batch) for each in (base, other)}
    seconds = timing.interleaved(work, settings.repeats, settings.clock)
    title = f"generation {side}x{side}, batch {n}, {precision}"
    found = report("generation", precision, seconds, title)
    return {"what": title, "parity": parity, "seconds": seconds, "summary": {"generation": found}}


def time_iteration(side: int, n: int, precision: str, settings: step.Settings) -> dict[str, Any]:
    base, other = sides(side, n, precision, settings)
    batch = step.batch_of(side, n, settings.device)
    parity = step.check_parity(base, other, batch, precision, list(step.SHARE))
    seconds: dict[str, dict[str, list[float]]] = {}
    for name in step.SHARE:
        work = {each.name: partial(each.phase, name, batch) for each in (base, other)}
        seconds[name] = timing.interleaved(work, settings.repeats, settings.clock)
    seconds["iteration"] = {
        who: [
            sum(step.SHARE[name] * seconds[name][who][k] for name in step.SHARE)
            for k in range(settings.repeats)
        ]
        for who in (base.name, other.name)
    }
    title = f"{side}x{side}, batch {n}, {precision}"
    found = {name: report(name, precision, both, f"{name} {title}") for name, both in seconds.items()}
    return {"what": f"iteration {title}", "parity": parity, "seconds": seconds, "summary": found}


@click.command()
@click.option("--only", type=click.Choice(["generation", "iteration"]), help="[default: both]")
@click.option("--generation", default="256x4", show_default=True, help="SIDExBATCH")
@click.option("--iteration", default="64x8", show_default=True, help="SIDExBATCH")
@click.option("--precision", default="fp32,bf16", show_default=True)
@click.option("--repeats", type=click.IntRange(min=1), default=9, show_default=True, help="Pairs")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True)
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder of the JSON  [default: benchmarks/results]"
)
def main(
    only: str | None,
    generation: str,
    iteration: str,
    precision: str,
    repeats: int,
    threads: int,
    out: Path | None,
) -> None:
    """Time `fast` against `compiled`; fail if they disagree."""
    torch.set_num_threads(threads)
    place = torch.device("cpu")
    clock_name, clock = timing.clock_for(place, threads)
    settings = step.Settings(place, False, None, repeats, clock)
    library = build.ensure("cpu", may_build=True, say=print)
    record: dict[str, Any] = {
        "machine": timing.machine(place), "clock": clock_name, "library": library.name, "results": [],
    }  # fmt: skip
    print(f"{'':<54s}{'fast':>13s} {'compiled':>13s}   ratio [least-largest], {clock_name} time")
    for kind in precision.split(","):
        for name, measure, size in (
            ("generation", time_generation, generation),
            ("iteration", time_iteration, iteration),
        ):
            if only in (None, name):
                ((side, n),) = step.parse_sizes(size)
                record["results"].append(measure(side, n, kind, settings))
    timing.save("compiled", record, out)


if __name__ == "__main__":
    main()
