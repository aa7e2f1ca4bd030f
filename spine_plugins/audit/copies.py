"""Copies: are fakes nearer to training patients than to held-out ones, more often than the labels allow?

For a fake, r = distance to the nearest training image / distance to the nearest held-out one. It votes +1
at a threshold t if r < t, and -1 if 1/r < t. The statistic is the sum of votes, at the threshold where it
stands out most, so that none is chosen by taste.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from spine_plugins.audit.evidence import RESAMPLES, Evidence, Finding, Swap
from spine_plugins.audit.neighbours import ByFake
from spine_plugins.audit.permutation import Relabelling, tail
from spine_plugins.statistics import bootstrap_interval

THRESHOLDS = (0.5, 0.6, 0.7, 0.8)
NAMED = 1  # 0.6: where a fake is called a copy as long as no threshold stands out
_STANDS_OUT = 0.05
_ROWS = 512


@dataclass(frozen=True)
class Votes:
    """How each fake votes under every relabelling; fakes that never vote have no row."""

    rows: np.ndarray  # int8 [voters, thresholds, 1 + draws]
    of: np.ndarray  # int64 [m]: the row of a fake, or -1

    def sum(self, chosen: np.ndarray | None = None) -> np.ndarray:
        """int64 [thresholds, 1 + draws] over these fakes, or all."""
        if chosen is None:
            return self.rows.sum(axis=0, dtype=np.int64)
        rows = self.of[chosen]
        return self.rows[rows[rows >= 0]].sum(axis=0, dtype=np.int64)

    def observed(self, threshold: int = NAMED) -> np.ndarray:
        """int8 [m]: the votes by the true labels."""
        found = np.zeros(len(self.of), dtype=np.int8)
        there = self.of >= 0
        found[there] = self.rows[self.of[there], threshold, 0]
        return found


def votes(near: ByFake, relabelling: Relabelling) -> Votes:
    """+1, 0 or -1 of every fake, threshold and relabelling.

    r < t says that every patient within d/t of the fake is a training patient, where d is the distance of
    the nearest of all. So a vote needs the labels of these few patients alone: a relabelling costs little.
    """
    first = near.distance[:, :1]
    # [m, thresholds]: how many patients are so near that all of them must be of one kind.
    size = np.stack([(near.distance * t <= first).sum(axis=1) for t in THRESHOLDS], axis=1)
    # Beyond the list's end nobody knows the rest: no vote, whatever the labels.
    size[size == near.distance.shape[1]] = 0
    of = np.full(len(near), -1, dtype=np.int64)
    kept: list[np.ndarray] = []
    count = 0
    for start in range(0, len(near), _ROWS):
        part = slice(start, start + _ROWS)
        cast = _cast(near.unit[part], size[part], relabelling.labels)
        speaks = cast.any(axis=(1, 2))
        of[start + np.flatnonzero(speaks)] = count + np.arange(speaks.sum())
        count += int(speaks.sum())
        kept.append(cast[speaks])
    return Votes(np.concatenate(kept), of)


def _cast(unit: np.ndarray, size: np.ndarray, labels: np.ndarray) -> np.ndarray:
    found = np.zeros((*size.shape, labels.shape[1]), dtype=np.int8)
    so_far = np.zeros((len(unit), labels.shape[1]), dtype=np.uint8)  # train patients among the first ones
    alive = size.max(axis=1) > 0
    for rank in range(size.max(initial=0)):
        rows = np.flatnonzero(alive)
        so_far[rows] += labels[unit[rows, rank]]
        for t in range(len(THRESHOLDS)):
            due = rows[size[rows, t] == rank + 1]
            found[due, t] = (so_far[due] == rank + 1).astype(np.int8) - (so_far[due] == 0)
        # Mixed under every relabelling, or past the largest of its sets: nothing more to come.
        still = ((so_far[rows] == rank + 1) | (so_far[rows] == 0)).any(axis=1)
        alive[rows] = still & (size[rows].max(axis=1) > rank + 1)
    return found


def ratios(near: ByFake, is_train: np.ndarray) -> np.ndarray:
    """float32 [m]: r of each fake; where one side is beyond the list's end, its end."""
    side = is_train[near.unit]
    to_train = np.where(side, near.distance, np.inf).min(axis=1)
    to_other = np.where(side, np.inf, near.distance).min(axis=1)
    end = near.distance[:, -1]
    return np.minimum(to_train, end) / np.maximum(np.minimum(to_other, end), 1e-9)


