"""The classifier's augmentations: flip, rotation and resized crop, as one resampling per image."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Strength:
    """How far images are changed."""

    flip_share: float
    max_degrees: float
    area: tuple[float, float]  # share of the image that the square crop keeps


# fmt: off
STRENGTHS = {
    "standard":         Strength(0.3, 5.0, (0.8, 1.0)),
    # As tutorials for photographs do: half mirrored, a tenth of a turn either way, a fifth nearer or farther.
    "flip":             Strength(0.5, 0.0, (1.0, 1.0)),
    "flip-rotate":      Strength(0.5, 36.0, (1.0, 1.0)),
    "flip-rotate-zoom": Strength(0.5, 36.0, (0.64, 1.44)),
}
# fmt: on
_OVERSIZE = 8 / 7  # larger images are first shrunk (antialiased) to this times the input: 224 -> 256


def draw(n: int, generator: torch.Generator, kind: str = "standard") -> Tensor:
    """[N, 2, 3]: for each image the map from output to input places, in [-1, 1] of either."""
    strength = STRENGTHS[kind]
    # Drawn on the CPU whatever the device: one seed means the same crops everywhere. [5, N]
    flip, turn, area, right, down = torch.rand(5, n, generator=generator)
    angle = (2 * turn - 1) * math.radians(strength.max_degrees)
    # Uniform in area, as torchvision's RandomResizedCrop draws it; the side is the square root.
    low, high = strength.area
    side = (low + (high - low) * area).sqrt()
    shift = (
        torch.stack([2 * right - 1, 2 * down - 1], dim=1) * (1 - side).clamp(min=0)[:, None]
    )  # a crop stays inside
    rotation = torch.stack(
        [torch.stack([angle.cos(), -angle.sin()], 1), torch.stack([angle.sin(), angle.cos()], 1)], 1
    )
    mirror = torch.where(flip < strength.flip_share, -1.0, 1.0)
    # Flipped, then rotated, then cropped; places are followed backwards, so the crop acts first.
    place = torch.cat([side[:, None, None] * rotation, rotation @ shift[:, :, None]], dim=2)
    # A spine is never seen upside down: only x, the first row, may change its sign.
    return torch.stack([mirror[:, None] * place[:, 0], place[:, 1]], dim=1)


def apply(x: Tensor, places: Tensor, size: int) -> Tensor:
    """[N, C, H, W] in [0, 1] -> [N, C, size, size]; what comes from outside the image is black."""
    first = round(size * _OVERSIZE)
    # Places run over [-1, 1] in both directions: on an oblong image a rotation would shear.
    if max(x.shape[2:]) > first or x.shape[2] != x.shape[3]:
        # Bilinear sampling reads four pixels only, so what is much larger is shrunk with a filter first.
        side = (min(first, max(x.shape[2:])),) * 2
        x = functional.interpolate(x, side, mode="bilinear", align_corners=False, antialias=True)
    # Both calls must agree on align_corners, or the image shifts by a part of a pixel.
    grid = functional.affine_grid(places.to(x), [len(x), x.shape[1], size, size], align_corners=False)
    return functional.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
