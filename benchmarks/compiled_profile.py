"""Where the time of an iteration goes, plain against compiled: by kind of work and by operation.

    python -m stylegan2ada.ops.build && python benchmarks/compiled_profile.py
    python benchmarks/compiled_profile.py --precision bf16

The phases of `compiled.py`, each under torch's profiler after one warm-up, with one thread by default. Times
are those of operations by themselves, without what they call, by the wall clock: on a busy machine shares say
more than milliseconds. Writes one JSON and, beside it, the tables as text.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import click
import torch
from torch.profiler import ProfilerActivity, profile

sys.path[0] = str(Path(__file__).resolve().parent.parent)  # the clone, so that this folder shadows nothing

from benchmarks import compiled, step, timing  # noqa: E402
from stylegan2ada.ops import build  # noqa: E402

# Kinds of work, by what an operation's name contains; the first that fits.
KINDS = {
    "our kernels": ("stylegan2ada::",),
    "gradients of convolutions": ("convolution_backward", "conv2d_backward"),
    "convolutions": ("conv", "mkldnn_"),
    "matrix products": ("aten::mm", "aten::bmm", "addmm", "baddbmm", "matmul", "linear"),
    "copies and fills": (
        "copy",
        "clone",
        "contiguous",
        "aten::fill_",
        "aten::zero",
        "aten::cat",
        "flip",
        "pad",
    ),
    "sums": ("aten::sum", "aten::mean", "vector_norm", "aten::var"),
}
REST = "element by element, and the rest"


def kind_of(operation: str) -> str:
    return next((kind for kind, parts in KINDS.items() if any(part in operation for part in parts)), REST)


def seconds_by_operation(
    side: step.Side, phase: str, batch: dict[str, Any], repeats: int
) -> dict[str, float]:
    """Seconds that one run of the phase spends in each operation itself."""
    side.phase(phase, batch)
    with profile(activities=[ProfilerActivity.CPU]) as watched:
        for _ in range(repeats):
            side.phase(phase, batch)
    return {
        event.key: event.self_cpu_time_total / 1e6 / repeats
        for event in watched.key_averages()
        if event.self_cpu_time_total > 0
    }


def added(rows: list[tuple[float, dict[str, float]]]) -> dict[str, float]:
    """Sum of weight * seconds, by name."""
    total: dict[str, float] = {}
    for weight, seconds in rows:
        for name, value in seconds.items():
            total[name] = total.get(name, 0.0) + weight * value
    return total


def by_kind(seconds: dict[str, float]) -> dict[str, float]:
    return added([(1.0, {kind_of(name): value}) for name, value in seconds.items()])


def table(title: str, base: dict[str, float], other: dict[str, float], rows: int) -> list[str]:
    """Milliseconds and shares of both sides, the largest first."""
    totals = sum(base.values()), sum(other.values())
    pairs = {name: (base.get(name, 0.0), other.get(name, 0.0)) for name in base | other}
    largest = sorted(pairs.items(), key=lambda item: -max(item[1]))[:rows]
    lines = [f"{title:<54s}{'plain':>11s}{'':8s}{'compiled':>11s}"]
    for name, pair in [("all", totals), *largest]:
        cells = [f"{value * 1e3:8.1f} ms {value / total:6.1%}" for value, total in zip(pair, totals)]
        lines.append(f"  {name[:52]:<52s}" + "  ".join(cells))
    return [*lines, ""]


@click.command()
@click.option("--iteration", default="64x8", show_default=True, help="SIDExBATCH")
@click.option("--precision", type=click.Choice(["fp32", "bf16"]), default="fp32", show_default=True)
@click.option("--repeats", type=click.IntRange(min=1), default=1, show_default=True, help="Of each phase")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True)
@click.option(
    "--rows", type=click.IntRange(min=1), default=20, show_default=True, help="Operations in the text"
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder of the files  [default: benchmarks/results]"
)
def main(iteration: str, precision: str, repeats: int, threads: int, rows: int, out: Path | None) -> None:
    """Profile the phases with plain operations and with kernels."""
    torch.set_num_threads(threads)
    place = torch.device("cpu")
    library = build.ensure("cpu", may_build=True, say=print)
    ((side, n),) = step.parse_sizes(iteration)
    settings = step.Settings(place, False, None, repeats, time.perf_counter)
    base, other = compiled.sides(side, n, precision, settings)
    batch = step.batch_of(side, n, place)
    found = {
        name: {each.name: seconds_by_operation(each, name, batch, repeats) for each in (base, other)}
        for name in step.SHARE
    }
    found["iteration"] = {
        each.name: added([(share, found[name][each.name]) for name, share in step.SHARE.items()])
        for each in (base, other)
    }
    lines = [f"{side}x{side}, batch {n}, {precision}, {threads} thread(s)", ""]
    for name, both in found.items():
        plain, kernels = (by_kind(both[each.name]) for each in (base, other))
        lines += table(f"{name}, by kind", plain, kernels, len(KINDS) + 1)
    both = found["iteration"]
    lines += table("iteration, by operation", both[base.name], both[other.name], rows)
    print("\n".join(lines))
    record = {
        "machine": timing.machine(place), "library": library.name, "precision": precision, "seconds": found,
        "by_kind": {name: {who: by_kind(ops) for who, ops in both.items()} for name, both in found.items()},
    }  # fmt: skip
    written = timing.save("compiled-profile", record, out)
    written.with_suffix(".txt").write_text("\n".join(lines))


if __name__ == "__main__":
    main()
