"""Phantoms straight into a training set (zip or folder), and the picture that shows what they look like."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL.Image
from scipy.ndimage import binary_erosion

from spine_plugins.phantom.lesions import KINDS
from spine_plugins.phantom.scene import Phantom, make_study, render
from spine_plugins.phantom.series import (
    LABEL_NAMES,
    Row,
    SeriesOptions,
    kind_mask,
    pack_masks,
    run_over_studies,
    sheets_of_study,
    unpack_masks,
    write_factors,
)
from spine_plugins.vindr import NO_FINDING
from stylegan2ada import files
from stylegan2ada.data.writer import DatasetWriter, archive_name
from stylegan2ada.errors import UserError
from stylegan2ada.images import captioned_grid, stacked
from stylegan2ada.progress import Progress

_OUTLINES = (  # a colour per kind
    (255, 210, 0),
    (90, 220, 90),
    (255, 90, 60),
    (80, 170, 255),
    (255, 110, 255),
    (255, 160, 70),
    (0, 230, 230),
)


class Phantoms(NamedTuple):
    """A series in memory."""

    images: np.ndarray  # uint8 [N, H, W]
    labels: np.ndarray  # int64 [N], numbers of the classes
    rows: list[Row]  # everything that is true about each: the columns of factors.csv


class _Drawn(NamedTuple):
    pixels: np.ndarray  # uint8 [H, W]
    mask: np.ndarray  # uint8 [H, W], see pack_masks
    row: Row
    label: int


def draw_phantoms(
    n: int,
    seed: int = 0,
    *,
    resolution: int = 64,
    classes: str = "binary",  # binary | spine8
    difficulty: float = 1.0,
    confound: float = 0.0,
    label_noise: float = 0.0,
    lateral: float = 0.5,  # share of images from the side
) -> Phantoms:
    """`n` phantoms as arrays: the images, labels and factors that write_dataset_zip writes for this seed.

    >>> images, labels, rows = draw_phantoms(4, seed=1, resolution=32)
    >>> images.shape, images.dtype.name, labels.tolist() == [row["label"] for row in rows]
    ((4, 32, 32), 'uint8', True)
    """
    options = _options(seed, resolution, classes, difficulty, confound, label_noise, lateral)
    drawn = list(_series(options, n, classes, workers=1))
    labels = np.array([one.label for one in drawn], np.int64)
    return Phantoms(np.stack([one.pixels for one in drawn]), labels, [one.row for one in drawn])


def write_dataset_zip(
    dest: str | os.PathLike[str],
    n: int,
    seed: int = 0,
    resolution: int = 64,
    classes: str = "binary",
    *,
    difficulty: float = 1.0,
    confound: float = 0.0,
    label_noise: float = 0.0,
    lateral: float = 0.5,  # share of images from the side
    with_masks: bool = False,
    pairs: str | None = None,  # vertebrae or lesions: a mask beside every image, for recipes
    workers: int | None = 1,
    overwrite: bool = False,
) -> list[Row]:
    """Write `n` square grey images with labels and groups; returns the rows of `X_factors.csv` beside it.

    classes "spine8" draws at most one reported kind per image, as the eight-class labels demand.
    with_masks adds `X_masks.zip`: under the same names, one bit per structure (see pack_masks). pairs puts
    numbers of kinds into the set itself, masks/ before the names (see kind_mask).
    """
    options = _options(seed, resolution, classes, difficulty, confound, label_noise, lateral)
    dest = Path(dest)
    rows: list[Row] = []
    packed: list[np.ndarray] = []
    with DatasetWriter(dest, overwrite=overwrite) as writer:
        for pixels, mask, row, label in _series(options, n, classes, workers):
            row["name"] = name = writer.add(pixels, label)
            rows.append(row)
            if pairs is not None:
                writer.add_mask(kind_mask(unpack_masks(mask), pairs), name)
            if with_masks:
                packed.append(mask)
        writer.extra["label_names"] = LABEL_NAMES[classes]
        if pairs is not None:
            writer.extra["mask_names"] = ["vertebra"] if pairs == "vertebrae" else list(KINDS)
        writer.extra["groups"] = {
            str(row["name"]): {"study": row["study"], "patient": row["patient"]} for row in rows
        }
        writer.extra["recipe"] = options.recipe(classes)
    if with_masks:
        with DatasetWriter(side_file(dest, "masks.zip"), overwrite=overwrite) as writer:
            for mask in packed:
                writer.add(mask)
    write_factors(side_file(dest, "factors.csv"), rows)
    return rows


def side_file(dest: Path, what: str) -> Path:
    """X_what beside X.zip (or beside the folder X)."""
    return files.beside(dest, f"{dest.stem if dest.suffix == '.zip' else files.named(dest).name}_{what}")


def _options(
    seed: int,
    resolution: int,
    classes: str,
    difficulty: float,
    confound: float,
    label_noise: float,
    lateral: float,
) -> SeriesOptions:
    """Those of a data set: square, and with a single kind per image where the classes cannot say two."""
    if classes not in LABEL_NAMES:
        raise UserError(f"--classes={classes} is unknown; choose from {', '.join(LABEL_NAMES)}")
    return SeriesOptions(
        seed,
        (resolution, resolution),
        difficulty,
        confound,
        label_noise,
        allow_several=classes == "binary",
        lateral=lateral,
    ).checked()


def _series(options: SeriesOptions, n: int, classes: str, workers: int | None) -> Iterator[_Drawn]:
    progress = Progress(n, "phantoms")
    for count, results in run_over_studies(functools.partial(_draw_study, classes), options, n, workers):
        yield from results
        progress.step(count)
    progress.close()


def _draw_study(classes: str, options: SeriesOptions, number: int, first: int, count: int) -> list[_Drawn]:
    return [
        _Drawn(
            to_pixels(sheet.phantom.image),
            pack_masks(sheet.phantom.masks),
            sheet.row(archive_name(sheet.index), classes),
            sheet.label_in(classes),
        )
        for sheet in sheets_of_study(options, number, first, count)
    ]


def to_pixels(image: np.ndarray) -> np.ndarray:
    """float 0..1 -> uint8."""
    return np.rint(image * 255).clip(0, 255).astype(np.uint8)


def contact_sheet(
    seed: int = 0,
    size: tuple[int, int] = (256, 224),
    columns: int = 8,
    *,
    outlines: bool = False,
    difficulty: float = 1.0,
    confound: float = 0.0,
) -> PIL.Image.Image:
    """One row of images per kind (and one of normal spines), views in turn, mildest left and worst right."""
    height, width = size
    rows = []
    for row, kind in enumerate((NO_FINDING, *KINDS)):
        tiles = []
        for column in range(columns):
            severity = 0.3 + 0.7 * column / max(columns - 1, 1)
            study = make_study(
                np.random.SeedSequence((seed, row, column)),
                kinds={} if kind == NO_FINDING else {kind: severity},
                difficulty=difficulty,
                confound=confound,
            )
            view = "lateral" if kind == "Foraminal stenosis" or column % 2 else "AP"
            tiles.append(_tile(render(study, 0, size, view), outlines))
        rows.append(
            captioned_grid(
                kind,
                tiles,
                columns,
                cell=(width, height),
                band=max(18, height // 10),
                at=(6, 2),
                mode="RGB",
                ink=(255, 255, 255),
            )
        )
    return stacked(rows)


def _tile(phantom: Phantom, outlines: bool) -> PIL.Image.Image:
    pixels = np.repeat(to_pixels(phantom.image)[:, :, None], 3, 2)
    if outlines:
        for kind, colour in zip(KINDS, _OUTLINES):
            if kind in phantom.masks:
                mask = phantom.masks[kind]
                pixels[mask & ~binary_erosion(mask)] = colour
    return PIL.Image.fromarray(pixels)
