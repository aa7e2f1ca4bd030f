"""A network and the manner in which it draws: seeds, or w, to pixels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from stylegan2ada import synthesis
from stylegan2ada.protocols import Generator


@dataclass(frozen=True)
class Renderer:
    """Draws image by image, whatever the batch."""

    G: Generator
    psi: float = 1  # truncation of seeds; a w is drawn as it is
    noise_mode: str = "const"
    batch: int = synthesis.BATCH

    @property
    def device(self) -> torch.device:
        return next(self.G.parameters()).device

    def of_seeds(
        self,
        seeds: list[int],
        c: torch.Tensor,  # [len(seeds), c_dim]
    ) -> Iterator[np.ndarray]:
        """uint8 [H, W, C] of each seed."""
        z = synthesis.seed_latents(seeds, self.G.z_dim)
        return _one_by_one(synthesis.images_from_z(
            self.G, z, c, device=self.device, psi=self.psi, noise_mode=self.noise_mode, batch=self.batch
        ))  # fmt: skip

    def of_w(self, ws: torch.Tensor) -> Iterator[np.ndarray]:
        """uint8 [H, W, C] of each w, [n, num_ws, w_dim]."""
        return _one_by_one(synthesis.images_from_w(
            self.G, ws, device=self.device, noise_mode=self.noise_mode, batch=self.batch
        ))  # fmt: skip


def _one_by_one(batches: Iterator[torch.Tensor]) -> Iterator[np.ndarray]:
    return (image for img in batches for image in synthesis.pixels(img))
