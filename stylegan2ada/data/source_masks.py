"""Masks of a source's images: a folder or .zip of grey pictures of the same names."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from stylegan2ada.data import transforms
from stylegan2ada.data.sources import Source, SourceError, SourceImage, open_source

MOST_KINDS = 32


@dataclass(frozen=True)
class SourceMasks:
    """The mask of every image."""

    path: str
    of: dict[str, SourceImage]  # by the image's name without its ending

    def read(self, name: str, image: np.ndarray, transform: transforms.Transform) -> np.ndarray:
        """uint8 [H, W] of the image of that name, as it was before its transform, and transformed alike."""
        mask = as_kinds(self.of[_key(name)].read(), f"{self.path}: {self.of[_key(name)].name}")
        if mask.shape != image.shape[:2]:
            raise SourceError(
                f"the mask of {name} is {mask.shape[1]}x{mask.shape[0]}, the image {image.shape[1]}x"
                f"{image.shape[0]}; give masks of the images' size"
            )
        found = transform(mask)
        assert found is not None, "the image was not dropped, and its mask has its size"
        return found


@contextlib.contextmanager
def find_masks(source: Source, path: str | None) -> Iterator[SourceMasks | None]:
    """What --masks names, checked for every image; None if it was not given."""
    if path is None:
        yield None
        return
    with open_source(path, flag="--masks") as found:
        of = {_key(image.name): image for image in found.images()}
        # In their folder by the images' own names, or in a data set of pairs below masks/.
        of |= {key.removeprefix("masks/"): image for key, image in of.items() if key.startswith("masks/")}
        lacking = [image.name for image in source.images() if _key(image.name) not in of]
        if lacking:
            raise SourceError(
                f"--masks={path} has no mask of {lacking[0]} ({len(lacking)} of {source.total} images lack "
                "one); give a grey picture of the same name for each"
            )
        yield SourceMasks(path, of)


def as_kinds(mask: np.ndarray, where: str) -> np.ndarray:
    """Numbers of kinds, [H, W]; a mask of black and white has one kind."""
    if mask.ndim == 3 and (mask == mask[..., :1]).all():
        mask = mask[..., 0]
    if mask.ndim == 2 and mask.max() == 255 and np.isin(mask, (0, 255)).all():
        return (mask > 0).astype(np.uint8)
    if mask.ndim != 2 or mask.max() > MOST_KINDS:
        raise SourceError(
            f"{where} is no mask: give grey pictures of 0 (background) and kinds from 1 to {MOST_KINDS}, or "
            "of black and white"
        )
    return mask


def _key(name: str) -> str:
    return str(PurePosixPath(name).with_suffix(""))
