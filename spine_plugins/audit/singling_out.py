"""Singling out: does a fake isolate one training patient, near to nobody else by a margin?"""

from __future__ import annotations

import numpy as np

from spine_plugins.audit.evidence import Evidence, Finding, Swap, excess
from spine_plugins.audit.neighbours import ByFake
from spine_plugins.audit.permutation import hits_tail

MARGIN = 0.7  # the nearest patient is at most so far, in distances to the next one


def isolated(near: ByFake) -> np.ndarray:
    """int64 [m]: the patient that a fake isolates, or -1."""
    if near.distance.shape[1] < 2:
        return np.full(len(near), -1)
    return np.where(near.distance[:, 0] < MARGIN * near.distance[:, 1], near.unit[:, 0], -1)


class SinglingOut:
    """The test of singling out."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._isolated = isolated(evidence.found.by_fake)
        self._planted = {kind: isolated(planted.found.by_fake) for kind, planted in evidence.planted.items()}

    def finding(self) -> Finding:
        reals, hit = self._evidence.reals, self._hit(self._isolated)
        found = hits_tail(hit, reals.is_train)
        risk = excess(hit.astype(float), reals.is_train, 0, self._evidence.inputs.unit)
        more = {
            "training_patients_isolated": int((hit & reals.is_train).sum()),
            "held_out_patients_isolated": int((hit & ~reals.is_train).sum()),
            "margin": MARGIN,
        }
        means = "excess risk that a training patient is isolated"
        return Finding(found.statistic, found.p_value, risk, means, more, {"singled_out": hit})

    def p_value(self, swap: Swap | None = None) -> float:
        units = self._isolated
        if swap is not None:
            there = [units[~swap.removed], self._planted[swap.planted.kind][swap.chosen]]
            units = np.concatenate(there)
        return hits_tail(self._hit(units), self._evidence.reals.is_train).p_value

    def _hit(self, units: np.ndarray) -> np.ndarray:
        hit = np.zeros(self._evidence.reals.n_units, dtype=bool)
        hit[units[units >= 0]] = True
        return hit
