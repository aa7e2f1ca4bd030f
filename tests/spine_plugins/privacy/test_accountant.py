"""Bounds of epsilon: the pins of dp-accounting 0.6.0, what happens where it overflows, and calibration."""

from __future__ import annotations

import math

import pytest

from spine_plugins.privacy import accountant, renyi
from spine_plugins.privacy.accountant import Query, account, account_queries, calibrate
from stylegan2ada.errors import UserError

N = 3773
# Standard deviation of the noise: (RDP, PLD) for 2.4 and for 4.2 million steps; None: no finite bound.
PINS = {
    0.03: ((3082579560, None), (5394514171, None)), 0.06: ((607579560, 220145), (1063264171, 373442)),
    0.1: ((80435180.9, 75088.0), (140761507, 127325.4)), 0.2: ((54614.71, 13931.0), (95516.49, 23552.2)),
    0.3: ((4658.167, 3232.636), (8092.539, 5404.482)), 0.4: ((797.6241, None), (1336.588, 1171.004)),
    0.5: ((201.1339, 174.3109), (320.8705, 273.4358)), 0.6: ((61.68022, 52.63212), (93.57301, 79.14186)),
    0.7: ((23.17013, 20.69562), (34.05162, 30.15558)), 0.8: ((11.54430, 10.40657), (16.35835, 14.90491)),
    0.9: ((7.030788, 6.356499), (9.906019, 9.016703)), 1.0: ((4.909529, 4.438099), (6.879545, 6.252994)),
    1.1: ((3.739776, None), (5.217150, None)), 1.2: ((3.012936, None), (4.189399, None)),
    1.3: ((2.521998, None), (3.497325, None)), 1.4: ((2.169538, None), (3.002481, None)),
    1.5: ((1.904576, 1.715581), (2.631696, 2.381142)), 2.0: ((1.188993, 1.074819), (1.635703, 1.485419)),
}  # fmt: skip
FAST = (1.5, 2.0)
LONGEST = (0.03, 0.06, 0.1, 0.2, 0.3)  # minutes of one large convolution each
needs_library = pytest.mark.skipif(not accountant.has_library(), reason="dp-accounting is not installed")


def half_a_digit(value: float, digits: int = 7) -> float:
    """Half a unit in the last of so many printed digits."""
    return 0.5 * 10 ** (math.floor(math.log10(value)) + 1 - digits)


def digits_of(value: float) -> int:
    return len(str(value).replace(".", "").lstrip("0"))


def compare(noise_std: float) -> None:
    assert accountant.versions()["dp-accounting"] == accountant.PINNED
    for steps, (rdp, pld) in zip((2_400_000, 4_200_000), PINS[noise_std]):
        found = account(N, 1, steps, noise_std / 1.5, 1 / N)
        assert found["epsilon_rdp"] == pytest.approx(rdp, rel=1e-6, abs=half_a_digit(rdp, digits_of(rdp)))
        if pld is not None:
            near = max(1e-6 * pld, half_a_digit(pld, digits_of(pld)))
            assert found["epsilon_pld"] == pytest.approx(pld, abs=near), steps
        finite = [eps for eps in (found["epsilon_rdp"], found["epsilon_pld"]) if eps is not None]
        assert found["epsilon"] == min(finite)
        assert found["epsilon_own"] <= found["epsilon_rdp"] * (1 + 1e-7)  # more orders, and exact ones


@needs_library
@pytest.mark.parametrize("noise_std", FAST)
def test_pins(noise_std: float) -> None:
    compare(noise_std)


@needs_library
@pytest.mark.slow
@pytest.mark.parametrize("noise_std", [s for s in PINS if s not in (*FAST, *LONGEST)])
def test_pins_that_take_long(noise_std: float) -> None:
    compare(noise_std)


@needs_library
@pytest.mark.proof
@pytest.mark.parametrize("noise_std", LONGEST)
def test_pins_that_take_longest(noise_std: float) -> None:
    compare(noise_std)


@needs_library
@pytest.mark.parametrize(
    ("numbers", "rdp", "pld"),
    [
        ((3773, 64, 10000, 1, 1e-5), 12.538769, 11.623106),
        ((3773, 256, 5000, 2, 1e-5), 14.691143, 13.675092),
        ((60000, 600, 1000, 1.1, 1e-5), 1.711770, 1.515370),
    ],
)
def test_more_pins(numbers, rdp: float, pld: float) -> None:
    found = account(*numbers)
    assert found["epsilon_rdp"] == pytest.approx(rdp, rel=1e-6)
    assert found["epsilon_pld"] == pytest.approx(pld, rel=1e-6)


@needs_library
def test_a_distribution_that_overflows_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    from dp_accounting.pld import PLDAccountant

    monkeypatch.setattr(accountant, "_FINER", 1e-9)  # too fine for any memory: there is no second try
    monkeypatch.setattr(PLDAccountant, "get_epsilon", lambda self, delta: math.inf)
    found = account(N, 64, 100, 2, 1e-5)
    assert found["epsilon_pld"] is None
    assert found["epsilon"] == found["epsilon_rdp"]


@needs_library
def test_where_no_distribution_fits_into_memory_rdp_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accountant, "_composed", lambda *a: pytest.fail("a distribution was built"))
    found = account(N, 1, 2_400_000, 0.02, 1 / N)
    assert found["epsilon_pld"] is None and found["epsilon"] == found["epsilon_rdp"]


