"""Membership: can it be told who was in the training set?

Black box: a real image is suspicious if it is much nearer to a fake than to any other person's image (the
idea of DOMIAS, van Breugel et al. 2023, with distances in place of densities). With the network, what its
discriminator says of an image joins in. A patient is as suspicious as the most suspicious of its images.
"""

from __future__ import annotations

import numpy as np
from scipy import stats

from spine_plugins.audit.evidence import Evidence, Finding, Swap, nearest_fakes
from spine_plugins.audit.neighbours import nearest_other
from spine_plugins.audit.permutation import tail
from spine_plugins.statistics import Interval, auc, roc_curve
from stylegan2ada.protocols import JsonObject

BLACK_BOX = "distances"
_TOPS = (0.01, 0.05)  # shares of the most suspicious patients that are looked at, beside the whole order


class Membership:
    """The test of membership; `attacks` are further scores per image, higher for members."""

    def __init__(
        self,
        evidence: Evidence,
        attacks: dict[str, np.ndarray] | None = None,
        reference: np.ndarray | None = None,  # nearest_other, where it is known already
    ) -> None:
        self._evidence = evidence
        self._reference = nearest_other(evidence.search) if reference is None else reference
        self._attacks = {
            name: evidence.reals.largest_of_unit(np.where(np.isnan(scores), -np.inf, scores))
            for name, scores in (attacks or {}).items()
        }
        # Exact copies are at distance 0, whose logarithm is none.
        self._least = 1e-3 * float(np.median(self._reference))

    def finding(self) -> Finding:
        reals = self._evidence.reals
        attacks = {BLACK_BOX: self.scores()} | self._attacks
        found = tail(self._evidence.relabelling.linear(_statistics(attacks)))
        per_attack = {}
        for name, scores in attacks.items():
            asked = np.isfinite(scores)  # an attack that takes long looks at some patients only
            per_attack[name] = attack_numbers(scores[asked], reals.is_train[asked])
        rate = true_positive_rate(attacks[BLACK_BOX], reals.is_train, 0.01)
        more = {"attacks": per_attack, "per_class": self._per_class()}
        means = "training patients recognised at 1 % false alarms"
        columns = {f"membership_{name}": scores for name, scores in attacks.items()}
        return Finding(found.statistic, found.p_value, rate, means, more, columns)

    def p_value(self, swap: Swap | None = None) -> float:
        attacks = {BLACK_BOX: self.scores(swap)} | self._attacks
        return tail(self._evidence.relabelling.linear(_statistics(attacks))).p_value

    def scores(self, swap: Swap | None = None) -> np.ndarray:
        """float64 [units]: log of the distance to other people less log of the distance to fakes."""
        planted = None if swap is None else swap.planted.found.by_real
        found, _ = nearest_fakes(self._evidence.found.by_real, swap, planted, len(self._evidence.fakes))
        score = np.log(np.maximum(self._reference, self._least)) - np.log(np.maximum(found, self._least))
        return self._evidence.reals.largest_of_unit(score)

    def _per_class(self) -> JsonObject:
        """AUC of the black box among the images of each class."""
        reals = self._evidence.reals
        if reals.labels is None or reals.labels.ndim != 1:
            return {}
        found: JsonObject = {}
        names = reals.label_names or []
        scores = self.scores()
        for k in np.unique(reals.labels):
            units = np.unique(reals.unit_of[reals.labels == k])
            name = names[k] if k < len(names) else str(k)
            found[name] = {"auc": float(auc(reals.is_train[units], scores[units])), "units": len(units)}
        return found


def _statistics(attacks: dict[str, np.ndarray]) -> np.ndarray:
    """[k, units]: per attack the ranks, and who is among the most suspicious; sums over train are tested."""
    rows = []
    for scores in attacks.values():
        asked = np.isfinite(scores)
        # Who was not asked counts as the middle: whether somebody was asked is public, and not tested.
        rank = np.where(asked, stats.rankdata(scores) - (~asked).sum(), (asked.sum() + 1) / 2) / asked.sum()
        rows += [rank, *(((rank > 1 - share) & asked).astype(float) for share in _TOPS)]
    return np.stack(rows)


def attack_numbers(scores: np.ndarray, is_train: np.ndarray) -> JsonObject:
    """AUC, true positive rates at 1 and .1 % false alarms with Clopper-Pearson bounds, advantage."""
    false, true, _ = roc_curve(is_train, scores)
    rates = {
        f"tpr_at_fpr_{name}": true_positive_rate(scores, is_train, fpr).as_dict()
        for name, fpr in (("1e-2", 0.01), ("1e-3", 0.001))
    }
    return {"auc": float(auc(is_train, scores)), "advantage": float((true - false).max()), **rates}


def true_positive_rate(scores: np.ndarray, is_train: np.ndarray, fpr: float) -> Interval:
    """Share of train above all but a share `fpr` of the hold-out; bounds by Clopper and Pearson (1934)."""
    others = np.sort(scores[~is_train])[::-1]
    allowed = int(fpr * len(others) + 1e-9)
    # With too few held-out patients for one false alarm in a thousand, none is allowed.
    threshold = others[allowed] if allowed < len(others) else -np.inf
    hits, n = int((scores[is_train] > threshold).sum()), int(is_train.sum())
    low = float(stats.beta.ppf(0.025, hits, n - hits + 1)) if hits else 0.0
    high = float(stats.beta.ppf(0.975, hits + 1, n - hits)) if hits < n else 1.0
    return Interval(hits / n, low, high, "Clopper-Pearson")
