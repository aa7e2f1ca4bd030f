"""The one-run bound: pins, what it makes of correct and of broken code, and the command's exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch
from click.testing import CliRunner

from spine_plugins.privacy import accountant, audit, report
from spine_plugins.privacy.audit import Verdict, count_right, expected, one_run_bound
from spine_plugins.privacy.canaries import Canaries
from spine_plugins.privacy.command import dp
from spine_plugins.privacy.noise import SystemChance
from spine_plugins.privacy.private_run import PrivateRun
from tests.spine_plugins.privacy.runs import data_set, private_run, settings


@pytest.mark.parametrize(
    ("canaries", "guesses", "right", "delta", "bound"),
    [
        (1000, 1000, 1000, 0, 5.8091), (1000, 100, 100, 0, 3.4930), (1000, 100, 100, 1e-5, 3.4654),
        (1000, 100, 95, 1e-5, 2.1652), (1000, 100, 80, 1e-5, 0.9553), (1000, 200, 150, 1e-5, 0.8200),
        (200, 40, 40, 1e-5, 2.5482), (100, 100, 50, 1e-5, 0),
    ],
)  # fmt: skip
def test_pins(canaries: int, guesses: int, right: int, delta: float, bound: float) -> None:
    assert one_run_bound(canaries, guesses, right, delta) == pytest.approx(bound, abs=5e-5)


def test_guesses_are_counted_at_both_ends() -> None:
    scores = np.array([5.0, 4, 3, 2, 1, 0])
    is_member = np.array([True, False, True, False, False, True])
    assert count_right(scores, is_member, 2) == 1 + 1
    assert audit.guesses_about(1000) == 100


def test_correct_code_stays_below_its_99th_percentile_and_halved_noise_does_not() -> None:
    """One Gaussian step seen along canaries of its own: mu = 1/z."""
    rng, k, m = np.random.default_rng(1), 100, 1000
    advantage = 2 * float(scipy.stats.norm.cdf(0.5)) - 1  # of mu 1
    median, most = expected(m, k, advantage, 1e-5)
    assert 0 < median < most
    alarms = {1.0: 0, 2.0: 0}
    for mu in alarms:
        for _ in range(20):
            is_member = rng.random(m) < 0.5
            right = count_right(rng.standard_normal(m) + mu * is_member, is_member, k)
            alarms[mu] += one_run_bound(m, 2 * k, right, 1e-5) > most
    assert alarms[1.0] <= 2 and alarms[2.0] >= 18


@pytest.mark.parametrize(
    ("lower", "ceiling", "claimed", "most", "verdict"),
    [(1.0, 3.0, 2.0, 2.5, "NO EVIDENCE"), (2.1, 3.0, 2.0, 2.5, "FAIL"), (1.5, 3.0, 2.0, 1.2, "FAIL"),
     (1.0, 1.1, 2.0, 1.2, "UNDERPOWERED")],
)  # fmt: skip
def test_verdicts(lower: float, ceiling: float, claimed: float, most: float, verdict: str) -> None:
    found = Verdict(100, 20, 15, lower, ceiling, claimed, most / 2, most)
    assert found.as_json()["verdict"] == verdict


@pytest.mark.slow
def test_the_command_audits_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accountant, "has_library", lambda: False)
    canaries = Canaries.toss(20, SystemChance())
    private = PrivateRun(settings(), canaries)
    run, _ = private_run(data_set(tmp_path / "d.zip"), tmp_path / "run", private)
    result = CliRunner().invoke(dp, ["audit", str(run.run_dir), "--json=-", "--device=cpu"])
    found = json.loads(result.stdout)
    assert result.exit_code == {"NO EVIDENCE": 0, "FAIL": 6, "UNDERPOWERED": 7}[found["verdict"]]
    assert found["canaries"] == 20 and found["guesses"] == 4
    # A network that knows its members by heart; the claim is far smaller.
    scores = torch.from_numpy(canaries.is_member.astype(np.float64) * 9)
    monkeypatch.setattr(audit, "_scores", lambda D, c, device: np.tile(scores, 1))
    claimed = report.read(run.run_dir) | {"epsilon": 0.01}
    report.write(run.run_dir, claimed)
    monkeypatch.setattr(audit, "guesses_about", lambda count: 5)
    assert CliRunner().invoke(dp, ["audit", str(run.run_dir), "--device=cpu"]).exit_code == 6
    without = CliRunner().invoke(dp, ["audit", str(tmp_path)])
    assert without.exit_code == 3
