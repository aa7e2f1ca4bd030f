"""Stored grey values of more than 8 bits -> uint8, by a window that the user chose."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from stylegan2ada.data.decode import DatasetError
from stylegan2ada.errors import UserError

AUTO_PERCENTILES = 0.5, 99.5  # as of the DICOM tool


@dataclass(frozen=True)
class Window:
    """Which stored values become black and white; without ends each image's own percentiles do."""

    ends: tuple[float, float] | None

    def __call__(self, values: np.ndarray, name: str) -> np.ndarray:
        """uint8 [H, W]: linear between the ends, cut off beyond them, rounded half up."""
        if not np.isfinite(values).all():
            raise DatasetError(f"{name} has values that are not finite; repair or remove it")
        wide = values.astype(np.float64)  # exact for every integer that Pillow stores
        low, high = self.ends or np.percentile(wide, AUTO_PERCENTILES)
        if low == high:  # nearly all pixels alike: show what there is
            low, high = float(wide.min()), float(wide.max())
        if low == high:
            raise DatasetError(f"{name} has one value everywhere ({low:g}), so no window; remove it")
        grey = (wide - low) * (255 / (high - low))
        return np.floor(grey.clip(0, 255) + 0.5).astype(np.uint8)


def parse_window(text: str) -> Window:
    """`auto`, or `LOW,HIGH` in stored values."""
    if text == "auto":
        return Window(None)
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise UserError(
            f"--window={text} is neither auto nor two rising numbers, the stored values that become black "
            "and white; for example --window=0,4095"
        )
    return Window((low, high))
