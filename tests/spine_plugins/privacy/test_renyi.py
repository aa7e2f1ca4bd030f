"""Our RDP against numerical integration with 40 digits, and the classic numbers of Figure 1."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest

from spine_plugins.privacy import figure1, renyi

Q = 1 / 3773


def oracle(q: float, s: float, order: float) -> float:
    """The definition, by adaptive quadrature between the places where the integrand turns."""
    with mpmath.workdps(40):
        Q, S, A = mpmath.mpf(q), mpmath.mpf(s), mpmath.mpf(order)

        def integrand(z):
            return (1 - Q + Q * mpmath.e ** ((2 * z - 1) / (2 * S * S))) ** A * mpmath.npdf(z, 0, S)

        turn = S * S * mpmath.log(1 / Q - 1) + mpmath.mpf(1) / 2
        edges = sorted({-20 * S, mpmath.mpf(0), 1, mpmath.mpf(2), A, turn, turn - S, turn + S, A + 20 * S})
        return float(mpmath.log(mpmath.quad(integrand, edges)) / (A - 1))


@pytest.mark.parametrize(
    ("q", "s", "order"),
    [(Q, 1 / 3, 1.25), (Q, 0.1333, 1.1), (0.01, 1, 2.5), (0.068, 1.8, 10.3), (0.5, 2, 3.7), (Q, 1.3, 1.5)],
)
def test_fractional_orders_equal_the_integral(q: float, s: float, order: float) -> None:
    assert renyi.rdp(q, s, order) == pytest.approx(oracle(q, s, order), rel=1e-9)


@pytest.mark.parametrize("order", [2, 3, 17])
def test_integer_orders_are_the_limit_of_fractional_ones(order: int) -> None:
    beside = renyi._at_fraction(0.02, 0.9, order)
    assert renyi._at_integer(0.02, 0.9, order) == pytest.approx(beside, rel=1e-11)


def test_without_subsampling_it_is_the_gaussians() -> None:
    assert renyi.rdp(1, 2, 3.5) == pytest.approx(3.5 / 8)
    assert renyi.rdp(0, 2, 3.5) == 0


def test_next_to_no_noise_is_bounded_by_the_next_integer_order() -> None:
    found = renyi.curve(0.01, 1e-3)
    assert np.isfinite(found).all()
    assert renyi.rdp(0.01, 1e-3, 1.5) == renyi.rdp(0.01, 1e-3, 2)
    assert np.all(np.diff(found) >= 0)


def test_more_looks_more_often_and_less_noise_cost_more() -> None:
    assert np.all(np.diff(renyi.curve(0.01, 1)) > 0)  # in the order
    assert np.all(renyi.curve(0.02, 1) > renyi.curve(0.01, 1))
    assert np.all(renyi.curve(0.01, 0.9) > renyi.curve(0.01, 1))


# Deviation of the noise: classic epsilon for 2.4 and 4.2 million steps, n = 3773, batch 1, delta 1/n.
CLASSIC = {
    0.03: (3651172522, 6389551890), 0.06: (838672521.8, 1467676890), 0.1: (238672521.8, 417676890.3),
    0.2: (1921447.668, 3362510.588), 0.3: (13462.92512, 23537.28859), 0.4: (1161.767372, 2010.262533),
    0.5: (194.1019993, 316.8481306), 0.6: (58.52966664, 87.14974132), 0.7: (22.94875068, 33.11977716),
    0.8: (11.5254526, 16.38600899), 0.9: (7.069326694, 9.993769947), 1.0: (4.909529335, 6.897110613),
    1.1: (3.746810641, 5.220218759), 1.2: (3.031233494, 4.189398862), 1.3: (2.523769465, 3.49732542),
    1.4: (2.170103662, 3.018502928), 1.5: (1.909697754, 2.631696033), 2.0: (1.190176183, 1.638339785),
}  # fmt: skip


@pytest.mark.parametrize("noise_std", CLASSIC)
def test_figure_1_equals_tensorflow_privacys_classic_numbers(noise_std: float) -> None:
    for steps, expected in zip((2_400_000, 4_200_000), CLASSIC[noise_std]):
        found = figure1.classic_epsilon(3773, 1, steps, noise_std / 1.5, 1 / 3773)
        assert found == pytest.approx(expected, rel=1e-6), steps
    logarithm = {0.2: 14.4686, 0.03: 22.0183, 2.0: 0.1741}.get(noise_std)
    if logarithm is not None:
        found = figure1.classic_epsilon(3773, 1, 2_400_000, noise_std / 1.5, 1 / 3773)
        assert math.log(found) == pytest.approx(logarithm, abs=5e-5)


def test_the_edge_of_the_grid_is_told() -> None:
    total = 2_400_000 * renyi.curve(Q, 0.1333, renyi.CLASSIC_ORDERS)
    _, order = renyi.epsilon(total, renyi.CLASSIC_ORDERS, Q)
    assert renyi.is_at_edge(order, renyi.CLASSIC_ORDERS)
    total = 1000 * renyi.curve(0.01, 1)
    assert not renyi.is_at_edge(renyi.epsilon(total, renyi.ORDERS, 1e-5)[1], renyi.ORDERS)
