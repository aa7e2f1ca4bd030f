"""Linkage: do parts of one real image, each matched alone, lead to the same fake?

Left and right half, top and bottom half look for their nearest fake without knowing of each other. A
held-out image says how often they agree by chance; whatever training images do beyond that is risk.
"""

from __future__ import annotations

import numpy as np

from spine_plugins.audit.evidence import Evidence, Finding, NotRun, Swap, excess, nearest_fakes
from spine_plugins.audit.neighbours import HALVES
from spine_plugins.audit.permutation import hits_tail

NO_HALVES = "these features look at whole images; linkage needs halves (--features=pixels has them)"


class Linkage:
    """The test of linkage."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence

    @classmethod
    def build(cls, evidence: Evidence) -> Linkage | NotRun:
        return cls(evidence) if evidence.found.halves else NotRun(NO_HALVES)

    def finding(self) -> Finding:
        reals, linked = self._evidence.reals, self.linked()
        found = hits_tail(linked, reals.is_train)
        risk = excess(linked.astype(float), reals.is_train, 0, self._evidence.inputs.unit)
        more = {
            "training_patients_linked": int((linked & reals.is_train).sum()),
            "held_out_patients_linked": int((linked & ~reals.is_train).sum()),
        }
        means = "excess risk that halves of a training image lead to one fake"
        return Finding(found.statistic, found.p_value, risk, means, more, {"linked": linked})

    def p_value(self, swap: Swap | None = None) -> float:
        return hits_tail(self.linked(swap), self._evidence.reals.is_train).p_value

    def linked(self, swap: Swap | None = None) -> np.ndarray:
        """bool [units]: all four halves of one of its images find the same fake."""
        found = []
        for name in HALVES:
            planted = None if swap is None else swap.planted.found.halves[name]
            by_real = self._evidence.found.halves[name]
            found.append(nearest_fakes(by_real, swap, planted, len(self._evidence.fakes))[1])
        first, *others = found
        agree = np.logical_and.reduce([first == other for other in others])
        return self._evidence.reals.any_of_unit(agree)
