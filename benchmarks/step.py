"""Speed of whole training phases and of generation: a baseline against `fast`, A B A B, parity first.

    python benchmarks/step.py  # baseline: our reference operations
    python benchmarks/step.py --upstream ~/stylegan2-ada-pytorch  # baseline: an official checkout of yours
    python benchmarks/step.py --sizes 64x8 --precision fp32 --repeats 2 --generation none    # small

Both sides get the same weights and inputs. An iteration is Gmain + Greg/4 + Dmain + Dreg/16, no optimiser.
"""

from __future__ import annotations

import contextlib
import gc
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import click
import torch
from torch import Tensor, nn

sys.path[0] = str(Path(__file__).resolve().parent.parent)  # the clone, so that this folder shadows nothing

from benchmarks import timing  # noqa: E402
from stylegan2ada.losses.stylegan2 import StyleGAN2Loss  # noqa: E402
from stylegan2ada.networks import augment, stylegan2  # noqa: E402
from stylegan2ada.ops import use_impl  # noqa: E402
from stylegan2ada.protocols import Options  # noqa: E402

SHARE = {"Gmain": 1, "Greg": 1 / 4, "Dmain": 1, "Dreg": 1 / 16}  # how often a phase runs per iteration
GAIN = {"Gmain": 1, "Greg": 4, "Dmain": 1, "Dreg": 16}
C_DIM = 2
BGC: Options = dict.fromkeys(
    ["xflip", "rotate90", "xint", "scale", "rotate", "aniso", "xfrac"]
    + ["brightness", "contrast", "lumaflip", "hue", "saturation"],
    1,
)

# Relative L2 against the baseline: logits and images, then each phase's whole gradient. In float32 a unit
# whose input is almost zero may fall on the other side of lrelu's kink, which shows in gradients only.
LIMITS = {"fp32": (1e-4, 1e-3), "bf16": (5e-2, 3e-1)}


@dataclass
class Side:
    """One of the two programs that are compared."""

    name: str
    G: nn.Module
    D: nn.Module
    loss: Any
    context: Callable[[], contextlib.AbstractContextManager[Any]] = field(default=contextlib.nullcontext)

    def phase(self, name: str, batch: dict[str, Tensor]) -> None:
        """All that a training loop does for a phase but the optimiser's step."""
        trained, other = (self.G, self.D) if name[0] == "G" else (self.D, self.G)
        other.requires_grad_(False)
        trained.requires_grad_(True)
        for parameter in trained.parameters():
            parameter.grad = None
        with self.context():
            self.loss.accumulate_gradients(phase=name, sync=True, gain=GAIN[name], **batch)

    @torch.no_grad()
    def images(self, batch: dict[str, Tensor]) -> Tensor:
        with self.context():
            return self.G(batch["gen_z"], batch["gen_c"], noise_mode="const")

    @torch.no_grad()
    def logits(self, batch: dict[str, Tensor]) -> Tensor:
        with self.context():
            return self.D(batch["real_img"], batch["real_c"])

    def gradient(self, name: str) -> Tensor:
        trained = self.G if name[0] == "G" else self.D
        parts = [p.grad if p.grad is not None else torch.zeros_like(p) for p in trained.parameters()]
        return torch.cat([part.flatten() for part in parts])


