"""Metric formulas against recorded values, closed forms, brute force in float64 and another library."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch

from stylegan2ada.errors import UserError
from stylegan2ada.metrics import fid as fid_module
from stylegan2ada.metrics.fid import fid, frechet_distance, mean_and_covariance
from stylegan2ada.metrics.inception_score import inception_score
from stylegan2ada.metrics.kid import kid
from stylegan2ada.metrics.precision_recall import density_coverage, precision_recall
from tests.golden_data import golden_arrays, golden_json

ARRAYS = "metrics/metrics.npz"
FACTS = golden_json("metrics/metrics.json")


def features(name: str) -> tuple[np.ndarray, np.ndarray]:
    arrays = golden_arrays(ARRAYS)
    return arrays[f"{name}/real"], arrays[f"{name}/gen"]


# ---------------------------------------------------------------- recorded values


@pytest.mark.parametrize("name", ["small", "med"])
def test_fid_as_recorded(name: str) -> None:
    real, fake = features(name)
    assert fid(real, fake) == pytest.approx(FACTS[name]["fid"], rel=1e-6)
    # The key names the 40 reals only; a search over both counts finds 45 fakes, for both sets, to 1e-14.
    assert fid(real[:40], fake[:45]) == pytest.approx(FACTS[name]["fid_max_real_40"], rel=1e-6)


@pytest.mark.parametrize("name", ["small", "med"])
def test_mean_and_covariance_as_recorded(name: str) -> None:
    real, _ = features(name)
    mean, covariance = mean_and_covariance(real[:30])
    np.testing.assert_allclose(
        mean, golden_arrays(ARRAYS)[f"{name}/stats_first30_mean"], rtol=1e-12, atol=1e-12
    )
    np.testing.assert_allclose(
        covariance, golden_arrays(ARRAYS)[f"{name}/stats_first30_cov"], rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize(("name", "case"), [(n, c) for n in ("small", "med") for c in range(3)])
def test_kid_as_recorded(name: str, case: int) -> None:
    facts = FACTS[name]["kid"][case]
    real, fake = features(name)
    rng = np.random.RandomState(facts["numpy_global_seed"])
    value = kid(real, fake, subsets=facts["num_subsets"], max_size=facts["max_subset_size"], rng=rng)
    # Recorded in float32, as a difference of kernel means around one: two float32 steps of those are what
    # another BLAS changes (numpy 2.4 repeats all six to 6e-8 relative, numpy 1.26 two only to 1.3e-6).
    two_steps = 2 * float(np.finfo(np.float32).eps)
    assert value == pytest.approx(facts["value"], rel=1e-6, abs=two_steps)


PR_CASES = [(name, i) for name in ("small", "med", "lattice") for i in range(len(FACTS[name]["pr"]))]


@pytest.mark.parametrize(("name", "case"), PR_CASES)
def test_precision_and_recall_exactly_as_recorded(name: str, case: int) -> None:
    facts = FACTS[name]["pr"][case]
    k = facts["nhood_size"]
    for tile in (2000, facts.get("row_batch_size", 17), 41):
        result = precision_recall(*features(name), k=k, tile=tile)
        assert result.precision == pytest.approx(facts["precision"], abs=1e-7)  # recorded as a float32
        assert result.recall == pytest.approx(facts["recall"], abs=1e-7)


def test_inception_score_as_recorded() -> None:
    probs = golden_arrays(ARRAYS)["is/probs"]
    for facts in FACTS["is"]:
        score = inception_score(probs[: facts["num_gen"]], splits=facts["num_splits"])
        assert score.mean == pytest.approx(facts["mean"], rel=1e-6)
        assert score.std == pytest.approx(
            facts["std"], rel=1e-5, abs=1e-12
        )  # float32 there: a difference of means


# ---------------------------------------------------------------- closed forms and brute force


def test_fid_of_equal_and_of_shifted_sets() -> None:
    x = np.random.default_rng(0).normal(size=(100, 7))
    assert fid(x, x) == pytest.approx(0, abs=1e-10)
    shift = np.arange(7.0)
    assert fid(x, x + shift) == pytest.approx(np.square(shift).sum(), rel=1e-9)


def test_frechet_distance_of_diagonal_gaussians() -> None:
    a, b = np.array([1.0, 4.0, 9.0]), np.array([4.0, 1.0, 0.0])
    expected = np.square(np.sqrt(a) - np.sqrt(b)).sum() + 3.0
    assert frechet_distance(np.zeros(3), np.diag(a), np.ones(3), np.diag(b)) == pytest.approx(
        expected, rel=1e-12
    )


def test_frechet_distance_equals_the_general_matrix_root() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(80, 12)), rng.normal(size=(90, 12)) @ rng.normal(size=(12, 12))
    mu_x, cov_x = mean_and_covariance(x)
    mu_y, cov_y = mean_and_covariance(y)
    root = scipy.linalg.sqrtm(cov_y @ cov_x).real
    expected = np.square(mu_x - mu_y).sum() + np.trace(cov_x + cov_y - 2 * root)
    assert frechet_distance(mu_x, cov_x, mu_y, cov_y) == pytest.approx(expected, rel=1e-9)


def test_fid_with_fewer_samples_than_dimensions_takes_the_short_way_to_the_same_number(monkeypatch) -> None:
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(20, 64)), rng.normal(size=(30, 64)) * 1.5 + 0.3
    expected = frechet_distance(*mean_and_covariance(x), *mean_and_covariance(y))
    monkeypatch.setattr(fid_module, "frechet_distance", None)  # the low-rank path must not need it
    assert fid(x, y) == pytest.approx(expected, rel=1e-6)


def test_fid_equals_torchmetrics() -> None:
    from torchmetrics.image.fid import FrechetInceptionDistance

    class Flat(torch.nn.Module):
        def forward(self, img: torch.Tensor) -> torch.Tensor:
            return img.to(torch.float64).flatten(1)

    rng = np.random.default_rng(3)
    real, fake = (rng.integers(0, 255, size=(60, 3, 2, 2)).astype(np.uint8) for _ in range(2))
    other = FrechetInceptionDistance(feature=Flat(), input_img_size=(3, 2, 2)).set_dtype(torch.float64)
    other.update(torch.as_tensor(real), real=True)
    other.update(torch.as_tensor(fake), real=False)
    # theirs divides the covariance by n - 1, ours (as the reference program) by n
    x, y = (part.reshape(60, -1).astype(float) for part in (real, fake))
    ours = frechet_distance(x.mean(0), np.cov(x.T), y.mean(0), np.cov(y.T))
    assert ours == pytest.approx(other.compute().item(), rel=1e-6)


def test_kid_equals_a_double_loop() -> None:
    rng = np.random.default_rng(4)
    real, fake = rng.normal(size=(11, 5)), rng.normal(size=(9, 5)) + 0.5
    kernel = lambda p, q: (p @ q / 5 + 1) ** 3  # noqa: E731
    x, y = fake, real[[8, 1, 0, 5, 10, 2, 3, 9, 7]]
    m = 9
    within = sum(kernel(x[i], x[j]) + kernel(y[i], y[j]) for i in range(m) for j in range(m) if i != j)
    across = sum(kernel(x[i], y[j]) for i in range(m) for j in range(m))
    expected = within / (m * (m - 1)) - 2 * across / (m * m)

    class Fixed:  # fakes are asked for first, then reals
        def __init__(self) -> None:
            self.answers = [np.arange(9), np.array([8, 1, 0, 5, 10, 2, 3, 9, 7])]

        def choice(self, n: int, size: int, replace: bool) -> np.ndarray:
            return self.answers.pop(0)

    assert kid(real, fake, subsets=1, rng=Fixed()) == pytest.approx(expected, rel=1e-10)


def brute_force(real: np.ndarray, fake: np.ndarray, k: int) -> tuple[float, float, float, float]:
    def distances(p: np.ndarray, q: np.ndarray) -> np.ndarray:
        return np.sqrt(np.square(p[:, None] - q[None]).sum(axis=2))

    radius_real = np.sort(distances(real, real), axis=1)[:, k]
    radius_fake = np.sort(distances(fake, fake), axis=1)[:, k]
    cross = distances(real, fake)
    inside = cross <= radius_real[:, None]
    return (
        inside.any(axis=0).mean(),
        (cross <= radius_fake[None]).any(axis=1).mean(),
        inside.sum() / (k * len(fake)),
        inside.any(axis=1).mean(),
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("tile", [7, 1000])
def test_neighbour_metrics_equal_brute_force(seed: int, tile: int) -> None:
    rng = np.random.default_rng(seed)
    real, fake = rng.normal(size=(60, 16)), rng.normal(size=(50, 16)) * 0.8 + 0.1
    precision, recall, density, coverage = brute_force(real, fake, k=3)
    assert precision_recall(real, fake, k=3, dtype="float64", tile=tile) == (precision, recall)
    assert precision_recall(real, fake, k=3, dtype="float32", tile=tile) == (precision, recall)
    result = density_coverage(real, fake, k=3, dtype="float64", tile=tile)
    assert result == pytest.approx((density, coverage), rel=1e-12)


def test_direction_of_precision_and_recall() -> None:
    """A tight cluster inside a wide cloud is precise and forgets much; swapped, the numbers swap."""
    rng = np.random.default_rng(5)
    cloud, cluster = rng.normal(size=(300, 8)), rng.normal(size=(300, 8)) * 0.2
    result = precision_recall(cloud, cluster)
    assert result.precision > 0.8
    assert result.recall < 0.3
    assert precision_recall(cluster, cloud) == (result.recall, result.precision)


def test_inception_score_of_certain_and_of_uniform_answers() -> None:
    assert inception_score(np.tile(np.eye(5), (20, 1)), splits=2).mean == pytest.approx(5)
    assert inception_score(np.full((100, 5), 0.2), splits=4) == pytest.approx((1, 0))


def test_inception_score_of_fewer_images_than_parts() -> None:
    """Empty parts do not count; each image is a part of its own, as sure as it is varied."""
    probs = np.array([[0.7, 0.3], [0.2, 0.8], [0.5, 0.5]])
    assert inception_score(probs, splits=10) == inception_score(probs, splits=3) == pytest.approx((1, 0))


def test_too_few_points_say_so() -> None:
    with pytest.raises(ValueError, match="at least 4"):
        precision_recall(np.zeros((3, 2)), np.zeros((9, 2)))


def test_what_cannot_be_compared_has_a_sentence():
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(40, 6)), rng.normal(size=(40, 6))
    # A number is a seed, as everywhere in numpy; no generator means seed 0.
    assert kid(real, fake, rng=0, subsets=3) == kid(real, fake, subsets=3)
    assert kid(real, fake, rng=1, subsets=3, max_size=20) != kid(real, fake, rng=0, subsets=3, max_size=20)
    for measure in (fid, kid):
        with pytest.raises(UserError, match="from one detector"):
            measure(real, fake[:, :4])
        with pytest.raises(UserError, match="no spread"):
            measure(real[:1], fake)
