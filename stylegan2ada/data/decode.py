"""Bytes of an image file -> uint8 pixels, by Pillow alone; what is not 8-bit grey or RGB is refused."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageFile

from stylegan2ada.errors import UserError
from stylegan2ada.untrusted import MIB, read_file

# The formats of radiographs and photographs. Pillow knows forty more, and for EPS it starts Ghostscript.
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "PPM", "GIF", "WEBP", "JPEG2000", "TGA")
FILE_LIMIT = 256 * MIB  # of an image file; the largest uncompressed radiographs have 60 MiB
PIXEL_LIMIT = 1 << 26  # 8192 x 8192

_KINDS = {
    "1": "a black-and-white image of 1 bit",
    "P": "a palette image",
    "LA": "a grey image with transparency",
    "PA": "a palette image with transparency",
    "RGBA": "an RGB image with transparency (RGBA)",
    "CMYK": "a CMYK image",
    "YCbCr": "a YCbCr image",
    "I": "a 32-bit or 16-bit image",
    "I;16": "a 16-bit image",
    "I;16B": "a 16-bit image",
    "I;16L": "a 16-bit image",
    "F": "a floating-point image",
}


class DatasetError(UserError, OSError):
    """The data set cannot be read; an OSError too, as programs written for the original expect."""


@contextlib.contextmanager
def open_picture(
    source: bytes | str | Path,  # the content of an image file, or where one lies
    name: str | None = None,  # in messages
    *,
    error: type[UserError] = DatasetError,
) -> Iterator[PIL.Image.Image]:
    """A picture of a known format and a sane size, read whole; the one door to Pillow's readers."""
    name = name or (str(source) if not isinstance(source, bytes) else "the picture")
    content = source if isinstance(source, bytes) else read_file(source, FILE_LIMIT, error=error)
    with _opened(content, name, error) as picture:
        with _told(name, error):
            picture.load()
        yield picture


def decode_image(content: bytes, name: str) -> np.ndarray:
    """uint8 [H, W] of a grey or [H, W, 3] of an RGB picture; an error that names the file for all else."""
    with _opened(content, name, DatasetError) as picture:
        mode = picture.mode
        # Asked before it is read: Pillow would cut 16-bit RGB to 8 bits without a word.
        if any(";16" in str(tile[3]) for tile in picture.tile):
            mode = "I;16"
        # No silent conversion: what a palette or 16 bits mean in training is for the user to decide.
        if mode in ("L", "RGB"):
            with _told(name, DatasetError):
                return np.array(picture)
    raise DatasetError(f"{name} is {_KINDS.get(mode, f'of mode {mode}')}; convert it to 8-bit grey or RGB")


@contextlib.contextmanager
def _opened(content: bytes, name: str, error: type[UserError]) -> Iterator[PIL.ImageFile.ImageFile]:
    with _told(name, error):
        picture = PIL.Image.open(io.BytesIO(content), formats=FORMATS)
    with picture:
        width, height = picture.size
        if width * height > PIXEL_LIMIT:
            raise error(f"{name} claims {width} x {height} pixels, over {PIXEL_LIMIT:,}; shrink or remove it")
        yield picture


@contextlib.contextmanager
def _told(name: str, error: type[UserError]) -> Iterator[None]:
    """Damage told as our own error: Pillow's readers fail in whatever way the bytes lead them."""
    try:
        yield
    except PIL.UnidentifiedImageError as unknown:
        raise error(
            f"{name} cannot be decoded (it is not an image: {', '.join(FORMATS)}); restore or remove it"
        ) from unknown
    except Exception as damage:
        raise error(f"{name} cannot be decoded ({damage}); restore or remove it") from damage


def is_image_name(name: str) -> bool:
    """Does Pillow know the extension?"""
    # Fills Pillow's table of formats, which is loaded lazily.
    PIL.Image.init()
    return os.path.splitext(name)[1].lower() in PIL.Image.EXTENSION
