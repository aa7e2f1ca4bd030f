"""The paper's "differentially private" GAN, as hooks of the step: every gradient clipped and noised.

It gives no guarantee, and says so wherever it speaks. The text clips and then adds noise; the published
program adds noise first and clips what comes out, in every phase of both networks. With a batch above 1
the mean of the batch is clipped, so one image moves a gradient by up to twice the clip norm.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from spine_plugins.privacy import renyi, report
from spine_plugins.privacy.figure1 import classic_epsilon
from spine_plugins.privacy.flags import DpOptions, clip_norm
from stylegan2ada import processes
from stylegan2ada.config import TrainOptions
from stylegan2ada.errors import UserError
from stylegan2ada.protocols import JsonObject, State
from stylegan2ada.training.hooks import Hook
from stylegan2ada.training.phases import Phase
from stylegan2ada.training.run import Run

CLIP, NOISE, BATCH = 1.5, 0.2, 1
# The arms of Figure 3 and what each changes.
ARMS: dict[str, JsonObject] = {
    "b": {},
    "c": {"dp_noise": 0.02},
    "d": {"batch": 4},
    "e": {"dp_clip": "none"},
}
WHY_NOT = (
    "images come in a shuffled order, which the accounting of coin tosses does not describe",
    "adaptive augmentation, minibatch-stddev, labels of fakes and shown images use the data without noise",
    "the noise comes from a generator with a known seed",
)


@dataclass(frozen=True)
class PaperSettings:
    """What is done to every gradient."""

    variant: Literal["text", "release"] = "text"
    clip: float | None = CLIP  # norm over all parameters of the network; None: not clipped
    noise: float = NOISE  # deviation, on every value


def expanded(asked: DpOptions, options: TrainOptions) -> tuple[PaperSettings, TrainOptions]:
    """The settings of paper mode, and the options with its batch; flags that were given win over an arm."""
    arm = ARMS.get(asked.dp_ablation or "", {})
    noise = asked.dp_noise if asked.dp_noise is not None else float(arm.get("dp_noise", NOISE))
    if not 0 <= noise < math.inf:
        raise UserError(f"--dp-noise={noise:g} must be 0 or more")
    clip = clip_norm(asked.dp_clip or arm.get("dp_clip"), CLIP)
    if options.batch is None and options.continue_run is None:
        options = dataclasses.replace(options, batch=int(arm.get("batch", BATCH)))
    variant: Literal["text", "release"] = "release" if asked.dp_variant == "release" else "text"
    return PaperSettings(variant, clip, noise), options


@torch.no_grad()
def clip_and_noise(gradients: list[torch.Tensor], settings: PaperSettings) -> None:
    """In place, on one network's gradient as a whole."""
    if settings.variant == "release":
        _add_noise(gradients, settings.noise)
        _clip(gradients, settings.clip)
    else:
        _clip(gradients, settings.clip)
        _add_noise(gradients, settings.noise)


def _clip(gradients: list[torch.Tensor], clip: float | None) -> None:
    if clip is not None:
        norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in gradients]))
        torch._foreach_mul_(gradients, (clip / norm.clamp(min=1e-12)).clamp(max=1))


def _add_noise(gradients: list[torch.Tensor], deviation: float) -> None:
    if deviation:
        for gradient in gradients:
            gradient += deviation * torch.randn_like(gradient)


class PaperDP(Hook):
    """Clips and noises after the last backward of every phase; keeps count; reports `guarantee: none`."""

    def __init__(self, settings: PaperSettings) -> None:
        self.settings = settings
        self.releases = 0  # phases of D: each looked at real images
        self._run: Run | None = None

    def on_start(self, run: Run) -> None:
        self._run = run
        run.card["privacy"] = {"guarantee": report.NONE, "mode": "paper", **dataclasses.asdict(self.settings)}
        processes.print0(f"Privacy: {self.report()['statement']}")
        self._write()

    def after_backward(self, phase: Phase) -> None:
        gradients = [p.grad for p in phase.parameters if p.grad is not None]
        if gradients:
            clip_and_noise(gradients, self.settings)

    def after_step(self, phase: Phase) -> None:
        self.releases += phase.name.startswith("D")

    def on_snapshot(self, run: Run, path: Path) -> None:
        self._write()

    def state_dict(self) -> State:
        return {"releases": self.releases}

    def load_state_dict(self, state: State) -> None:
        self.releases = int(state["releases"])

    def report(self) -> JsonObject:
        """What this run may say of privacy: nothing, and what the paper's accounting would have said."""
        assert self._run is not None
        run, settings = self._run, self.settings
        steps = math.ceil(run.config.total_kimg * 1000 / run.config.batch_size)
        # Regularisation of D looks at reals, too: a release that Figure 1 forgets.
        planned = sum(math.ceil(steps / phase.every) for phase in run.phases if phase.name[0] == "D")
        found = hypothetical(settings, len(run.dataset), run.config.batch_size, planned)
        why = [*why_not(settings, run.config.batch_size), *WHY_NOT]
        if found["epsilon"] is not None:
            why.insert(0, f"even if all else held, epsilon would be {found['epsilon']:,.0f} at delta 1/n")
        return report.no_claim(
            why,
            mode="paper",
            **dataclasses.asdict(settings),
            batch=run.config.batch_size,
            releases_so_far=self.releases,
            hypothetical=found,
        )

    def _write(self) -> None:
        assert self._run is not None
        run = self._run
        processes.on_rank0(lambda: report.write(run.run_dir, self.report()))


def why_not(settings: PaperSettings, batch: int) -> list[str]:
    """What this very setting breaks."""
    if not settings.noise:
        return ["there is no noise: epsilon is infinite"]
    if settings.clip is None:
        return ["nothing is clipped, so one image can move a gradient without bound: epsilon is infinite"]
    if settings.variant == "release":
        return ["the noise is added before the clipping, to a gradient without bound: epsilon is infinite"]
    mean = "the mean of the batch is clipped, so one image moves it by up to twice the clip norm"
    return [mean] if batch > 1 else []


def hypothetical(settings: PaperSettings, n: int, batch: int, releases: int) -> JsonObject:
    """Epsilon if images were drawn by coins and all else were private; None: infinite.

    `classic` is the accountant of the paper (tensorflow-privacy), `epsilon` our tight RDP.
    """
    facts: JsonObject = {"n": n, "releases": releases, "delta": 1 / n}
    if not settings.noise or settings.clip is None or settings.variant == "release" or batch > n:
        return facts | {"epsilon": None, "classic": None, "noise_multiplier": 0.0}
    # A clipped mean: both data sets lie within the clip norm, so up to twice that from each other.
    noise_multiplier = settings.noise / settings.clip / (1 if batch == 1 else 2)
    total = releases * renyi.curve(batch / n, noise_multiplier)
    return facts | {
        "noise_multiplier": noise_multiplier,
        "epsilon": renyi.epsilon(total, renyi.ORDERS, 1 / n)[0],
        "classic": classic_epsilon(n, batch, releases, noise_multiplier, 1 / n),
    }
