"""Frame: pixel values [H, W] -> the square that is kept, reduced to the output size; boxes likewise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import PIL.Image

_UNIFORM = 0.01  # a border row varies by at most this part of the image's range
_MOST_STRIPPED = 0.25  # of each side


class Box(NamedTuple):
    """A rectangle in pixels of the file's image; x1 and y1 lie just outside. May reach beyond the image."""

    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def width(self) -> float:
        return self.x1 - self.x0

    @property
    def height(self) -> float:
        return self.y1 - self.y0


def crop_box(pixels: np.ndarray, crop: str, lesions: Sequence[Box] = ()) -> Box:
    """The square to keep; its side is a whole number of pixels. Only `pad` reaches beyond the image."""
    height, width = pixels.shape
    if crop == "pad":
        side = max(height, width)
        # Not above 0: the box sticks out on both ends of the shorter side.
        x0, y0 = (width - side) // 2, (height - side) // 2
        return Box(x0, y0, x0 + side, y0 + side)
    if crop == "lesion" and lesions:
        return _lesion_square(height, width, lesions)
    # Also for `lesion` without any: normal images need a square, too.
    return _center_square(field_box(pixels) if crop == "field" else Box(0, 0, width, height))


def field_box(pixels: np.ndarray) -> Box:
    """The image without uniform border rows and columns: collimator blades, film edge, padding.

    A row is border while its values span at most 1 % of the image's span. Columns are asked on every
    fourth row.
    """
    height, width = pixels.shape
    y0, x0, y1, x1 = 0, 0, height, width
    # Relative to the image, because a range of 8 bits and one of 16 have different noise.
    least = _UNIFORM * (float(pixels.max()) - float(pixels.min()))
    for _ in range(2):  # blades of different shades uncover each other
        before = Box(x0, y0, x1, y1)
        # Whole rows lie together in memory, so all of them are read faster than a part of each.
        y0, y1 = _inner_range(_spans(pixels[:, x0:x1], 1) > least)
        x0, x1 = _inner_range(_spans(pixels[y0:y1:4, :], 0) > least)
        if before == (x0, y0, x1, y1):
            break
    return Box(x0, y0, x1, y1)


def _spans(pixels: np.ndarray, axis: int) -> np.ndarray:
    # Widened before subtracting: the span of int16 values need not fit into int16.
    return pixels.max(axis=axis).astype(np.float64) - pixels.min(axis=axis)


def _inner_range(is_content: np.ndarray) -> tuple[int, int]:
    # The limit saves anatomy: air beside a thin patient is as uniform as a blade.
    most = int(len(is_content) * _MOST_STRIPPED)
    content = np.flatnonzero(is_content)
    # Nothing stands out anywhere, so no row can be told to be border.
    if not len(content):
        return 0, len(is_content)
    return min(int(content[0]), most), len(is_content) - min(len(is_content) - 1 - int(content[-1]), most)


def _center_square(box: Box) -> Box:
    side = int(min(box.width, box.height))
    x0 = int(box.x0) + (int(box.width) - side) // 2
    y0 = int(box.y0) + (int(box.height) - side) // 2
    return Box(x0, y0, x0 + side, y0 + side)


def _lesion_square(height: int, width: int, lesions: Sequence[Box]) -> Box:
    """The smallest square around all boxes with a fifth of margin, moved into the image."""
    x0, y0 = min(box.x0 for box in lesions), min(box.y0 for box in lesions)
    x1, y1 = max(box.x1 for box in lesions), max(box.y1 for box in lesions)
    # A tiny box would be enlarged to mere blur; the image's own sides have the last word.
    side = int(min(max(1.2 * max(x1 - x0, y1 - y0), 16), height, width))
    left = int(np.clip((x0 + x1 - side) / 2, 0, width - side))
    top = int(np.clip((y0 + y1 - side) / 2, 0, height - side))
    return Box(left, top, left + side, top + side)


