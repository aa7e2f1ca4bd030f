"""The energy term: scipy's distance, brute force, what it asks of a generator, and by flag."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from scipy.stats import energy_distance

from spine_plugins.losses.energy import EnergyTerm
from stylegan2ada.errors import UserError
from stylegan2ada.losses.registry import find_term
from stylegan2ada.losses.terms import make_term

C = torch.zeros(0)


def flat(values: torch.Tensor) -> torch.Tensor:
    """One grey per image [N, 1, 8, 8]: the distance of two is the difference of their greys, at each pool."""
    return values[:, None, None, None].expand(-1, 1, 8, 8)


def test_it_is_the_energy_distance_of_greys() -> None:
    torch.manual_seed(0)
    fakes, reals = torch.randn(40), 2 * torch.randn(40) + 1
    found = EnergyTerm()(flat(fakes), C, flat(reals)).mean()
    among = (fakes[:, None] - fakes).abs().sum() / 40**2
    among_reals = (reals[:, None] - reals).abs().mean()
    # scipy's counts every fake as its own neighbour, which shrinks the second part by n / (n - 1).
    # Flat images have no contrast: standardised they are all one.
    wanted = energy_distance(fakes.numpy(), reals.numpy()) ** 2 + among_reals - among / 39
    assert found.item() == pytest.approx(float(wanted), abs=2e-3)


def test_images_by_brute_force() -> None:
    rng = np.random.default_rng(0)
    fakes, reals = rng.normal(size=(3, 2, 16, 16)), rng.normal(size=(3, 2, 16, 16))
    found = EnergyTerm()(torch.tensor(fakes), C, torch.tensor(reals))

    def plain(img: np.ndarray) -> np.ndarray:
        return img

    def standardised(img: np.ndarray) -> np.ndarray:
        return (img - img.mean()) / np.sqrt(img.var() + 0.01)

    def apart(a: np.ndarray, b: np.ndarray, pool: int) -> float:
        means = [x.reshape(2, 16 // pool, pool, 16 // pool, pool).mean((2, 4)) for x in (a, b)]
        return float(np.sqrt(((means[0] - means[1]) ** 2).mean() + 1e-8))

    for i in range(3):
        wanted = 0.0
        for pool, form in product((2, 4, 8), (plain, standardised)):
            to_reals = np.mean([apart(form(fakes[i]), form(y), pool) for y in reals])
            to_fakes = sum(apart(form(fakes[i]), form(x), pool) for x in fakes) / 2
            wanted += (2 * to_reals - to_fakes) / 3
        assert found[i].item() == pytest.approx(wanted, abs=1e-5)


def test_one_picture_is_driven_apart_until_it_varies_as_the_reals() -> None:
    torch.manual_seed(0)
    reals = torch.randn(64) * 0.5
    fakes = (torch.randn(64) * 0.01).requires_grad_()
    optimizer = torch.optim.Adam([fakes], lr=0.02)
    for _ in range(150):
        optimizer.zero_grad()
        EnergyTerm()(flat(fakes), C, flat(reals)).mean().backward()
        optimizer.step()
    assert fakes.std().item() == pytest.approx(reals.std().item(), rel=0.1)


def test_equal_fakes_have_a_finite_gradient() -> None:
    fakes = torch.zeros(4, 1, 8, 8, requires_grad=True)
    EnergyTerm()(fakes, C, torch.ones(4, 1, 8, 8)).mean().backward()
    assert fakes.grad is not None and torch.isfinite(fakes.grad).all()


def test_by_flag() -> None:
    assert find_term("energy") is EnergyTerm
    assert make_term("energy:3", device="cpu").weight == 3
    with pytest.raises(UserError, match="a batch of 2 or more"):
        EnergyTerm()(torch.zeros(1, 1, 8, 8), C, torch.zeros(1, 1, 8, 8))