@pytest.fixture
def without_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accountant, "has_library", lambda: False)


@pytest.mark.usefixtures("without_library")
def test_without_extras_our_own_bound_speaks() -> None:
    found = account(N, 1, 2_400_000, 2 / 1.5, 1 / N)
    assert found["epsilon_rdp"] is None and found["epsilon_pld"] is None
    assert found["epsilon"] == found["epsilon_own"] == pytest.approx(1.188993, rel=1e-5)


@pytest.mark.usefixtures("without_library")
@pytest.mark.parametrize("adjacency", accountant.ADJACENCIES)
def test_epsilon_moves_the_right_way(adjacency) -> None:
    def eps(n=3000, batch=64, steps=1000, noise=1.0):
        return account(n, batch, steps, noise, 1e-5, adjacency=adjacency)["epsilon"]

    assert eps(noise=0.8) > eps() > eps(noise=1.2)
    assert eps(steps=2000) > eps() > eps(steps=500)
    assert eps(batch=128) > eps() > eps(batch=32)
    assert eps(steps=0) == 0


def test_one_among_equals_may_not_be_cheaper_than_one_more() -> None:
    """Replacing a unit is removing one and adding one; our bound must lie above the exact one."""
    queries = [Query(0.02, 1.5, 500)]
    one_more = account_queries(queries, 1e-5)
    replaced = account_queries(queries, 1e-5, adjacency="replace-one")
    assert replaced["epsilon"] > one_more["epsilon"]
    if accountant.has_library():
        assert replaced["epsilon_own"] >= replaced["epsilon_pld"] > one_more["epsilon_pld"]


def test_the_gaussian_without_subsampling_is_known_in_closed_form() -> None:
    """delta(eps) of a Gaussian by Balle and Wang 2018, theorem 8; a bound must lie above, and RDP near it."""
    from scipy.optimize import brentq
    from scipy.stats import norm

    for adjacency, mu in (("add-remove", 0.5), ("replace-one", 1.0)):

        def delta(eps: float, mu: float = mu) -> float:
            return norm.cdf(mu / 2 - eps / mu) - math.exp(eps) * norm.cdf(-mu / 2 - eps / mu)

        exact = brentq(lambda eps, f=delta: f(eps) - 1e-5, 0, 20)
        found = account_queries([Query(1, 4, 4)], 1e-5, adjacency=adjacency)
        assert exact <= found["epsilon_own"] < exact * 1.35
        if found["epsilon_pld"] is not None:
            assert exact <= found["epsilon_pld"] < exact * 1.001


def test_releases_of_several_kinds_add_up() -> None:
    steps, histogram = Query(0.05, 3.0, 30), Query(1.0, 20.0)
    together = account_queries([steps, histogram], 1e-5)
    assert together["releases"] == 31 and together["q"] is None
    assert together["epsilon"] > account_queries([steps], 1e-5)["epsilon"]
    split = account_queries([Query(0.05, 3.0, 10), histogram, Query(0.05, 3.0, 20)], 1e-5)
    assert split["epsilon"] == together["epsilon"]


@needs_library
@pytest.mark.slow
def test_calibration_comes_back_just_below_its_target() -> None:
    noise = calibrate(30000, 256, 20000, 3, 1 / 300000)
    assert noise == pytest.approx(1.91061, rel=1e-3)
    found = account(30000, 256, 20000, noise, 1 / 300000)
    assert 3 - 0.01 < found["epsilon"] <= 3
    assert found["epsilon_rdp"] == pytest.approx(3.23580, rel=1e-3)


@pytest.mark.usefixtures("without_library")
@pytest.mark.parametrize(("batch", "steps", "target"), [(256, 2000, 10), (3773, 1, 3)])
def test_calibration_brackets_any_target(batch: int, steps: int, target: float) -> None:
    noise = calibrate(N, batch, steps, target, 1e-5)
    assert target - 0.01 < account(N, batch, steps, noise, 1e-5)["epsilon"] <= target
    others = [Query(1.0, 10.0)]
    assert calibrate(N, batch, steps, target, 1e-5, others=others) > noise
    with pytest.raises(UserError, match="spent before"):
        calibrate(N, batch, steps, target, 1e-5, others=[Query(1.0, 0.1)])


@pytest.mark.parametrize(
    ("numbers", "word"),
    [
        ((0, 1, 1, 1, 1e-5), "--n"), ((10, 11, 1, 1, 1e-5), "--batch"), ((10, 1, -1, 1, 1e-5), "--steps"),
        ((10, 1, 1, 0, 1e-5), "without noise"), ((10, 1, 1, 1, 1), "--delta"),
        ((10, 1, 1, math.inf, 1e-5), "--noise-multiplier"),
    ],
)  # fmt: skip
def test_impossible_numbers_are_refused(numbers, word: str) -> None:
    with pytest.raises(UserError, match=word):
        account(*numbers)


def test_orders_reach_below_the_librarys_first() -> None:
    assert renyi.ORDERS[0] < 1.1 < 1024 <= renyi.ORDERS[-1]
    assert list(renyi.ORDERS) == sorted(renyi.ORDERS)
