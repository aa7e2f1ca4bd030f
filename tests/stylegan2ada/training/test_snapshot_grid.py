"""Snapshot pictures: recorded sizes and members."""

import numpy as np
import pytest

from stylegan2ada.training.snapshot_grid import grid_indices, grid_size
from tests.golden_data import golden_json


@pytest.mark.parametrize("number", range(5))
def test_recorded_grids(number):
    case = golden_json("schedules/snapshot_grid.json")[number]
    columns, rows = grid_size(case["image_shape"])
    assert (columns, rows) == (case["grid_w"], case["grid_h"])
    labels = None if case["labels"] is None else np.array(case["labels"])
    assert grid_indices(columns, rows, case["n"], labels) == case["indices_row_major"]


def test_sizes_follow_width_and_height():
    assert grid_size([1, 4320, 64]) == (32, 4)
    assert grid_size([1, 64, 7680]) == (7, 32)
    assert grid_size([3, 480, 480]) == (16, 9)


def test_rows_show_one_class():
    labels = np.eye(3)[np.random.RandomState(5).randint(3, size=50)]
    cells = np.array(grid_indices(8, 6, 50, labels)).reshape(6, 8)
    for row in cells:
        assert len({tuple(labels[i]) for i in row}) == 1
