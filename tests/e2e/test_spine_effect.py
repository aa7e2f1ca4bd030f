"""The effect of the class term, measured with paired seeds and reported whatever it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import spine_effect, timing


@pytest.mark.proof
def test_ten_paired_seeds() -> None:
    """No claim is asserted about the effect; only that it was measured on instruments that work."""
    result = spine_effect.study(seeds=10, kimg=8, workers=2)
    path = timing.save("spine-effect", result, Path(spine_effect.ROOT) / "benchmarks" / "proofs")
    written = json.loads(path.read_text())
    assert len(written["rows"]) == 10
    assert written["judge_auc"]["low"] > 0.5
    for arm in ("paper", "authors"):
        interval = written["judge_accuracy_minus_gamma_0"][arm]
        assert interval["low"] <= interval["mean"] <= interval["high"]
