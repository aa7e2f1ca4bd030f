"""The paper's "differentially private" step where the official program builds optimisers by dotted name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch

from spine_plugins.privacy.paper import CLIP, NOISE, PaperSettings, clip_and_noise


class PaperAdam(torch.optim.Adam):
    """Adam after clip and noise, of one network's gradient as a whole; it guarantees nothing.

    That program steps once per phase, all rounds and NaN's replacement behind it: the place of our own hook.
    """

    def __init__(
        self,
        params: Iterable[torch.nn.Parameter],
        *,
        variant: Literal["text", "release"] = "text",
        clip: float | None = CLIP,
        noise: float = NOISE,
        **options: Any,  # Adam's
    ) -> None:
        super().__init__(params, **options)
        self.settings = PaperSettings(variant, clip, noise)

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Clip and noise what has a gradient, then step."""
        gradients = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
        if gradients:
            clip_and_noise(gradients, self.settings)
        return super().step(closure)
