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


def test_all_others_leave_the_formula_to_this_file():
    package = Path(stylegan2ada.__file__).parent
    files = [*package.rglob("*.py"), *(package.parent / "spine_plugins").rglob("*.py")]
    assert [path.name for path in files if re.search(r"127\.5", path.read_text())] == ["images.py"]


def test_luma_weights_are_those_of_pillow():
    pixels = np.random.default_rng(0).integers(0, 256, size=(16, 16, 3), dtype=np.uint8)
    grey = np.asarray(PIL.Image.fromarray(pixels).convert("L"), dtype=float)
    assert abs(pixels @ np.array(images.LUMA) - grey).max() <= 0.51


def test_a_contact_sheet_has_each_picture_in_its_place():
    tiles = [PIL.Image.new("L", (4, 6), level) for level in (50, 100, 150)]
    sheet = images.captioned_grid("", tiles, 2, cell=(6, 8), band=10, at=(0, 0), background=7, ink=255)
    expected = np.full((10 + 2 * 8, 2 * 6), 7, dtype=np.uint8)
    for level, left, top in ((50, 0, 0), (100, 6, 0), (150, 0, 8)):
        expected[10 + top + 1 : 10 + top + 7, left + 1 : left + 5] = level
    np.testing.assert_array_equal(np.asarray(sheet), expected)
    titled = images.captioned_grid("x", [], 2, cell=(6, 8), band=10, at=(0, 0))
    assert titled.size == (12, 18)
    assert np.asarray(titled)[:10].any() and not np.asarray(titled)[10:].any()
    low = PIL.Image.new("L", (3, 2), 9)
    below = images.stacked([sheet, low], background=7)
    np.testing.assert_array_equal(np.asarray(below)[26:], [[9] * 3 + [7] * 9] * 2)
    beside = images.stacked([sheet, low], is_row=True, background=7)
    np.testing.assert_array_equal(np.asarray(beside)[:, 12:], [[9] * 3] * 2 + [[7] * 3] * 24)


def test_every_line_of_a_caption_is_seen() -> None:
    tiles = [np.zeros((96, 96, 1), np.uint8)]
    one, two = (np.asarray(images.captioned_tiles(tiles, [text], 1)) for text in ("seed 3\n ", "seed 3\n-2"))
    assert one.shape == two.shape
    rows = np.flatnonzero((one != two).any(1))
    assert len(rows) >= 6  # the second line, whole
    assert rows.max() < two.shape[0] - 96
