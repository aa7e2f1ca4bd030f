"""Pixels: the doors between [-1, 1] and 0..255, and the recorded image grids."""

import re
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

import stylegan2ada
from stylegan2ada import images
from stylegan2ada.images import save_image_grid
from tests.golden_data import golden_arrays


@pytest.mark.parametrize(("name", "channels"), [("c3", 3), ("c1", 1)])
def test_recorded_image_grid(tmp_path, name, channels):
    recorded = golden_arrays("schedules/save_image_grid.npz")
    images = recorded["x"][:, :channels]
    save_image_grid(images, tmp_path / "grid.png", drange=(-1, 1), grid_size=(3, 2))
    with PIL.Image.open(tmp_path / "grid.png") as picture:
        assert picture.mode == ("RGB" if channels == 3 else "L")
        np.testing.assert_array_equal(np.asarray(picture), recorded[f"{name}/png"])


def test_the_doors_between_pixels_and_floats():
    levels = torch.arange(256, dtype=torch.uint8)
    img = images.to_float(levels)
    assert (img.min(), img.max()) == (-1, 1)
    assert torch.equal(images.to_uint8(img), levels)
    assert torch.equal(images.to_255(torch.tensor([-1.0, 0.0, 1.0])), torch.tensor([0.0, 127.5, 255.0]))
    outside = torch.tensor([-2.0, -1.0, 0.999, 1.0, 2.0])
    assert images.to_uint8_truncated(outside).tolist() == [0, 0, 254, 255, 255]
    assert images.to_uint8(outside).tolist() == [0, 0, 255, 255, 255]


def test_the_metrics_leave_the_formula_to_this_file():
    folder = Path(stylegan2ada.__file__).parent / "metrics"
    assert not [path.name for path in folder.glob("*.py") if re.search(r"127\.5", path.read_text())]


def test_luma_weights_are_those_of_pillow():
    pixels = np.random.default_rng(0).integers(0, 256, size=(16, 16, 3), dtype=np.uint8)
    grey = np.asarray(PIL.Image.fromarray(pixels).convert("L"), dtype=float)
    assert abs(pixels @ np.array(images.LUMA) - grey).max() <= 0.51
