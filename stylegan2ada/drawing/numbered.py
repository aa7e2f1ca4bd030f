"""Single images in a folder, named by their numbers, and one picture of all of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image

from stylegan2ada.errors import UserError
from stylegan2ada.images import captioned_tiles, save_png, tile, to_pil


@dataclass(frozen=True)
class Numbered:
    """What was written."""

    images: list[Path]
    grid: Path | None

    @property
    def files(self) -> list[Path]:
        return self.images if self.grid is None else [*self.images, self.grid]


def write_images(
    images: Iterable[tuple[int, np.ndarray]],  # number of the file, uint8 [H, W, C]
    folder: Path,
    name: str,  # of a file, with the place of its number: seed{:04d}.png
    *,
    has_grid: bool,  # also grid.png
    caption: Callable[[int], str] | None = None,  # of an image in it
) -> Numbered:
    """One PNG each, as they come; only those of a grid are kept in memory."""
    if folder.suffix.lower() == ".zip":
        raise UserError(f"--outdir={folder}: single images go into a folder; a .zip needs --per-class=N")
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    shown: list[tuple[int, np.ndarray]] = []
    for number, image in images:
        written.append(folder / name.format(number))
        save_png(image, written[-1])
        if has_grid:
            shown.append((number, image))
    if not shown:
        return Numbered(written, None)
    grid = folder / "grid.png"
    _squarish(shown, caption).save(grid, format="PNG")
    return Numbered(written, grid)


def _squarish(shown: list[tuple[int, np.ndarray]], caption: Callable[[int], str] | None) -> PIL.Image.Image:
    """[H, W, C] each -> one picture, row by row, about as wide as high; places left over stay black."""
    numbers, images = zip(*shown)
    columns = math.ceil(math.sqrt(len(images)))
    if caption is not None:
        return captioned_tiles(images, [caption(number) for number in numbers], columns)
    empty = [np.zeros_like(images[0])] * (-len(images) % columns)
    return to_pil(tile(np.stack([*images, *empty]).transpose(0, 3, 1, 2), columns))
