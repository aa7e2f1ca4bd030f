"""Poisson sampling: every unit by its own coin, whole units, no fixed size; and who is a unit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from spine_plugins.privacy.noise import SeededChance, SystemChance
from spine_plugins.privacy.sampling import PoissonSampler, histogram_weights, shard, units_of
from stylegan2ada.data.dataset import ImageFolderDataset
from stylegan2ada.data.writer import DatasetWriter
from stylegan2ada.errors import UserError


def drawn(count: int, q: float, steps: int, chance=None) -> np.ndarray:
    """bool [steps, count]: who took part when."""
    sampler = PoissonSampler(np.arange(count), q, chance or SystemChance())
    found = np.zeros((steps, count), dtype=bool)
    for row in found:
        row[sampler.draw().items] = True
    return found


def test_each_unit_takes_part_with_probability_q_and_by_itself() -> None:
    q, count, steps = 0.3, 40, 5000
    seen = drawn(count, q, steps)
    per_unit = seen.sum(0)
    assert np.all(np.abs(per_unit - q * steps) < 4.5 * np.sqrt(steps * q * (1 - q)))
    # Pairs meet as often as independent coins do; a shuffled order would keep them apart.
    together = (seen[:, :-1] & seen[:, 1:]).sum(0)
    assert np.all(np.abs(together - q * q * steps) < 4.5 * np.sqrt(steps * q * q))
    # The next step knows nothing of this one.
    again = (seen[:-1] & seen[1:]).sum(0)
    assert np.all(np.abs(again - q * q * steps) < 4.5 * np.sqrt(steps * q * q))


def test_sizes_are_binomial_down_to_none_and_never_cut() -> None:
    q, count, steps = 0.1, 12, 4000
    sizes = drawn(count, q, steps).sum(1)
    expected = scipy.stats.binom.pmf(np.arange(count + 1), count, q) * steps
    counted = np.bincount(sizes, minlength=count + 1)
    kept = expected > 5
    assert (
        scipy.stats.chisquare(
            [*counted[kept], counted[~kept].sum()], [*expected[kept], expected[~kept].sum()]
        ).pvalue
        > 1e-6
    )
    assert counted[0] > 0 and sizes.max() > 2 * q * count


def test_units_come_whole() -> None:
    unit_of = np.array([0, 0, 1, 2, 2, 2])
    sampler = PoissonSampler(unit_of, 0.5, SeededChance(0))
    sizes = set()
    for _ in range(50):
        step = sampler.draw()
        assert set(step.items) == set(np.flatnonzero(np.isin(unit_of, step.units)))
        sizes.add(len(step.items))
    assert sizes >= {0, 1, 2, 3, 6}
    assert len(PoissonSampler(np.zeros(0), 0.5, SystemChance()).draw().items) == 0


def grouped(path: Path, patients: list[str | None]) -> ImageFolderDataset:
    with DatasetWriter(path, overwrite=True) as writer:
        groups = {}
        for i, patient in enumerate(patients):
            name = writer.add(np.full((8, 8), i, np.uint8), label=i % 2)
            groups[name] = {"study": f"s{i // 2}", "patient": patient}
        writer.extra["groups"] = groups
    return ImageFolderDataset(str(path), use_labels=True)


def test_units_by_study_and_patient(tmp_path: Path) -> None:
    dataset = grouped(tmp_path / "g.zip", ["a", "a", "b", "a", "c", "b"])
    assert units_of(dataset, "image").tolist() == [0, 1, 2, 3, 4, 5]
    assert units_of(dataset, "study").tolist() == [0, 0, 1, 1, 2, 2]
    assert units_of(dataset, "patient").tolist() == [0, 0, 1, 0, 2, 1]


def test_unknown_patients_are_refused(tmp_path: Path) -> None:
    dataset = grouped(tmp_path / "g.zip", ["a", None, "b"])
    with pytest.raises(UserError, match="does not know the patient of every image"):
        units_of(dataset, "patient")
    with DatasetWriter(tmp_path / "plain.zip") as writer:
        writer.add(np.zeros((8, 8), np.uint8))
    with pytest.raises(UserError, match="has no groups"):
        units_of(ImageFolderDataset(str(tmp_path / "plain.zip")), "study")


def test_shards_are_disjoint_and_keep_units_together() -> None:
    unit_of = np.array([0, 1, 1, 2, 3, 0])
    parts = [shard(unit_of, rank, 2) for rank in range(2)]
    assert sorted(np.concatenate(parts).tolist()) == list(range(6))
    assert not set(unit_of[parts[0]]) & set(unit_of[parts[1]])


def test_a_unit_weighs_at_most_one_in_the_histogram() -> None:
    labels = np.eye(3)[[0, 0, 0, 1, 2]]
    units = np.array([0, 0, 0, 1, 1])
    assert histogram_weights(units, labels).tolist() == pytest.approx([1, 0.5, 0.5])
    many = np.ones((1, 5), np.float32)  # five findings at once
    assert np.linalg.norm(histogram_weights(np.array([0]), many)) == pytest.approx(1)
