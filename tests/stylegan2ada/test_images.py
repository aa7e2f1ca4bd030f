"""Pixels: the doors between [-1, 1] and 0..255, and the recorded image grids."""

import numpy as np
import PIL.Image
import pytest
import torch

from stylegan2ada.images import save_image_grid, to_255, to_float, to_uint8, to_uint8_truncated
from tests.golden_data import golden_arrays


@pytest.mark.parametrize(("name", "channels"), [("c3", 3), ("c1", 1)])
def test_recorded_image_grid(tmp_path, name, channels):
    recorded = golden_arrays("schedules/save_image_grid.npz")
    images = recorded["x"][:, :channels]
    save_image_grid(images, tmp_path / "grid.png", drange=(-1, 1), grid_size=(3, 2))
    with PIL.Image.open(tmp_path / "grid.png") as picture:
        assert picture.mode == ("RGB" if channels == 3 else "L")
        np.testing.assert_array_equal(np.asarray(picture), recorded[f"{name}/png"])


def test_the_doors_agree_on_whole_levels_and_differ_between_them() -> None:
    levels = torch.arange(256, dtype=torch.uint8)
    img = to_float(levels)
    torch.testing.assert_close(to_255(img), levels.float(), rtol=0, atol=1e-4)
    assert torch.equal(to_uint8(img), levels)
    between = (levels[:-1].float() + 0.75) / 127.5 - 1
    assert torch.equal(to_uint8(between), levels[1:])  # adds half a level before it cuts
    assert torch.equal(to_uint8_truncated(between), levels[:-1])
    beyond = torch.tensor([-1.5, 1.5])
    assert to_uint8(beyond).tolist() == to_uint8_truncated(beyond).tolist() == [0, 255]
    assert to_255(torch.tensor([0.5])).tolist() == [191.25]
