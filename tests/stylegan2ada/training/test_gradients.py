"""One buffer for all gradients of a network: the same steps, bit by bit, and the same states."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from stylegan2ada.training import gradients, optimisers, phases
from stylegan2ada.training.gradients import FlatGradients


def network() -> nn.Sequential:
    """With a convolution whose weights lie channels last, and a layer that one phase does not reach."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 2, 1))
    net[0].to(memory_format=torch.channels_last)
    return net.requires_grad_(False)


def losses(net: nn.Sequential, x: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"Gmain": net(x).square().mean(), "Greg": net[:2](x).abs().mean()}


def train(net: nn.Sequential, rounds: int, iterations: int = 7) -> list[phases.Phase]:
    plan = phases.network_phases("G", net, {"lr": 0.01, "betas": (0.5, 0.99)}, 2)
    torch.manual_seed(1)
    for iteration in range(iterations):
        for phase in phases.due(plan, iteration):
            x = torch.randn(4, 3, 5, 5)
            phase.start()
            for part in x.chunk(rounds):
                (losses(net, part)[phase.name] * phase.gain).backward()
            if iteration == 3:
                phase.parameters[0].grad[0, 0, 0, 0] = float("nan")
            phase.reduce_and_step()
    return plan


@pytest.mark.parametrize("rounds", [1, 2])
def test_training_is_the_same_bit_by_bit(rounds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    apart, flat = network(), network()
    one = train(apart, rounds)
    assert one[0].flat is None  # alone on a CPU
    monkeypatch.setattr(phases, "flat_gradients", FlatGradients)
    other = train(flat, rounds)
    for p, q in zip(apart.parameters(), flat.parameters()):
        assert torch.equal(p, q)
    mine, theirs = one[0].opt.state_dict(), other[0].opt.state_dict()
    assert mine["param_groups"] == theirs["param_groups"]
    for index, slots in mine["state"].items():
        for name, value in slots.items():
            assert torch.equal(value, theirs["state"][index][name]), (index, name)
    # Greg never reached the last layer: fewer steps were counted for it.
    steps = [float(slots["step"]) for slots in theirs["state"].values()]
    assert steps == [11, 11, 11, 11, 7, 7]


def test_gradients_lie_in_the_buffer_from_the_second_time_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phases, "flat_gradients", FlatGradients)
    net = network()
    plan = train(net, 1)
    flat, main = plan[0].flat, plan[0]
    assert flat is plan[1].flat
    main.start()
    places = [p.grad.data_ptr() for p in net.parameters()]
    begin, end = flat.buffer.data_ptr(), flat.buffer.data_ptr() + flat.buffer.nbytes
    assert all(begin <= place < end for place in places)
    assert not flat.buffer.any()
    losses(net, torch.randn(4, 3, 5, 5))["Gmain"].backward()
    assert [p.grad.data_ptr() for p in net.parameters()] == places
    for p in net.parameters():
        assert p.grad.stride() == p.stride()


def test_a_gradient_of_someone_elses_is_brought_in() -> None:
    """A hook may put a tensor of its own in place."""
    net = network().requires_grad_(True)
    flat = FlatGradients(list(net.parameters()))
    flat.start("Gmain")
    losses(net, torch.randn(4, 3, 5, 5))["Gmain"].backward()
    flat.collect("Gmain")
    mine = torch.full_like(net[1].weight, 3.0)
    net[1].weight.grad = mine
    flat.collect("Gmain")
    assert net[1].weight.grad is not mine and torch.equal(net[1].weight.grad, mine)
    assert int((flat.buffer == 3).sum()) == mine.numel()


def test_where_a_buffer_pays() -> None:
    assert gradients.flat_gradients(list(network().parameters())) is None
    assert gradients.flat_gradients(list(network().to("meta").parameters())) is not None
    mixed = [
        *network().to("meta").parameters(),
        nn.Parameter(torch.zeros(2, dtype=torch.float16, device="meta")),
    ]
    assert gradients.flat_gradients(mixed) is None


# States of optimisers


def trained() -> torch.optim.Adam:
    opt = train(network(), 1)[0].opt
    assert isinstance(opt, torch.optim.Adam)
    return opt


def as_saved_on_a_gpu(opt: torch.optim.Adam) -> dict:
    state = copy.deepcopy(opt.state_dict())
    for group in state["param_groups"]:
        group.update(fused=True, capturable=True)
    return state


def test_a_state_does_not_tell_how_its_machine_computes() -> None:
    opt = trained()
    assert optimisers.portable_state(opt) == opt.state_dict()  # on a CPU nothing is new
    opt.param_groups[0].update(fused=True, capturable=True)
    (group,) = optimisers.portable_state(opt)["param_groups"]
    assert (group["fused"], group["capturable"]) == (None, False)
    assert opt.param_groups[0]["fused"]  # untouched itself


def test_a_state_of_a_gpu_goes_on_here() -> None:
    opt, other = trained(), trained()
    optimisers.load(other, as_saved_on_a_gpu(opt))
    assert (other.param_groups[0]["fused"], other.param_groups[0]["capturable"]) == (None, False)
    other.step()  # with capturable=True torch would refuse on a CPU


def test_settings_are_what_a_recording_would_freeze() -> None:
    opt = trained()
    before = optimisers.settings(opt)
    opt.param_groups[0]["betas"] = (0.0, 0.9)
    assert optimisers.settings(opt) != before


def test_on_cuda_adam_is_one_kernel_that_keeps_its_count_there() -> None:
    cuda = torch.device("cuda")
    assert optimisers.switches_for(cuda, torch.optim.Adam) == {"fused": True, "capturable": True}
    assert optimisers.switches_for(cuda, torch.optim.SGD) == {}
    assert optimisers.switches_for(torch.device("cpu"), torch.optim.Adam) == {}
