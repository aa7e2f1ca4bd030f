"""Eight Gaussians on a ring: what each objective does with modes, in half a minute on one core.

    python benchmarks/toy8.py --out=benchmarks/results/toy8.png [--objectives=ns,wgan-gp]

Trains small MLPs with the project's own loss and phases, prints how many modes the samples reach, and draws
samples over the critic's contours. The ring is that of the toy of arXiv:1704.00028 (radius 2 / 1.414).

The optimiser matters as much as the objective. With Adam's default betas (0.9, 0.999) `ns` and `minimax` run
after each other around the ring and hold 0 to 2 modes after 400 steps of G; with beta1 = 0.5 they hold all
eight in most runs, not in all, and `wgan-gp` with the default betas wavers between 5 and 8: --betas=0.5,0.9.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from stylegan2ada.losses.objectives import find_objective, slopes
from stylegan2ada.losses.stylegan2 import StyleGAN2Loss
from stylegan2ada.training import phases

MODES = 8
RADIUS = 2 / 1.414
SPREAD = 0.02 / 1.414
NEAR = 0.2  # a sample this close to a centre belongs to its mode
LATENTS = 2


@dataclass(frozen=True)
class Setting:
    """How one objective is trained."""

    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    options: tuple[tuple[str, float], ...] = ()  # of the loss


SETTINGS = {
    "ns": Setting(),
    "minimax": Setting(),
    "lsgan": Setting(),
    # Without momentum, as RMSProp in the paper; a clip of 0.01 works too, with slopes of 0.0005
    "wgan": Setting(lr=5e-4, betas=(0.0, 0.99), options=(("weight_clip", 0.1),)),
    "wgan-gp": Setting(betas=(0.5, 0.9), options=(("gp_weight", 0.1),)),
}


def centres() -> Tensor:
    angles = torch.arange(MODES) * (2 * math.pi / MODES)
    return RADIUS * torch.stack([angles.cos(), angles.sin()], dim=1)


def draw_reals(n: int) -> Tensor:
    return centres()[torch.randint(MODES, [n])] + SPREAD * torch.randn([n, 2])


def mlp(width_in: int, width_out: int, hidden: int) -> nn.Sequential:
    sizes = [width_in, hidden, hidden, hidden, width_out]
    layers: list[nn.Module] = []
    for a, b in zip(sizes, sizes[1:]):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class Mapping(nn.Module):
    """No style space here: w is z."""

    def forward(self, z: Tensor, c: Tensor) -> Tensor:
        return z[:, None]


class Generator(nn.Module):
    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.mapping = Mapping()
        self.points = mlp(LATENTS, 2, hidden)

    def synthesis(self, ws: Tensor) -> Tensor:
        return self.points(ws[:, 0])

    def forward(self, z: Tensor) -> Tensor:
        return self.points(z)


class Critic(nn.Module):
    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.score = mlp(2, 1, hidden)

    def forward(self, img: Tensor, c: Tensor) -> Tensor:
        return self.score(img)


class Game:
    """Two networks, their phases and the loss; `step()` is one iteration of the training loop."""

    def __init__(
        self,
        objective: str,
        seed: int = 0,
        hidden: int = 128,
        batch: int = 128,
        fixed_generator: bool = False,
        **options: Any,
    ) -> None:
        torch.manual_seed(seed)
        setting = SETTINGS[objective]
        betas, lr = options.pop("betas", setting.betas), options.pop("lr", setting.lr)
        self.batch, self.iteration = batch, 0
        self.G, self.D = Generator(hidden).requires_grad_(False), Critic(hidden).requires_grad_(False)
        self.loss = StyleGAN2Loss(
            "cpu",
            self.G.mapping,
            self.G.synthesis,
            self.D,
            style_mixing_prob=0,
            objective=objective,
            **(dict(setting.options) | options),
        )
        adam = {"lr": lr, "betas": betas}
        self.phases = phases.network_phases("D", self.D, adam, None)
        if not fixed_generator:
            generator = phases.network_phases("G", self.G, adam, None)
            generator[0].every = find_objective(objective).G_every
            self.phases += generator

    def step(self) -> None:
        nothing = torch.zeros([self.batch, 0])
        for phase in phases.due(self.phases, self.iteration):
            phase.start()
            reals, z = draw_reals(self.batch), torch.randn([self.batch, LATENTS])
            self.loss.accumulate_gradients(phase.name, reals, nothing, z, nothing, sync=True, gain=phase.gain)
            phase.reduce_and_step()
            self.loss.after_step(phase)
        self.iteration += 1

    def samples(self, n: int = 4096) -> Tensor:
        with torch.no_grad():
            return self.G(torch.randn([n, LATENTS]))

    def slope_norms(self, n: int = 1024) -> Tensor:
        """Gradient norms of the critic between real and generated points, [n]."""
        reals, fakes = draw_reals(n), self.samples(n)
        between = torch.lerp(reals, fakes, torch.rand([n, 1])).requires_grad_(True)
        return slopes(self.D(between, between), between).norm(dim=1).detach()


@dataclass(frozen=True)
class Coverage:
    modes: int  # of 8 that hold at least 1 % of the samples
    smallest: float  # share of the rarest mode
    near: float  # share of samples near any mode
    slope_mean: float
    slope_std: float
    seconds: float


def measure(game: Game, seconds: float) -> Coverage:
    distances = torch.cdist(game.samples(), centres())
    nearest, which = distances.min(1)
    shares = torch.bincount(which[nearest < NEAR], minlength=MODES) / len(nearest)
    norms = game.slope_norms()
    return Coverage(
        modes=int((shares >= 0.01).sum()),
        smallest=float(shares.min()),
        near=float((nearest < NEAR).float().mean()),
        slope_mean=float(norms.mean()),
        slope_std=float(norms.std()),
        seconds=round(seconds, 1),
    )


def play(objective: str, G_steps: int, **options: Any) -> tuple[Game, Coverage]:
    """Train until G has taken `G_steps` steps; the game and what came out."""
    game, start = Game(objective, **options), time.process_time()
    for _ in range(G_steps * find_objective(objective).G_every):
        game.step()
    return game, measure(game, time.process_time() - start)


def draw_picture(played: dict[str, tuple[Game, Coverage]], path: Path) -> None:
    """One panel per objective: the critic's level lines, the centres, the samples."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    span = 1.5 * RADIUS
    axis = torch.linspace(-span, span, 120)
    grid = torch.cartesian_prod(axis, axis)
    columns = math.ceil(math.sqrt(len(played)))
    rows = math.ceil(len(played) / columns)
    figure, panels = plt.subplots(
        rows, columns, figsize=(4.2 * columns, 4.7 * rows), squeeze=False, layout="constrained"
    )
    for panel in panels.flat[len(played) :]:
        panel.set_axis_off()
    for panel, (name, (game, coverage)) in zip(panels.flat, played.items()):
        with torch.no_grad():
            height = game.D(grid, grid).reshape(120, 120).t()
        panel.contourf(axis, axis, height, levels=24, cmap="Greys", alpha=0.6)
        panel.contour(axis, axis, height, levels=24, colors="grey", linewidths=0.5)
        panel.scatter(*game.samples(1000).t(), s=5, color="tab:blue", label="samples")
        panel.scatter(*centres().t(), s=60, marker="x", color="tab:red", label="modes")
        panel.set(xlim=(-span, span), ylim=(-span, span), aspect="equal", xticks=[], yticks=[])
        panel.set_title(
            f"{name}: {coverage.modes} of {MODES} modes\n"
            f"{coverage.near:.0%} near a mode, slope {coverage.slope_mean:.2f} ± {coverage.slope_std:.2f}",
            fontsize=10,
        )
    panels[0][0].legend(loc="lower left", fontsize=8)
    figure.savefig(path, dpi=80)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, default=Path("toy8.png"), help="picture to write; numbers go to .json"
    )
    parser.add_argument("--objectives", default="ns,minimax,wgan,wgan-gp", help="comma-separated names")
    parser.add_argument("--steps", type=int, default=400, help="generator steps of each objective")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--betas", help="of Adam for all objectives, e.g. 0.5,0.9 (default: as each one needs)"
    )
    options = parser.parse_args()
    same = {} if options.betas is None else {"betas": tuple(float(beta) for beta in options.betas.split(","))}
    played = {}
    for name in options.objectives.split(","):
        played[name] = play(name, options.steps, seed=options.seed, **same)
        print(f"{name:8s}", asdict(played[name][1]))
    numbers = {name: asdict(coverage) for name, (_, coverage) in played.items()}
    setting = {
        "G_steps": options.steps,
        "seed": options.seed,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    options.out.with_suffix(".json").write_text(
        json.dumps({"setting": setting, "objectives": numbers}, indent=2) + "\n"
    )
    draw_picture(played, options.out)
    print("wrote", options.out)


if __name__ == "__main__":
    main()
