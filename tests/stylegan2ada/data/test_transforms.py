"""Crop and resize: the recorded pixels, and grey pictures wherever colour works."""

from __future__ import annotations

import numpy as np
import PIL
import pytest

from stylegan2ada.data.transforms import FILTERS, TRANSFORMS, make_transform
from stylegan2ada.errors import UserError
from tests.golden_data import golden_arrays, golden_json

RECORDED = golden_json("dataset/dataset.json")
# Pillow's own rounding may change between versions by one level; with the recorded version all is exact.
ALLOWED = 0 if RECORDED["pillow_version"] == PIL.__version__ else 1


@pytest.mark.parametrize("case", RECORDED["transforms"], ids=lambda case: case["key"])
def test_recorded(case):
    arrays = golden_arrays("dataset/transforms.npz")
    transform = make_transform(case["transform"], case["width"], case["height"], case["filter"])
    result = transform(arrays["in/" + case["input"]])
    assert (result is None) == case["dropped"]
    if result is not None:
        expected = arrays["out/" + case["key"]]
        assert list(result.shape) == list(expected.shape) == case["shape"]
        assert result.dtype == np.uint8
        assert np.abs(result.astype(int) - expected).max() <= ALLOWED


@pytest.mark.parametrize("resize_filter", FILTERS)
@pytest.mark.parametrize("name", [None, *TRANSFORMS])
def test_grey_is_one_channel_of_colour(name, resize_filter):
    grey = np.random.RandomState(0).randint(0, 256, size=(90, 120), dtype=np.uint8)
    transform = make_transform(name, 64, 48, resize_filter)
    colour = transform(np.stack([grey] * 3, axis=-1))
    for channel in range(3):
        np.testing.assert_array_equal(transform(grey), colour[:, :, channel])


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize(("width", "height"), [(None, None), (32, None), (None, 32)])
def test_crops_need_a_size(name, width, height):
    with pytest.raises(UserError, match="give --width and --height"):
        make_transform(name, width, height, "box")


def test_wide_cannot_be_high():
    with pytest.raises(UserError, match="square of 32x32; give a --height up to that"):
        make_transform("center-crop-wide", 32, 64, "box")
