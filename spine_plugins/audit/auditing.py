"""An audit from three sets of images to verdicts: search once, test six ways, plant, adjust, judge."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from spine_plugins.audit import planting
from spine_plugins.audit.copies import Copies
from spine_plugins.audit.evidence import Evidence, Finding, NotRun, Test, pool
from spine_plugins.audit.features import Features
from spine_plugins.audit.inference import Inference
from spine_plugins.audit.inputs import FEWEST_HOLDOUT, Inputs
from spine_plugins.audit.linkage import Linkage
from spine_plugins.audit.membership import Membership
from spine_plugins.audit.neighbours import Search
from spine_plugins.audit.permutation import Relabelling
from spine_plugins.audit.planting import ALPHA, Power, smallest_seen
from spine_plugins.audit.same_patient import SamePatient
from spine_plugins.audit.singling_out import SinglingOut
from spine_plugins.statistics import holm
from stylegan2ada.progress import Progress

FAIL, NO_EVIDENCE, UNDERPOWERED = "FAIL", "NO EVIDENCE", "UNDERPOWERED"
NAMES = ("copies", "linkage", "inference", "singling_out", "membership", "same_patient")
MUST_SEE = 0.01  # share of copies that an audit must be able to see before it may speak of no evidence

Scores = dict[str, np.ndarray]  # of further attacks on membership, per real image


@dataclass(frozen=True)
class Tested:
    """One test with its verdict."""

    test: Test
    finding: Finding
    p_holm: float
    power: list[Power]
    verdict: str

    @property
    def detects(self) -> float | None:
        return smallest_seen(self.power)


@dataclass(frozen=True)
class Examined:
    """All tests in one space of features."""

    features: Features
    evidence: Evidence
    tests: dict[str, Tested]
    not_run: dict[str, str]  # test: why


@dataclass(frozen=True)
class Audit:
    """What was found, in one or more spaces; the first is the one that is reported first."""

    inputs: Inputs
    examined: list[Examined]
    verdict: str
    is_planted: bool

    @property
    def detects(self) -> float | None:
        """The smallest share of copies, of any kind, that the best of the tests would have seen."""
        seen = [test.detects for part in self.examined for test in part.tests.values()]
        return min((share for share in seen if share is not None), default=None)


def run(
    inputs: Inputs,
    spaces: list[Features],
    *,
    only: tuple[str, ...] = NAMES,
    is_planted: bool = True,
    repeats: int = planting.REPEATS,
    attacks: Scores | None = None,  # what a network gave away
    seed: int = 0,
) -> Audit:
    """The whole audit; the same seed gives the same numbers."""
    parts = []
    for features in spaces:
        evidence = gather(inputs, features, is_planted=is_planted, seed=seed)
        parts.append((features, evidence, *_tests(evidence, only, attacks, seed)))
    # One family over all spaces: to ask twice is to have two chances of a false alarm.
    findings = [{name: test.finding() for name, test in tests.items()} for _, _, tests, _ in parts]
    p_values = [finding.p_value for found in findings for finding in found.values()]
    adjusted = iter(holm(p_values)) if p_values else iter(())
    examined = []
    with torch.inference_mode():
        for (features, evidence, tests, not_run), found in zip(parts, findings):
            bar = Progress(len(tests) * len(evidence.planted) * len(planting.SHARES) * repeats, "power")
            tested = {}
            for name, test in tests.items():
                p_holm = float(next(adjusted))
                rows: list[Power] = []
                # With copies among the fakes already, every repeat would raise the alarm: no power is shown.
                if p_holm >= ALPHA:
                    rows = planting.power(
                        test, evidence, n_tests=len(p_values), seed=seed, repeats=repeats, step=bar.step
                    )
                tested[name] = Tested(test, found[name], p_holm, rows, _verdict(test, p_holm, rows, inputs))
            bar.close()
            examined.append(Examined(features, evidence, tested, not_run))
    return Audit(inputs, examined, _overall(examined, inputs), is_planted)


def gather(inputs: Inputs, features: Features, *, is_planted: bool, seed: int) -> Evidence:
    """The search, which is nearly all of the work: fakes and, to be planted, doctored training images."""
    reals = pool(inputs.train, inputs.holdout)
    fakes = inputs.fakes.pixels
    with torch.inference_mode():
        search = Search(features, reals.pixels, reals.unit_of)
        kinds = len(planting.ALL_KINDS) if is_planted else 0
        total = len(fakes) + kinds * planting.count_planted(len(fakes))
        bar = Progress(total, f"neighbours ({features.name})")
        found = search(fakes, step=bar.step)
        planted = {}
        if is_planted:
            planted = planting.plant(reals, search, len(fakes), seed, step=bar.step)
        bar.close()
    relabelling = Relabelling.draw(reals.is_train, seed)
    return Evidence(inputs, reals, search, found, relabelling, planted)


def _tests(
    evidence: Evidence, only: tuple[str, ...], attacks: Scores | None, seed: int
) -> tuple[dict[str, Test], dict[str, str]]:
    makers: Mapping[str, Callable[[], Test | NotRun]] = {
        "copies": lambda: Copies(evidence),
        "linkage": lambda: Linkage.build(evidence),
        "inference": lambda: Inference.build(evidence),
        "singling_out": lambda: SinglingOut(evidence),
        "membership": lambda: Membership(evidence, attacks),
        "same_patient": lambda: SamePatient.build(evidence, seed),
    }
    tests: dict[str, Test] = {}
    not_run = {}
    for name, make in makers.items():
        made = make() if name in only else NotRun("not asked for (--only)")
        if isinstance(made, NotRun):
            not_run[name] = made.reason
        else:
            tests[name] = made
    return tests, not_run


def _verdict(test: Test, p_holm: float, rows: list[Power], inputs: Inputs) -> str:
    """Of one test: what it accuses, or what it would have seen."""
    if p_holm < ALPHA:
        return FAIL
    seen = smallest_seen(rows)
    is_blind = isinstance(test, SamePatient) and not test.is_useful
    if is_blind or seen is None or seen > MUST_SEE or len(inputs.holdout) < FEWEST_HOLDOUT:
        return UNDERPOWERED
    return NO_EVIDENCE


def _overall(examined: list[Examined], inputs: Inputs) -> str:
    verdicts = {test.verdict for part in examined for test in part.tests.values()}
    # One test that accuses is enough, and one that could have seen is enough to speak of no evidence.
    return next((verdict for verdict in (FAIL, NO_EVIDENCE) if verdict in verdicts), UNDERPOWERED)
