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

POOLS = (1, 2, 4)  # pixels, and means of 2x2 and 4x4 of them: shapes and tones, not grain alone
_EPSILON = 1e-8  # under the root: equal images have a slope of 0, not an infinite one


class EnergyTerm:
    """`--term=energy[:WEIGHT]`; a generator term as `stylegan2ada.losses.terms` describes it."""

    name = "energy"  # reported as Loss/G/energy
    reduction: Literal["mean", "sum"] = "mean"
    capturable = True

    def __init__(self, weight: float = 10, *, device: torch.device | str = "cpu") -> None:
        self.weight = float(weight)

    def __call__(self, fake_img: Tensor, gen_c: Tensor, real_img: Tensor) -> Tensor:
        n, sizes = len(fake_img), fake_img.shape[2:]
        if n < 2:
            raise UserError("--term=energy compares fakes with each other; it needs a batch of 2 or more")
        pools = [pool for pool in POOLS if pool <= min(sizes)]
        total = torch.zeros([n], device=fake_img.device)
        for pool in pools:
            fakes, reals = (avg_pool2d(img.float(), pool).flatten(1) for img in (fake_img, real_img))
            to_reals = _distances(fakes, reals).mean(1)
            # Each has itself among the fakes, at nearly no distance.
            to_fakes = _distances(fakes, fakes).sum(1) / (n - 1)
            total = total + 2 * to_reals - to_fakes
        return total / len(pools)


def _distances(a: Tensor, b: Tensor) -> Tensor:
    """[N, M] root mean squares of the differences between rows."""
    return ((a[:, None] - b).square().mean(2) + _EPSILON).sqrt()
