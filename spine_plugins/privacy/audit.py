"""What a finished run's canaries tell: a lower bound of epsilon, and what correct code would give.

Steinke, Nasr, Jagielski 2023, "Privacy Auditing with One (1) Training Run", arXiv:2305.08846, theorem 5.2: of
r guesses about m coins, v are right; k of each kind are made, and k is fixed before anything is seen. A pass
proves nothing; a bound above what the claim allows proves a fault.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.special import ndtri
from scipy.stats import binom

from spine_plugins.privacy import report
from spine_plugins.privacy.canaries import Canaries
from stylegan2ada.checkpoints import load_network
from stylegan2ada.errors import MissingError, UserError
from stylegan2ada.images import to_float
from stylegan2ada.training import run_files

CONFIDENCE = 0.95
_GUESSED = 0.2  # share of the canaries about which something is said: the most and the least suspicious
_TRIALS = 2000  # of correct code
_QUANTILE = 0.99  # of what it gives; more is an alarm
_MOST = 50.0


@dataclass(frozen=True)
class Verdict:
    """What the canaries say."""

    canaries: int
    guesses: int
    right: int
    epsilon_lower: float  # with 95 % confidence
    ceiling: float  # if every guess were right
    claimed: float
    expected_median: float  # of code that leaks exactly what it claims
    expected_most: float  # its 99th percentile

    @property
    def leaks(self) -> bool:
        return self.epsilon_lower > min(self.claimed, self.expected_most)

    @property
    def sees(self) -> bool:
        """Whether any outcome could have been an alarm."""
        return self.ceiling > min(self.claimed, self.expected_most)

    def as_json(self) -> dict[str, object]:
        verdict = "FAIL" if self.leaks else "NO EVIDENCE" if self.sees else "UNDERPOWERED"
        return {**asdict(self), "verdict": verdict}


def guesses_about(canaries: int) -> int:
    """k: so many are called members, and as many strangers; known before the run."""
    return max(round(_GUESSED * canaries / 2), 1)


def one_run_bound(canaries: int, guesses: int, right: int, delta: float) -> float:
    """The largest epsilon that so many right guesses refute, at 95 % confidence."""
    low, high = 0.0, _MOST
    if _chance_of(0.0, canaries, guesses, right, delta) >= 1 - CONFIDENCE:
        return 0.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        is_refuted = _chance_of(middle, canaries, guesses, right, delta) < 1 - CONFIDENCE
        low, high = (middle, high) if is_refuted else (low, middle)
    return low


def _chance_of(eps: float, canaries: int, guesses: int, right: int, delta: float) -> float:
    """At most this likely: so many right, if the training is (eps, delta)-private."""
    p = 1 / (1 + np.exp(-eps))
    beta = float(binom.sf(right - 1, guesses, p))
    i = np.arange(1, right + 1)
    between = binom.cdf(right - 1, guesses, p) - binom.cdf(right - i - 1, guesses, p)
    alpha = float((between / i).max()) if len(i) else 0.0
    return min(beta + 2 * canaries * delta * alpha, 1.0)


def count_right(scores: np.ndarray, is_member: np.ndarray, k: int) -> int:
    """Right among k guesses `member` for the highest scores and k `stranger` for the lowest."""
    order = np.argsort(scores, kind="stable")
    return int(is_member[order[-k:]].sum() + (~is_member[order[:k]]).sum())


def expected(canaries: int, k: int, advantage: float, delta: float) -> tuple[float, float]:
    """Median and 99th percentile of the bound, if scores told members apart as well as the claim allows."""
    mu = 2 * float(ndtri((min(advantage, 1 - 1e-9) + 1) / 2))  # of a Gaussian with this total variation
    rng = np.random.default_rng(0)
    counts = []
    for _ in range(_TRIALS):
        is_member = rng.random(canaries) < 0.5
        counts.append(count_right(rng.standard_normal(canaries) + mu * is_member, is_member, k))
    bounds = {right: one_run_bound(canaries, 2 * k, right, delta) for right in set(counts)}
    found = np.sort([bounds[right] for right in counts])
    return float(np.median(found)), float(found[int(_QUANTILE * (len(found) - 1))])


def audit(run_dir: Path, device: torch.device) -> Verdict:
    """The verdict about a run that was started with --dp-canaries."""
    claimed = report.read(run_dir)
    canaries = Canaries.load(run_dir)
    if canaries is None:
        raise MissingError(f"{run_dir} has no canaries; train with --dp-canaries=M to audit afterwards")
    if claimed.get("epsilon") is None:
        raise UserError(f"{run_dir} claims nothing that an audit could refute")
    snapshots = run_files.snapshots_in(run_dir)
    if not snapshots:
        raise MissingError(f"{run_dir} holds no network yet; let the run go on")
    D = load_network(str(snapshots[-1]))["D"]
    if D is None:
        raise MissingError(f"{snapshots[-1]} holds no discriminator to ask")
    total, k = len(canaries.seeds), guesses_about(len(canaries.seeds))
    right = count_right(_scores(D.to(device), canaries, device), canaries.is_member, k)
    delta = float(claimed["delta"])
    median, most = expected(total, k, float(claimed["risk"]["advantage"]), delta)
    return Verdict(
        canaries=total,
        guesses=2 * k,
        right=right,
        epsilon_lower=one_run_bound(total, 2 * k, right, delta),
        ceiling=one_run_bound(total, 2 * k, 2 * k, delta),
        claimed=float(claimed["epsilon"]),
        expected_median=median,
        expected_most=most,
    )


@torch.no_grad()
def _scores(D: Callable[..., torch.Tensor], canaries: Canaries, device: torch.device) -> np.ndarray:
    """How real D finds each canary; those that it has seen, more."""
    shape = [getattr(D, name) for name in ("img_channels", "img_resolution", "img_resolution")]
    classes = int(getattr(D, "c_dim", 0))
    found = []
    for index in range(len(canaries.seeds)):
        pixels, label = canaries.record(index, shape, max(classes, 1))
        c = torch.zeros([1, classes], device=device)
        if classes:
            c[0, label] = 1
        found.append(float(D(to_float(torch.from_numpy(pixels[None])).to(device), c)))
    return np.asarray(found)
