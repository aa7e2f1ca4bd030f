"""Windows against the formulas of the standard, written out by hand here; the paper's division with its wrap."""
# ruff: noqa: E501 - tables

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from spine_plugins.dicom import window
from spine_plugins.dicom.display import VoiLut, VoiWindow
from tests.spine_plugins.dicom.making import convert_dataset, dataset, image_of, radiograph

VALUES = np.linspace(-300, 4400, 4701).reshape(1, -1)


def by_hand(function: str, x: float, center: float, width: float) -> float:
    """PS3.3 C.11.2.1.2.1, C.11.2.1.3.1 and C.11.2.1.3.2 for outputs 0 to 255."""
    if function == "LINEAR":
        if x <= center - 0.5 - (width - 1) / 2:
            return 0.0
        if x > center - 0.5 + (width - 1) / 2:
            return 255.0
        return ((x - (center - 0.5)) / (width - 1) + 0.5) * 255
    if function == "LINEAR_EXACT":
        if x <= center - width / 2:
            return 0.0
        if x > center + width / 2:
            return 255.0
        return ((x - center) / width + 0.5) * 255
    return 255 / (1 + math.exp(min(700, -4 * (x - center) / width)))


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(
    ("center", "width"), [(2048, 4096), (2048, 1), (40, 400.5), (2047.5, 2), (1000, 3000)]
)
def test_window_functions(function, center, width):
    levels = window.apply_voi(VALUES, VoiWindow(center, width, function))
    expected = [by_hand(function, x, center, width) for x in VALUES[0]]
    np.testing.assert_allclose(levels[0], expected, rtol=0, atol=1e-9)


def test_window_functions_agree_with_pydicom():
    from pydicom.dataset import Dataset
    from pydicom.pixels import apply_windowing

    pixels = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    made = Dataset()
    made.PhotometricInterpretation, made.BitsStored, made.PixelRepresentation = "MONOCHROME2", 12, 0
    for function in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        made.WindowCenter, made.WindowWidth, made.VOILUTFunction = 1800, 1500, function
        theirs = apply_windowing(pixels, made) * (255 / 4095)
        ours = window.apply_voi(pixels.astype(float), VoiWindow(1800, 1500, function))
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)


def test_lookup_table_holds_its_ends_and_meets_its_entries():
    table = np.array([10, 200, 100, 1023], np.uint16)
    levels = window.apply_voi(np.array([[-5.0, 50, 51, 52, 53, 99, 50.5]]), VoiLut(50, table, 10))
    expected = np.array([10, 10, 200, 100, 1023, 1023, 105]) * 255 / 1023
    np.testing.assert_allclose(levels[0], expected)


def test_files_with_a_window_follow_it():
    pixels = radiograph(128, 128, bits=12)
    for function in ("LINEAR", "SIGMOID"):
        made = dataset(
            pixels, bits=12, WindowCenter=[1800, 3], WindowWidth=[1500, 4], VOILUTFunction=function
        )
        image = image_of(convert_dataset(made, window="voi", crop="center", resolution=128))
        expected = np.vectorize(
            lambda x, f=function: math.floor(by_hand(f, float(x), 1800, 1500) + 0.5 + 1e-6)
        )(pixels)
        assert (image == expected).all()


def test_window_rules_fall_back():
    pixels = radiograph(128, 128, bits=12)
    assert convert_dataset(dataset(pixels, bits=12), window="voi")["window"] == "percentile"
    assert "no_voi" in convert_dataset(dataset(pixels, bits=12), window="voi")["header"]["warnings"]
    absurd = dataset(pixels, bits=12, WindowCenter=-30000, WindowWidth=10)
    assert convert_dataset(absurd, window="auto")["window"] == "percentile"
    fair = dataset(pixels, bits=12, WindowCenter=2048, WindowWidth=4096)
    assert convert_dataset(fair, window="auto")["window"] == "voi"
    broken = convert_dataset(dataset(pixels, bits=12, WindowCenter=2048, WindowWidth=0), window="voi")
    assert broken["window"] == "percentile"
    assert "voi_window_invalid" in broken["header"]["warnings"]


def test_ranks_equal_a_sort():
    rng = np.random.default_rng(1)
    for sample in (
        rng.integers(0, 4096, 999).astype(np.uint16),
        rng.integers(-500, 500, 1000).astype(np.int16),
    ):
        ordered = np.sort(sample)
        for low, high in ((0.5, 99.5), (0, 100), (1, 98)):
            below, above = int(len(sample) * low / 100 + 1e-9), int(len(sample) * (100 - high) / 100 + 1e-9)
            expected = ordered[below], ordered[len(sample) - 1 - above]
            assert window.ranked_values(sample, (low, high)) == expected


def test_half_rounds_up():
    levels = np.array([[0.0, 0.49, 0.5, 1.5, 2.5, 254.5, 255.0, 300, -4]])
    assert window.quantise(levels).tolist() == [[0, 0, 1, 2, 3, 255, 255, 255, 0]]


@pytest.mark.parametrize("maximum", [200, 256, 257, 512, 768, 4095, 4096, 65535])
def test_paper_preset_equals_an_independent_reference(maximum):
    """Centre square, nearest by floor, whole division by ceil(max / 256), low byte; three channels."""
    rng = np.random.default_rng(maximum)
    pixels = rng.integers(0, maximum, (201, 333)).astype(np.uint16)
    pixels[100, 166] = maximum  # the middle survives crop and nearest
    n, size = 201, 64
    left = (333 - n) // 2
    square = pixels[:, left : left + n]
    small = np.empty((size, size), np.int64)
    for i in range(size):
        for j in range(size):
            small[i, j] = square[int(i * n / size), int(j * n / size)]
    factor = math.ceil(small.max() / 256)
    expected = (small // factor).astype(np.uint8)  # wraps k * 256 to 0
    if small.max() == maximum and maximum % 256 == 0:
        assert (expected[small == maximum] == 0).all()
    from spine_plugins.dicom.settings import PRESETS

    paper = {**dataclasses.asdict(PRESETS["paper"]), "resolution": 64}
    made = dataset(
        pixels, PhotometricInterpretation="MONOCHROME1", RescaleSlope=3, WindowCenter=5, WindowWidth=9
    )
    image = image_of(convert_dataset(made, **paper))
    assert image.shape == (64, 64, 3)
    assert (image == expected[:, :, None]).all()
