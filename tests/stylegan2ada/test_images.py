"""Pixels: the recorded image grids."""

import numpy as np
import PIL.Image
import pytest

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
