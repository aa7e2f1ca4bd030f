"""What releases cost together: the smallest finite bound of epsilon, from RDP and from loss distributions.

With dp-accounting (extra `privacy`) its two accountants speak; without it our own RDP, which is never below
the truth either. A bound that overflows is left out: each is valid alone.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import logging
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypedDict

import numpy as np

from spine_plugins.privacy import renyi
from stylegan2ada.errors import MissingError, UserError

if TYPE_CHECKING:
    from dp_accounting.pld import PLDAccountant

Adjacency = Literal["add-remove", "replace-one"]
ADJACENCIES: tuple[Adjacency, ...] = ("add-remove", "replace-one")
PINNED = "0.6.0"  # of dp-accounting: RDP at fractional orders differs by up to 8 % between versions
INTERVALS = (1e-4, 1e-3, 1e-2)  # of the privacy loss, finest first
_FINER = 1e-5  # tried only where the finest gives no finite answer
_MOST_CELLS_FINER = 2e7  # of a second try
_MOST_CELLS = 1.4e8  # of one composed distribution; above, memory and time run away
_LEAST_NOISE = {1e-4: 0.15, 1e-3: 0.05, 1e-2: 0.035}  # noise multiplier from which an interval is usable
_MOST_NOISE = 2.0**40
_LEAST_LOG_NOISE = -5.0
_TOLERANCE = 1e-5  # of a calibrated noise multiplier, relative


@dataclass(frozen=True)
class Query:
    """A number of equal noisy releases about the private data."""

    q: float  # share of the units that each looks at, chosen by chance
    noise_multiplier: float  # noise per sensitivity
    count: int = 1


class Account(TypedDict):
    """Bounds of epsilon, and what they rest on."""

    epsilon: float  # the smallest finite bound
    epsilon_rdp: float | None  # dp-accounting's RDP at its default orders
    epsilon_pld: float | None  # dp-accounting's privacy loss distribution
    epsilon_own: float  # our RDP
    pld_interval: float | None
    optimal_order: float  # of our RDP
    order_at_edge: bool  # the best order is the first or last that was tried
    delta: float
    adjacency: str
    q: float | None  # None: releases of several kinds
    releases: int
    versions: dict[str, str | None]


def account(
    n: float,  # units in the data, or the public number that stands for it
    batch: float,  # expected units per release
    steps: int,  # releases
    noise_multiplier: float,
    delta: float,
    *,
    adjacency: Adjacency = "add-remove",
) -> Account:
    """Epsilon of a training by DP-SGD with Poisson sampling, and the bounds that it is the smallest of."""
    check(n, batch, steps, noise_multiplier, delta)
    return account_queries([Query(batch / n, noise_multiplier, steps)], delta, adjacency=adjacency)


def account_queries(
    queries: Iterable[Query], delta: float, *, adjacency: Adjacency = "add-remove"
) -> Account:
    """The same for releases of several kinds."""
    found = [query for query in merged(queries) if query.count]
    total = own_curve(found, adjacency)
    own, order = renyi.epsilon(total, renyi.ORDERS, delta) if found else (0.0, math.inf)
    eps_rdp = _rdp_of_library(found, delta, adjacency)
    eps_pld, interval = _pld_of_library(found, delta, adjacency, own)
    bounds = [eps for eps in (eps_rdp, eps_pld) if eps is not None] or [own]
    shares = {query.q for query in found}
    return {
        "epsilon": min(bounds),
        "epsilon_rdp": eps_rdp,
        "epsilon_pld": eps_pld,
        "epsilon_own": own,
        "pld_interval": interval,
        "optimal_order": order,
        "order_at_edge": renyi.is_at_edge(order, renyi.ORDERS),
        "delta": delta,
        "adjacency": adjacency,
        "q": shares.pop() if len(shares) == 1 else None,
        "releases": sum(query.count for query in found),
        "versions": versions(),
    }


def check(n: float, batch: float, steps: int, noise_multiplier: float, delta: float) -> None:
    """Refuse numbers that no training can have."""
    if not (n >= 1 and math.isfinite(n)):
        raise UserError(f"--n={n:g} must be the number of units in the data, at least 1")
    if not 0 < batch <= n:
        raise UserError(
            f"--batch={batch:g} must lie between 1 and --n={n:g}: each unit is drawn with batch/n"
        )
    if steps < 0:
        raise UserError(f"--steps={steps} must not be negative")
    if not (noise_multiplier > 0 and math.isfinite(noise_multiplier)):
        raise UserError(
            f"--noise-multiplier={noise_multiplier:g} must be positive; without noise epsilon is infinite"
        )
    if not 0 < delta < 1:
        raise UserError(f"--delta={delta:g} must lie between 0 and 1, far below 1/n")


def merged(queries: Iterable[Query]) -> list[Query]:
    """Equal releases counted together: accountants compose a count at once."""
    counts: dict[tuple[float, float], int] = {}
    for query in queries:
        key = (query.q, query.noise_multiplier)
        counts[key] = counts.get(key, 0) + query.count
    return [Query(*key, count) for key, count in counts.items()]


def own_curve(queries: Sequence[Query], adjacency: Adjacency) -> np.ndarray:
    """Our RDP of all releases together, at `renyi.ORDERS`.

    Replacing one unit moves a sum by up to twice the clip norm, so the noise counts half: true without
    subsampling, and with it an upper bound, as both data sets lie within that of what they share.
    """
    total = np.zeros(len(renyi.ORDERS))
    for query in queries:
        if adjacency == "add-remove":
            total += query.count * renyi.curve(query.q, query.noise_multiplier)
        else:
            total += query.count * _replace_one(query)
    return total


def _replace_one(query: Query) -> np.ndarray:
    """Two steps of add/remove: RDP's weak triangle inequality (Mironov 2017, corollary 4) at each order."""
    # D(P||Q)(a) <= (a - 1/2)/(a - 1) * D(P||R)(2a) + D(R||Q)(2a - 1), R without the unit that differs
    a = np.asarray(renyi.ORDERS)
    first = renyi.curve(query.q, query.noise_multiplier, list(2 * a))
    second = renyi.curve(query.q, query.noise_multiplier, list(2 * a - 1))
    return (a - 0.5) / (a - 1) * first + second


