"""The objective table against closed forms in float64; penalties on critics that can be solved by hand."""

from __future__ import annotations

import pytest
import torch

from stylegan2ada.errors import UserError
from stylegan2ada.losses.objectives import (
    OBJECTIVES,
    find_objective,
    gradient_penalty,
    r1_penalty,
    slopes,
)

# name: derivatives of D's loss of a real logit r, of a fake logit f, and of G's loss of a fake logit f
DERIVATIVES = {
    "stylegan2": (lambda r: torch.sigmoid(r) - 1, torch.sigmoid, lambda f: torch.sigmoid(f) - 1),
    "ns": (lambda r: torch.sigmoid(r) - 1, torch.sigmoid, lambda f: torch.sigmoid(f) - 1),
    "minimax": (lambda r: torch.sigmoid(r) - 1, torch.sigmoid, lambda f: -torch.sigmoid(f)),
    "lsgan": (lambda r: r - 1, lambda f: f, lambda f: f - 1),
    "wgan": (lambda r: -torch.ones_like(r), torch.ones_like, lambda f: -torch.ones_like(f)),
    "wgan-gp": (lambda r: -torch.ones_like(r), torch.ones_like, lambda f: -torch.ones_like(f)),
}
VALUES = {  # (D's loss, G's loss) at r = 0.3, f = -0.8, from the probabilities p = 1 / (1 + e^-logit)
    "ns": lambda p, q, r, f: (-(p.log() + (1 - q).log()), -q.log()),
    "stylegan2": lambda p, q, r, f: (-(p.log() + (1 - q).log()), -q.log()),
    "minimax": lambda p, q, r, f: (-(p.log() + (1 - q).log()), (1 - q).log()),
    "lsgan": lambda p, q, r, f: (((r - 1) ** 2 + f**2) / 2, (f - 1) ** 2 / 2),
    "wgan": lambda p, q, r, f: (f - r, -f),
    "wgan-gp": lambda p, q, r, f: (f - r, -f),
}


def test_the_tables_have_the_same_rows():
    assert set(OBJECTIVES) == set(DERIVATIVES) == set(VALUES)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_derivatives(name):
    objective = find_objective(name)
    r, f = (torch.linspace(-9, 9, 37, dtype=torch.float64, requires_grad=True) for _ in range(2))
    dr, df, dg = DERIVATIVES[name]
    found_r, found_f = torch.autograd.grad(objective.d(r, f).sum(), [r, f])
    (found_g,) = torch.autograd.grad(objective.g(f).sum(), f)
    for found, expected in ((found_r, dr(r)), (found_f, df(f)), (found_g, dg(f))):
        torch.testing.assert_close(found, expected.detach(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_values(name):
    r, f = torch.tensor(0.3, dtype=torch.float64), torch.tensor(-0.8, dtype=torch.float64)
    expected_d, expected_g = VALUES[name](torch.sigmoid(r), torch.sigmoid(f), r, f)
    objective = find_objective(name)
    torch.testing.assert_close(objective.d(r, f), expected_d)
    torch.testing.assert_close(objective.g(f), expected_g)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_one_value_per_sample_even_for_huge_logits(name):
    logits = torch.tensor([[-80.0], [0.0], [80.0]])
    objective = find_objective(name)
    for values in (objective.d(logits, logits.flip(0)), objective.g(logits)):
        assert values.shape == (3, 1)
        assert values.isfinite().all()


def test_slope_of_a_linear_critic_is_its_weight():
    """The norm runs over channels and pixels together; over one axis alone it would be far too small."""
    torch.manual_seed(0)
    weight = torch.randn([3, 8, 8], dtype=torch.float64)
    images = torch.randn([5, 3, 8, 8], dtype=torch.float64, requires_grad=True)
    norms = slopes((images * weight).sum([1, 2, 3]), images).flatten(1).norm(dim=1)
    torch.testing.assert_close(norms, weight.norm().expand(5), rtol=1e-12, atol=0)

    critic = lambda x: (x * weight.float()).sum([1, 2, 3])[:, None]  # noqa: E731
    penalty = gradient_penalty(critic, images.float(), torch.randn([5, 3, 8, 8]), torch.rand(5))
    assert penalty.shape == (5,)
    torch.testing.assert_close(penalty.sqrt() + 1, weight.float().norm().expand(5), rtol=1e-5, atol=0)
    torch.testing.assert_close(
        r1_penalty(critic(images.float()), images), weight.square().sum().expand(5), rtol=1e-5, atol=0
    )


def test_penalty_looks_between_the_images_one_place_per_sample():
    seen = []
    real, fake, mix = torch.zeros([4, 1, 2, 2]), torch.ones([4, 1, 2, 2]), torch.tensor([0.0, 0.25, 0.5, 1.0])
    gradient_penalty(lambda x: seen.append(x.detach()) or x.sum([1, 2, 3]), real, fake, mix)
    assert torch.equal(seen[0], mix[:, None, None, None].expand(4, 1, 2, 2))


def test_penalty_trains_the_critic_not_the_images():
    """Second derivative by hand: critic a * x, penalty (|a| - 1)^2, slope 2 (|a| - 1) sign(a)."""
    a = torch.tensor(-3.0, dtype=torch.float64, requires_grad=True)
    real = torch.randn([6, 1], requires_grad=True)
    penalty = gradient_penalty(lambda x: a * x, real, torch.randn([6, 1]), torch.rand(6))
    slope, untouched = torch.autograd.grad(penalty.mean(), [a, real], allow_unused=True)
    assert float(slope) == pytest.approx(-4)
    assert untouched is None


def test_penalty_computes_in_float32():
    types = []
    real = torch.randn([2, 3], dtype=torch.float16)
    gradient_penalty(lambda x: types.append(x.dtype) or x.square().sum(1).half(), real, real, torch.rand(2))
    assert types == [torch.float32]


@pytest.mark.parametrize("name", OBJECTIVES)
def test_what_an_objective_asks_for(name):
    row = find_objective(name)
    assert row.name == name
    assert row.has_regularisers == (name == "stylegan2")
    assert bool(row.refuses_ada) == (name in ("lsgan", "wgan", "wgan-gp"))
    assert row.G_every == (5 if name.startswith("wgan") else 1)
    asks = {"epilogue_kwargs": {"mbstd_num_channels": 0}} if name == "wgan-gp" else {}
    assert row.network_settings == asks


def test_unknown_objective_names_the_known():
    with pytest.raises(UserError, match="hinge.*stylegan2, ns, minimax, lsgan, wgan, wgan-gp"):
        find_objective("hinge")
