"""Reals and fakes through D in one pass, as if in two: samples that D compares stay among their like."""

from __future__ import annotations

import torch
from torch import Tensor

from stylegan2ada.networks.stylegan2 import Discriminator, MinibatchStdLayer


def members(D: object, n: int) -> int | None:
    """How many samples D compares with each other in batches of n and of 2n; None: it must see them apart."""
    # A D of somebody else's may compare its samples in ways unknown, by batch normalisation for one.
    if type(D) is not Discriminator:
        return None
    groups = {layer.group_size for layer in D.modules() if isinstance(layer, MinibatchStdLayer)}
    if not groups:
        return 1
    (size,) = groups if len(groups) == 1 else (None,)
    # A group that is as large as the batch would hold reals and fakes.
    return size if size is not None and size <= n and n % size == 0 else None


def join(fake: Tensor, real: Tensor, size: int) -> Tensor:
    """[2n, ...] in an order in which every group of `size` is of one kind."""
    # Groups are strided: of 2n / size groups, group g holds samples g, g + 2n / size, ... Fakes are the first
    # half of the groups, in the order that they would have alone.
    return torch.cat([half.unflatten(0, (size, -1)) for half in (fake, real)], dim=1).flatten(0, 1)


def split(joined: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The inverse: (fake, real)."""
    fake, real = joined.unflatten(0, (size, 2, -1)).unbind(1)
    return fake.flatten(0, 1), real.flatten(0, 1)
