"""The retinal scores against closed forms, singular values, and what blurring does."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from spine_plugins.recipes import retinal
from stylegan2ada.errors import UserError

ACROSS = np.arange(64) - 32.0


def line(deviation: float, height: float = 1) -> np.ndarray:
    """A bright vertical line [1, 64, 64] with a Gaussian profile."""
    return np.broadcast_to(height * np.exp(-(ACROSS**2) / (2 * deviation**2)), (1, 64, 64)).copy()


def grain(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return gaussian_filter(np.random.default_rng(seed).normal(size=shape), (0, 1, 1))


def test_curvatures_of_a_line_are_those_of_the_smoothed_gaussian() -> None:
    weak, strong = retinal._curvatures(line(3), 2)
    total = 3**2 + 2**2
    assert strong[0, 32, 32] == pytest.approx(-(2**2) * 3 / total**1.5, rel=1e-3)
    assert abs(weak[0, 32, 32]) < 2e-3 * abs(strong[0, 32, 32])  # the filter ends at four deviations


def test_vesselness_knows_bright_lines_alone() -> None:
    found = retinal.vesselness(line(2))
    assert found[0, 32, 32] == pytest.approx(1 - np.exp(-2))  # no blob, and the strongest of the image
    assert found[0, 32, 10] < 1e-6
    assert retinal.vesselness(-line(2))[0, 32, 32] == 0
    np.testing.assert_allclose(retinal.vesselness(line(2, 7)), found)


def test_the_quality_is_that_of_singular_values_patch_by_patch() -> None:
    images = grain((2, 24, 32)) + np.tile(line(2)[:, :24, 16:48], (2, 1, 1))
    vessels = retinal.vesselness(images)
    found = []
    for n in range(2):
        y, x = np.gradient(images[n])
        for row in range(0, 24, 8):
            for column in range(0, 32, 8):
                part = np.s_[row : row + 8, column : column + 8]
                large, small = np.linalg.svd(np.stack([y[part].ravel(), x[part].ravel()], 1))[1]
                coherence = (large - small) / (large + small)
                weight = vessels[n][part].std()
                found.append(weight * large * coherence if coherence > retinal.COHERENT else 0)
    assert retinal.vessel_quality(images) == pytest.approx(np.mean(found))


def test_white_noise_has_no_direction() -> None:
    noise = np.random.default_rng(0).normal(size=(4, 64, 64))
    assert retinal.vessel_quality(noise) < 0.02 * retinal.vessel_quality(line(1, 3) + 0.01 * noise)


def test_blurring_lowers_the_quality_and_changes_the_structure() -> None:
    real, other = (line(2) + 0.1 * grain((8, 64, 64), seed) for seed in (0, 1))
    blurred = gaussian_filter(other, (0, 2, 2))
    found = retinal.retinal_scores(real, blurred)
    assert found["qv_ratio"] < 0.8
    same, smoothed = (
        retinal.retinal_scores(grain((8, 64, 64)), fake)["structure_distance"]
        for fake in (grain((8, 64, 64), 1), gaussian_filter(grain((8, 64, 64), 1), (0, 2, 2)))
    )
    assert same < 0.05
    assert smoothed > 0.3
    flat = np.zeros_like(real)
    assert retinal.retinal_scores(real, flat)["qv_ratio"] == 0
    with pytest.raises(UserError, match="no structure to compare"):
        retinal.retinal_scores(flat, real)


def test_shares_do_not_depend_on_grey_levels() -> None:
    real, fake = line(2) + 0.1 * grain((8, 64, 64)), line(3) + 0.1 * grain((8, 64, 64), 1)
    plain = retinal.structure_shares(real, fake)
    scaled = retinal.structure_shares(4 * real, 4 * fake)  # exact in binary: the same clusters are found
    np.testing.assert_allclose(plain, scaled)
    assert plain[0].sum() == pytest.approx(1)
