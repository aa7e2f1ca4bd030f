"""A free generator that follows the real loss terms ends where theory says: p * max(0, K S^gamma - 1)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from spine_plugins.experiments.theory import binormal_positives, hardest_mass, tilted_density
from spine_plugins.losses.spine import class_loss
from stylegan2ada.losses.objectives import find_objective

EFFECTIVE_GAMMAS = [0, 0.01, 0.1, 0.16, 0.8]  # 0.16 is the paper's 0.01 summed over a batch of 16


def train_free_generator(p: np.ndarray, s: np.ndarray, gamma: float, steps: int = 4000) -> np.ndarray:
    """Mirror descent of a density on the grid against the best discriminator of each moment."""
    p_, logit_s = torch.from_numpy(p), torch.logit(torch.from_numpy(s))
    wanted = torch.tensor([[0.0, 1.0]], dtype=torch.float64).expand(len(p), 2)
    objective = find_objective("stylegan2")
    log_q = torch.log(p_).clone()
    for step in range(steps):
        q = log_q.softmax(0).requires_grad_(True)
        with torch.no_grad():
            best_logit = torch.log(p_) - torch.log(q)  # minimises D's logistic loss for this q
        loss = (q * (objective.g(best_logit) + gamma * class_loss(logit_s[:, None], wanted, "binary"))).sum()
        (slope,) = torch.autograd.grad(loss, q)
        log_q = (log_q - 1.0 / (1 + step / 400) * slope).log_softmax(0)
    return log_q.softmax(0).numpy()


@pytest.mark.parametrize("gamma", EFFECTIVE_GAMMAS)
def test_the_free_generator_follows_the_curve(gamma: float) -> None:
    p, s = binormal_positives(0.856, points=401)
    predicted = tilted_density(p, s, gamma)
    trained = train_free_generator(p, s, gamma)
    assert hardest_mass(trained, p) == pytest.approx(hardest_mass(predicted, p), abs=2e-3)
    assert np.abs(trained - predicted).sum() / 2 < 5e-3  # total variation


def test_the_cost_grows_with_gamma() -> None:
    p, s = binormal_positives(0.856)
    masses = [100 * hardest_mass(tilted_density(p, s, gamma), p) for gamma in EFFECTIVE_GAMMAS]
    assert masses == pytest.approx(
        [20, 19.65, 16.7, 14.85, 2.72], abs=0.02
    )  # derived with scipy on a finer grid
    assert masses == sorted(masses, reverse=True)


def test_a_classifier_that_knows_nothing_changes_nothing() -> None:
    p, _ = binormal_positives(0.856)
    np.testing.assert_allclose(tilted_density(p, np.full_like(p, 0.5), 0.8), p, rtol=1e-9)


def test_the_grid_has_the_auc_it_claims() -> None:
    p, s = binormal_positives(0.856)
    logit = np.log(s / (1 - s))
    negatives = p / s * (1 - s)  # Bayes' rule at equal shares
    negatives /= negatives.sum()
    below = np.cumsum(negatives) - negatives / 2
    assert float((p * below).sum()) == pytest.approx(0.856, abs=1e-3)
    assert (np.diff(logit) > 0).all()
