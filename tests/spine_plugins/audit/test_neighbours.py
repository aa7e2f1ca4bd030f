"""The search against brute force over every view."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from spine_plugins.audit.features import Features, find_features
from spine_plugins.audit.neighbours import ByFake, Search, by_fake, nearest_other
from tests.spine_plugins.audit.making import images

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def features() -> Features:
    return find_features("pixels", CPU)


def brute(features: Features, fakes: np.ndarray, reals: np.ndarray, *, fine: bool) -> np.ndarray:
    """float64 [m, n]: of the nearest view."""
    r = features.of(reals).double()
    prepared = features.prepared(fakes)
    views = features.fine(prepared) if fine else torch.stack(list(features.coarse(prepared)))
    return torch.stack([torch.cdist(view.double(), r) for view in views]).amin(dim=0).numpy()


def test_nearest_patients_and_fakes_are_those_of_brute_force(features: Features) -> None:
    reals, fakes = images(30, 1), images(23, 2)
    unit_of = np.repeat(np.arange(10), 3)
    found = Search(features, reals, unit_of)(fakes)
    coarse = brute(features, fakes, reals, fine=False)
    np.testing.assert_allclose(found.by_real.distance, np.sort(coarse.T, axis=1)[:, :16], rtol=1e-3)
    np.testing.assert_array_equal(found.by_real.fake[:, 0], coarse.argmin(axis=0))
    # Of every patient the image nearest by the coarse views, then by the fine ones.
    fine = brute(features, fakes, reals, fine=True)
    image = coarse.reshape(23, 10, 3).argmin(axis=2) + 3 * np.arange(10)
    expected = np.take_along_axis(fine, image, axis=1)
    np.testing.assert_array_equal(found.by_fake.unit[:, 0], expected.argmin(axis=1))
    np.testing.assert_allclose(found.by_fake.distance, np.sort(expected, axis=1), rtol=1e-3)
    np.testing.assert_array_equal(unit_of[found.by_fake.image], found.by_fake.unit)


@pytest.mark.parametrize("change", ["flip", "shift", "zoom"])
def test_a_changed_copy_finds_its_original(features: Features, change: str) -> None:
    from spine_plugins.audit.planting import doctored

    reals = images(40, 5, side=64)
    fakes = doctored(reals, change, np.random.default_rng(0))
    near = Search(features, reals, np.arange(40))(fakes).by_fake
    assert (near.unit[:, 0] == np.arange(40)).mean() > 0.95
    assert np.median(near.distance[:, 0] / near.distance[:, 1]) < 0.5


def test_an_ignored_image_is_not_there(features: Features) -> None:
    reals = images(12, 3)
    search = Search(features, reals, np.repeat(np.arange(6), 2))
    found = search(reals[:4], ignored=np.arange(4))
    assert (found.by_fake.image[:, 0] != np.arange(4)).all()
    assert np.isinf(
        found.by_real.distance[np.arange(4), -1][found.by_real.fake[:4, -1] == np.arange(4)]
    ).all()
    alone = Search(features, reals, np.arange(12))(reals[:4], ignored=np.arange(4))
    assert np.isinf(alone.by_fake.distance[:, -1]).all()


def test_other_people_are_nearest_by_brute_force(features: Features) -> None:
    reals = images(20, 8)
    unit_of = np.repeat(np.arange(5), 4)
    x = features.of(reals).double()
    distance = torch.cdist(x, x).numpy()
    distance[unit_of[:, None] == unit_of[None]] = np.inf
    found = nearest_other(Search(features, reals, unit_of))
    np.testing.assert_allclose(found, distance.min(axis=1), rtol=1e-3)


def test_tables_made_part_by_part_are_the_whole_one() -> None:
    distance = np.random.default_rng(0).random((23, 30)).astype(np.float32)
    unit_of = np.repeat(np.arange(10), 3)
    whole = by_fake(distance, unit_of)
    parts = ByFake.joined([by_fake(distance[start : start + 7], unit_of) for start in range(0, 23, 7)])
    for name in ("distance", "unit", "image"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))