def calibrate(
    n: float,
    batch: float,
    steps: int,
    target_epsilon: float,
    delta: float,
    *,
    adjacency: Adjacency = "add-remove",
    others: Sequence[Query] = (),  # releases beside the steps
) -> float:
    """The smallest noise multiplier with which epsilon is at most the target."""
    check(n, batch, steps, 1, delta)
    if not target_epsilon > 0:
        raise UserError(f"--target-epsilon={target_epsilon:g} must be positive")

    def total(noise_multiplier: float) -> list[Query]:
        return [Query(batch / n, noise_multiplier, steps), *others]

    def own(log_noise: float) -> float:
        curve = own_curve(merged(total(math.exp(log_noise))), adjacency)
        return renyi.epsilon(curve, renyi.ORDERS, delta)[0] - target_epsilon

    def over(log_noise: float) -> float:
        found = account_queries(total(math.exp(log_noise)), delta, adjacency=adjacency)
        return found["epsilon"] - target_epsilon

    most = math.log(_MOST_NOISE)
    if others and over(most) > 0:
        raise UserError(
            f"--target-epsilon={target_epsilon:g} is spent before the first step; give the other releases "
            "more noise"
        )
    # Our RDP takes a millisecond and lies near: the slow bounds are asked only around its answer.
    high = _root(own, 0.0, most)
    return math.exp(high if not has_library() else _root(over, high, most))


def _root(over: Callable[[float], float], start: float, most: float) -> float:
    """The smallest x, to 1e-5, with over(x) <= 0 for an `over` that falls; doubles its way to a bracket."""
    width = 0.125
    high = start
    while high < most and over(high) > 0:
        high, width = high + width, 2 * width
    width, low = 0.125, high - 0.125
    while low > _LEAST_LOG_NOISE and over(low) <= 0:
        high, width = low, 2 * width
        low -= width
    # Bisection by secants (Illinois): each bound takes seconds, so few of them.
    at_low, at_high = over(low), over(high)
    side = 0
    while high - low > _TOLERANCE:
        middle = high - at_high * (high - low) / (at_high - at_low) if at_high != at_low else (low + high) / 2
        middle = min(max(middle, low + _TOLERANCE / 2), high - _TOLERANCE / 2)
        value = over(middle)
        if value <= 0:
            high, at_high = middle, value
            at_low, side = (at_low / 2 if side == 1 else at_low), 1
        else:
            low, at_low = middle, value
            at_high, side = (at_high / 2 if side == -1 else at_high), -1
    return high


