"""Clustered measures against DeLong, brute force, closed forms, a jackknife, and simulated studies."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy import stats

from benchmarks import evidence_statistics, timing
from spine_plugins import statistics as st
from spine_plugins.clustered import (
    Estimates,
    Replicates,
    auc_covariance,
    between_trainings,
    chance_of_another_best,
    mean_covariance,
    replicated_contrast,
    replicated_difference,
    replicated_interval,
    variance_split,
)
from tests.spine_plugins.recipes.proving import PROOFS

Images = tuple[np.ndarray, list[int], np.ndarray]


def images_of_patients(seed: int = 0, patients: int = 40, runs: int = 3) -> Images:
    """(labels, patients, scores [runs, n]) with ties, and with both classes in some patients."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(patients), rng.integers(1, 5, patients))
    labels = (rng.random(patients)[groups] + 0.2 * rng.random(len(groups)) < 0.5).astype(int)
    scores = labels + rng.normal(size=patients)[groups] + rng.normal(size=(runs, len(groups)))
    return labels, groups.tolist(), np.round(scores, 1)


def test_groups_of_one_image_give_the_covariance_of_delong() -> None:
    labels, _, scores = images_of_patients()
    found = auc_covariance(labels, range(len(labels)), *scores)
    values, covariance = st.delong_covariance(labels, *scores)
    assert found.values == pytest.approx(values, abs=1e-12)
    assert found.covariance == pytest.approx(covariance, abs=1e-15)


def test_the_covariance_is_the_formula_of_the_paper_written_out() -> None:
    labels, groups, scores = images_of_patients(seed=1)
    found = auc_covariance(labels, groups, *scores)
    place = np.arange(len(labels))
    positives, negatives = place[labels == 1], place[labels == 0]
    m, n, clusters = len(positives), len(negatives), sorted(set(groups))

    def kernel(s: np.ndarray, i: int, j: int) -> float:
        return float(s[i] > s[j]) + 0.5 * float(s[i] == s[j])

    sums = []  # per score: (theta, per cluster sums of both kinds of placements)
    for s in scores:
        v10 = {i: np.mean([kernel(s, i, j) for j in negatives]) for i in positives}
        v01 = {j: np.mean([kernel(s, i, j) for i in positives]) for j in negatives}
        theta = float(np.mean(list(v10.values())))
        x = [sum(v - theta for i, v in v10.items() if groups[i] == c) for c in clusters]
        y = [sum(v - theta for j, v in v01.items() if groups[j] == c) for c in clusters]
        sums.append((theta, x, y))
    i10 = len({groups[i] for i in positives})
    i01 = len({groups[j] for j in negatives})
    for (a, (theta, xa, ya)), (b, (_, xb, yb)) in itertools.product(enumerate(sums), repeat=2):
        s10 = i10 / ((i10 - 1) * m) * sum(p * q for p, q in zip(xa, xb))
        s01 = i01 / ((i01 - 1) * n) * sum(p * q for p, q in zip(ya, yb))
        s11 = sum(p * q for p, q in zip(xa, yb)) + sum(p * q for p, q in zip(ya, xb))
        s11 *= len(clusters) / (len(clusters) - 1)
        assert found.values[a] == pytest.approx(theta, abs=1e-12)
        assert found.covariance[a, b] == pytest.approx(s10 / m + s01 / n + s11 / (m * n), abs=1e-12)


def test_leaving_out_one_patient_after_the_other_gives_nearly_the_same_error() -> None:
    labels, groups, scores = images_of_patients(seed=2, patients=150)
    member = np.array(groups)
    left = [float(st.auc(labels[member != g], scores[0][member != g])) for g in range(150)]
    jackknife = np.sqrt(149 / 150 * np.sum((np.array(left) - np.mean(left)) ** 2))
    found = auc_covariance(labels, groups, scores[0])
    assert np.sqrt(found.covariance[0, 0]) == pytest.approx(jackknife, rel=0.05)


def test_doubled_images_are_no_more_evidence() -> None:
    labels, _, scores = images_of_patients(seed=3)
    n = len(labels)
    once = auc_covariance(labels, range(n), scores[0])
    twice = auc_covariance(np.tile(labels, 2), list(range(n)) * 2, np.tile(scores[0], 2))
    assert twice.covariance == pytest.approx(once.covariance, rel=1e-9)
    naive = st.delong_covariance(np.tile(labels, 2), np.tile(scores[0], 2))[1]
    assert naive[0, 0] < 0.55 * once.covariance[0, 0]


