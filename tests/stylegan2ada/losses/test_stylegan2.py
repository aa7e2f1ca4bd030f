"""Behaviour of the loss that no recording covers: style mixing, terms, other objectives, state, no reads."""

from __future__ import annotations

import types

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from stylegan2ada import processes
from stylegan2ada.errors import UserError
from stylegan2ada.losses.critic import clip_effective_weights
from stylegan2ada.losses.draws import Draws
from stylegan2ada.losses.objectives import OBJECTIVES
from stylegan2ada.losses.stylegan2 import PHASES, StyleGAN2Loss
from stylegan2ada.networks.stylegan2 import Discriminator, Generator, set_precision
from tests.stylegan2ada.losses.replay import Replay, record_reports

N = 4
NO_MBSTD = {"mbstd_num_channels": 0}


def networks(epilogue_kwargs=NO_MBSTD):
    torch.manual_seed(0)
    G = Generator(8, 2, 8, 8, 3, {"num_layers": 2}, {"channel_base": 64, "channel_max": 8})
    D = Discriminator(2, 8, 3, channel_base=64, channel_max=8, epilogue_kwargs=epilogue_kwargs)
    return G.requires_grad_(False), D.requires_grad_(False)


def batch(n=N):
    c = torch.eye(2).repeat(n // 2, 1)
    return [torch.randn([n, 3, 8, 8]), c, torch.randn([n, 8]), c]


def gradients(network, loss, phase, parts, gain=1.0):
    """All gradients of a network as one vector, accumulated over the parts."""
    network.requires_grad_(True).zero_grad(set_to_none=True)
    for part in parts:
        loss.accumulate_gradients(phase, *part, sync=True, gain=gain)
    network.requires_grad_(False)
    return torch.cat(
        [torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in network.parameters()]
    )


class Term:
    """Pulls the mean of each image towards the mean of its real partner, squared."""

    name = "brightness"

    def __init__(self, reduction="mean", weight=0.3):
        self.reduction, self.weight, self.state = reduction, weight, 0

    def __call__(self, fake_img, gen_c, real_img):
        return (fake_img.mean([1, 2, 3]) - real_img.mean([1, 2, 3])).square()

    def start(self, context):
        self.context = context

    def state_dict(self):
        return {"state": self.state}

    def load_state_dict(self, state):
        self.state = state["state"]


# Style mixing


@pytest.mark.parametrize("cutoff", [1, 2, 4])
def test_style_mixing_replaces_the_rows_from_the_cutoff_on(cutoff):
    G, D = networks()
    other = torch.randn([N, 8])

    class Mix(Replay):
        def mixing_cutoff(self, num_ws):
            assert num_ws == 4
            return torch.tensor(cutoff)

        def mixing_z(self, z):
            return other

    seen = []
    synthesis = lambda ws, **options: seen.append(ws.detach()) or G.synthesis(ws, **options)  # noqa: E731
    G.eval()
    loss = StyleGAN2Loss("cpu", G.mapping, synthesis, D, style_mixing_prob=0.9, draws=Mix())
    parts = batch()
    gradients(G, loss, "Gmain", [parts])
    expected = torch.cat(
        [G.mapping(parts[2], parts[3])[:, :cutoff], G.mapping(other, parts[3])[:, cutoff:]], dim=1
    )
    torch.testing.assert_close(seen[0], expected.detach())


def test_style_mixing_moves_the_running_mean_once_only():
    G, D = networks()
    parts = batch()
    G.train()
    with torch.no_grad():
        mean = G.mapping(parts[2], parts[3], skip_w_avg_update=True)[:, 0].mean(0)
    gradients(G, StyleGAN2Loss("cpu", G.mapping, G.synthesis, D, style_mixing_prob=1), "Gmain", [parts])
    torch.testing.assert_close(G.mapping.w_avg, 0.005 * mean, rtol=1e-4, atol=1e-7)


def test_random_draws():
    torch.manual_seed(0)
    draws = Draws("cpu", style_mixing_prob=0.75)
    cutoffs = torch.stack([draws.mixing_cutoff(5) for _ in range(4000)])
    counts = torch.bincount(cutoffs, minlength=6) / 4000
    expected = torch.tensor([0, 0.1875, 0.1875, 0.1875, 0.1875, 0.25])
    assert (counts - expected).abs().max() < 0.03  # four standard errors
    assert Draws("cpu", 1.0).mixing_cutoff(1) == 1
    share = draws.interpolation(1000)
    assert share.shape == (1000,)
    assert 0 <= share.min() < 0.05 < 0.95 < share.max() < 1


# Generator terms


def test_a_term_adds_its_own_gradient():
    G, D = networks()
    parts = batch()
    plain = gradients(
        G,
        StyleGAN2Loss("cpu", G.mapping, G.synthesis, D, style_mixing_prob=0, draws=Replay()),
        "Gmain",
        [parts],
    )
    term = Term()
    loss = StyleGAN2Loss("cpu", G.mapping, G.synthesis, D, style_mixing_prob=0, draws=Replay(), terms=[term])
    with_term = gradients(G, loss, "Gmain", [parts])
    G.requires_grad_(True)
    img = G(parts[2], parts[3], noise_mode="const")
    alone = torch.autograd.grad(
        0.3 * term(img, parts[3], parts[0]).mean(), list(G.parameters()), allow_unused=True
    )
    expected = torch.cat(
        [(torch.zeros_like(p) if g is None else g).flatten() for g, p in zip(alone, G.parameters())]
    )
    torch.testing.assert_close(with_term - plain, expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_sum_does_not_depend_on_the_split(reduction, monkeypatch):
    """ "sum" is over the whole batch, in one round, in two, or on two ranks whose gradients are averaged."""
    G, D = networks()
    parts = batch(8)
    halves = [[value[half] for value in parts] for half in (slice(0, 4), slice(4, 8))]
    silent = lambda img, c: img.new_zeros([len(img), 1]) + 0 * img.mean()  # noqa: E731 - only the term speaks
    loss = StyleGAN2Loss(
        "cpu", G.mapping, G.synthesis, silent, style_mixing_prob=0, draws=Replay(), terms=[Term(reduction)]
    )
    whole = gradients(G, loss, "Gmain", [parts])
    in_rounds = gradients(G, loss, "Gmain", halves)
    monkeypatch.setattr(processes, "world_size", lambda: 2)
    over_ranks = (gradients(G, loss, "Gmain", halves[:1]) + gradients(G, loss, "Gmain", halves[1:])) / 2
    if reduction == "sum":
        torch.testing.assert_close(in_rounds, whole, rtol=1e-4, atol=1e-6)
    else:  # upstream: rounds are summed, so a mean counts once per round
        torch.testing.assert_close(in_rounds, 2 * whole, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(over_ranks, whole, rtol=1e-4, atol=1e-6)


def test_terms_are_reported_started_and_saved(monkeypatch):
    G, D = networks()
    term = Term()
    loss = StyleGAN2Loss("cpu", G.mapping, G.synthesis, D, draws=Replay(), terms=[term])
    reports = record_reports(monkeypatch)
    gradients(G, loss, "Gmain", [batch()])
    assert [name for name, _ in reports][-2:] == ["Loss/G/loss", "Loss/G/brightness"]
    loss.start(context := object())
    assert term.context is context
    loss.pl_mean.fill_(0.7)
    term.state = 5
    saved = loss.state_dict()
    loss.pl_mean.zero_()
    again = StyleGAN2Loss("cpu", G.mapping, G.synthesis, D, terms=[other := Term()])
    again.load_state_dict(saved)
    assert (float(again.pl_mean), other.state) == (pytest.approx(0.7), 5)


# Other objectives


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("phase", PHASES)
def test_every_objective_in_every_phase(objective, phase):
    G, D = networks()
    loss = StyleGAN2Loss("cpu", G.mapping, G.synthesis, D, objective=objective)
    found = gradients({"G": G, "D": D}[phase[0]], loss, phase, [batch()])
    assert found.isfinite().all()
    has_work = not phase.endswith("reg") or objective == "stylegan2"
    assert bool(found.any()) == has_work


def test_gradient_of_the_wasserstein_critic_by_hand():
    G, D = networks()
    parts = batch()
    loss = StyleGAN2Loss(
        "cpu", G.mapping, G.synthesis, D, style_mixing_prob=0, objective="wgan", draws=Replay()
    )
    found = gradients(D, loss, "Dboth", [parts], gain=3)
    D.requires_grad_(True)
    fake = G(parts[2], parts[3], noise_mode="const").detach()
    by_hand = 3 * (D(fake, parts[3]).mean() - D(parts[0], parts[1]).mean())
    expected = torch.cat([g.flatten() for g in torch.autograd.grad(by_hand, list(D.parameters()))])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_penalty_and_drift_of_wgan_gp_by_hand(monkeypatch):
    G, D = networks()
    parts = batch()
    mix = torch.rand(N)

    class Fixed(Replay):
        def interpolation(self, n):
            return mix

    loss = StyleGAN2Loss(
        "cpu", G.mapping, G.synthesis, D, style_mixing_prob=0, objective="wgan-gp", draws=Fixed(), gp_weight=7
    )
    reports = record_reports(monkeypatch)
    found = gradients(D, loss, "Dmain", [parts])
    D.requires_grad_(True)
    fake = G(parts[2], parts[3], noise_mode="const").detach()
    between = (mix[:, None, None, None] * fake + (1 - mix[:, None, None, None]) * parts[0]).requires_grad_(
        True
    )
    (slope,) = torch.autograd.grad(D(between, parts[1]).sum(), between, create_graph=True)
    penalty = (slope.square().sum([1, 2, 3]).sqrt() - 1).square()
    reals = D(parts[0], parts[1])
    by_hand = D(fake, parts[3]).mean() - reals.mean() + 7 * penalty.mean() + 0.001 * reals.square().mean()
    expected = torch.cat([g.flatten() for g in torch.autograd.grad(by_hand, list(D.parameters()))])
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(dict(reports)["Loss/gradient_penalty"], penalty.detach(), rtol=1e-4, atol=1e-6)


def test_penalty_runs_in_float32_when_the_critic_does_not():
    G, D = networks()
    set_precision(D, "bfloat16")
    calls = []
    D.b8.register_forward_hook(
        lambda m, args, kwargs, out: calls.append((kwargs, out[0].dtype)), with_kwargs=True
    )
    loss = StyleGAN2Loss("cpu", G.mapping, G.synthesis, D, objective="wgan-gp")
    gradients(D, loss, "Dboth", [batch()])
    low, full = ({}, torch.bfloat16), ({"force_fp32": True}, torch.float32)
    assert calls == [low, low, full]  # fakes, reals, interpolates


def test_penalty_refuses_a_critic_that_mixes_samples():
    G, D = networks(epilogue_kwargs={"mbstd_group_size": 4})
    with pytest.raises(UserError, match="minibatch-stddev.*mbstd_num_channels=0"):
        StyleGAN2Loss("cpu", G.mapping, G.synthesis, D, objective="wgan-gp")
    StyleGAN2Loss("cpu", G.mapping, G.synthesis, D, objective="ns")
    asked = StyleGAN2Loss.network_settings("wgan-gp")
    _, D = networks(**asked)
    StyleGAN2Loss("cpu", G.mapping, G.synthesis, D, objective="wgan-gp")


def test_clipping_bounds_what_the_layers_compute_with():
    G, D = networks()
    loss = StyleGAN2Loss("cpu", G.mapping, G.synthesis, D, objective="wgan", weight_clip=0.01)
    before = D.b8.conv0.weight.clone()
    loss.after_step("Gboth")
    assert torch.equal(D.b8.conv0.weight, before)
    loss.after_step(types.SimpleNamespace(name="Dboth"))
    effective = (D.b8.conv0.weight * D.b8.conv0.weight_gain).abs().max()
    assert float(effective) == pytest.approx(0.01, rel=1e-5)
    assert D.b8.conv0.weight.abs().max() > 0.05  # stored weights are larger: clipping them at 0.01 kills D
    embed = D.mapping.fc0
    assert float((embed.weight * embed.weight_gain).abs().max()) == pytest.approx(0.01, rel=1e-5)
    plain = torch.nn.Linear(3, 3)
    clip_effective_weights(plain, 0.1)
    assert float(plain.weight.abs().max().detach()) == pytest.approx(0.1)
    StyleGAN2Loss("cpu", G.mapping, G.synthesis, D).after_step(
        "Dmain"
    )  # other objectives leave weights alone


# Cost


class NoReads(TorchDispatchMode):
    """Refuses every operation that fetches a value from the device."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func not in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default), func
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("objective", ["stylegan2", "wgan-gp"])
@pytest.mark.parametrize("phase", PHASES)
def test_nothing_is_read_back(phase, objective):
    G, D = networks()
    loss = StyleGAN2Loss("cpu", G.mapping, G.synthesis, D, objective=objective, terms=[Term("sum")])
    with NoReads():
        gradients({"G": G, "D": D}[phase[0]], loss, phase, [batch()])
    with NoReads(), pytest.raises(AssertionError):
        float(torch.ones([]))  # the watcher does see reads


@pytest.mark.parametrize("phase", PHASES)
def test_bfloat16_gradients_point_the_same_way(phase):
    G, D = networks()
    full = StyleGAN2Loss("cpu", G.mapping, G.synthesis, D, style_mixing_prob=0, draws=OneNoise())
    parts = batch()
    network = {"G": G, "D": D}[phase[0]]
    expected = gradients(network, full, phase, [parts])
    for each in (G, D):
        set_precision(each, "bfloat16")
    low = StyleGAN2Loss("cpu", G.mapping, G.synthesis, D, style_mixing_prob=0, draws=OneNoise())
    found = gradients(network, low, phase, [parts])
    assert not torch.equal(found, expected)
    assert float(torch.cosine_similarity(found, expected, dim=0)) > 0.98


class OneNoise(Replay):
    """The same path-length noise at each call."""

    def pl_noise(self, img):
        return torch.sin(torch.arange(img.numel(), dtype=torch.float32) ** 2).reshape(img.shape)


def test_unknown_phase():
    G, D = networks()
    with pytest.raises(KeyError):
        StyleGAN2Loss("cpu", G.mapping, G.synthesis, D).accumulate_gradients(
            "Gmian", *batch(), sync=True, gain=1
        )


def test_one_sample_has_a_path_length():
    G, D = networks()
    parts = [value[:1] for value in batch()]
    loss = StyleGAN2Loss("cpu", G.mapping, G.synthesis, D)
    assert gradients(G, loss, "Greg", [parts]).isfinite().all()
    assert loss.pl_mean.isfinite()
