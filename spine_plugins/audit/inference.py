"""Inference: do the fakes near a patient tell its label, beyond what they tell of strangers?

Each known attribute is guessed from the nearest fake: the class, or every column of a label vector.
"""

from __future__ import annotations

import numpy as np

from spine_plugins.audit.evidence import Evidence, Finding, NotRun, Swap, excess, nearest_fakes
from spine_plugins.audit.permutation import tail


class Inference:
    """The test of inference."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        assert evidence.reals.labels is not None and evidence.fakes.labels is not None
        self._true, self._said = evidence.reals.labels, evidence.fakes.labels

    @classmethod
    def build(cls, evidence: Evidence) -> Inference | NotRun:
        true, said = evidence.reals.labels, evidence.fakes.labels
        if true is None or said is None:
            return NotRun("labels are missing in the real images or in the fakes, so there is none to guess")
        if true.shape[1:] != said.shape[1:] or true.dtype != said.dtype:
            return NotRun("the labels of the fakes are of another kind than those of the real images")
        return cls(evidence)

    def finding(self) -> Finding:
        reals = self._evidence.reals
        scores = self._scores(None)
        found = tail(self._evidence.relabelling.linear(scores))
        risk = excess(scores, reals.is_train, 0, self._evidence.inputs.unit)
        more = {
            "right_for_training_patients": float(scores[reals.is_train].mean()),
            "right_for_held_out_patients": float(scores[~reals.is_train].mean()),
            "attributes": 1 if self._true.ndim == 1 else self._true.shape[1],
        }
        means = "excess share of labels guessed right for training patients"
        return Finding(found.statistic, found.p_value, risk, means, more, {"label_guessed": scores})

    def p_value(self, swap: Swap | None = None) -> float:
        return tail(self._evidence.relabelling.linear(self._scores(swap))).p_value

    def _scores(self, swap: Swap | None) -> np.ndarray:
        """float64 [units]: how much of the label is guessed right, 0 to 1."""
        planted = None if swap is None else swap.planted.found.by_real
        _, number = nearest_fakes(self._evidence.found.by_real, swap, planted, len(self._said))
        said = self._said
        if swap is not None:
            assert swap.planted.labels is not None
            said = np.concatenate([said, swap.planted.labels])
        right = (said[number] == self._true).astype(float)
        return self._evidence.reals.mean_of_unit(right if right.ndim == 1 else right.mean(axis=1))