def versions() -> dict[str, str | None]:
    """Of the libraries that the numbers depend on; None: not installed."""
    found: dict[str, str | None] = {}
    for name in ("dp-accounting", "numpy", "scipy"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def has_library() -> bool:
    """Whether dp-accounting can be imported."""
    try:
        import dp_accounting  # noqa: F401
    except ImportError:
        return False
    return True


def distribution(
    queries: Sequence[Query],
    adjacency: Adjacency,
    own_epsilon: float,  # a first idea of how wide the distribution is
) -> tuple[PLDAccountant | None, float | None]:
    """dp-accounting's privacy loss distribution of all releases, and its interval; None: none fits."""
    if not has_library() or not queries:
        return None, None
    least = min(query.noise_multiplier for query in queries)
    for interval in INTERVALS:
        if least >= _LEAST_NOISE[interval] and own_epsilon / interval <= _MOST_CELLS:
            composed = _composed(queries, adjacency, interval)
            return composed, None if composed is None else interval
    return None, None


def _composed(queries: Sequence[Query], adjacency: Adjacency, interval: float) -> PLDAccountant | None:
    from dp_accounting.pld import PLDAccountant
    from dp_accounting.privacy_accountant import UnsupportedEventError

    made = PLDAccountant(_relation(adjacency), value_discretization_interval=interval)
    try:
        with quiet():
            for query in queries:
                made.compose(_event(query), query.count)
    except (MemoryError, UnsupportedEventError):
        return None
    return made


def _pld_of_library(
    queries: Sequence[Query], delta: float, adjacency: Adjacency, own: float
) -> tuple[float | None, float | None]:
    made, interval = distribution(queries, adjacency, own)
    if made is None or interval is None:
        return None, None
    with quiet():
        eps = float(made.get_epsilon(delta))
    # Overflows of the convolution end in infinity, at some numbers of steps and not at their neighbours.
    if not math.isfinite(eps) and own / _FINER <= _MOST_CELLS_FINER:
        finer = _composed(queries, adjacency, _FINER)
        with quiet():
            eps, interval = (math.inf if finer is None else float(finer.get_epsilon(delta))), _FINER
    return (eps, interval) if math.isfinite(eps) else (None, None)


def _rdp_of_library(queries: Sequence[Query], delta: float, adjacency: Adjacency) -> float | None:
    if not has_library() or not queries:
        return None
    from dp_accounting.rdp import RdpAccountant

    if adjacency == "replace-one" and any(query.q < 1 for query in queries):
        return None  # the library has no RDP of Poisson sampling for it; doubled sensitivity is no proof
    made = RdpAccountant()
    factor = 1 if adjacency == "add-remove" else 2
    with quiet():
        for query in queries:
            made.compose(_event(Query(query.q, query.noise_multiplier / factor)), query.count)
        eps = float(made.get_epsilon(delta))
    return eps if math.isfinite(eps) else None


def _event(query: Query):  # type: ignore[no-untyped-def]  # of a library without types
    import dp_accounting

    gaussian = dp_accounting.GaussianDpEvent(query.noise_multiplier)
    return gaussian if query.q == 1 else dp_accounting.PoissonSampledDpEvent(query.q, gaussian)


def _relation(adjacency: Adjacency):  # type: ignore[no-untyped-def]
    from dp_accounting import NeighboringRelation

    names = {"add-remove": "ADD_OR_REMOVE_ONE", "replace-one": "REPLACE_ONE"}
    return NeighboringRelation[names[adjacency]]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without a line per order that did not converge or overflow that is infinite: bounds stay bounds."""
    logger = logging.getLogger("absl")
    before = logger.disabled
    logger.disabled = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = before


def need_library() -> None:
    """Refuse to go on without dp-accounting."""
    if not has_library():
        raise MissingError("this needs dp-accounting; install it with: pip install 'spinegan[privacy]'")
