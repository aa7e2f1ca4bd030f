"""Weak peers of the audit on its own cases: AuthPct and C_T, in the same features.

AuthPct (Alaa et al. 2022) is the share of fakes that are farther from their nearest training image than
that one is from its own nearest. C_T (Meehan et al. 2020) is the z of a Mann-Whitney test of distances to
training images, fakes against held-out ones; far below 0 means copying. `python benchmarks/audit_peers.py`
prints one JSON object.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import scipy.stats
import torch

ROOT = Path(__file__).parent.parent
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from benchmarks.audit_acceptance import draw, drawn_by, split
from spine_plugins.audit.features import find_features

REPEATS = 20
_ALARM = -1.645  # z of a one-sided test at level .05


def authentic(fake_to_train: np.ndarray, train_to_train: np.ndarray) -> float:
    """Share of authentic fakes: [m, n] distances, and [n] of training images to their nearest other."""
    nearest = fake_to_train.argmin(axis=1)
    return float((fake_to_train.min(axis=1) > train_to_train[nearest]).mean())


def copying_z(fake_to_train: np.ndarray, holdout_to_train: np.ndarray) -> float:
    """z of the rank sum of nearest distances, without cells."""
    fakes, others = fake_to_train.min(axis=1), holdout_to_train.min(axis=1)
    u = scipy.stats.mannwhitneyu(fakes, others).statistic
    m, n = len(fakes), len(others)
    return float((u - m * n / 2) / np.sqrt(m * n * (m + n + 1) / 12))


def measure(n: int = 1000, n_fakes: int = 2000) -> dict[str, Any]:
    """Alarms of both on clean generators, and on exact copies planted among the fakes of the first."""
    start = time.perf_counter()
    phantoms, features = draw(2 * n + 3000, seed=1), find_features("pixels", torch.device("cpu"))
    train, holdout = split(phantoms, [n, n])
    fresh = np.setdiff1d(np.arange(len(phantoms.pixels)), np.concatenate([train, holdout]))
    vectors = features.of(phantoms.pixels)
    to_train = torch.cdist(vectors[holdout], vectors[train]).numpy()
    own = torch.cdist(vectors[train], vectors[train])
    own.fill_diagonal_(float("inf"))
    own_nearest = own.numpy().min(axis=1)
    rows: dict[str, list[tuple[float, float]]] = {}
    for name in ("perfect", "blurred", "variance-shrunk"):
        fakes = features.of(drawn_by(name, phantoms, fresh))
        distance = torch.cdist(fakes, vectors[train]).numpy()
        for share in (0.0, 0.01, 0.1) if name == "perfect" else (0.0,):
            key = name if not share else f"{100 * share:g} % exact copies"
            rows[key] = []
            for repeat in range(REPEATS):
                rng = np.random.default_rng([3, repeat])
                some = distance[rng.permutation(len(fresh))[:n_fakes]].copy()
                count = round(share * n_fakes)
                some[:count] = own.numpy()[rng.permutation(len(train))[:count]]
                some[np.arange(count), some[:count].argmax(axis=1)] = 0  # a copy is at distance 0 of itself
                rows[key].append((authentic(some, own_nearest), copying_z(some, to_train)))
    least = np.quantile([value for value, _ in rows["perfect"]], 0.05)
    table = {
        key: {
            "AuthPct": float(np.mean([a for a, _ in found])),
            "AuthPct alarms": float(np.mean([a < least for a, _ in found])),
            "C_T": float(np.mean([z for _, z in found])),
            "C_T alarms": float(np.mean([z < _ALARM for _, z in found])),
        }
        for key, found in rows.items()
    }
    sizes = {"train": len(train), "holdout": len(holdout), "fakes": n_fakes, "repeats": REPEATS}
    return {"sizes": sizes, "table": table, "seconds": time.perf_counter() - start}


if __name__ == "__main__":
    print(json.dumps(measure(), indent=1))
