"""Renyi differential privacy of the Poisson-subsampled Gaussian, at integer and fractional orders. No extras.

Mironov, Talwar, Zhang 2019, "Renyi Differential Privacy of the Sampled Gaussian Mechanism", arXiv:1908.10530:
(order - 1) * RDP = ln A, A = E[(1 - q + q exp((2z - 1) / (2 s^2)))^order] over z ~ N(0, s^2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import gammaln, logsumexp

# Of tensorflow-privacy's classic function, with which the paper's Figure 1 was drawn.
CLASSIC_ORDERS: tuple[float, ...] = (
    1.25, 1.5, 1.75, 2, 2.25, 2.5, 3, 3.5, 4, 4.5, *range(5, 64), 128, 256, 512,
)  # fmt: skip
# Ours begin nearer to 1: at small noise the best order lies there; from 1.25 a bound is 100 times too large.
ORDERS: tuple[float, ...] = (
    1.0005, 1.001, 1.0015, 1.002, 1.003, 1.004, 1.006, 1.008, 1.01, 1.015, 1.02, 1.03, 1.04, 1.06, 1.08,
    *(1 + i / 10 for i in range(1, 100)), *range(11, 64), 80, 96, 128, 192, 256, 512, 1024,
)  # fmt: skip
_SERIES_BELOW = 1e-2  # |u| from where (1+u)^a - 1 - a*u is no longer taken from its series
_TERMS = 12
_BIG = 600.0  # exponents beyond this are left as logarithms
_LEAST_NOISE = 0.01  # for fractional orders
_WIDTHS = 14  # standard deviations of the Gaussian that the integral reaches beyond its peaks


def rdp(q: float, noise_multiplier: float, order: float) -> float:
    """RDP of one release at one order, in nats; add/remove adjacency, sensitivity 1."""
    assert 0 <= q <= 1 and noise_multiplier > 0 and order > 1, (q, noise_multiplier, order)
    if q == 0:
        return 0.0
    if q == 1:
        return order / (2 * noise_multiplier**2)
    if not float(order).is_integer() and noise_multiplier < _LEAST_NOISE:
        # The integral would take too many points; RDP grows with the order, so the next one bounds this one.
        return rdp(q, noise_multiplier, math.ceil(order))
    log_excess = (_at_integer if float(order).is_integer() else _at_fraction)(q, noise_multiplier, order)
    return float(np.logaddexp(0, log_excess)) / (order - 1)


def curve(q: float, noise_multiplier: float, orders: Sequence[float] = ORDERS) -> np.ndarray:
    """RDP of one release at these orders."""
    return np.asarray([rdp(q, noise_multiplier, order) for order in orders])


def epsilon(total: np.ndarray, orders: Sequence[float], delta: float) -> tuple[float, float]:
    """(epsilon, the order that gave it) from the RDP of all releases together.

    Canonne, Kamath, Steinke 2020, arXiv:2004.00010, proposition 12; where delta is large enough for it, 0 by
    the bound of Bretagnolle and Huber on the total variation.
    """
    a = np.asarray(orders, dtype=np.float64)
    found = total + np.log1p(-1 / a) - np.log(delta * a) / (a - 1)
    found = np.where(delta**2 + np.expm1(-total) > 0, 0.0, found)
    best = int(np.argmin(found))
    return max(float(found[best]), 0.0), float(a[best])


def log_delta(total: np.ndarray, orders: Sequence[float], eps: float) -> float:
    """ln of the smallest delta at this epsilon: the same proposition, solved for the other side."""
    a = np.asarray(orders, dtype=np.float64)
    return float(min(np.min((a - 1) * (total - eps + np.log1p(-1 / a)) - np.log(a)), 0.0))


def is_at_edge(order: float, orders: Sequence[float]) -> bool:
    """Whether the best order is the first or last that was tried: the bound may then be far too large."""
    return order in (orders[0], orders[-1])


def _at_integer(q: float, s: float, order: float) -> float:
    """ln(A - 1) from the binomial sum; its first two terms are those of 1, all others positive."""
    k = np.arange(2, int(order) + 1)
    log_weight = gammaln(order + 1) - gammaln(k + 1) - gammaln(order - k + 1)
    log_weight = log_weight + k * math.log(q) + (order - k) * math.log1p(-q)
    return float(logsumexp(log_weight + _log_expm1((k * k - k) / (2 * s * s))))


def _at_fraction(q: float, s: float, order: float) -> float:
    """ln(A - 1) by the trapezoid rule on ((1+u)^order - 1 - order*u), where E[u] = 0.

    Convex in u, so the integrand is positive and nothing cancels. It is analytic up to pi*s^2 off the real
    line (where 1 + u = 0), hence a step of s^2/2 is exact to the last digit.
    """
    step = min(s / 4, s * s / 2)
    z = np.arange(-_WIDTHS * s, max(order, 2) + _WIDTHS * s + step, step)
    exponent = (2 * z - 1) / (2 * s * s)
    log_density = -z * z / (2 * s * s) - math.log(s * math.sqrt(2 * math.pi))
    return float(logsumexp(_log_gap(q, exponent, order) + log_density)) + math.log(step)


def _log_gap(q: float, exponent: np.ndarray, order: float) -> np.ndarray:
    """ln((1+u)^order - 1 - order*u) for u = q (e^exponent - 1)."""
    log_ratio = np.logaddexp(math.log1p(-q), math.log(q) + exponent)  # ln(1 + u)
    u = q * np.expm1(np.minimum(exponent, _BIG))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        small = np.log(_series(u, order))
        middle = np.log(np.expm1(np.minimum(order * log_ratio, _BIG)) - order * u)
        big = order * log_ratio + np.log1p(-order * np.exp(np.minimum((1 - order) * log_ratio, 0.0)))
    gap = np.where(order * log_ratio < _BIG, middle, big)
    return np.where(np.abs(u) < _SERIES_BELOW, small, gap)


def _series(u: np.ndarray, order: float) -> np.ndarray:
    """(1+u)^order - 1 - order*u from its binomial series, without the difference."""
    term = order * (order - 1) / 2 * u * u
    total = term.copy()
    for k in range(3, _TERMS):
        term = term * u * (order - k + 1) / k
        total += term
    return total


def _log_expm1(x: np.ndarray) -> np.ndarray:
    """ln(e^x - 1) for x > 0."""
    return np.where(x > 1, x + np.log1p(-np.exp(-np.maximum(x, 1))), np.log(np.expm1(np.minimum(x, 1))))
