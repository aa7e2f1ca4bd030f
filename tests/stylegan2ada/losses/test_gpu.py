"""The loss on an accelerator: no waiting for values, and the gradients of the CPU."""

from __future__ import annotations

import copy

import pytest
import torch

from stylegan2ada.losses.objectives import OBJECTIVES
from stylegan2ada.losses.stylegan2 import PHASES, StyleGAN2Loss
from stylegan2ada.networks.stylegan2 import set_precision
from tests.stylegan2ada.losses.test_stylegan2 import OneNoise, batch, gradients, networks

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("phase", PHASES)
def test_no_synchronisation(phase, objective):
    G, D = (network.cuda() for network in networks())
    parts = [value.cuda() for value in batch()]
    loss = StyleGAN2Loss("cuda", G.mapping, G.synthesis, D, objective=objective)
    network = {"G": G, "D": D}[phase[0]].requires_grad_(True)
    loss.accumulate_gradients(phase, *parts, sync=True, gain=1)  # statistics and kernels are set up once
    network.zero_grad(set_to_none=True)
    torch.cuda.set_sync_debug_mode("error")
    try:
        loss.accumulate_gradients(phase, *parts, sync=True, gain=1)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("phase", PHASES)
def test_gradients_of_the_cpu(phase, monkeypatch):
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    G, D = networks()
    parts = batch()
    found = {}
    for device in ("cpu", "cuda"):
        mine, other = copy.deepcopy(G).to(device), copy.deepcopy(D).to(device)
        for network in (mine, other):
            set_precision(network, "float32")
        loss = StyleGAN2Loss(
            device, mine.mapping, mine.synthesis, other, style_mixing_prob=0, draws=OnDevice(device)
        )
        trained = {"G": mine, "D": other}[phase[0]]
        found[device] = gradients(trained, loss, phase, [[value.to(device) for value in parts]]).cpu()
    error = (found["cuda"] - found["cpu"]).norm() / found["cpu"].norm()
    assert float(error) < 1e-3


class OnDevice(OneNoise):
    """The same path-length noise, where the images are."""

    def __init__(self, device):
        super().__init__()
        self.device = device

    def pl_noise(self, img):
        return super().pl_noise(img).to(img.device)