def resized(pixels: np.ndarray, box: Box, size: int, resize: str) -> np.ndarray:
    """float64 [h, w]: the part of the image inside `box`, scaled by size / side.

    Square unless the box reaches beyond the image (`pad`): then what exists, without bars.
    """
    left, top = max(int(box.x0), 0), max(int(box.y0), 0)
    inside = pixels[top : int(box.y1), left : int(box.x1)]
    # One factor for both sides; the part inside is not square when the box reaches beyond the image.
    height, width = (max(1, round(length * size / box.width)) for length in inside.shape)
    if resize == "nearest":
        rows = np.arange(height) * inside.shape[0] // height  # floor(i * n / size), as the paper's resize did
        columns = np.arange(width) * inside.shape[1] // width
        return inside[np.ix_(rows, columns)].astype(np.float64)
    # Without at least one source pixel per output pixel there is no mean; enlarging is bilinear.
    if resize == "area" and height <= inside.shape[0] and width <= inside.shape[1]:
        return _area_mean(inside, height, width)
    return _filtered(inside, height, width, "lanczos" if resize == "lanczos" else "bilinear")


def _area_mean(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Mean over the source pixels of each output pixel, the rule of PIL's BOX filter.

    Sums of integers are exact, so that a negative of the image gives exactly the negative of the result,
    and float32 copies of the full image are not needed.
    """
    rows, columns = _edges(pixels.shape[0], height), _edges(pixels.shape[1], width)
    # Sums are signed or unsigned as the pixels are, and wide enough to be exact.
    wide = pixels.dtype.kind
    # Rows are summed first: they lie together in memory, and columns are gathered from what is left.
    bands = np.empty((height, pixels.shape[1]), dtype=f"{wide}8")
    for i in range(height):
        # 32 bits hold any sum of 16-bit values over fewer than 2^15 rows, and are twice as fast
        narrow = pixels.dtype.itemsize <= 2 and rows[i + 1] - rows[i] < 1 << 15
        band = pixels[rows[i] : rows[i + 1]]
        bands[i] = band.sum(axis=0, dtype=f"{wide}4" if narrow else f"{wide}8")
    # [height, width]; of an empty range reduceat would give one element, but shrinking leaves none empty.
    sums = np.add.reduceat(bands, columns[:-1], axis=1)
    counts = np.diff(rows)[:, None] * np.diff(columns)[None, :]
    return sums / counts


def _edges(length: int, parts: int) -> np.ndarray:
    # Half goes up at every border, so that each source pixel counts for exactly one output pixel.
    return (np.arange(parts + 1) * length / parts + 0.5).astype(np.int64)


def _filtered(pixels: np.ndarray, height: int, width: int, name: str) -> np.ndarray:
    """A PIL filter in float32. The values are centred before, which keeps negatives symmetric to the bit."""
    middle = (float(pixels.min()) + float(pixels.max())) / 2
    centred = PIL.Image.fromarray(np.subtract(pixels, middle, dtype=np.float64).astype(np.float32))
    method = PIL.Image.Resampling.LANCZOS if name == "lanczos" else PIL.Image.Resampling.BILINEAR
    small = np.asarray(centred.resize((width, height), method), dtype=np.float64) + middle
    return np.clip(small, float(pixels.min()), float(pixels.max()))  # Lanczos overshoots at edges


def padded(image: np.ndarray, crop: Box, size: int) -> np.ndarray:
    """uint8 [h, w] on a black [size, size], where the crop box says that it lies."""
    height, width = image.shape
    if (height, width) == (size, size):
        return image
    canvas = np.zeros((size, size), dtype=np.uint8)
    scale = size / crop.width
    # Offset and image are rounded apart: without the limit they may stick out by one pixel.
    top = min(round(max(0.0, -crop.y0) * scale), size - height)
    left = min(round(max(0.0, -crop.x0) * scale), size - width)
    canvas[top : top + height, left : left + width] = image
    return canvas


def mapped_box(lesion: Box, crop: Box, size: int) -> tuple[Box, float]:
    """(the lesion in output pixels, cut at the border; the part of its area inside)."""
    scale = size / crop.width
    x0, x1 = ((x - crop.x0) * scale for x in (lesion.x0, lesion.x1))
    y0, y1 = ((y - crop.y0) * scale for y in (lesion.y0, lesion.y1))
    cut = Box(*(float(np.clip(value, 0, size)) for value in (x0, y0, x1, y1)))
    area = (x1 - x0) * (y1 - y0)
    # Outside the crop a lesion is cut to nothing, which makes its share 0 without further questions.
    return cut, cut.width * cut.height / area if area > 0 else 0.0
