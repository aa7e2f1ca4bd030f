"""Our losses where the official program builds one by dotted name; what its loop does not do is done here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

import spine_plugins  # noqa: F401 - makes `spine` known to the registry
from stylegan2ada import processes
from stylegan2ada.losses.base import as_loss
from stylegan2ada.losses.registry import find_loss
from stylegan2ada.losses.stylegan2 import PHASES


class Loss:
    """Any loss of ours by its name, in the official training loop.

    That loop knows neither images shown so far (a warm-up needs them), nor generator steps in every n-th
    iteration, nor weights that are clipped after a step: all three are kept here, from what it does say.
    """

    def __init__(
        self,
        device: torch.device | str,
        G_mapping: Callable[..., Tensor],
        G_synthesis: Callable[..., Tensor],
        D: Callable[..., Tensor],
        augment_pipe: Callable[..., Tensor] | None = None,
        *,
        loss: str = "spine",  # a name that --loss knows
        terms: Sequence[str] = (),  # as --term has them
        **options: Any,  # of that loss; r1_gamma comes from the official program
    ) -> None:
        if terms:
            options["terms"] = list(terms)
        made = find_loss(loss)(device, G_mapping, G_synthesis, D, augment_pipe, **options)
        objective = getattr(made, "objective", None)
        self.inner = as_loss(made)
        self.G_every = 1 if objective is None else int(objective.G_every)
        self.cur_nimg = 0
        self._iteration = 0
        self._has_stepped: str | None = None  # the phase whose optimiser has moved since we were last asked
        self.inner.start(self)

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
        """One round of one phase; `sync` marks its last round."""
        # The loop does not say that it has stepped, but it asks for nothing in between.
        if self._has_stepped is not None:
            self.inner.after_step(self._has_stepped)
            self._has_stepped = None
        # A phase left out leaves no gradients, and the optimiser then moves nothing.
        if PHASES[phase] == "D" or self._iteration % self.G_every == 0:
            self.inner.accumulate_gradients(phase, real_img, real_c, gen_z, gen_c, sync, gain)
        if phase in ("Dmain", "Dboth"):
            self.cur_nimg += len(real_img) * processes.world_size()
            self._iteration += sync
        if sync:
            self._has_stepped = phase
