"""A generator term against fakes that look alike: the energy distance between batches of fakes and of reals.

2 E|x - y| - E|x - x'| - E|y - y'| of reals y and fakes x (Szekely and Rizzo 2013) is 0 only if both have one
distribution. Its first part draws every fake to the reals, its second drives fakes apart until they differ as
reals do: what a discriminator that sees one image at a time is slow to ask for. The third has no gradient.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from stylegan2ada.errors import UserError

# Means of so many pixels a side. Not the pixels: fakes would become different by grain.
POOLS = (2, 4, 8)
_ROOT = 1e-8  # under the root: equal images have a slope of 0, not an infinite one
_LEAST_CONTRAST = 0.1  # deviation of an image's pixels that counts as nearly none


class EnergyTerm:
    """`--term=energy[:WEIGHT]`; a generator term as `stylegan2ada.losses.terms` describes it.

    It compares what one process draws at a time: with a smaller --batch-gpu each fake has fewer neighbours.
    """

    name = "energy"  # reported as Loss/G/energy
    reduction: Literal["mean", "sum"] = "mean"
    capturable = True

    def __init__(self, weight: float = 30, *, device: torch.device | str = "cpu") -> None:
        self.weight = float(weight)

    def __call__(self, fake_img: Tensor, gen_c: Tensor, real_img: Tensor) -> Tensor:
        if len(fake_img) < 2:
            raise UserError("--term=energy compares fakes with each other; it needs a batch of 2 or more")
        fakes, reals = fake_img.float(), real_img.float()
        # Twice: tones and borders are most of the distance, and would hide that all spines are one.
        return _energy(fakes, reals) + _energy(_standardised(fakes), _standardised(reals))


def _energy(fakes: Tensor, reals: Tensor) -> Tensor:
    """Per fake, [N], the mean over pools of its two parts of the energy distance."""
    pools = [pool for pool in POOLS if pool <= min(fakes.shape[2:])]
    total = torch.zeros([len(fakes)], device=fakes.device)
    for pool in pools:
        a, b = (avg_pool2d(img, pool).flatten(1) for img in (fakes, reals))
        # Each has itself among the fakes, at nearly no distance.
        total = total + 2 * _distances(a, b).mean(1) - _distances(a, a).sum(1) / (len(a) - 1)
    return total / len(pools)


def _distances(a: Tensor, b: Tensor) -> Tensor:
    """[N, M] root mean squares of the differences between rows."""
    return ((a[:, None] - b).square().mean(2) + _ROOT).sqrt()


def _standardised(img: Tensor) -> Tensor:
    """Images without their own brightness and contrast."""
    centred = img - img.mean((1, 2, 3), keepdim=True)
    return centred / (centred.square().mean((1, 2, 3), keepdim=True) + _LEAST_CONTRAST**2).sqrt()
