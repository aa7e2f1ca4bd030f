"""What the class term does to the generated density, at an optimal discriminator; see docs/spine-loss.md."""

from __future__ import annotations

import math

import numpy as np
import scipy.optimize
import scipy.special


def tilted_density(p: np.ndarray, s: np.ndarray, gamma: float) -> np.ndarray:
    """q = p * max(0, K S^gamma - 1), normalised by the choice of K.

    p: probabilities of the real images of a class; s: S(c|x), what the classifier gives the wanted class;
    gamma: weight of the class term per image, relative to the adversarial term.
    """
    power = s**gamma

    # Mass less 1: -1 for a tiny K, then never falling, so that there is one root to bracket.
    def excess(log_k: float) -> float:
        return float((p * np.maximum(0, math.exp(log_k) * power - 1)).sum() - 1)

    # Far enough for S down to exp(-50), whatever gamma.
    log_k = scipy.optimize.brentq(excess, -50.0, 50.0 + gamma * 50)
    return p * np.maximum(0, math.exp(log_k) * power - 1)


def binormal_positives(auc: float, points: int = 4001) -> tuple[np.ndarray, np.ndarray]:
    """Positives of a calibrated classifier, hardest first: probabilities and S(positive|x) on a grid.

    Score x is N(0, 1) for negatives and N(d, 1) for positives; Bayes' rule gives logit S = d x - d^2 / 2.
    """
    # AUC = Phi(d / sqrt(2)) for two normal distributions of equal variance, solved for d.
    d = math.sqrt(2) * scipy.special.ndtri(auc)
    # Six standard deviations beyond either mean leave out about 1e-9 of the mass.
    x = np.linspace(-6.0, 6.0 + d, points)
    p = np.exp(-0.5 * (x - d) ** 2)
    return p / p.sum(), scipy.special.expit(d * x - d * d / 2)


def hardest_mass(q: np.ndarray, p: np.ndarray, share: float = 0.2) -> float:
    """Mass under q of the hardest `share` of p (both on a grid with the hardest first)."""
    edge = np.cumsum(p)
    inside = np.clip((share - (edge - p)) / p, 0, 1)  # the cell on the border counts in part
    return float((q * inside).sum())
