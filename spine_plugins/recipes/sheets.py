"""Pictures of recipes: curves by matplotlib, and sheets of images with captions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stylegan2ada.errors import MissingError
from stylegan2ada.images import captioned_tiles, to_uint8


def plotting() -> Any:
    """matplotlib's pyplot, drawing into files; MissingError where it is not installed."""
    try:
        import matplotlib
    except ImportError as error:
        raise MissingError("pictures need matplotlib; run: pip install 'spinegan[report]'") from error
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def save_sheet(
    rows: Sequence[tuple[str, Tensor]],  # caption, images [N, C, H, W] in [-1, 1]; all rows of one length
    path: Path,
) -> None:
    """One line of images per row, each with the row's caption."""
    columns = len(rows[0][1])
    channels = max(images.shape[1] for _, images in rows)
    tiles, captions = [], []
    for caption, images in rows:
        pixels = to_uint8(images.detach().expand(-1, channels, -1, -1)).permute(0, 2, 3, 1).cpu().numpy()
        tiles += list(pixels)
        captions += [caption] * columns
    captioned_tiles(tiles, captions, columns).save(path)


def mask_pictures(classes: Tensor, kinds: int) -> Tensor:
    """Class numbers [N, H, W] -> grey pictures [N, 1, H, W] in [-1, 1]; 0 is black, the last kind white."""
    return (classes.float() / max(kinds, 1) * 2 - 1)[:, None].to(torch.float32)
