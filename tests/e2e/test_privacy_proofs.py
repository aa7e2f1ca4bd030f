"""What takes long about privacy: the paper's arms, a rigorous run, the mutations; with dated JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import paper_dp, private_run, timing

PROOFS = Path(paper_dp.ROOT) / "benchmarks" / "proofs"


@pytest.mark.proof
def test_arms_of_figure_3_and_the_design_it_lacks() -> None:
    """Noise does it, the more the larger the batch; neither clipping nor a batch of one."""
    result = paper_dp.study(seeds=3, kimg=3, workers=2)
    written = json.loads(timing.save("paper-dp", result, PROOFS).read_text())
    assert set(written["figure3_over_a"]) == {"1 kimg", "2 kimg", "3 kimg"}
    for arms in written["figure3_over_a"].values():
        assert set(arms) == {"b", "c", "d", "e"}
    assert written["figure3_over_a"]["1 kimg"]["b"]["low"] > 1
    assert written["figure3_over_a"]["1 kimg"]["d"]["low"] > 1
    effects = written["effects"]
    assert effects["noise 0.2"]["low"] > 1 > effects["batch 1"]["high"]
    assert effects["clipping"]["low"] < 1 < effects["clipping"]["high"]


@pytest.mark.proof
def test_a_rigorous_run_on_20000_phantoms() -> None:
    result = private_run.study(images=20_000, steps=1000, batch=256, epsilon=10)
    timing.save("private-run", result, PROOFS)
    assert 9.99 < result["private"]["epsilon"] <= 10 and result["private"]["releases"] == 1000
    assert result["infinite"]["epsilon"] > 1000


@pytest.mark.proof
def test_every_mutation_is_noticed(tmp_path: Path) -> None:
    script = Path(paper_dp.ROOT) / "benchmarks" / "privacy_mutations.py"
    found = tmp_path / "mutations.json"
    subprocess.run([sys.executable, str(script), "--json", str(found)], check=True)
    assert all(json.loads(found.read_text()).values())
