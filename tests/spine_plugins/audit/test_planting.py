"""Doctored images, and fakes exchanged for them."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
import torch

from spine_plugins.audit.auditing import gather
from spine_plugins.audit.features import find_features
from spine_plugins.audit.planting import KINDS, Power, doctored, smallest_seen, swaps
from tests.spine_plugins.audit.making import images, inputs


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_keep_the_shape_and_change_the_pixels(kind: str) -> None:
    x = images(4, 1, side=64)
    found = doctored(x, kind, np.random.default_rng(0))
    assert found.shape == x.shape
    assert found.dtype == np.uint8
    assert (kind == "exact") == np.array_equal(found, x)


def test_what_the_kinds_do() -> None:
    x, rng = images(3, 2, side=64), np.random.default_rng(0)
    np.testing.assert_array_equal(doctored(x, "flip", rng), x[..., ::-1])
    np.testing.assert_array_equal(doctored(x, "contrast", rng), np.rint(0.8 * (x.astype(float) - 128) + 128))
    blurred = [scipy.ndimage.gaussian_filter(i[0].astype(float), 1.5, mode="mirror", radius=5) for i in x]
    np.testing.assert_allclose(doctored(x, "blur", rng)[:, 0], blurred, atol=0.51)
    noise = doctored(x, "noise", rng).astype(float) - x
    assert 5 < noise.std() < 7


def test_swaps_exchange_a_share_and_plant_nothing_twice() -> None:
    evidence = gather(inputs(), find_features("pixels", torch.device("cpu")), is_planted=True, seed=0)
    planted = evidence.planted["exact"]
    for swap in swaps(planted, 80, 0.1, 3, seed=1):
        assert swap.removed.sum() == 8 == len(set(swap.chosen))
    other_view = evidence.planted["same_patient"]
    # The image that is planted counts as unknown; what is found is another of the same patient's.
    mine = other_view.found.by_fake.image[:, 0]
    assert (mine != other_view.source).all()


def test_a_share_is_seen_only_if_every_kind_is() -> None:
    rows = [
        Power(kind=kind, share=share, detected=1.0 if share == 0.1 or kind != "zoom" else 0.9)
        for kind in KINDS
        for share in (0.001, 0.01, 0.1)
    ]
    assert smallest_seen(rows) == 0.1
    assert smallest_seen([]) is None
