"""Speed of the low-level operations: `ref` against `fast`, A B A B, parity first.

python benchmarks/ops.py                     # shapes of the 256x256 networks
python benchmarks/ops.py --sizes tiny --repeats 2
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import click
import torch
from torch import Tensor

sys.path[0] = str(Path(__file__).resolve().parent.parent)  # the clone, so that this folder shadows nothing

from benchmarks import timing  # noqa: E402
from stylegan2ada.ops.bias_act import bias_act  # noqa: E402
from stylegan2ada.ops.conv2d_resample import conv2d_resample  # noqa: E402
from stylegan2ada.ops.grid_sample_gradfix import grid_sample  # noqa: E402
from stylegan2ada.ops.upfirdn2d import setup_filter, upfirdn2d  # noqa: E402

SHAPES = {  # [N, C, side]
    "tiny": [(2, 4, 8)],
    "small": [(4, 512, 16), (4, 128, 64)],
    "full": [(4, 512, 32), (4, 256, 64), (2, 64, 256)],
}
LIMITS = {"float32": (1e-5, 1e-4), "bfloat16": (3e-2, 6e-2)}  # relative L2 of values, of gradients
LOW_PASS = setup_filter([1, 3, 3, 1])
WAVELET = setup_filter([1, 2, 3, 4, 5, 6, 6, 5, 4, 3, 2, 1])

Op = Callable[..., Tensor]  # (*inputs, impl=...) -> value


def cases(n: int, c: int, side: int, dtype: torch.dtype) -> dict[str, tuple[Op, list[Tensor]]]:
    """What is timed: name -> operation and inputs."""
    rng = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=rng).to(dtype)

    x, image = draw(n, c, side, side), draw(n, 1, side, side)
    layout = torch.channels_last if c <= 64 else torch.contiguous_format  # as the networks hand it over
    x = x.contiguous(memory_format=layout)
    kernel, pointwise = draw(c, c, 3, 3) / (3 * c**0.5), draw(c, c, 1, 1) / c**0.5
    return {
        "bias_act lrelu clamp": (partial(bias_act, act="lrelu", clamp=256), [x, draw(c)]),
        "upfirdn2d blur": (partial(upfirdn2d, f=LOW_PASS, padding=[2, 1]), [x]),
        "upfirdn2d down 2": (partial(upfirdn2d, f=LOW_PASS, down=2, padding=1), [x]),
        "upfirdn2d up 2": (partial(upfirdn2d, f=LOW_PASS, up=2, padding=[2, 1], gain=4), [x]),
        "upfirdn2d up 2, 12 taps, 1 channel": (partial(upfirdn2d, f=WAVELET, up=2, padding=[6, 5]), [image]),
        "conv2d_resample 3x3": (partial(conv2d_resample, padding=1), [x, kernel]),
        "conv2d_resample 3x3 up 2": (
            partial(conv2d_resample, f=LOW_PASS, up=2, padding=1, flip_weight=False),
            [x, kernel],
        ),
        "conv2d_resample 3x3 down 2": (partial(conv2d_resample, f=LOW_PASS, down=2, padding=1), [x, kernel]),
        "conv2d_resample 1x1 down 2": (partial(conv2d_resample, f=LOW_PASS, down=2), [x, pointwise]),
    }


def forward(op: Op, inputs: list[Tensor], impl: str) -> list[Tensor]:
    with torch.no_grad():
        return [op(*inputs, impl=impl)]


def first_order(op: Op, inputs: list[Tensor], impl: str) -> list[Tensor]:
    inputs = [x.detach().requires_grad_() for x in inputs]
    y = op(*inputs, impl=impl)
    return [y, *torch.autograd.grad(y.square().sum(), inputs)]


def second_order(op: Op, inputs: list[Tensor], impl: str) -> list[Tensor]:
    inputs = [x.detach().requires_grad_() for x in inputs]
    y = op(*inputs, impl=impl)
    (dx,) = torch.autograd.grad(y.square().sum(), inputs[:1], create_graph=True)
    return [y, *torch.autograd.grad(dx.square().sum(), inputs)]


ORDERS = {"forward": forward, "1st order": first_order, "2nd order": second_order}


def sampling_case(side: int) -> tuple[Op, list[Tensor]]:
    rng = torch.Generator().manual_seed(0)
    matrices = torch.randn(4, 2, 3, generator=rng)
    grid = torch.nn.functional.affine_grid(matrices, [4, 1, side, side], align_corners=False)
    names = {"ref": "own", "fast": "auto"}
    return lambda x, impl: grid_sample(x, grid, impl=names[impl]), [
        torch.randn(4, 1, side, side, generator=rng)
    ]


@click.command()
@click.option("--sizes", type=click.Choice(list(SHAPES)), default="full", show_default=True)
@click.option("--dtype", type=click.Choice(list(LIMITS)), default="float32", show_default=True)
@click.option("--orders", default=",".join(ORDERS), show_default=True, help="Comma-separated.")
@click.option("--repeats", type=click.IntRange(min=1), default=5, show_default=True)
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--device", default="cpu", show_default=True)
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder of the JSON  [default: benchmarks/results]"
)
def main(
    sizes: str, dtype: str, orders: str, repeats: int, threads: int, device: str, out: Path | None
) -> None:
    """Time every operation in both implementations; fail if they disagree."""
    torch.set_num_threads(threads)
    place = torch.device(device)
    clock_name, clock = timing.clock_for(place, threads)
    work: dict[str, tuple[Op, list[Tensor]]] = {}
    for shape in SHAPES[sizes]:
        for name, case in cases(*shape, getattr(torch, dtype)).items():
            work[f"{name} {list(shape)}"] = case
    if dtype == "float32":
        work["grid_sample, own against chosen"] = sampling_case(SHAPES[sizes][-1][2])

    found_cases: list[Mapping[str, object]] = []
    record = {"machine": timing.machine(place), "clock": clock_name, "dtype": dtype, "cases": found_cases}
    print(f"{'':<54s}{'ref':>13s} {'fast':>13s}   ratio [least-largest], {clock_name} time")
    for name, (op, inputs) in work.items():
        inputs = [x.to(place) for x in inputs]
        for order in orders.split(","):
            run = ORDERS[order]
            parity = [
                timing.relative_l2(b, a) for a, b in zip(run(op, inputs, "ref"), run(op, inputs, "fast"))
            ]
            limits = LIMITS[dtype]
            if parity[0] > limits[0] or max(parity) > limits[1]:
                raise click.ClickException(
                    f"{name}, {order}: fast differs from ref by {parity} (limits {limits})"
                )
            sides = {impl: partial(run, op, inputs, impl) for impl in ("ref", "fast")}
            seconds = timing.interleaved(sides, repeats, clock)
            found = timing.summary(seconds["ref"], seconds["fast"])
            print(timing.line(f"{name}, {order}", found) + f"   parity {max(parity):.0e}", flush=True)
            entry = {"name": name, "order": order, "parity": parity, "seconds": seconds, "summary": found}
            found_cases.append(entry)
    timing.save("ops", record, out)


if __name__ == "__main__":
    main()
