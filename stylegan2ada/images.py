"""The only file that knows how uint8 pixels and [-1, 1] floats relate; image grids and PNG writing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import PIL.Image

if TYPE_CHECKING:
    import torch  # not at run time: workers that only write PNG shall stay small and start fast

LUMA = (0.299, 0.587, 0.114)  # weights of red, green and blue in grey (Y of ITU-R BT.601)


def to_float(pixels: torch.Tensor) -> torch.Tensor:
    """uint8 [..., H, W] in [0, 255] -> float32 in [-1, 1]."""
    return pixels.float() / 127.5 - 1


def to_uint8(img: torch.Tensor) -> torch.Tensor:
    """float in [-1, 1] -> uint8 in [0, 255]: x * 127.5 + 128, clipped, then truncated (generate, metrics)."""
    return (img.float() * 127.5 + 128).clamp(0, 255).byte()


def to_255(img: torch.Tensor) -> torch.Tensor:
    """float in [-1, 1] -> float in [0, 255], neither rounded nor clipped: what feature networks see."""
    return (img + 1) * 127.5


def to_uint8_truncated(img: torch.Tensor) -> torch.Tensor:
    """float in [-1, 1] -> uint8 in [0, 255], half a level darker than to_uint8 (frames of the projector)."""
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


def to_pil(pixels: np.ndarray) -> PIL.Image.Image:
    """uint8 [H, W], [H, W, 1] or [H, W, 3] -> a grey or RGB picture."""
    assert pixels.dtype == np.uint8 and pixels.ndim in (2, 3), (pixels.dtype, pixels.shape)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    return PIL.Image.fromarray(np.ascontiguousarray(pixels))


def save_png(pixels: np.ndarray, path: str | Path) -> None:
    """Write uint8 [H, W(, C)] as PNG."""
    to_pil(pixels).save(path, format="PNG")


def save_image_grid(
    images: np.ndarray, path: str | Path, *, drange: tuple[float, float], grid_size: tuple[int, int]
) -> None:
    """Write [N, C, H, W] images as one picture; grid_size is (columns, rows), drange the value range."""
    columns, rows = grid_size
    assert len(images) == columns * rows, (len(images), grid_size)
    save_png(tile(range_to_uint8(images, *drange), columns), path)
