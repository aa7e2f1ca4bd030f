"""Which training images the snapshot picture shows: how many rows and columns, and whom where."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_PICTURE = (7680, 4320)  # pixels that the whole picture should roughly have, width and height
_FEWEST = (7, 4)
_MOST = 32


def grid_size(image_shape: Sequence[int]) -> tuple[int, int]:
    """(columns, rows) for images of shape [C, H, W]."""
    _, height, width = image_shape
    columns, rows = (
        min(max(pixels // side, fewest), _MOST)
        for pixels, side, fewest in zip(_PICTURE, (width, height), _FEWEST)
    )
    return columns, rows


def grid_indices(
    columns: int,
    rows: int,
    num_images: int,
    labels: np.ndarray | None = None,  # raw labels, [num_images] or [num_images, c_dim]
) -> list[int]:
    """Dataset indices row by row; with labels, each row shows one class and the classes alternate."""
    # upstream: a fixed seed, so that all runs on a data set show the same images.
    rnd = np.random.RandomState(0)
    if labels is None:
        everyone = list(range(num_images))
        rnd.shuffle(everyone)
        # A small data set fills the picture several times.
        return [everyone[cell % num_images] for cell in range(columns * rows)]
    groups = _indices_by_label(np.asarray(labels))
    for group in groups:
        rnd.shuffle(group)
    return [_member(groups, columns, *divmod(cell, columns)) for cell in range(columns * rows)]


def _member(groups: list[list[int]], columns: int, row: int, column: int) -> int:
    """A class's later rows go on where its earlier ones stopped, in a circle."""
    turn, which = divmod(row, len(groups))
    group = groups[which]
    return group[(turn * columns + column) % len(group)]


def _indices_by_label(labels: np.ndarray) -> list[list[int]]:
    """Index lists of equal labels, ordered by the label read backwards."""
    groups: dict[tuple[float, ...], list[int]] = {}
    for index, label in enumerate(labels.reshape(len(labels), -1)):
        # Read backwards, one-hot labels sort by class number.
        groups.setdefault(tuple(label[::-1].tolist()), []).append(index)
    return [groups[key] for key in sorted(groups)]
