"""Is the audit right? Planted copies, clean generators and dependent fakes, on phantoms with known truth.

`python benchmarks/audit_acceptance.py [--images 1000] [--fakes 2000] [--repeats 200]` prints one JSON object;
the proof keeps a dated one in benchmarks/proofs.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.stats
import torch

ROOT = Path(__file__).parent.parent
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from spine_plugins.audit import planting
from spine_plugins.audit.auditing import gather
from spine_plugins.audit.copies import Ballot, Copies, ratios, votes
from spine_plugins.audit.evidence import Evidence, Reals, Swap, Test
from spine_plugins.audit.features import blurred, find_features
from spine_plugins.audit.inference import Inference
from spine_plugins.audit.inputs import Images, Inputs
from spine_plugins.audit.linkage import Linkage
from spine_plugins.audit.membership import Membership, true_positive_rate
from spine_plugins.audit.neighbours import ByFake, ByReal, Found, by_fake, nearest_other
from spine_plugins.audit.permutation import Relabelling, tail
from spine_plugins.audit.same_patient import Plane, SamePatient, learn, verification_auc
from spine_plugins.audit.singling_out import SinglingOut
from spine_plugins.phantom.dataset import draw_phantoms
from spine_plugins.statistics import holm

LEVEL = 0.05
GENERATORS = ("perfect", "blurred", "mode-dropped", "variance-shrunk")


@dataclass(frozen=True)
class Phantoms:
    """Images whose patients are known; real ones and those that fakes are drawn from share nobody."""

    pixels: np.ndarray  # uint8 [n, 1, 64, 64]
    labels: np.ndarray
    patients: list[str]

    def images(self, role: str, rows: np.ndarray) -> Images:
        patients = [self.patients[i] for i in rows]
        return Images(role, self.pixels[rows], self.labels[rows], None, patients, "patient", role, {}, None)


def draw(n: int, seed: int) -> Phantoms:
    images, labels, rows = draw_phantoms(n, seed, resolution=64)
    return Phantoms(images[:, None], labels, [str(row["patient"]) for row in rows])


def split(phantoms: Phantoms, sizes: list[int]) -> list[np.ndarray]:
    """Rows of as many images, or a few more: whole patients, in order."""
    people = np.unique(phantoms.patients, return_inverse=True)[1]
    starts, taken = [], 0
    for size in sizes:
        rest = list(dict.fromkeys(people[taken:].tolist()))
        rows: list[int] = []
        for person in rest:
            if len(rows) >= size:
                break
            rows += np.flatnonzero(people == person).tolist()
        starts.append(np.array(rows))
        taken = max(rows) + 1
    return starts


# Planted copies.


def power_of_copies(evidence: Evidence, repeats: int, n_tests: int = 6) -> dict[str, float]:
    """Share of repeats in which 1 % of copies are detected, by kind."""
    test = Copies(evidence)
    found = {}
    for kind, planted in evidence.planted.items():
        swaps = planting.swaps(planted, len(evidence.fakes), 0.01, repeats, seed=7)
        found[kind] = float(np.mean([test.p_value(swap) * n_tests < LEVEL for swap in swaps]))
    return found


def tracks_copied_share(evidence: Evidence, repeats: int) -> list[dict[str, float]]:
    """Linkage's R and membership's true positive rate beside the share of train that was copied."""
    reals = evidence.reals
    linkage, membership = Linkage(evidence), Membership(evidence)
    rows = []
    for share in (0.0, 0.01, 0.1):
        found = []
        planted = evidence.planted["exact"]
        for swap in planting.swaps(planted, len(evidence.fakes), share, repeats, seed=3):
            used: Swap | None = swap if share else None
            copied = np.zeros(reals.n_units, dtype=bool)
            if used is not None:
                copied[reals.unit_of[planted.source[used.chosen]]] = True
            c = float(copied[reals.is_train].mean())
            linked = linkage.linked(used).astype(float)
            control = linked[~reals.is_train].mean()
            risk = (linked[reals.is_train].mean() - control) / (1 - control)
            rate = true_positive_rate(membership.scores(used), reals.is_train, 0.01).value
            found.append((c, risk - c, rate - (c + 0.01 * (1 - c))))
        c, off_linkage, off_membership = np.mean(found, axis=0)
        rows.append(
            {
                "planted": share,
                "copied_share_of_train": c,
                "linkage_minus_c": off_linkage,
                "tpr_minus_expected": off_membership,
            }
        )
    return rows


# Clean generators.


def drawn_by(generator: str, phantoms: Phantoms, rows: np.ndarray) -> np.ndarray:
    """Images that each of the harmless generators draws."""
    x = phantoms.pixels[rows]
    if generator == "blurred":
        return blurred(torch.from_numpy(x).float(), 1.5).round().clamp(0, 255).byte().numpy()
    if generator == "variance-shrunk":
        mean = x.mean(axis=0, keepdims=True)
        return np.rint(mean + 0.8 * (x - mean)).clip(0, 255).astype(np.uint8)
    return x


def alarms(real: Phantoms, fresh: Phantoms, generator: str, n_fakes: int, repeats: int) -> dict[str, Any]:
    """How often each test alone, and the verdict, accuses a generator that has never seen a patient.

    Every repeat calls other patients train, and takes other fakes; distances are found once.
    """
    fakes = np.arange(len(fresh.pixels))
    if generator == "mode-dropped":
        fakes = fakes[fresh.labels == 1]
    images = fresh.images("fakes", fakes)
    images = dataclasses.replace(images, pixels=drawn_by(generator, fresh, fakes))
    half = split(real, [len(real.pixels) // 2])[0]
    others = np.setdiff1d(np.arange(len(real.pixels)), half)
    inputs = Inputs(real.images("train", half), real.images("holdout", others), images, ())
    evidence = gather(inputs, find_features("pixels", torch.device("cpu")), is_planted=False, seed=0)
    plane = Plane.through(evidence.search.reals)
    y = plane(evidence.search.reals)
    head = learn(y, evidence.reals.unit_of)
    z = plane(evidence.search.features.of(images.pixels)) @ head
    verified = by_fake(
        torch.cdist(torch.from_numpy(z), torch.from_numpy(y @ head)).float().numpy(), evidence.reals.unit_of
    )
    reference = nearest_other(evidence.search)
    p_values = [
        _p_values(*again, reference=reference, verified=verified)
        for again in _resplit(evidence, n_fakes, repeats)
    ]
    names = list(p_values[0])
    table = np.array([[row[name] for name in names] for row in p_values])
    failed = np.array([(holm(row) < LEVEL).any() for row in table])
    return {
        **{name: float((table[:, i] < LEVEL).mean()) for i, name in enumerate(names)},
        "FAIL": float(failed.mean()),
    }


def _resplit(evidence: Evidence, n_fakes: int, repeats: int) -> Iterator[tuple[Evidence, np.ndarray]]:
    for repeat in range(repeats):
        rng = np.random.default_rng([11, repeat])
        is_train = rng.permutation(evidence.reals.is_train)
        n = len(evidence.fakes)
        chosen = np.sort(rng.permutation(n)[:n_fakes])
        reals: Reals = dataclasses.replace(evidence.reals, is_train=is_train)
        fakes = evidence.fakes
        some = dataclasses.replace(
            fakes, pixels=fakes.pixels[chosen], labels=None if fakes.labels is None else fakes.labels[chosen]
        )
        inputs = dataclasses.replace(evidence.inputs, fakes=some)
        found = _of_these(evidence.found, chosen, n)
        relabelling = Relabelling.draw(is_train, repeat)
        yield Evidence(inputs, reals, evidence.search, found, relabelling, {}), chosen


def _of_these(found: Found, chosen: np.ndarray, n: int) -> Found:
    place = np.full(n, -1)
    place[chosen] = np.arange(len(chosen))

    def only(near: ByReal) -> ByReal:
        rank = (place[near.fake] >= 0).argmax(axis=1)
        rows = np.arange(len(rank))
        return ByReal(near.distance[rows, rank][:, None], place[near.fake[rows, rank]][:, None])

    near = found.by_fake
    return Found(
        ByFake(near.distance[chosen], near.unit[chosen], near.image[chosen]),
        only(found.by_real),
        {name: only(half) for name, half in found.halves.items()},
    )


def _p_values(
    evidence: Evidence, chosen: np.ndarray, *, reference: np.ndarray, verified: ByFake
) -> dict[str, float]:
    seen = ByFake(verified.distance[chosen], verified.unit[chosen], verified.image[chosen])
    tests: dict[str, Test | Ballot] = {
        "copies": Copies(evidence),
        "linkage": Linkage(evidence),
        "inference": Inference(evidence),
        "singling_out": SinglingOut(evidence),
        "membership": Membership(evidence, reference=reference),
        "same_patient": Ballot(seen, {}, evidence.relabelling),
    }
    return {name: test.p_value() for name, test in tests.items()}


# Fakes that depend on each other.


def dependent(
    repeats: int, *, n: int = 1000, n_fakes: int = 2000, modes: int = 40, seed: int = 5
) -> dict[str, float]:
    """Alarms of our test and of a binomial one, for a collapsed generator in six dimensions.

    It draws around a few places that know nothing of anybody, so every alarm is a false one.
    """
    ours, binomial = [], []
    for repeat in range(repeats):
        rng = np.random.default_rng([seed, repeat])
        reals = rng.normal(size=(2 * n, 6)).astype(np.float32)
        is_train = np.arange(2 * n) < n
        places = rng.normal(size=(modes, 6))
        fakes = (places[rng.integers(modes, size=n_fakes)] + 0.05 * rng.normal(size=(n_fakes, 6))).astype(
            np.float32
        )
        distance = torch.cdist(torch.from_numpy(fakes), torch.from_numpy(reals)).numpy()
        near = by_fake(distance, np.arange(2 * n))
        cast = votes(near, Relabelling.draw(is_train, repeat))
        ours.append(tail(cast.sum()).p_value < LEVEL)
        nearer = int((ratios(near, is_train) < 1).sum())
        binomial.append(scipy.stats.binomtest(nearer, n_fakes, 0.5, alternative="greater").pvalue < LEVEL)
    return {"ours": float(np.mean(ours)), "binomial": float(np.mean(binomial)), "repeats": repeats}


# All of it.


def measure(
    n: int,
    n_fakes: int,
    repeats: int,
    planted_repeats: int = 20,
    generators: tuple[str, ...] = GENERATORS,
) -> dict[str, Any]:
    """Every row of the table of acceptance, with its gate."""
    start = time.perf_counter()
    real, fresh = draw(2 * n, seed=1), draw(max(2 * n_fakes, 1200), seed=2)
    train, holdout = split(real, [n, n])
    fakes = np.arange(n_fakes)
    inputs = Inputs(
        real.images("train", train), real.images("holdout", holdout), fresh.images("fakes", fakes), ()
    )
    evidence = gather(inputs, find_features("pixels", torch.device("cpu")), is_planted=True, seed=0)
    y = Plane.through(evidence.search.reals)(evidence.search.reals)
    verifier = SamePatient(evidence, verification_auc(y, evidence.reals.unit_of, 0))
    result: dict[str, Any] = {
        "sizes": {"train": len(train), "holdout": len(holdout), "fakes": n_fakes, "repeats": repeats},
        "copies detected at 1 %": power_of_copies(evidence, planted_repeats),
        "tracking": tracks_copied_share(evidence, planted_repeats),
        "verifier": verifier.quality.as_dict(),
        "dependent": dependent(repeats),
        "alarms": {},
    }
    for name in generators:
        result["alarms"][name] = alarms(real, fresh, name, n_fakes, repeats)
        # What is known is said at once: all of it takes long.
        print(json.dumps(result), file=sys.stderr, flush=True)
    return result | {"seconds": time.perf_counter() - start}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--fakes", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=200)
    asked = parser.parse_args()
    print(json.dumps(measure(asked.images, asked.fakes, asked.repeats), indent=1))
