"""The loss of a private run: G's phases as usual and without a real image, D's phase by the private step."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from spine_plugins.privacy.noise import Chance, gaussian
from spine_plugins.privacy.private_step import PrivateStep, Reals
from stylegan2ada import processes, stats
from stylegan2ada.losses.base import Context, Loss
from stylegan2ada.losses.stylegan2 import StyleGAN2Loss
from stylegan2ada.networks.stylegan2 import Generator
from stylegan2ada.protocols import State
from stylegan2ada.training.phases import Phase

D_STEPS = (1, 2, 5, 10, 20, 50, 100, 200)  # per step of G, when adapted
_ENOUGH = 0.6  # accuracy on fakes that D must keep, or it gets more steps (arXiv:2302.02936, section 4.2)
_MEMORY = 0.99
_PATIENCE = 200  # steps of G between two changes
_TARGET, _INTERVAL, _KIMG = 0.6, 4, 500  # of the augmentation's strength, as ADA has them


@dataclass(frozen=True)
class Pace:
    """How the two networks and the augmentation keep step; all of it post-processing or noised."""

    d_steps: int | Literal["adaptive"] = 1
    ada: Literal["fixed", "fake", "noisy"] = "fixed"
    ada_noise: float = 0.0  # of the sum of signs, for `noisy`
    batch: int = 1


class PrivateLoss(Loss):
    """Collects the latents of D's phase; `reduce`, the last thing before the optimiser, takes the step."""

    made_by_seams = True  # a name alone cannot make one

    def __init__(
        self,
        inner: StyleGAN2Loss,
        G: Generator,
        step: PrivateStep,
        pace: Pace,
        phases: list[Phase],
        draw: Callable[[], Reals],  # charges the ledger first
        chance: Chance,
        objective: str = "stylegan2",  # for the configuration, which asks whether there is one
    ) -> None:
        self.inner, self.G, self.step, self.pace, self.draw, self.chance = inner, G, step, pace, draw, chance
        self.d_phase = next(phase for phase in phases if phase.name[0] == "D")
        self.g_phases = [phase for phase in phases if phase.name[0] == "G"]
        self._intervals = [phase.every for phase in self.g_phases]
        self._fakes: list[tuple[Tensor, Tensor]] = []  # latents and labels of the coming step
        self.n_D = 1 if pace.d_steps == "adaptive" else pace.d_steps
        self.accuracy = 1.0  # of D on fakes, running
        self.g_steps = 0  # since n_D last changed
        self.signs: list[float] = []
        self._set_pace()

    @classmethod
    def network_settings(cls, objective: str = "stylegan2") -> dict[str, dict[str, int]]:
        """Minibatch-stddev compares records, so one would move the gradients of others."""
        return {"epilogue_kwargs": {"mbstd_num_channels": 0}}

    def start(self, context: Context) -> None:
        self.inner.start(context)

    def accumulate_gradients(
        self,
        phase: str,
        real_img: Tensor,
        real_c: Tensor,
        gen_z: Tensor,
        gen_c: Tensor,
        sync: bool,
        gain: float,
    ) -> None:
        if phase[0] == "G":
            # Whatever the loop hands on: G sees D's answers to its own images alone.
            self.inner.accumulate_gradients(phase, real_img[:0], real_c[:0], gen_z, gen_c, sync, gain)
            return
        self._fakes.append((gen_z, gen_c))
        for parameter in self.d_phase.parameters:
            parameter.grad = torch.zeros_like(parameter)

    @torch.no_grad()
    def reduce(self, gradients: list[Tensor]) -> None:
        """Put the private gradient in the place of the zeros: one look at the data, one draw of noise."""
        z, c = (torch.cat(parts) for parts in zip(*self._fakes))
        self._fakes = []
        fakes = self.G.synthesis(self.G.mapping(z, c), noise_mode="random")
        reals = self.draw()
        reals = Reals(*(t.to(fakes.device) for t in (reals.images, reals.labels, reals.units)))
        if self.pace.ada == "noisy":
            self.signs.append(self._noisy_sign(reals))
        found = self.step.gradients(reals, fakes.detach(), c)
        for gradient, private in zip(gradients, found, strict=True):
            gradient.copy_(private)
        self._note(reals)
        self._watch(fakes, c)

    def after_step(self, phase) -> None:  # type: ignore[no-untyped-def]  # a phase or its name
        name = phase if isinstance(phase, str) else phase.name
        self.inner.after_step(phase)
        if name == "Gmain":
            self.g_steps += 1
            if self.pace.d_steps == "adaptive" and self.g_steps >= _PATIENCE and self.accuracy <= _ENOUGH:
                self.n_D = next((n for n in D_STEPS if n > self.n_D), self.n_D)
                self.g_steps = 0
                self._set_pace()

    def state_dict(self) -> State:
        return {
            "inner": self.inner.state_dict(),
            "pace": {name: getattr(self, name) for name in ("n_D", "accuracy", "g_steps", "signs")},
        }

    def load_state_dict(self, state: State) -> None:
        self._fakes = []
        self.inner.load_state_dict(state["inner"])
        for name, value in state["pace"].items():
            setattr(self, name, value)
        self._set_pace()

    def _set_pace(self) -> None:
        for phase, interval in zip(self.g_phases, self._intervals):
            phase.every = interval * self.n_D

    def _watch(self, fakes: Tensor, c: Tensor) -> None:
        """What D makes of fakes: published already, so free to steer by."""
        logits = self.step.D(fakes, c)
        stats.report("Loss/scores/fake", logits)
        stats.report("Loss/signs/fake", logits.sign())
        right = float((logits < 0).float().mean())
        self.accuracy = _MEMORY * self.accuracy + (1 - _MEMORY) * right
        stats.report0("Progress/D_steps_per_G_step", self.n_D)
        if self.pace.ada == "fake":
            self.signs.append(float(-logits.sign().mean()))
        self._steer_augmentation()

    def _steer_augmentation(self) -> None:
        pipe = self.step.augment_pipe
        if pipe is None or self.pace.ada == "fixed" or len(self.signs) < _INTERVAL:
            return
        mean = sum(self.signs) / len(self.signs)
        self.signs = []
        # Every rank has its own fakes; rank 0's view counts, or pipes would drift apart.
        mean = processes.from_rank0(mean)
        move = math.copysign(self.pace.batch * _INTERVAL / (_KIMG * 1000), mean - _TARGET)
        pipe.p.copy_((pipe.p + move).clamp(0, 1))
        stats.report0("Progress/augment_private", float(pipe.p))

    def _noisy_sign(self, reals: Reals) -> float:
        """Mean sign of D on reals: a noised sum in which a unit weighs at most 1, over the public batch."""
        total = torch.zeros(1, dtype=torch.float64)
        for unit in reals.units.unique():
            rows = reals.units == unit
            total += float(self.step.D(reals.images[rows], reals.labels[rows]).sign().nan_to_num().mean())
        if processes.is_initialized() and processes.world_size() > 1:
            torch.distributed.all_reduce(total)
        noise = gaussian(self.chance, 1) * self.pace.ada_noise
        return float(processes.from_rank0((total + noise) / self.pace.batch))

    def _note(self, reals: Reals) -> None:
        """For the private folder alone."""
        norms = self.step.last_norms
        stats.report0("Private/images", len(reals.images))
        if len(norms):
            stats.report("Private/gradient_norm", norms)
            stats.report("Private/clipped", (norms > self.step.settings.clip).float())
