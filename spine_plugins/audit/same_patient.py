"""Same patient: a verifier that learned what two images of one person share looks at the fakes.

It is a linear head on the features (Fisher's discriminants: what differs between people, in units of what
differs within one), the same for both images of a pair. It learns from the pairs of training *and* held-out
patients: learned on the training patients alone it would know them better, and call clean fakes theirs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
import scipy.spatial.distance
import torch
from torch import Tensor

from spine_plugins.audit.copies import Ballot, copy_finding
from spine_plugins.audit.evidence import Evidence, Finding, NotRun
from spine_plugins.audit.neighbours import ByFake, by_fake
from spine_plugins.statistics import Interval, auc, bootstrap_interval

FEWEST_PATIENTS = 30  # with two images or more
USEFUL_AUC = 0.8  # below, the test says that it could not have seen anybody
_FOLDS = 4
_PLANES = 64  # principal components that it learns from
_AXES = 24  # directions that it keeps
_SHRINK = 0.1  # of the scatter within people, towards a ball
_DIFFERENT = 3  # pairs of two people per pair of one
_RESAMPLES = 200
_ROWS = 256  # fakes at a time: all against all reals would be gigabytes


@dataclass(frozen=True)
class Plane:
    """The principal components of all real images; they know nobody, only what images are like."""

    mean: Tensor
    axes: Tensor  # [d, k]

    @classmethod
    def through(cls, x: Tensor) -> Plane:
        """Of vectors [n, d]."""
        mean = x.double().mean(dim=0)
        centred = x.double() - mean
        # Eigenvalues come in rising order.
        axes = torch.linalg.eigh(centred.T @ centred).eigenvectors[:, -min(_PLANES, len(x) // 4) :]
        return cls(mean, axes)

    def __call__(self, x: Tensor) -> np.ndarray:
        return ((x.double() - self.mean) @ self.axes).cpu().numpy()


def learn(y: np.ndarray, person: np.ndarray) -> np.ndarray:
    """The head [k, axes] from vectors [n, k] and whom each shows: distances behind it are between people."""
    within, several = _within(y, person)
    spread = within.T @ within / max(several, 1)
    spread = (1 - _SHRINK) * spread + _SHRINK * np.trace(spread) / len(spread) * np.eye(len(spread))
    # Largest ratios of all scatter to scatter within people.
    values, vectors = scipy.linalg.eigh(np.cov(y.T), spread)
    return vectors[:, np.argsort(values)[::-1][:_AXES]]


def _within(y: np.ndarray, person: np.ndarray) -> tuple[np.ndarray, int]:
    """Rows less their person's mean, of people with several; and how many degrees of freedom that is."""
    _, number, counts = np.unique(person, return_inverse=True, return_counts=True)
    means = np.zeros((len(counts), y.shape[1]))
    np.add.at(means, number, y)
    means /= counts[:, None]
    rows = counts[number] > 1
    return (y - means[number])[rows], int(rows.sum() - (counts > 1).sum())


def verification_auc(y: np.ndarray, person: np.ndarray, seed: int) -> Interval:
    """How well pairs of one person are told from pairs of two, people never seen in learning the head."""
    rng = np.random.default_rng(seed)
    fold = rng.integers(_FOLDS, size=int(person.max()) + 1)[person]
    labels, scores, groups = [], [], []
    for k in range(_FOLDS):
        held = np.flatnonzero(fold == k)
        z = y[held] @ learn(y[fold != k], person[fold != k])
        whom = person[held]
        same = np.argwhere(np.triu(whom[:, None] == whom[None, :], k=1))
        other = rng.integers(len(held), size=(_DIFFERENT * len(same), 2))
        other = other[whom[other[:, 0]] != whom[other[:, 1]]]
        pairs = np.concatenate([same, other])
        labels.append(np.arange(len(pairs)) < len(same))
        scores.append(-np.linalg.norm(z[pairs[:, 0]] - z[pairs[:, 1]], axis=1))
        groups.append(whom[pairs[:, 0]])
    is_same, score = np.concatenate(labels), np.concatenate(scores)
    return bootstrap_interval(
        lambda w: auc(is_same, score, w), len(score), np.concatenate(groups).tolist(),
        resamples=_RESAMPLES, seed=seed, unit="patient",
    )  # fmt: skip


class SamePatient(Ballot):
    """The test of the same patient: votes as for copies, in the verifier's space."""

    def __init__(self, evidence: Evidence, quality: Interval) -> None:
        self._evidence, self.quality = evidence, quality
        self._plane = Plane.through(evidence.search.reals)
        self._head = learn(self._plane(evidence.search.reals), evidence.reals.unit_of)
        self._real = self._plane(evidence.search.reals) @ self._head
        planted = {}
        for kind, there in evidence.planted.items():
            ignored = there.source if kind == "same_patient" else None
            planted[kind] = self._table(there.pixels, ignored)
        super().__init__(self._table(evidence.fakes.pixels), planted, evidence.relabelling)

    @classmethod
    def build(cls, evidence: Evidence, seed: int) -> SamePatient | NotRun:
        unit_of = evidence.reals.unit_of
        several = int((np.bincount(unit_of) > 1).sum())
        if evidence.inputs.unit == "image" or several < FEWEST_PATIENTS:
            return NotRun(
                f"{several} patients with several images; a verifier needs {FEWEST_PATIENTS} to learn from"
            )
        y = Plane.through(evidence.search.reals)(evidence.search.reals)
        return cls(evidence, verification_auc(y, unit_of, seed))

    @property
    def is_useful(self) -> bool:
        return self.quality.value >= USEFUL_AUC

    def finding(self) -> Finding:
        made = copy_finding(self._evidence, self)
        more = made.more | {"verifier_auc": self.quality.as_dict(), "verifier_is_useful": self.is_useful}
        means = "share of fakes that the verifier gives to a training patient only"
        columns = {f"same_patient_{name}": column for name, column in made.private.items() if name != "fake"}
        return Finding(made.statistic, made.p_value, made.estimate, means, more, columns, is_by_fake=True)

    def _table(self, pixels: np.ndarray, ignored: np.ndarray | None = None) -> ByFake:
        z = self._plane(self._evidence.search.features.of(pixels)) @ self._head
        parts = []
        for start in range(0, len(z), _ROWS):
            rows = slice(start, start + _ROWS)
            distance = scipy.spatial.distance.cdist(z[rows], self._real).astype(np.float32)
            if ignored is not None:
                # The image that was planted is thought to be unknown; its person's other images are not.
                distance[np.arange(len(distance)), ignored[rows]] = np.inf
            parts.append(by_fake(distance, self._evidence.reals.unit_of))
        return ByFake.joined(parts)