def test_a_mean_over_single_images_has_the_textbook_error() -> None:
    hits = np.array([1, 1, 0, 1, 0, 1, 1, 1])
    found = mean_covariance(range(8), hits)
    assert found.values[0] == pytest.approx(0.75)
    assert np.sqrt(found.covariance[0, 0]) == pytest.approx(stats.sem(hits), rel=1e-12)


def test_too_few_patients_leave_the_value_without_bounds() -> None:
    found = auc_covariance([0, 0, 1, 1], ["a", "a", "a", "a"], [1, 2, 3, 4])
    interval = replicated_interval(found, Replicates([0]))
    assert (interval.value, np.isnan(interval.low)) == (1.0, True)
    one_class = auc_covariance([0, 0], ["a", "b"], [1, 2])
    assert np.isnan(one_class.values[0])


def test_trainings_without_test_noise_give_the_t_interval_of_their_mean() -> None:
    values = np.array([0.70, 0.74, 0.78, 0.60])
    found = Estimates(values, np.zeros((4, 4)))
    first, second = Replicates([0, 1, 2]), Replicates([3])
    interval = replicated_interval(found, first)
    half = stats.t.ppf(0.975, 2) * np.std(values[:3], ddof=1) / np.sqrt(3)
    on_logits = half / (0.74 * 0.26)
    centre = np.log(0.74 / 0.26)
    assert interval.low == pytest.approx(1 / (1 + np.exp(-(centre - on_logits))), rel=1e-9)
    difference = replicated_difference(found, first, second)
    expected = stats.ttest_1samp(values[:3], 0.60)
    assert difference.p_value == pytest.approx(expected.pvalue, rel=1e-9)
    assert (difference.low, difference.high) == pytest.approx((0.14 - half, 0.14 + half), rel=1e-9)


def test_two_groups_of_trainings_without_test_noise_give_welchs_test() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(0.7, 0.02, 4), rng.normal(0.74, 0.05, 6)])
    found = Estimates(values, np.zeros((10, 10)))
    difference = replicated_difference(found, Replicates(range(4)), Replicates(range(4, 10)))
    expected = stats.ttest_ind(values[:4], values[4:], equal_var=False)
    assert difference.p_value == pytest.approx(expected.pvalue, rel=1e-9)


def test_one_training_each_is_the_paired_test_of_patients() -> None:
    labels, _, scores = images_of_patients(seed=4)
    found = auc_covariance(labels, range(len(labels)), scores[0], scores[1])
    difference = replicated_difference(found, Replicates([0]), Replicates([1]))
    expected = st.delong_difference(labels, scores[0], scores[1])
    assert difference.p_value == pytest.approx(expected.p_value, rel=1e-9)
    assert difference.low == pytest.approx(expected.low, rel=1e-9)


def test_the_slope_over_doses_is_that_of_least_squares() -> None:
    values = np.array([0.90, 0.86, 0.87, 0.80])
    found = Estimates(values, np.diag([1e-4, 2e-4, 1e-4, 3e-4]) + 5e-4)
    weights = (np.arange(4) - 1.5) / 5
    slope = replicated_contrast(found, [(w, Replicates([i])) for i, w in enumerate(weights)])
    assert slope.value == pytest.approx(np.polyfit(range(4), values, 1)[0], rel=1e-9)
    error = np.sqrt(np.sum(weights**2 * [1e-4, 2e-4, 1e-4, 3e-4]))  # what is common cancels
    assert slope.p_value == pytest.approx(2 * stats.norm.sf(abs(slope.value) / error), rel=1e-9)


def test_runs_of_one_gan_are_one_unit() -> None:
    values = np.array([0.70, 0.71, 0.80, 0.79])
    found = Estimates(values, np.zeros((4, 4)))
    by_gan = replicated_interval(found, Replicates(range(4), ["g0", "g0", "g1", "g1"]))
    alone = replicated_interval(Estimates(np.array([0.705, 0.795]), np.zeros((2, 2))), Replicates([0, 1]))
    assert (by_gan.low, by_gan.high) == pytest.approx((alone.low, alone.high), rel=1e-12)
    as_if_free = replicated_interval(found, Replicates(range(4)))
    assert by_gan.high - by_gan.low > 3 * (as_if_free.high - as_if_free.low)


