"""Crop and resize of source images: uint8 [H, W] or [H, W, 3] -> the same kind in the wanted size."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import PIL.Image

from stylegan2ada.errors import UserError
from stylegan2ada.images import to_pil

FILTERS = {"box": PIL.Image.Resampling.BOX, "lanczos": PIL.Image.Resampling.LANCZOS}
LARGEST = 16384  # side of a result
TRANSFORMS = ("center-crop", "center-crop-wide")
Transform = Callable[[np.ndarray], np.ndarray | None]


class TransformError(UserError):
    """The options do not describe a transform."""


def make_transform(
    name: str | None,
    width: int | None,
    height: int | None,
    resize_filter: str,  # a key of FILTERS, or nearest: for masks, whose numbers do not mix
) -> Transform:
    """A function image -> image, or None for an image that is to be dropped."""
    resample = PIL.Image.Resampling.NEAREST if resize_filter == "nearest" else FILTERS[resize_filter]
    if name is None:
        return lambda image: resize(image, width or image.shape[1], height or image.shape[0], resample)
    if width is None or height is None:
        raise TransformError(f"--transform={name} needs to know the size; give --width and --height too")
    if name == "center-crop-wide" and height > width:
        raise TransformError(
            f"--transform={name} makes a square of {width}x{width}; give a --height up to that"
        )
    crop = {"center-crop": center_crop, "center-crop-wide": center_crop_wide}[name]
    return lambda image: crop(image, width, height, resample)


def resize(image: np.ndarray, width: int, height: int, resample: PIL.Image.Resampling) -> np.ndarray:
    """The whole image in the given size; untouched if it has that size."""
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(to_pil(image).resize((width, height), resample))


def center_crop(image: np.ndarray, width: int, height: int, resample: PIL.Image.Resampling) -> np.ndarray:
    """The largest square in the middle, resized."""
    side = min(image.shape[:2])
    top, left = ((length - side) // 2 for length in image.shape[:2])
    return resize(image[top : top + side, left : left + side], width, height, resample)


def center_crop_wide(
    image: np.ndarray, width: int, height: int, resample: PIL.Image.Resampling
) -> np.ndarray | None:
    """The middle rows in full width, resized, between black bars that make it square; None if too small."""
    rows, columns = image.shape[:2]
    kept = round(width * rows / columns)  # upstream: by the output width
    # Dropped: to enlarge it would be to invent detail.
    if columns < width or kept < height:
        return None
    middle = resize(image[(rows - kept) // 2 : (rows + kept) // 2], width, height, resample)
    square = np.zeros((width, width, *image.shape[2:]), dtype=np.uint8)
    top = (width - height) // 2
    square[top : top + height] = middle
    return square
