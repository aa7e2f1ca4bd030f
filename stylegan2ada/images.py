"""The only file that knows how uint8 pixels and [-1, 1] floats relate; image grids, sheets, PNG writing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import PIL.features
import PIL.Image

if TYPE_CHECKING:
    import PIL.ImageFont
    import torch  # not at run time: workers that only write PNG shall stay small and start fast

LUMA = (0.299, 0.587, 0.114)  # R, G, B -> grey (ITU-R BT.601), as image libraries convert


def to_float(pixels: torch.Tensor) -> torch.Tensor:
    """[..., H, W] in [0, 255], of any type -> float32 in [-1, 1]."""
    return pixels.float() / 127.5 - 1


def to_255(img: torch.Tensor) -> torch.Tensor:
    """float in [-1, 1] -> float in [0, 255], neither clipped nor rounded: what gradients go through."""
    return (img + 1) * 127.5


def to_uint8(img: torch.Tensor) -> torch.Tensor:
    """float in [-1, 1] -> uint8 in [0, 255]: x * 127.5 + 128, clipped, then truncated (generate, metrics)."""
    return (img.float() * 127.5 + 128).clamp(0, 255).byte()


def to_uint8_truncated(img: torch.Tensor) -> torch.Tensor:
    """float in [-1, 1] -> uint8: (x + 1) * 127.5, clipped, truncated (upstream: films of the projector)."""
    return to_255(img.float()).clamp(0, 255).byte()


def range_to_uint8(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Linear map of [low, high] to [0, 255], rounded half to even (snapshot grids)."""
    scaled = (np.asarray(values, dtype=np.float32) - low) * (255 / (high - low))
    return np.rint(scaled).clip(0, 255).astype(np.uint8)


def tile(images: np.ndarray, columns: int) -> np.ndarray:
    """[N, C, H, W] -> one [rows * H, columns * W, C] picture, row by row."""
    n, channels, height, width = images.shape
    assert n % columns == 0, (n, columns)
    rows = n // columns
    grid = images.reshape(rows, columns, channels, height, width)
    return grid.transpose(0, 3, 1, 4, 2).reshape(rows * height, columns * width, channels)


def captioned_grid(
    title: str,
    tiles: Sequence[PIL.Image.Image],  # of one size and one mode; none leaves an empty row
    columns: int,
    *,
    cell: tuple[int, int],  # width, height of a place, which a smaller tile is centred in
    band: int,  # height above the tiles, for the title
    at: tuple[int, int],  # where the title begins
    mode: str = "L",
    background: int = 0,
    ink: int | tuple[int, int, int] = 255,
) -> PIL.Image.Image:
    """A contact sheet: a title above rows of pictures."""
    import PIL.ImageDraw  # only sheets need fonts

    (width, height), rows = cell, -(-max(len(tiles), 1) // columns)
    sheet = PIL.Image.new(mode, (columns * width, rows * height + band), background)
    # The height of the band decides: a caption above large pictures is to be read, too, all lines of it.
    line = band // (title.count("\n") + 1)
    PIL.ImageDraw.Draw(sheet).text(at, title, fill=ink, font=caption_font(max(10, line - 7)), spacing=2)
    for i, tile in enumerate(tiles):
        left, top = i % columns * width, i // columns * height + band
        sheet.paste(tile, (left + (width - tile.width) // 2, top + (height - tile.height) // 2))
    return sheet


def caption_font(size: int) -> PIL.ImageFont.FreeTypeFont | PIL.ImageFont.ImageFont:
    """Pillow's own font; without FreeType it has one size only."""
    import PIL.ImageFont

    return PIL.ImageFont.load_default(size if PIL.features.check("freetype2") else None)


_LEAST_SIDE = 96  # pixels: of a tile that a caption is to fit on
_LINE = 12  # pixels


def captioned_tiles(
    images: Sequence[np.ndarray],  # uint8 [H, W, C], of one size
    captions: Sequence[str],  # may have several lines
    columns: int,
) -> PIL.Image.Image:
    """Rows of images, each below its caption; small ones are enlarged by a whole factor, unsmoothed."""
    scale = -(-_LEAST_SIDE // min(images[0].shape[:2]))
    band = _LINE * max(caption.count("\n") + 1 for caption in captions) + 2
    tiles = []
    for image, caption in zip(images, captions, strict=True):
        picture = to_pil(image.repeat(scale, axis=0).repeat(scale, axis=1))
        tiles.append(captioned_grid(
            caption, [picture], 1, cell=picture.size, band=band, at=(2, 0), mode=picture.mode,
            ink=255 if picture.mode == "L" else (255, 255, 255),
        ))  # fmt: skip
    rows = [tiles[first : first + columns] for first in range(0, len(tiles), columns)]
    return stacked([stacked(row, is_row=True) for row in rows])


def stacked(
    pictures: Sequence[PIL.Image.Image], *, is_row: bool = False, background: int | tuple[int, int, int] = 0
) -> PIL.Image.Image:
    """Pictures of one mode below each other, or side by side."""
    widths, heights = [p.width for p in pictures], [p.height for p in pictures]
    size = (sum(widths), max(heights)) if is_row else (max(widths), sum(heights))
    whole = PIL.Image.new(pictures[0].mode, size, background)
    left = top = 0
    for picture in pictures:
        whole.paste(picture, (left, top))
        left, top = (left + picture.width, 0) if is_row else (0, top + picture.height)
    return whole


def to_pil(pixels: np.ndarray) -> PIL.Image.Image:
    """uint8 [H, W], [H, W, 1] or [H, W, 3] -> a grey or RGB picture."""
    assert pixels.dtype == np.uint8 and pixels.ndim in (2, 3), (pixels.dtype, pixels.shape)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    return PIL.Image.fromarray(np.ascontiguousarray(pixels))


def save_png(pixels: np.ndarray, path: str | Path | BinaryIO) -> None:
    """Write uint8 [H, W(, C)] as PNG, into a file of that name or an open one."""
    to_pil(pixels).save(path, format="PNG")


def save_image_grid(
    images: np.ndarray,
    path: str | Path | BinaryIO,
    *,
    drange: tuple[float, float],
    grid_size: tuple[int, int],
) -> None:
    """Write [N, C, H, W] images as one picture; grid_size is (columns, rows), drange the value range."""
    columns, rows = grid_size
    assert len(images) == columns * rows, (len(images), grid_size)
    save_png(tile(range_to_uint8(images, *drange), columns), path)
