"""Phases: recorded optimiser correction, when they are due, what a step does to gradients."""

import pytest
import torch

from stylegan2ada.training import phases
from tests.golden_data import golden_json


@pytest.fixture
def net():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2)).requires_grad_(False)


def test_recorded_correction():
    for case in golden_json("schedules/ema_and_lazy_reg.json")["lazy"]:
        given = {"lr": case["lr"], "betas": case["betas"], "eps": 1e-8}
        got = phases.corrected_for_laziness(given, case["interval"])
        assert got["lr"] == pytest.approx(case["effective_lr"], rel=1e-14)
        assert got["betas"] == pytest.approx(case["effective_betas"], rel=1e-14)
        assert got["eps"] == 1e-8
        assert given["betas"] == case["betas"]  # the given options stay as they were


def test_lazy_network_has_two_phases_and_one_optimiser(net):
    main, reg = phases.network_phases("G", net, {"lr": 0.0025, "betas": [0, 0.99]}, 4)
    assert (main.name, main.every, main.gain) == ("Gmain", 1, 1)
    assert (reg.name, reg.every, reg.gain) == ("Greg", 4, 4)
    assert main.opt is reg.opt
    assert main.opt.param_groups[0]["lr"] == pytest.approx(0.002)


def test_without_laziness_there_is_one_phase(net):
    (both,) = phases.network_phases("D", net, {"lr": 0.0025, "betas": [0, 0.99]}, None)
    assert (both.name, both.every, both.gain) == ("Dboth", 1, 1)
    assert both.opt.param_groups[0]["lr"] == 0.0025
    assert both.opt.param_groups[0]["betas"] == (0.0, 0.99)
    assert all(type(beta) is float for beta in both.opt.param_groups[0]["betas"])


def test_order_within_an_iteration(net):
    plan = phases.network_phases("G", net, {"lr": 1e-3}, 4) + phases.network_phases(
        "D", net, {"lr": 1e-3}, 16
    )
    names = [[phase.name for phase in phases.due(plan, iteration)] for iteration in range(33)]
    everything, generator_only = ["Gmain", "Greg", "Dmain", "Dreg"], ["Gmain", "Greg", "Dmain"]
    assert names == [
        everything if i % 16 == 0 else generator_only if i % 4 == 0 else ["Gmain", "Dmain"] for i in range(33)
    ]


def test_step_equals_plain_adam(net):
    import copy

    other = copy.deepcopy(net).requires_grad_(True)
    options = {"lr": 0.01, "betas": (0.0, 0.99)}
    main, reg = phases.network_phases("G", net, options, 4)
    adam = torch.optim.Adam(other.parameters(), lr=0.01 * 0.8, betas=(0.0, 0.99**0.8))
    x = torch.randn(5, 3)
    for iteration in range(6):
        for phase in phases.due([main, reg], iteration):
            phase.start()
            (net(x).square().mean() * phase.gain).backward()
            phase.reduce_and_step()
            adam.zero_grad()
            (other(x).square().mean() * phase.gain).backward()
            adam.step()
    for p, q in zip(net.parameters(), other.parameters()):
        torch.testing.assert_close(p, q.detach(), rtol=1e-6, atol=1e-7)
    assert not any(p.requires_grad for p in net.parameters())


def test_start_drops_old_gradients_and_allows_new_ones(net):
    (phase,) = phases.network_phases("D", net, {"lr": 0.1}, None)
    for p in net.parameters():
        p.grad = torch.ones_like(p)
    phase.start()
    assert all(p.grad is None and p.requires_grad for p in net.parameters())


def test_no_gradients_move_nothing(net):
    (phase,) = phases.network_phases("D", net, {"lr": 0.1}, None)
    before = [p.clone() for p in net.parameters()]
    phase.start()
    phase.reduce_and_step()
    assert all(torch.equal(p, q) for p, q in zip(net.parameters(), before))


def test_gradients_that_are_not_finite_are_repaired():
    broken = [torch.tensor([float("nan"), 1.0]), torch.tensor([[float("inf")], [float("-inf")]])]
    phases.average_and_repair(broken)
    assert broken[0].tolist() == [0.0, 1.0]
    assert broken[1].tolist() == [[1e5], [-1e5]]


def test_rounds_cut_all_tensors_alike():
    a, b = torch.arange(10), torch.arange(20).reshape(10, 2)
    parts = list(phases.rounds(4, a, b))
    assert [len(x) for x, _ in parts] == [4, 4, 2]
    assert all(torch.equal(y[:, 0], 2 * x) for x, y in parts)
    assert torch.equal(torch.cat([x for x, _ in parts]), a)


def _gradients(rank: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(rank)
    return [torch.randn(3, 4, generator=generator), torch.randn(5, generator=generator)]


def _average(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    mine = _gradients(rank)
    mine[0][0, 0] = float("nan")
    phases.average_and_repair(mine)
    torch.save(mine, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_average(tmp_path):
    torch.multiprocessing.spawn(_average, (str(tmp_path),), nprocs=2)
    got = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    expected = [(a + b) / 2 for a, b in zip(_gradients(0), _gradients(1))]
    expected[0][0, 0] = 0
    for a, b, e in zip(*got, expected):
        assert torch.equal(a, b)
        torch.testing.assert_close(a, e)
