"""Are the intervals of the tables honest? Simulated studies with clustered patients and known truth.

`python benchmarks/evidence_statistics.py [--studies 2000] [--patients 200] [--icc 0.5]` prints one JSON
object; the proof keeps a dated one in benchmarks/proofs.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy import special

ROOT = Path(__file__).parent.parent
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from spine_plugins.clustered import (
    Replicates,
    auc_covariance,
    replicated_difference,
    replicated_interval,
)
from spine_plugins.statistics import auc, bootstrap_interval, delong_difference, delong_interval

LEVEL = 0.95


@dataclass(frozen=True)
class Design:
    """A test set as radiographs come: patients with one to six images, nearly all of one class."""

    patients: int = 200
    icc: float = 0.5  # of the scores within a patient
    shift: float = 1.5  # between the classes, in standard deviations of a score
    run_spread: float = 0.12  # of the shift, between trainings
    runs: int = 3  # trainings of each method
    mixed: float = 0.1  # images of a patient that are of the other class
    alike: float = 0.6  # correlation of two methods' scores on the same image, beyond the class

    @property
    def truth(self) -> float:
        """AUC over patients and trainings: the shift itself varies between trainings."""
        return float(special.ndtr(self.shift / np.sqrt(2 + self.run_spread**2)))

    @property
    def single_truth(self) -> float:
        """AUC of the scores of a training with just this shift."""
        return float(special.ndtr(self.shift / np.sqrt(2)))


def draw(design: Design, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(labels [n], patients [n], noise [2 methods, runs, n] with the correlations of the design)."""
    sizes = rng.integers(1, 7, design.patients)
    patients = np.repeat(np.arange(design.patients), sizes)
    abnormal = rng.random(design.patients) < 0.4
    n = len(patients)
    labels = (abnormal[patients] ^ (rng.random(n) < design.mixed)).astype(int)
    shape = (2, design.runs)

    def unit(count: int) -> np.ndarray:
        """[2, runs, count] of variance 1: a part of all, a part of each run."""
        common = rng.standard_normal(count)
        return np.sqrt(design.alike) * common + np.sqrt(1 - design.alike) * rng.standard_normal(
            (*shape, count)
        )

    noise = np.sqrt(design.icc) * unit(design.patients)[..., patients] + np.sqrt(1 - design.icc) * unit(n)
    return labels, patients, noise


def study(design: Design, rng: np.random.Generator) -> dict[str, bool | float]:
    """One study under the null: two methods equally good, each trained several times."""
    labels, patients, noise = draw(design, rng)
    shifts = design.shift + design.run_spread * rng.standard_normal((2, design.runs))
    scores = noise + shifts[..., None] * labels
    first, second = Replicates(range(design.runs)), Replicates(range(design.runs, 2 * design.runs))
    found = auc_covariance(labels, patients.tolist(), *scores.reshape(-1, len(labels)))
    interval = replicated_interval(found, first, LEVEL)
    # The same without trainings: two fixed score functions, as one reads a single pair of classifiers.
    fixed = noise[:, 0] + design.shift * labels
    alone = auc_covariance(labels, patients.tolist(), *fixed)
    one = replicated_interval(alone, Replicates([0]), LEVEL)
    naive = delong_interval(labels, fixed[0], LEVEL)
    return {
        "replicated_covers": interval.low <= design.truth <= interval.high,
        "replicated_width": interval.high - interval.low,
        "single_covers": one.low <= design.single_truth <= one.high,
        "single_width": one.high - one.low,
        "delong_covers": naive.low <= design.single_truth <= naive.high,
        "delong_width": naive.high - naive.low,
        "replicated_rejects": replicated_difference(found, first, second, LEVEL).p_value < 1 - LEVEL,
        "single_rejects": replicated_difference(alone, Replicates([0]), Replicates([1])).p_value < 1 - LEVEL,
        "delong_rejects": delong_difference(labels, fixed[0], fixed[1], LEVEL).p_value < 1 - LEVEL,
    }


def simulate(design: Design, studies: int, seed: int = 0) -> dict[str, float]:
    """Share of the studies in which each holds, and mean widths."""
    rng = np.random.default_rng(seed)
    rows = [study(design, rng) for _ in range(studies)]
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def bootstrap(design: Design, studies: int, resamples: int = 400, seed: int = 3) -> dict[str, float]:
    """Coverage of the percentile interval of resampled patients, for one training."""
    rng = np.random.default_rng(seed)
    covers, widths = [], []
    for _ in range(studies):
        labels, patients, noise = draw(design, rng)
        scores = noise[0, 0] + design.shift * labels
        found = bootstrap_interval(
            partial(auc, labels, scores), len(labels), patients.tolist(), resamples=resamples
        )
        covers.append(found.low <= design.single_truth <= found.high)
        widths.append(found.high - found.low)
    return {"covers": float(np.mean(covers)), "width": float(np.mean(widths)), "studies": studies}


def power(design: Design, studies: int, seed: int = 1, gain: float = 0.25) -> float:
    """How often a real gain in shift is found: a test that never rejects has no type-I error either."""
    rng = np.random.default_rng(seed)
    found = 0
    for _ in range(studies):
        labels, patients, noise = draw(design, rng)
        shifts = design.shift + design.run_spread * rng.standard_normal((2, design.runs))
        shifts[0] += gain
        scores = (noise + shifts[..., None] * labels).reshape(-1, len(labels))
        estimates = auc_covariance(labels, patients.tolist(), *scores)
        runs = range(design.runs)
        both = replicated_difference(estimates, Replicates(runs), Replicates(range(design.runs, len(scores))))
        found += both.p_value < 1 - LEVEL
    return found / studies


def run(studies: int, design: Design) -> dict[str, Any]:
    """All numbers of the proof."""
    start = time.process_time()
    independent = replace(design, icc=0.0)
    result = {
        "design": asdict(design),
        "studies": studies,
        "level": LEVEL,
        "truth": {"replicated": design.truth, "single": design.single_truth},
        "clustered": simulate(design, studies),
        "icc_0": simulate(independent, max(studies // 4, 100), seed=2),
        "bootstrap_of_patients": bootstrap(design, max(studies // 2, 100)),
        "power_at_gain": {"gain": 0.25, "power": power(design, max(studies // 4, 100))},
    }
    return result | {"cpu_seconds": time.process_time() - start}


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--patients", type=int, default=200)
    parser.add_argument("--icc", type=float, default=0.5)
    asked = parser.parse_args(words)
    print(json.dumps(run(asked.studies, Design(patients=asked.patients, icc=asked.icc)), indent=1))


if __name__ == "__main__":
    main()
