"""The classifier's augmentations: flip, small rotation and resized crop, as one resampling per image."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

FLIP_SHARE = 0.3
MAX_DEGREES = 5.0
AREA = (0.8, 1.0)  # share of the image that the square crop keeps
_OVERSIZE = 8 / 7  # larger images are first shrunk (antialiased) to this times the input: 224 -> 256


def draw(n: int, generator: torch.Generator) -> Tensor:
    """[N, 2, 3]: for each image the map from output to input places, in [-1, 1] of either."""
    # Drawn on the CPU whatever the device: one seed means the same crops everywhere. [5, N]
    flip, turn, area, right, down = torch.rand(5, n, generator=generator)
    angle = (2 * turn - 1) * math.radians(MAX_DEGREES)
    # Uniform in area, as torchvision's RandomResizedCrop draws it; the side is the square root.
    side = (AREA[0] + (AREA[1] - AREA[0]) * area).sqrt()
    shift = torch.stack([2 * right - 1, 2 * down - 1], dim=1) * (1 - side)[:, None]  # the crop stays inside
    rotation = torch.stack(
        [torch.stack([angle.cos(), -angle.sin()], 1), torch.stack([angle.sin(), angle.cos()], 1)], 1
    )
    mirror = torch.where(flip < FLIP_SHARE, -1.0, 1.0)
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