def network_arguments(side: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Constructor arguments of G and D as --cfg=auto chooses them up to 256x256, in full precision."""
    widths = {"channel_base": 16384, "channel_max": 512, "num_fp16_res": 0, "conv_clamp": 256}
    shared = {"c_dim": C_DIM, "img_resolution": side, "img_channels": 1}
    generator = {"z_dim": 512, "w_dim": 512, "mapping_kwargs": {"num_layers": 2}, "synthesis_kwargs": widths}
    return {**shared, **generator}, {**shared, **widths, "epilogue_kwargs": {"mbstd_group_size": 4}}


def own_side(name: str, side: int, loss_options: dict[str, Any], settings: Settings) -> Side:
    for_G, for_D = network_arguments(side)
    G = stylegan2.Generator(**for_G).to(settings.device)
    D = stylegan2.Discriminator(**for_D).to(settings.device)
    pipe = augment.AugmentPipe(**BGC).to(settings.device) if settings.augment else None
    loss = StyleGAN2Loss(settings.device, G.mapping, G.synthesis, D, pipe, **loss_options)
    return Side(name, G, D, loss, context=lambda: use_impl(name))


def official_side(side: int, loss_options: dict[str, Any], settings: Settings) -> Side:
    """The same from the checkout, whose packages must be the ones that `training` etc. name."""
    from training.augment import AugmentPipe
    from training.loss import StyleGAN2Loss as OfficialLoss
    from training.networks import Discriminator, Generator

    for_G, for_D = network_arguments(side)
    G, D = Generator(**for_G).to(settings.device), Discriminator(**for_D).to(settings.device)
    pipe = AugmentPipe(**BGC).to(settings.device) if settings.augment else None
    loss = OfficialLoss(settings.device, G.mapping, G.synthesis, D, pipe, **loss_options)
    return Side("upstream", G, D, loss)


@dataclass(frozen=True)
class Settings:
    device: torch.device
    augment: bool
    upstream: Path | None
    repeats: int
    clock: Callable[[], float]


def pair(side: int, n: int, precision: str, settings: Settings) -> tuple[Side, Side]:
    """(baseline, fast) with equal weights."""
    options = {"r1_gamma": 0.0002 * side**2 / n, "style_mixing_prob": 0.9}
    torch.manual_seed(0)
    if settings.upstream is None:
        base = own_side("ref", side, options, settings)
    else:
        base = official_side(side, options, settings)
    fast = own_side("fast", side, options, settings)
    with torch.no_grad():  # off their initial values, so that parity sees every parameter
        for network in (base.G, base.D):
            for parameter in network.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.02)
    for ours, theirs in ((fast.G, base.G), (fast.D, base.D)):
        ours.load_state_dict(theirs.state_dict())
    if settings.augment:
        for each in (base, fast):
            each.loss.augment_pipe.p.fill_(0.2)
    if precision == "bf16":  # upstream has no bfloat16: it stays what it is
        for each in (base, fast) if settings.upstream is None else (fast,):
            stylegan2.set_precision(each.G, "bfloat16")
            stylegan2.set_precision(each.D, "bfloat16")
    return base, fast


def batch_of(side: int, n: int, device: torch.device) -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(1)
    drawn = {
        "real_img": torch.rand(n, 1, side, side, generator=rng) * 2 - 1,
        "real_c": torch.eye(C_DIM)[torch.arange(n) % C_DIM],
        "gen_z": torch.randn(n, 512, generator=rng),
        "gen_c": torch.eye(C_DIM)[torch.arange(n) % C_DIM],
    }
    return {name: value.to(device) for name, value in drawn.items()}


@contextlib.contextmanager
def nothing_random(sides: tuple[Side, ...]) -> Iterator[None]:
    """Both sides draw the same: no mixing, no augmentation, noise that depends on its shape only."""

    def drawn(shape: Any, like: Tensor | None = None, **options: Any) -> Tensor:
        sizes = list(shape)
        value = torch.empty(sizes).normal_(generator=torch.Generator().manual_seed(sum(sizes)))
        return value.to(like) if like is not None else value.to(options.get("device"))

    kept = [(each.loss.style_mixing_prob, each.loss.augment_pipe) for each in sides]
    for each in sides:
        each.loss.style_mixing_prob, each.loss.augment_pipe = 0, None
    try:
        with (
            mock.patch.object(
                torch,
                "randn",
                lambda *shape, **options: drawn(shape if isinstance(shape[0], int) else shape[0], **options),
            ),
            mock.patch.object(torch, "randn_like", lambda x: drawn(x.shape, x)),
        ):
            yield
    finally:
        for each, (mixing, pipe) in zip(sides, kept):
            each.loss.style_mixing_prob, each.loss.augment_pipe = mixing, pipe


def check_parity(base: Side, fast: Side, batch: dict[str, Tensor], precision: str, phases: list[str]) -> dict:
    """Relative L2 differences, printed; an error if one is out of tolerance."""
    found = {}
    with nothing_random((base, fast)):
        found["images"] = timing.relative_l2(fast.images(batch), base.images(batch))
        found["logits"] = timing.relative_l2(fast.logits(batch), base.logits(batch))
        for name in phases:
            for each in (base, fast):
                each.loss.pl_mean.fill_(1.0)
                each.phase(name, batch)
            found[name] = timing.relative_l2(fast.gradient(name), base.gradient(name))
    values, gradients = LIMITS[precision]
    print(
        "parity (relative L2): " + ", ".join(f"{name} {error:.1e}" for name, error in found.items()),
        flush=True,
    )
    wrong = [name for name, error in found.items() if not error <= (gradients if name in SHARE else values)]
    if wrong:
        raise click.ClickException(
            f"{', '.join(wrong)} out of tolerance ({values:.0e} values, {gradients:.0e} gradients)"
        )
    return found


def time_phases(side: int, n: int, precision: str, settings: Settings) -> dict[str, Any]:
    base, fast = pair(side, n, precision, settings)
    batch = batch_of(side, n, settings.device)
    parity = check_parity(base, fast, batch, precision, list(SHARE))
    seconds: dict[str, dict[str, list[float]]] = {}
    found: dict[str, dict[str, float]] = {}
    for name in SHARE:
        work = {each.name: partial(each.phase, name, batch) for each in (base, fast)}
        seconds[name] = timing.interleaved(work, settings.repeats, settings.clock)
    seconds["iteration"] = {
        who: [sum(SHARE[name] * seconds[name][who][k] for name in SHARE) for k in range(settings.repeats)]
        for who in (base.name, fast.name)
    }
    for name, both in seconds.items():
        found[name] = timing.summary(both[base.name], both[fast.name])
        print(timing.line(f"{side}x{side}, batch {n}, {precision}, {name}", found[name]), flush=True)
    return {
        "size": side,
        "batch": n,
        "precision": precision,
        "parity": parity,
        "seconds": seconds,
        "summary": found,
    }


def time_generation(side: int, n: int, precision: str, settings: Settings) -> dict[str, Any]:
    base, fast = pair(side, n, precision, settings)
    for each in (base, fast):
        each.G.eval()
        each.D.eval()
    batch = batch_of(side, n, settings.device)
    parity = check_parity(base, fast, batch, precision, [])
    work = {each.name: partial(each.images, batch) for each in (base, fast)}
    seconds = timing.interleaved(work, settings.repeats, settings.clock)
    found = timing.summary(seconds[base.name], seconds["fast"])
    print(timing.line(f"{side}x{side}, batch {n}, {precision}, generation", found), flush=True)
    return {
        "size": side,
        "batch": n,
        "precision": precision,
        "parity": parity,
        "seconds": seconds,
        "summary": found,
    }


def parse_sizes(text: str) -> list[tuple[int, int]]:
    if text == "none":
        return []
    try:
        pairs = [tuple(int(number) for number in item.split("x")) for item in text.split(",")]
        return [(side, n) for side, n in pairs]
    except ValueError:
        raise click.BadParameter(f"{text!r}: write SIDExBATCH, e.g. 64x8,256x4, or none") from None


@click.command()
@click.option(
    "--upstream", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Official checkout"
)
@click.option(
    "--sizes", default="64x8,256x4", show_default=True, help="SIDExBATCH of the training phases, or none"
)
@click.option("--generation", default="256x4", show_default=True, help="SIDExBATCH of generation, or none")
@click.option("--precision", default="fp32,bf16", show_default=True, help="fp32, bf16 or both")
@click.option(
    "--augment/--no-augment", default=False, show_default=True, help="bgc with p = 0.2 while timing"
)
@click.option("--repeats", type=click.IntRange(min=1), default=5, show_default=True)
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--device", default="cpu", show_default=True)
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder of the JSON  [default: benchmarks/results]"
)
def main(
    upstream: Path | None,
    sizes: str,
    generation: str,
    precision: str,
    augment: bool,
    repeats: int,
    threads: int,
    device: str,
    out: Path | None,
) -> None:
    """Time the training phases and generation; fail if the two sides disagree."""
    if unknown := set(precision.split(",")) - set(LIMITS):
        raise click.BadParameter(f"--precision {', '.join(unknown)}: use fp32, bf16 or fp32,bf16")
    jobs = [(time_phases, size) for size in parse_sizes(sizes)]
    jobs += [(time_generation, size) for size in parse_sizes(generation)]
    torch.set_num_threads(threads)
    place = torch.device(device)
    clock_name, clock = timing.clock_for(place, threads)
    settings = Settings(place, augment, upstream, repeats, clock)
    if upstream is not None:
        sys.path.insert(0, str(upstream.resolve()))
        warnings.simplefilter("ignore")  # upstream warns on each call about a torch it does not know

    record: dict[str, Any] = {
        "machine": timing.machine(place),
        "clock": clock_name,
        "baseline": "official checkout" if upstream else "ref",
        "augment": "bgc p=0.2" if augment else "none",
        "results": [],
    }
    print(f"{'':<54s}{record['baseline']:>13s} {'fast':>13s}   ratio [least-largest], {clock_name} time")
    for kind in precision.split(","):
        for measure, (side, n) in jobs:
            record["results"].append({"what": measure.__name__, **measure(side, n, kind, settings)})
            gc.collect()
    timing.save("step", record, out)


if __name__ == "__main__":
    main()
