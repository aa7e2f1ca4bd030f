"""Everything random that a loss draws, in one object, so that a test or a replay can hand in its own."""

from __future__ import annotations

import torch
from torch import Tensor


class Draws:
    """Fresh draws at each call; subclass it and override what shall be fixed."""

    noise_mode: str | None = None  # of the synthesis layers; None: the network's default
    augment_percentile: float | None = None  # None: the augmentation pipe draws at random

    def __init__(self, device: torch.device | str, style_mixing_prob: float) -> None:
        self.device = device
        self.style_mixing_prob = style_mixing_prob

    def mixing_cutoff(self, num_ws: int) -> Tensor:
        """First row of the second style, for the whole batch: 1..num_ws-1, or num_ws for no mixing."""
        cutoff = torch.randint(1, max(num_ws, 2), [], device=self.device)
        is_mixed = torch.rand([], device=self.device) < self.style_mixing_prob
        return torch.where(is_mixed, cutoff, num_ws)

    def mixing_z(self, z: Tensor) -> Tensor:
        """Latents of the second style."""
        return torch.randn_like(z)

    def pl_noise(self, img: Tensor) -> Tensor:
        """Standard normal, shaped as the images whose path length is measured."""
        return torch.randn_like(img)

    def interpolation(self, n: int) -> Tensor:
        """[n] in [0, 1): where between a real and a fake image a gradient penalty looks."""
        return torch.rand([n], device=self.device)
