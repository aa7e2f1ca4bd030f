"""How alike two pictures are, at a glance: a tiny copy, and a hash that changes little when they do."""

from __future__ import annotations

import numpy as np
import PIL.Image

THUMB = 16  # side of the tiny picture from which the farthest images are found


def thumbnail(image: np.ndarray) -> bytes:
    """uint8 [H, W] -> THUMB x THUMB pixels as bytes."""
    return _shrunk(image, THUMB, THUMB).tobytes()


def difference_hash(image: np.ndarray) -> str:
    """64-bit dHash: is each of 8x8 cells brighter than its right neighbour; alike pictures differ little."""
    # [8, 9]: nine cells in a row have eight right neighbours.
    cells = _shrunk(image, 9, 8).astype(np.int16)
    return np.packbits(cells[:, :-1] > cells[:, 1:]).tobytes().hex()


def _shrunk(image: np.ndarray, width: int, height: int) -> np.ndarray:
    # A mean over each cell: a sharper filter lets single noisy pixels flip bits of the hash.
    return np.asarray(PIL.Image.fromarray(image).resize((width, height), PIL.Image.Resampling.BOX))


INVERTED, BARS = "reversed?", "bars?"  # doubts about a frame, as they stand on a sheet
_ALIKE = 3  # grey levels within a straight bar
_STEP = 24  # grey levels from the bar to the picture beside it
_MOST_BAR = 4  # cells of a tiny picture: a bar that is wider is rather the patient's surroundings


def frame_doubt(thumb: np.ndarray, mean: np.ndarray) -> str:
    """What a human should look at: a polarity against that of the others, bars of a collimator; or nothing.

    Both arguments are tiny pictures of THUMB x THUMB values, the image's own and the mean of all.
    """
    pixels = thumb.astype(np.float64)
    a, b = pixels - pixels.mean(), mean - mean.mean()
    size = np.sqrt((a @ a) * (b @ b))
    # Images of one kind resemble their mean; clearly its negative is what a wrong polarity looks like.
    if size > 0 and a @ b / size < -0.3:
        return INVERTED
    square = pixels.reshape(THUMB, THUMB)
    sides = (square, square[::-1], square.T, square.T[::-1])
    return BARS if any(map(_has_bar, sides)) else ""


def _has_bar(rows: np.ndarray) -> bool:
    """Whether the first rows are one level, and the next one, all along, is another."""
    level = rows[0].mean()
    flat = [float(np.ptp(row)) <= _ALIKE and abs(row.mean() - level) <= _ALIKE for row in rows]
    width = flat.index(False) if False in flat else THUMB
    # The row behind may hold the edge itself, so the one after it is asked.
    inner = rows[min(width + 1, THUMB - 1)]
    is_bar = 0 < width <= _MOST_BAR
    return is_bar and float(np.mean(np.abs(inner - level) > _STEP)) > 0.75
