"""Bytes of an image file -> uint8 pixels, by Pillow alone; what is not 8-bit grey or RGB is refused."""

from __future__ import annotations

import io
import os

import numpy as np
import PIL.Image

from stylegan2ada.errors import UserError

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


def decode_image(content: bytes, name: str) -> np.ndarray:
    """uint8 [H, W] of a grey or [H, W, 3] of an RGB picture; an error that names the file for all else."""
    try:
        with PIL.Image.open(io.BytesIO(content)) as picture:
            mode = picture.mode
            if any(";16" in str(tile[3]) for tile in picture.tile):
                mode = "I;16"  # Pillow would cut 16-bit RGB to 8 bits without a word
            # No silent conversion: what a palette or 16 bits mean in training is for the user to decide.
            if mode in ("L", "RGB"):
                return np.array(picture)
    except PIL.UnidentifiedImageError as error:
        raise DatasetError(f"{name} cannot be decoded (it is not an image); restore or remove it") from error
    # All that Pillow raises on damaged files; its PNG reader says SyntaxError.
    except (OSError, ValueError, SyntaxError, EOFError, PIL.Image.DecompressionBombError) as error:
        raise DatasetError(f"{name} cannot be decoded ({error}); restore or remove it") from error
    raise DatasetError(f"{name} is {_KINDS.get(mode, f'of mode {mode}')}; convert it to 8-bit grey or RGB")


def is_image_name(name: str) -> bool:
    """Does Pillow know the extension?"""
    # Fills Pillow's table of formats, which is loaded lazily.
    PIL.Image.init()
    return os.path.splitext(name)[1].lower() in PIL.Image.EXTENSION
