"""Second derivatives in float32 against the same network in float64: several seeds, median and maximum.

One seed's maximum says little: a leaky ReLU whose input rounds to the other sign moves a gradient by itself.
"""

from __future__ import annotations

import statistics

import pytest
import torch

from stylegan2ada.networks import stylegan2
from stylegan2ada.networks.stylegan2 import Discriminator, Generator
from tests.stylegan2ada.networks.comparing import gradients, relative_error

SEEDS = (0, 1, 2, 3, 4)


class _Float64:
    """A stand-in for torch in stylegan2.py, in which "full precision" is float64."""

    float32 = torch.float64

    def __getattr__(self, name):
        return getattr(torch, name)


def r1(D, img):
    (slope,) = torch.autograd.grad(D(img, None).sum(), img, create_graph=True)
    return slope.square().sum()


def path_length(G, ws, noise):
    (change,) = torch.autograd.grad(
        (G.synthesis(ws, noise_mode="const") * noise).sum(), ws, create_graph=True
    )
    return change.square().sum(2).mean(1).sqrt().sum()


def _both(network, scalar, inputs, monkeypatch):
    """Gradients of a scalar w.r.t. the network's parameters, in float32 and float64."""
    single = gradients(scalar(network, *inputs), dict(network.named_parameters()))
    network.double()
    monkeypatch.setattr(stylegan2, "torch", _Float64())
    inputs = [value.detach().double().requires_grad_(value.requires_grad) for value in inputs]
    double = gradients(scalar(network, *inputs), dict(network.named_parameters()))
    return single, double


# In groups of two, minibatch-stddev is |a - b| / 2, without curvature: the biases' true second-order
# gradients are then a small rest, and their relative error says how well large terms cancel.
@pytest.mark.parametrize(("which", "tolerance"), [("r1", 1e-4), ("r1_pairs", 1e-3), ("path_length", 1e-4)])
def test_against_float64(which, tolerance, monkeypatch):
    errors, worst = [], []
    for seed in SEEDS:
        torch.manual_seed(seed)
        with monkeypatch.context() as patch:
            if which == "path_length":
                network = Generator(
                    16, 0, 16, 32, 3, synthesis_kwargs={"channel_base": 256, "channel_max": 16}
                ).eval()
                ws = torch.randn([4, network.num_ws, 16]).requires_grad_()
                single, double = _both(network, path_length, [ws, torch.randn([4, 3, 32, 32]) / 32], patch)
            else:
                group = {"mbstd_group_size": 2 if which == "r1_pairs" else 4}
                network = Discriminator(0, 32, 3, channel_base=256, channel_max=16, epilogue_kwargs=group)
                single, double = _both(network, r1, [torch.randn([4, 3, 32, 32]).requires_grad_()], patch)
        own = []
        for name, truth in double.items():
            if truth is None or not truth.any():
                assert single[name] is None or not single[name].any() or name.endswith("torgb.bias"), name
                continue
            assert truth.dtype == torch.float64
            own.append(relative_error(single[name], truth))
        errors += own
        worst.append(max(own))
    assert statistics.median(errors) < 1e-5
    assert statistics.median(worst) < tolerance
    assert max(worst) < 1e-2  # a flipped sign; see above
