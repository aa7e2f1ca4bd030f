"""The moving average: recorded decays, float64 arithmetic, buffers, first copy."""

import copy

import pytest
import torch

from stylegan2ada.training import ema
from tests.golden_data import golden_json


def nets(seed: int = 0) -> tuple[torch.nn.Module, torch.nn.Module]:
    torch.manual_seed(seed)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 5, 3), torch.nn.BatchNorm2d(5), torch.nn.Linear(4, 2))
    average = copy.deepcopy(net).eval().requires_grad_(False)
    with torch.no_grad():
        for tensor in net.state_dict().values():
            tensor.copy_(torch.randn(tensor.shape) * 10)
    return average, net


def test_recorded_decays():
    for case in golden_json("schedules/ema_and_lazy_reg.json")["ema"]:
        for cur_nimg, beta in case["cur_nimg_before_update_and_beta"]:
            half = ema.half_life_nimg(cur_nimg, case["ema_kimg"], case["ema_rampup"])
            assert ema.decay(case["batch_size"], half) == pytest.approx(beta, rel=1e-12, abs=1e-300)


@pytest.mark.parametrize("cur_nimg", [0, 160, 320, 3200, 10**6])  # decays on both sides of one half
def test_update_is_the_formula(cur_nimg):
    average, net = nets()
    before = {k: v.clone().double() for k, v in average.named_parameters()}
    beta = ema.update(average, net, batch_size=32, cur_nimg=cur_nimg, ema_kimg=10, ema_rampup=0.05)
    for name, p in net.named_parameters():
        expected = p.detach().double() + beta * (before[name] - p.detach().double())
        torch.testing.assert_close(
            average.get_parameter(name).double(), expected, rtol=1e-6, atol=1e-6, msg=name
        )
    for name, buffer in net.named_buffers():
        assert torch.equal(average.get_buffer(name), buffer), name


def test_first_update_with_rampup_copies():
    average, net = nets()
    assert ema.update(average, net, 8, 0, ema_kimg=10, ema_rampup=0.05) == 0
    for name, tensor in net.state_dict().items():
        assert torch.equal(average.state_dict()[name], tensor), name


def test_update_keeps_modes_gradients_and_the_network():
    average, net = nets()
    before = copy.deepcopy(net.state_dict())
    ema.update(average, net, 8, 1000)
    assert not average.training
    assert not any(p.requires_grad for p in average.parameters())
    assert all(p.requires_grad and p.grad is None for p in net.parameters())
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())


def test_different_networks_are_refused():
    average, net = nets()
    net.register_parameter("extra", torch.nn.Parameter(torch.zeros(1)))
    with pytest.raises(AssertionError, match="extra"):
        ema.update(average, net, 8, 1000)
