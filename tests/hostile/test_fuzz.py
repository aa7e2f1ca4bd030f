"""Seeded hostile inputs of every format: commands give a sentence and an agreed exit code, nothing else."""

from __future__ import annotations

import collections
import datetime
import json
import os
import platform
import random
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from stylegan2ada.progress import Progress
from tests.hostile import FORMATS, runner, warm
from tests.hostile.runner import Asked
from tests.hostile.verdict import Verdict

PROOFS = Path(__file__).parents[2] / "benchmarks" / "proofs"
FEW, MANY, MOST = 100, 10_000, 200_000
_SHOWN = 25


def drawn(names: Iterable[str], count: int, first_seed: int) -> Iterator[Asked]:
    """(format, seed), each format as often as its share says; every seed of a format is another case."""
    rng = random.Random(first_seed)
    listed = list(names)
    seeds = collections.Counter(dict.fromkeys(listed, first_seed))
    for name in rng.choices(listed, [FORMATS[name].share for name in listed], k=count):
        yield name, seeds[name]
        seeds[name] += 1


def judged(names: list[str], count: int, first_seed: int) -> Iterator[Verdict]:
    """The verdicts of so many cases."""
    warm.everything(names)
    return runner.run(warm.command(), FORMATS, drawn(names, count, first_seed), workers=os.cpu_count() or 2)


def told(failures: list[Verdict]) -> str:
    """Failures by cause, each with what to type."""
    groups: dict[str, list[Verdict]] = {}
    for failure in failures:
        groups.setdefault(failure.group, []).append(failure)
    lines = [f"{len(failures)} failures of {len(groups)} kinds"]
    for group, found in sorted(groups.items(), key=lambda item: -len(item[1]))[:_SHOWN]:
        first = min(found, key=lambda verdict: verdict.seed)
        sins = "; ".join(f"{kind}: {what}" for kind, what in first.sins)
        lines.append(f"{len(found)} x {group}\n    {first.replay}   ({first.attack[:90]})\n    {sins[:300]}")
    return "\n".join(lines)


def test_some_hostile_inputs():
    names = [name for name, kind in FORMATS.items() if not kind.trains]
    verdicts = list(judged(names, FEW, 0))
    assert len(verdicts) == FEW
    failures = [verdict for verdict in verdicts if verdict.sins]
    assert not failures, told(failures)
    codes = collections.Counter(verdict.code for verdict in verdicts)
    assert codes[2] > FEW / 5, codes  # most are refused,
    assert codes[0] > FEW / 10, codes  # but some damage does no harm


@pytest.mark.slow
def test_ten_thousand_hostile_inputs():
    verdicts = list(judged(list(FORMATS), MANY, 1000))
    assert len(verdicts) == MANY
    assert {verdict.format for verdict in verdicts} == FORMATS.keys()
    failures = [verdict for verdict in verdicts if verdict.sins]
    assert not failures, told(failures)


@pytest.mark.proof
def test_two_hundred_thousand_hostile_inputs():
    """Leaves a dated JSON: counts by format and exit code, the slowest and the largest, failures if any."""
    started = time.monotonic()
    codes: dict[str, collections.Counter[str]] = {name: collections.Counter() for name in FORMATS}
    failures, slowest, largest = [], 0.0, 0.0
    for verdict in Progress(MOST, "hostile inputs").over(judged(list(FORMATS), MOST, 1_000_000)):
        codes[verdict.format][str(verdict.code)] += 1
        slowest, largest = max(slowest, verdict.sec), max(largest, verdict.grown_mb)
        if verdict.sins:
            failures.append(verdict)
            print(told([verdict]), flush=True)  # an hour is long: what is found can be looked at now
    import torch

    record = {
        "date": datetime.date.today().isoformat(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cases": MOST,
        "sec": time.monotonic() - started,
        "cases_by_format_and_exit_code": {name: dict(sorted(found.items())) for name, found in codes.items()},
        "slowest_sec": slowest,
        "most_memory_over_baseline_mb": largest,
        "failures": [{"format": v.format, "seed": v.seed, "sins": v.sins} for v in failures[:100]],
        "failed": len(failures),
    }
    path = PROOFS / f"hostile-{record['date']}.json"
    path.write_text(json.dumps(record, indent=2) + "\n")
    assert sum(sum(found.values()) for found in codes.values()) == MOST
    assert not failures, told(failures)