def test_variance_components_are_found_again() -> None:
    rng = np.random.default_rng(0)
    true = {"test": 0.02, "seed": 0.01, "draw": 0.03, "gan": 0.02}
    gans, draws, seeds = 4, 3, 3
    splits = []
    for _ in range(400):
        names = [(g, d, s) for g in range(gans) for d in range(draws) for s in range(seeds)]
        of_gan = rng.normal(0, true["gan"], gans)
        of_draw = rng.normal(0, true["draw"], (gans, draws))
        of_seed = rng.normal(0, true["seed"], (gans, draws, seeds))
        values = np.array([0.8 + of_gan[g] + of_draw[g, d] + of_seed[g, d, s] for g, d, s in names])
        values += rng.normal(0, true["test"])  # all runs see the same patients
        found = Estimates(values, np.full((len(names), len(names)), true["test"] ** 2))
        splits.append(variance_split(found, [d for _, d, _ in names], [g for g, _, _ in names]))
    for name in true:
        mean = np.mean([getattr(split, name) for split in splits])
        assert np.sqrt(mean) == pytest.approx(true[name], rel=0.15), name
    alone = variance_split(found.chosen([0]), [0], [0])
    assert (alone.seed, alone.draw, alone.gan) == (None, None, None)


def test_who_is_best_is_a_matter_of_chance_where_methods_are_equal() -> None:
    rng = np.random.default_rng(1)
    equal = rng.normal(0.8, 0.01, (4000, 2))
    equal[:, 0] += 0.0005
    best, chance = chance_of_another_best(equal, np.zeros(2))
    assert (best, chance) == (0, pytest.approx(0.49, abs=0.03))
    clear = equal + np.array([0.2, 0.0])
    assert chance_of_another_best(clear, np.zeros(2)) == (0, 0.0)
    # Trainings that vary make it uncertain again.
    assert chance_of_another_best(clear, np.full(2, 0.04))[1] > 0.1


def test_what_trainings_add_is_beyond_the_patients() -> None:
    same = Estimates(np.array([0.8, 0.8]), np.full((2, 2), 4e-4))
    assert between_trainings(same, Replicates([0, 1])) == 0
    apart = Estimates(np.array([0.7, 0.9]), np.full((2, 2), 4e-4))
    assert between_trainings(apart, Replicates([0, 1])) == pytest.approx(0.02 / 2, rel=1e-9)


def test_simulated_studies_in_small() -> None:
    design = evidence_statistics.Design(patients=120)
    found = evidence_statistics.simulate(design, 40)
    assert found["replicated_covers"] >= 0.85 and found["single_covers"] >= 0.85
    assert found["delong_width"] < 0.8 * found["single_width"]
    assert found["single_rejects"] <= 0.15


@pytest.mark.slow
def test_simulated_studies() -> None:
    found = evidence_statistics.simulate(evidence_statistics.Design(), 500)
    assert 0.92 <= found["replicated_covers"] <= 0.98
    assert 0.92 <= found["single_covers"] <= 0.98
    assert found["delong_covers"] < 0.90
    assert found["replicated_rejects"] <= 0.07 and found["single_rejects"] <= 0.08


@pytest.mark.proof
def test_simulation_of_2000_studies_with_clustered_patients() -> None:
    found = evidence_statistics.run(2000, evidence_statistics.Design())
    machine = timing.machine(torch.device("cpu"))
    timing.save("evidence-statistics", {"machine": machine, "numbers": found}, PROOFS)
    clustered = found["clustered"]
    assert 0.93 <= clustered["replicated_covers"] <= 0.97
    assert 0.93 <= clustered["single_covers"] <= 0.97
    assert 0.93 <= found["bootstrap_of_patients"]["covers"] <= 0.97
    assert clustered["replicated_rejects"] <= 0.06 and clustered["single_rejects"] <= 0.06
    assert clustered["delong_covers"] < 0.90 and clustered["delong_rejects"] > 0.08
    assert found["power_at_gain"]["power"] > 0.15
