"""Eight Gaussians on a ring: what each objective does with modes, and what clipping makes of a critic.

Small MLPs, trained with the engine's own loss and phases. The ring is that of the toy of arXiv:1704.00028
(radius 2 / 1.414). The optimiser matters as much as the objective: with Adam's default betas `ns` and
`minimax` run after each other around the ring, with beta1 = 0.5 they hold all eight modes in most runs.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from spine_plugins.recipes import asked, skeleton
from spine_plugins.recipes.sheets import plotting
from spine_plugins.resumable import seeded
from stylegan2ada import files
from stylegan2ada.errors import UserError
from stylegan2ada.losses.objectives import find_objective, slopes
from stylegan2ada.losses.stylegan2 import StyleGAN2Loss
from stylegan2ada.training import phases

OBJECTIVES = ("ns", "minimax", "lsgan", "wgan", "wgan-gp")
WIDTH = 128  # of the hidden layers

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


class Identity(nn.Module):
    """No style space here: w is z."""

    def forward(self, z: Tensor, c: Tensor) -> Tensor:
        return z[:, None]


class Generator(nn.Module):
    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.mapping = Identity()
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
        smoothing: float = 0,  # one-sided: the target of reals is 1 - smoothing (of `ns` alone)
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
        if smoothing:
            self.loss.objective = replace(self.loss.objective, on_real=_smoothed(smoothing))
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


def _smoothed(share: float) -> Callable[[Tensor], Tensor]:
    """Cross-entropy of real logits with the target 1 - share (Salimans et al. 2016, arXiv:1606.03498)."""
    return lambda logits: (1 - share) * softplus(-logits) + share * softplus(logits)


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


@dataclass(frozen=True, kw_only=True)
class Train(asked.Train):
    """What `recipe toy8 train` was asked."""

    objective: str
    gp_weight: float
    smoothing: float


def train(given: Train) -> asked.Numbers:
    """Train one objective -> its measurement."""
    if given.smoothing and given.objective != "ns":
        raise UserError(
            f"--smoothing is for --objective=ns; {given.objective} has no targets between 0 and 1"
        )
    settings = {"objective": given.objective, "gp_weight": given.gp_weight, "smoothing": given.smoothing}
    course = skeleton.Course("toy8", given, settings, {})
    game = _game(settings, given.seed)
    optimizers = {phase.name: phase.opt for phase in game.phases}
    parts = skeleton.Parts({"G": game.G, "D": game.D}, optimizers)
    every = find_objective(given.objective).G_every

    def step(number: int) -> None:
        game.iteration = number * every
        for _ in range(every):
            game.step()

    course.run(parts, step, extra=dict)
    return {"out": given.out, **_scores(game, given.seed)}


def apply(given: asked.Apply) -> asked.Numbers:
    """Samples as a table."""
    path = skeleton.check_free(given.out, overwrite=given.overwrite)
    game = _load(given.model)
    with seeded(given.seed):
        points = game.samples(given.n).tolist()
    files.write_csv(path, ("x", "y"), points)
    return {"out": str(path), "n": given.n}


def evaluate(given: asked.Evaluate) -> asked.Numbers:
    """Modes and their shares."""
    return _scores(_load(given.model), given.seed)


def demo(given: asked.Demo) -> asked.Numbers:
    """Four objectives side by side, 300 steps each."""
    folder = skeleton.demo_folder(given.out)
    games: dict[str, Game] = {}
    for name in ("ns", "minimax", "wgan", "wgan-gp"):
        own = {"objective": name, "gp_weight": 0.1, "smoothing": 0.0, "steps": 300}
        train(Train(
            out=str(folder / name), seed=given.seed, continue_run=False, device="cpu", json_file=None,
            **own,  # type: ignore[arg-type]
        ))  # fmt: skip
        games[name] = _load(str(folder / name))
    draw_picture(games, folder / "toy8.png")
    return {
        "picture": str(folder / "toy8.png"),
        **{name: _scores(g, given.seed) for name, g in games.items()},
    }


def _game(settings: Mapping[str, Any], seed: int) -> Game:
    own = {"gp_weight": settings["gp_weight"]} if settings["objective"] == "wgan-gp" else {}
    return Game(settings["objective"], seed, WIDTH, smoothing=settings["smoothing"], **own)


def _load(folder: str) -> Game:
    model = skeleton.load_model(folder, "toy8")
    name = skeleton.word(model, "objective", OBJECTIVES)
    game = _game({"objective": name, "gp_weight": 0.1, "smoothing": 0.0}, 0)
    model.into("G", game.G)
    model.into("D", game.D)
    return game


def _scores(game: Game, seed: int) -> asked.Numbers:
    with seeded(seed):
        found = measure(game, 0)
    return {
        "modes": found.modes,
        "smallest_share": found.smallest,
        "near": found.near,
        "slope_mean": found.slope_mean,
        "slope_std": found.slope_std,
    }


def draw_picture(games: Mapping[str, Game], path: Path) -> None:
    """Above, per objective, the critic's level lines with centres and samples; below its weights."""
    plt = plotting()
    span = 1.5 * RADIUS
    axis = torch.linspace(-span, span, 120)
    grid = torch.cartesian_prod(axis, axis)
    figure, panels = plt.subplots(
        2,
        len(games),
        figsize=(3.6 * len(games), 6.2),
        squeeze=False,
        layout="constrained",
        height_ratios=(3, 1.3),
    )
    for (above, below), (name, game) in zip(panels.T, games.items()):
        found = measure(game, 0)
        with torch.no_grad():
            height = game.D(grid, grid).reshape(120, 120).t()
        above.contourf(axis, axis, height, levels=24, cmap="Greys", alpha=0.6)
        above.contour(axis, axis, height, levels=24, colors="grey", linewidths=0.5)
        above.scatter(*game.samples(1000).t(), s=5, color="tab:blue")
        above.scatter(*centres().t(), s=60, marker="x", color="tab:red")
        above.set(xlim=(-span, span), ylim=(-span, span), aspect="equal", xticks=[], yticks=[])
        above.set_title(
            f"{name}: {found.modes} of {MODES} modes\n"
            f"{found.near:.0%} near a mode, slope {found.slope_mean:.2g} ± {found.slope_std:.2g}",
            fontsize=10,
        )
        weights = torch.cat([p.detach().flatten() for p in game.D.parameters() if p.ndim == 2])
        below.hist(weights.numpy(), bins=61, color="tab:gray")
        below.set(yscale="log", xlabel="weights of the critic")
    figure.savefig(path, dpi=80)
    plt.close(figure)
