"""What takes long about privacy: the paper's arms, a rigorous run, the mutations; with dated JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import figure3, paper_dp, private_run, timing

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


def test_noise_outweighs_the_clipped_gradient_as_in_the_paper() -> None:
    """Of G and D the geometric mean of noise over clip norm is the paper's, 0.2 sqrt(P) / 1.5."""
    (noise,) = [float(flag.split("=")[1]) for flag in figure3.ARMS["b"] if flag.startswith("--dp-noise=")]
    over_clip = [noise * values**0.5 / 1.5 for values in figure3.VALUES.values()]
    assert (over_clip[0] * over_clip[1]) ** 0.5 == pytest.approx(1027 / 1.5, rel=1e-3)


@pytest.mark.proof
def test_figure_3_at_the_papers_ratio_of_noise_to_gradient() -> None:
    """After equal images KID of every arm with noise is above SpineGAN's, also of the least noise."""
    result = figure3.study(seeds=4, kimg=3, workers=2)
    written = json.loads(timing.save("figure3", result, PROOFS).read_text())
    for looks in written["figure3_over_a"].values():
        for arms in looks.values():
            assert all(arms[arm]["low"] > 1 for arm in "bcde")
            assert arms["c"]["mean"] < arms["b"]["mean"]


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
