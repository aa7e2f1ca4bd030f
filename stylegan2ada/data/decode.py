"""Bytes of an image file -> pixels, by Pillow alone: 8-bit grey or RGB, or grey values of any depth."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator, Mapping
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

DICOM_ENDINGS = (".dcm", ".dicom", ".dic")  # pictures, too, but for another tool
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
DEEP_MODES = {"I", "I;16", "I;16B", "I;16L", "F"}  # grey of more than 8 bits
_WHITE_IS_ZERO, _PHOTOMETRIC = 0, 262  # TIFF 6.0


class DatasetError(UserError, OSError):
    """The data set cannot be read; an OSError too, as programs written for the original expect."""


@contextlib.contextmanager
def open_picture(
    source: bytes | str | Path,  # the content of an image file, or where one lies
    name: str | None = None,  # in messages
    *,
    error: type[UserError] = DatasetError,
    most_pixels: int = PIXEL_LIMIT,
) -> Iterator[PIL.Image.Image]:
    """A picture of a known format and a sane size, read whole; the one door to Pillow's readers."""
    name = name or (str(source) if not isinstance(source, bytes) else "the picture")
    content = source if isinstance(source, bytes) else read_file(source, FILE_LIMIT, error=error)
    with _opened(content, name, error, most_pixels) as picture:
        with _told(name, error):
            picture.load()
        yield picture


def decode_image(content: bytes, name: str) -> np.ndarray:
    """uint8 [H, W] of a grey or [H, W, 3] of an RGB picture; an error that names the file for all else."""
    with _opened(content, name, DatasetError) as picture:
        mode = "I;16" if _is_cut(picture) else picture.mode
        # No silent conversion: what a palette or 16 bits mean in training is for the user to decide.
        if mode in ("L", "RGB"):
            with _told(name, DatasetError):
                return np.array(picture)
    advice = ", or give dataset_tool.py --window" if mode in DEEP_MODES else ""
    raise DatasetError(
        f"{name} is {_KINDS.get(mode, f'of mode {mode}')}; convert it to 8-bit grey or RGB{advice}"
    )


def decode_grey(content: bytes, name: str) -> np.ndarray:
    """The stored values [H, W] of a grey picture of any depth: integers or floats, neither scaled nor cut."""
    with _opened(content, name, DatasetError) as picture:
        if picture.mode not in {"L", *DEEP_MODES} or (_is_cut(picture) and picture.mode not in DEEP_MODES):
            kind = _KINDS.get(picture.mode, f"of mode {picture.mode}")
            raise DatasetError(f"{name} is {kind}; a window can be chosen for grey images only")
        # Pillow turns such negatives round in 8 bits but not in 16.
        tags: Mapping[int, object] = getattr(picture, "tag_v2", {})
        if picture.mode in DEEP_MODES and tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
            raise DatasetError(f"{name} stores white as 0 (TIFF WhiteIsZero); store it the other way round")
        with _told(name, DatasetError):
            return np.array(picture)


def _is_cut(picture: PIL.ImageFile.ImageFile) -> bool:
    """Does the file hold 16 bits a sample? Asked before it is read: of RGB Pillow keeps only 8."""
    return any(";16" in str(tile[3]) for tile in picture.tile)


@contextlib.contextmanager
def _opened(
    content: bytes, name: str, error: type[UserError], most_pixels: int = PIXEL_LIMIT
) -> Iterator[PIL.ImageFile.ImageFile]:
    with _told(name, error):
        picture = PIL.Image.open(io.BytesIO(content), formats=FORMATS)
    with picture:
        width, height = picture.size
        if width * height > most_pixels:
            raise error(f"{name} claims {width} x {height} pixels, over {most_pixels:,}; shrink or remove it")
        yield picture


@contextlib.contextmanager
def _told(name: str, error: type[UserError]) -> Iterator[None]:
    """Damage told as our own error: Pillow's readers fail in whatever way the bytes lead them."""
    try:
        yield
    except PIL.UnidentifiedImageError as unknown:
        raise error(
            f"{name} cannot be decoded (it is not an image of a kind read here: {', '.join(FORMATS)}); "
            "restore or remove it"
        ) from unknown
    except Exception as damage:
        raise error(f"{name} cannot be decoded ({damage}); restore or remove it") from damage


def is_image_name(name: str) -> bool:
    """Does Pillow know the extension?"""
    # upstream: its whole table, so that numbers of images agree; those we do not read are named, not skipped.
    # This fills the table, which is loaded lazily.
    PIL.Image.init()
    return os.path.splitext(name)[1].lower() in PIL.Image.EXTENSION
