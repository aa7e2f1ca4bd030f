"""Crop, resize, boxes: against PIL, brute force and counted examples."""

from __future__ import annotations

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spine_plugins.dicom import frame
from spine_plugins.dicom.frame import Box
from tests.spine_plugins.dicom.making import radiograph


@pytest.mark.parametrize(("height", "size"), [(256, 64), (251, 64), (1000, 256), (65, 64)])
def test_area_equals_pil_box(height, size):
    pixels = radiograph(height, height, seed=height)
    ours = frame.resized(pixels, Box(0, 0, height, height), size, "area")
    theirs = np.asarray(
        PIL.Image.fromarray(pixels.astype(np.float32)).resize((size, size), PIL.Image.Resampling.BOX)
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 1000),
    st.integers(8, 40),
    st.integers(4, 8),
    st.sampled_from(["area", "lanczos", "nearest"]),
)
def test_a_negative_gives_exactly_the_negative(seed, n, size, resize):
    pixels = np.random.default_rng(seed).integers(0, 4096, (n, n)).astype(np.uint16)
    box = Box(0, 0, n, n)
    ours, twin = (frame.resized(p, box, size, resize) for p in (pixels, 4095 - pixels))
    np.testing.assert_allclose(ours, 4095 - twin, rtol=0, atol=1e-9)


def test_area_of_large_and_signed_values_is_exact():
    for pixels in (
        np.full((512, 512), 2**32 - 1, np.uint32),
        np.full((512, 512), -(2**31), np.int32),
        np.full((512, 512), -32768, np.int16),
    ):
        small = frame.resized(pixels, Box(0, 0, 512, 512), 4, "area")
        assert (small == float(pixels[0, 0])).all()


def test_nearest_is_the_floor_rule():
    pixels = np.arange(100, dtype=np.uint16).reshape(10, 10)
    small = frame.resized(pixels, Box(0, 0, 10, 10), 4, "nearest")
    assert small.tolist() == [[0, 2, 5, 7], [20, 22, 25, 27], [50, 52, 55, 57], [70, 72, 75, 77]]


def test_lanczos_stays_in_range_and_small_images_grow():
    pixels = np.zeros((64, 64), np.uint16)
    pixels[:, 32:] = 1000
    small = frame.resized(pixels, Box(0, 0, 64, 64), 16, "lanczos")
    assert small.min() >= 0
    assert small.max() <= 1000
    assert frame.resized(pixels, Box(0, 0, 64, 64), 128, "area").shape == (128, 128)


def test_field_strips_the_collimator_but_no_more_than_a_quarter():
    pixels = radiograph(400, 300, bits=12)
    pixels[:30] = 7
    pixels[-50:] = 3000
    pixels[:, :20] = 0
    assert frame.field_box(pixels) == Box(20, 30, 300, 350)
    pixels[:200] = 5
    assert frame.field_box(pixels).y0 == 100
    assert frame.crop_box(radiograph(400, 300, bits=12), "field") == Box(0, 50, 300, 350)
    assert frame.field_box(4095 - pixels) == frame.field_box(pixels)


def test_the_other_crops():
    pixels = radiograph(400, 300, bits=12)
    assert frame.crop_box(pixels, "center") == Box(0, 50, 300, 350)
    assert frame.crop_box(pixels, "pad") == Box(-50, 0, 350, 400)
    around = frame.crop_box(pixels, "lesion", [Box(10, 10, 60, 40), Box(30, 100, 50, 120)])
    assert around == Box(0, 0, 132, 132)
    assert frame.crop_box(pixels, "lesion") == Box(0, 50, 300, 350)
    assert frame.crop_box(pixels, "lesion", [Box(0, 0, 300, 400)]).width == 300


def test_pad_keeps_the_proportions():
    pixels = radiograph(400, 300, bits=12)
    box = frame.crop_box(pixels, "pad")
    small = frame.resized(pixels, box, 64, "area")
    assert small.shape == (64, 48)
    canvas = frame.padded(np.full((64, 48), 9, np.uint8), box, 64)
    assert (canvas[:, :8] == 0).all()
    assert (canvas[:, 8:56] == 9).all()
    assert (canvas[:, 56:] == 0).all()


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_boxes_follow_the_pixels(data):
    """A bright rectangle drawn into the source lies where its box is mapped to."""
    height, width = data.draw(st.integers(80, 200)), data.draw(st.integers(80, 200))
    crop = data.draw(st.sampled_from(["center", "pad"]))
    x0, y0 = data.draw(st.integers(0, width - 30)), data.draw(st.integers(0, height - 30))
    x1, y1 = x0 + data.draw(st.integers(20, 30)), y0 + data.draw(st.integers(20, 30))
    pixels = np.zeros((height, width), np.uint16)
    pixels[y0:y1, x0:x1] = 1000
    square = frame.crop_box(pixels, crop)
    small = frame.resized(pixels, square, 64, "area")
    image = frame.padded((small / 4).astype(np.uint8), square, 64).astype(float) * 4
    mapped, inside = frame.mapped_box(Box(x0, y0, x1, y1), square, 64)
    scale = 64 / square.width
    seen_area = image.sum() / 1000 / scale**2
    assert inside == pytest.approx(seen_area / ((x1 - x0) * (y1 - y0)), abs=0.12)
    if inside > 0.3:
        rows, columns = np.nonzero(image > 500)
        slack = 1.1 if crop == "center" else 1.6  # size and place of a padded image are whole pixels
        assert abs(columns.min() - mapped.x0) <= slack
        assert abs(columns.max() + 1 - mapped.x1) <= slack
        assert abs(rows.min() - mapped.y0) <= slack
        assert abs(rows.max() + 1 - mapped.y1) <= slack


def test_a_box_outside_has_no_part_inside():
    cut, inside = frame.mapped_box(Box(0, 0, 10, 10), Box(50, 50, 150, 150), 64)
    assert inside == 0
    assert cut.width == 0
