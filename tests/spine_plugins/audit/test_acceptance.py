"""The table of acceptance on phantoms: a reduced form in slow, all of it in proof, with a dated JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import audit_acceptance, audit_overfit, audit_peers, timing

ROOT = Path(__file__).parents[3]


def keep(name: str, found: dict[str, Any]) -> None:
    machine = timing.machine(torch.device("cpu"))
    timing.save(name, {"machine": machine, **found}, ROOT / "benchmarks" / "proofs")


def check(found: dict[str, Any], *, alarms: float, fails: float, off: float) -> None:
    detected = {
        kind: share for kind, share in found["copies detected at 1 %"].items() if kind != "same_patient"
    }
    assert min(detected.values()) >= 0.95, detected
    for row in found["tracking"]:
        assert abs(row["linkage_minus_c"]) <= off, row
        assert abs(row["tpr_minus_expected"]) <= off, row
    for generator, rates in found["alarms"].items():
        assert rates["FAIL"] <= fails, (generator, rates)
        assert all(rate <= alarms for name, rate in rates.items() if name != "FAIL"), (generator, rates)


@pytest.mark.slow
def test_dependent_fakes_raise_no_more_alarms_than_they_may_and_a_binomial_test_would() -> None:
    found = audit_acceptance.dependent(60)
    # Three standard errors of 60 repeats above the level; the proof counts 200.
    assert found["ours"] <= 0.05 + 3 * (0.05 * 0.95 / 60) ** 0.5, found
    assert found["binomial"] > 0.2, found


@pytest.mark.slow
def test_the_table_reduced() -> None:
    found = audit_acceptance.measure(400, 2000, 40, planted_repeats=20, generators=("perfect", "blurred"))
    # Fewer patients and repeats: three standard errors beside the gates of the proof.
    check(found, alarms=0.05 + 3 * (0.05 * 0.95 / 40) ** 0.5, fails=0.16, off=0.03)


@pytest.mark.proof
def test_the_table_in_full() -> None:
    found = audit_acceptance.measure(1000, 2000, 200)
    keep("audit-acceptance", found)
    check(found, alarms=0.11, fails=0.08, off=0.015)
    assert found["dependent"]["ours"] <= 0.08
    assert found["dependent"]["binomial"] > 0.2


@pytest.mark.proof
def test_a_network_that_knows_forty_images_by_heart_is_told_from_one_that_cannot() -> None:
    found = audit_overfit.measure(600)
    keep("audit-overfit", found)
    assert found["few"]["verdict"] == "FAIL"
    assert found["few"]["worst_patient_is_a_training_patient"]
    assert found["many"]["verdict"] != "FAIL"


@pytest.mark.proof
def test_the_weak_peers_on_the_same_cases() -> None:
    found = audit_peers.measure()
    keep("audit-peers", found)
    table = found["table"]
    assert table["1 % exact copies"]["C_T alarms"] < 0.5  # ours: every repeat
    assert table["variance-shrunk"]["C_T alarms"] > 0.5  # false ones; ours: at most 5 %
