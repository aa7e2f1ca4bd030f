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
