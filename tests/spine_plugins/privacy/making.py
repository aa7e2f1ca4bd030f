"""Tiny networks and batches for tests of the private step."""

from __future__ import annotations

import torch
from torch import Tensor

from spine_plugins.privacy.noise import SeededChance
from spine_plugins.privacy.private_step import PrivateStep, Reals, StepSettings
from stylegan2ada.networks.augment import AugmentPipe
from stylegan2ada.networks.stylegan2 import Discriminator


def tiny_D(c_dim: int = 2, resolution: int = 16, mbstd: int = 0) -> Discriminator:
    torch.manual_seed(0)
    return Discriminator(
        c_dim, resolution, 1, channel_base=128, channel_max=8, conv_clamp=256,
        mapping_kwargs={"num_layers": 2}, epilogue_kwargs={"mbstd_num_channels": mbstd},
    )  # fmt: skip


def pipe(p: float = 0.8) -> AugmentPipe:
    made = AugmentPipe(xint=1, scale=1, rotate=1, brightness=1, contrast=1, noise=1, cutout=1)
    made.p.fill_(p)
    return made.requires_grad_(False)


def some_reals(count: int, units: list[int] | None = None, c_dim: int = 2, resolution: int = 16) -> Reals:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn([count, 1, resolution, resolution], generator=generator)
    return Reals(images, one_hot(count, c_dim), torch.tensor(range(count) if units is None else units))


def some_fakes(count: int, c_dim: int = 2, resolution: int = 16) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    return torch.randn([count, 1, resolution, resolution], generator=generator) / 2, one_hot(count, c_dim)


def one_hot(count: int, c_dim: int) -> Tensor:
    return torch.eye(c_dim)[torch.arange(count) % c_dim] if c_dim else torch.zeros([count, 0])


def step_of(D: Discriminator, *, seed: int = 0, augment_pipe=None, **changes) -> PrivateStep:
    settings = StepSettings(**({"clip": 1.0, "noise_multiplier": 1.0, "batch": 4} | changes))
    names = [name for name, _ in D.named_parameters()]
    return PrivateStep(D, names, settings, SeededChance(seed), augment_pipe)