class Ballot:
    """The votes of the fakes and of everything that could be planted among them, in one space."""

    def __init__(self, near: ByFake, planted: Mapping[str, ByFake], relabelling: Relabelling) -> None:
        self.near = near
        self.votes = votes(near, relabelling)
        self._sum = self.votes.sum()
        self._planted = {kind: votes(there, relabelling) for kind, there in planted.items()}

    def visible(self, threshold: int = NAMED) -> dict[str, float]:
        """Per kind the share of planted images that vote as copies: how much of the truth is seen."""
        return {kind: float((found.observed(threshold) > 0).mean()) for kind, found in self._planted.items()}

    def p_value(self, swap: Swap | None = None) -> float:
        if swap is None:
            return tail(self._sum).p_value
        added = self._planted[swap.planted.kind].sum(swap.chosen)
        return tail(self._sum - self.votes.sum(np.flatnonzero(swap.removed)) + added).p_value


class Copies(Ballot):
    """The test of copies."""

    def __init__(self, evidence: Evidence) -> None:
        planted = {kind: there.found.by_fake for kind, there in evidence.planted.items()}
        super().__init__(evidence.found.by_fake, planted, evidence.relabelling)
        self._evidence = evidence

    def finding(self) -> Finding:
        return copy_finding(self._evidence, self)


def copy_finding(evidence: Evidence, ballot: Ballot) -> Finding:
    """What the votes say: the p-value, the share of fakes that are copies, and of whom."""
    near, found = ballot.near, tail(ballot.votes.sum())
    # A network that blurs what it repeats shows at another threshold than one that repeats it sharply.
    threshold = found.which if found.p_value < _STANDS_OUT else NAMED
    seen = ballot.votes.observed(threshold)
    # By the patient that a fake is nearest to: fakes of one patient are not independent.
    share = bootstrap_interval(
        lambda weights: (weights @ seen) / weights.sum(axis=-1), len(seen), near.unit[:, 0].tolist(),
        resamples=RESAMPLES, seed=0, unit="nearest patient",
    )  # fmt: skip
    is_copy = seen > 0
    names, counts = np.unique(near.unit[is_copy, 0], return_counts=True)
    # Another view of a patient is no copy of an image, so it does not count against the test of copies.
    sure = [share for kind, share in ballot.visible(threshold).items() if kind != "same_patient"]
    sensitivity = float(np.mean(sure)) if sure else None
    most = max(share.high, 3 / len(seen))  # no hit among N still allows 3/N
    more = {
        "fakes_like_a_training_image": int(is_copy.sum()),
        "fakes_like_a_held_out_image": int((seen < 0).sum()),
        "training_patients_concerned": len(names),
        "worst_patient_fakes": int(counts.max(initial=0)),
        "sensitivity": sensitivity,
        "copy_share_at_most": None if not sensitivity else min(most / sensitivity, 1.0),
        "threshold": THRESHOLDS[threshold],
    }
    r = ratios(near, evidence.reals.is_train)
    columns = {"fake": np.arange(len(r)), "ratio": r, "nearest_unit": near.unit[:, 0], "vote": seen}
    return Finding(
        found.statistic, found.p_value, share, "share of fakes that only a training image explains",
        more, columns, is_by_fake=True,
    )  # fmt: skip
