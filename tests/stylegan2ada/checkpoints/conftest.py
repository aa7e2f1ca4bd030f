"""Small networks of our own to write, break and read."""

from __future__ import annotations

import pytest
import torch

from stylegan2ada.networks.augment import AugmentPipe
from stylegan2ada.networks.stylegan2 import Discriminator, Generator


def make_networks(channels=3, c_dim=2, resolution=8, seed=0, with_d=True):
    """G, D, G_ema, augment_pipe of one tiny configuration."""
    torch.manual_seed(seed)
    size = {"c_dim": c_dim, "img_resolution": resolution, "img_channels": channels}
    narrow = {"channel_base": 64, "channel_max": 8}
    latents = {"z_dim": 6, "w_dim": 6, "mapping_kwargs": {"num_layers": 2}, "synthesis_kwargs": narrow}
    G, G_ema = (Generator(**size, **latents).eval().requires_grad_(False) for _ in range(2))
    D = None
    if with_d:
        D = Discriminator(**size, **narrow, epilogue_kwargs={"mbstd_group_size": 2})
        D.eval().requires_grad_(False)
    for module in filter(None, (G, D, G_ema)):  # zero biases and noise strengths would hide mistakes
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    pipe = AugmentPipe(xflip=1, scale=1, brightness=1).eval()
    pipe.p.copy_(torch.tensor(0.3125))
    options = {"class_name": "training.dataset.ImageFolderDataset", "path": "x.zip", "max_size": None}
    return {"training_set_kwargs": options, "G": G, "D": D, "G_ema": G_ema, "augment_pipe": pipe}


@pytest.fixture
def networks():
    return make_networks()


def assert_same_module(a, b):
    """Same class, arguments, keys in order, values, types, memory layout, mode."""
    assert type(a).__name__ == type(b).__name__
    assert a._init_args == b._init_args
    assert a._init_kwargs == b._init_kwargs
    assert {type(v) for v in a._init_kwargs.values()} == {type(v) for v in b._init_kwargs.values()}
    assert a.training is b.training
    first, second = a.state_dict(), b.state_dict()
    assert list(first) == list(second)
    for key, value in first.items():
        other = second[key]
        assert (value.dtype, value.shape, value.stride()) == (other.dtype, other.shape, other.stride()), key
        assert torch.equal(value, other), key
    assert [n for n, _ in a.named_parameters()] == [n for n, _ in b.named_parameters()]
