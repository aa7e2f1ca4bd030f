"""The six tests on small sets: they see planted copies, and their numbers are those of their formulas."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch

from spine_plugins.audit import auditing, planting
from spine_plugins.audit.auditing import FAIL, NO_EVIDENCE, UNDERPOWERED, gather
from spine_plugins.audit.evidence import Evidence, NotRun, excess
from spine_plugins.audit.features import Features, find_features
from spine_plugins.audit.inference import Inference
from spine_plugins.audit.linkage import Linkage
from spine_plugins.audit.membership import Membership, attack_numbers, true_positive_rate
from spine_plugins.audit.same_patient import SamePatient, learn, verification_auc
from tests.spine_plugins.audit.making import inputs


@pytest.fixture(scope="module")
def features() -> Features:
    return find_features("pixels", torch.device("cpu"))


@pytest.fixture(scope="module")
def leaking(features: Features) -> Evidence:
    """Thirty training images, of thirty patients, among eighty fakes."""
    return gather(inputs(copies=30), features, is_planted=False, seed=0)


def test_linkage_finds_the_patients_who_were_copied(leaking: Evidence) -> None:
    linked = Linkage(leaking).linked()
    copied = np.zeros(leaking.reals.n_units, dtype=bool)
    copied[leaking.reals.unit_of[::2][:30]] = True
    assert linked[copied].all()
    assert linked[~copied].mean() < 0.1


def test_membership_recognises_the_patients_who_were_copied(leaking: Evidence) -> None:
    finding = Membership(leaking).finding()
    assert finding.p_value < 0.01
    assert finding.estimate.value > 0.9  # every training patient was copied
    assert set(finding.more["per_class"]) == {"normal", "abnormal"}


def test_inference_guesses_the_label_of_copied_images(leaking: Evidence) -> None:
    test = Inference.build(leaking)
    assert not isinstance(test, NotRun)
    finding = test.finding()
    assert finding.more["right_for_training_patients"] > finding.more["right_for_held_out_patients"]


def test_excess_risk_is_its_formula() -> None:
    hits, is_train = np.array([1, 1, 0, 0, 1, 0, 0, 0.0]), np.arange(8) < 4
    assert np.isclose(excess(hits, is_train, 0, "patient").value, (0.5 - 0.25) / 0.75)


def test_true_positive_rate_allows_as_many_false_alarms_and_has_exact_bounds() -> None:
    rng = np.random.default_rng(0)
    is_train = np.arange(300) < 100
    scores = rng.normal(size=300) + is_train
    found = true_positive_rate(scores, is_train, 0.01)
    threshold = np.sort(scores[100:])[-3]  # two of two hundred lie above it
    assert found.value == (scores[:100] > threshold).mean()
    exact = scipy.stats.binomtest(round(100 * found.value), 100).proportion_ci(0.95, "exact")
    np.testing.assert_allclose((found.low, found.high), exact)
    numbers = attack_numbers(scores, is_train)
    u = scipy.stats.mannwhitneyu(scores[:100], scores[100:]).statistic
    assert np.isclose(numbers["auc"], u / (100 * 200))


def test_attacks_that_look_at_some_patients_only_count_for_these(leaking: Evidence) -> None:
    scores = np.full(120, np.nan)
    scores[:20], scores[60:80] = 1.0, -1.0
    finding = Membership(leaking, {"latent search": scores}).finding()
    assert finding.more["attacks"]["latent search"]["auc"] == 1


def test_the_verifier_learns_what_people_have_in_common() -> None:
    rng = np.random.default_rng(0)
    person = np.repeat(np.arange(120), 3)
    y = rng.normal(size=(360, 12))
    y[:, :3] = rng.normal(size=(120, 3))[person] + 0.1 * y[:, :3]  # three directions tell who it is
    assert verification_auc(y, person, 0).value > 0.95
    head = learn(y, person)[:, :3]
    assert np.abs(head[:3]).sum() > 5 * np.abs(head[3:]).sum()
    assert abs(verification_auc(rng.normal(size=(360, 12)), person, 0).value - 0.5) < 0.1


def test_tests_say_why_they_were_not_run(features: Features) -> None:
    import dataclasses

    made = inputs()
    lone = dataclasses.replace(made.train, units=[f"train {i}" for i in range(60)], unit="image")
    made = dataclasses.replace(made, train=lone, fakes=dataclasses.replace(made.fakes, labels=None))
    evidence = gather(made, features, is_planted=False, seed=0)
    for test, word in (
        (Inference.build(evidence), "labels"),
        (SamePatient.build(evidence, 0), "several images"),
    ):
        assert isinstance(test, NotRun)
        assert word in test.reason
    tiny = gather(made, find_features("tiny", torch.device("cpu")), is_planted=False, seed=0)
    assert isinstance(Linkage.build(tiny), NotRun)


def test_verdicts(features: Features) -> None:
    only = ("copies", "singling_out")
    failed = auditing.run(inputs(copies=20), [features], only=only, repeats=2)
    assert failed.verdict == FAIL
    assert set(failed.examined[0].not_run) == {"linkage", "inference", "membership", "same_patient"}
    few = auditing.run(inputs(), [features], only=only, repeats=2)
    assert few.verdict == UNDERPOWERED  # of 60 held-out images
    unplanted = auditing.run(inputs(n=200, n_fakes=40), [features], only=only, is_planted=False)
    assert unplanted.verdict == UNDERPOWERED


@pytest.mark.slow
def test_power_makes_no_evidence_a_claim(features: Features) -> None:
    made = inputs(n=200, n_fakes=1000)
    found = auditing.run(made, [features], only=("copies",), repeats=4)
    assert found.verdict == NO_EVIDENCE
    assert found.detects == 0.01
    copies = found.examined[0].tests["copies"]
    assert {row["kind"] for row in copies.power} == set(planting.ALL_KINDS)
    assert copies.finding.more["copy_share_at_most"] < 0.01


def test_two_spaces_share_one_family_of_tests(features: Features) -> None:
    tiny = find_features("tiny", torch.device("cpu"))
    found = auditing.run(inputs(), [features, tiny], only=("copies", "membership"), is_planted=False)
    p_values = [test.finding.p_value for part in found.examined for test in part.tests.values()]
    adjusted = [test.p_holm for part in found.examined for test in part.tests.values()]
    assert len(adjusted) == 4
    assert np.isclose(min(adjusted), min(1, 4 * min(p_values)))
