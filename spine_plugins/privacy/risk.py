"""Epsilon in words a board can use: how often the best attacker is right about one unit, and when by chance.

For a test with false alarms at rate a, hits are at most min over eps >= 0 of e^eps * a + delta(eps), and
hits minus false alarms at most delta(0) (Kairouz, Oh, Viswanath 2015, arXiv:1311.0776, theorem 2.1).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TypedDict

from scipy.optimize import minimize_scalar

from spine_plugins.privacy import renyi
from spine_plugins.privacy.accountant import Adjacency, Query, check, distribution, merged, own_curve, quiet

Risk = TypedDict(
    "Risk", {"tpr_at_fpr_1e-2": float, "tpr_at_fpr_1e-3": float, "advantage": float, "method": str}
)


def risk(
    n: float,  # units in the data
    batch: float,  # expected units per release
    steps: int,
    noise_multiplier: float,
    *,
    adjacency: Adjacency = "add-remove",
) -> Risk:
    """Upper bounds of an attacker's hits at 1 % and 0.1 % false alarms, and of the membership advantage."""
    check(n, batch, steps, noise_multiplier, 0.5)
    return risk_of_queries([Query(batch / n, noise_multiplier, steps)], adjacency=adjacency)


def risk_of_queries(queries: Iterable[Query], *, adjacency: Adjacency = "add-remove") -> Risk:
    """The same for releases of several kinds; by their loss distribution where dp-accounting has one."""
    found = [query for query in merged(queries) if query.count]
    total = own_curve(found, adjacency)
    own, _ = renyi.epsilon(total, renyi.ORDERS, 1e-5) if found else (0.0, 0.0)
    made, _ = distribution(found, adjacency, own)

    def by_rdp(eps: float) -> float:
        return min(math.exp(renyi.log_delta(total, renyi.ORDERS, eps)), 1.0) if found else 0.0

    def by_distribution(eps: float) -> float:
        assert made is not None
        with quiet():
            return min(float(made.get_delta(eps)), 1.0)

    if made is not None and math.isfinite(own) and math.isfinite(by_distribution(0.0)):
        return _risk(by_distribution, "pld")
    return _risk(by_rdp, "rdp")


def _risk(delta: Callable[[float], float], method: str) -> Risk:
    return {
        "tpr_at_fpr_1e-2": _hits(delta, 1e-2),
        "tpr_at_fpr_1e-3": _hits(delta, 1e-3),
        "advantage": delta(0.0),
        "method": method,
    }


def _hits(delta: Callable[[float], float], false_alarms: float) -> float:
    """min over eps of e^eps * a + delta(eps): convex in e^eps, and never below what guessing gives."""
    most = math.log(1 / false_alarms)
    best = minimize_scalar(
        lambda eps: math.exp(eps) * false_alarms + delta(eps), bounds=(0.0, most), method="bounded"
    )
    return min(max(float(best.fun), false_alarms), false_alarms + delta(0.0), 1.0)


def in_words(found: Risk) -> str:
    """One sentence without epsilon."""
    return (
        "who knows everything but one unit and accuses 1 % (0.1 %) of the innocent finds at most "
        f"{100 * found['tpr_at_fpr_1e-2']:.2f} % ({100 * found['tpr_at_fpr_1e-3']:.2f} %) of the members; "
        f"membership advantage at most {found['advantage']:.3f}"
    )
