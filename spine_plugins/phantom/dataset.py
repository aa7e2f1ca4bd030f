"""Phantoms straight into a training set (zip or folder), and the picture that shows what they look like."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageDraw
from scipy.ndimage import binary_erosion

from spine_plugins.phantom.lesions import KINDS
from spine_plugins.phantom.scene import Phantom, make_study, render
from spine_plugins.phantom.series import (
    LABEL_NAMES,
    SeriesOptions,
    pack_masks,
    run_over_studies,
    sheets_of_study,
    write_factors,
)
from spine_plugins.vindr import NO_FINDING
from stylegan2ada.data.writer import DatasetWriter, archive_name
from stylegan2ada.errors import UserError
from stylegan2ada.progress import Progress

_OUTLINES = (
    (255, 210, 0),
    (90, 220, 90),
    (255, 90, 60),
    (80, 170, 255),
    (255, 110, 255),
    (255, 160, 70),
    (0, 230, 230),
)


def to_pixels(image: np.ndarray) -> np.ndarray:
    """float 0..1 -> uint8."""
    return np.rint(image * 255).clip(0, 255).astype(np.uint8)


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
    with_masks: bool = False,
    workers: int | None = 1,
    overwrite: bool = False,
) -> list[dict[str, object]]:
    """Write `n` square grey images with labels and groups; returns the rows of `X_factors.csv` beside it.

    classes "spine8" draws at most one reported kind per image, as the eight-class labels demand.
    with_masks adds `X_masks.zip`: under the same names, one bit per structure (see pack_masks).
    """
    if classes not in LABEL_NAMES:
        raise UserError(f"--classes={classes} is unknown; choose from {', '.join(LABEL_NAMES)}")
    options = SeriesOptions(
        seed, (resolution, resolution), difficulty, confound, label_noise, allow_several=classes == "binary"
    ).checked()
    dest = Path(dest)
    rows: list[dict[str, object]] = []
    groups: dict[str, dict[str, str]] = {}
    progress = Progress(n, "phantoms")
    with DatasetWriter(dest, overwrite=overwrite) as writer:
        packed = []
        for count, results in run_over_studies(_pixels_of_study, options, n, workers):
            for pixels, mask, row, label in (result[classes] for result in results):
                row["name"] = writer.add(pixels, label)
                groups[str(row["name"])] = {"study": str(row["study"]), "patient": str(row["patient"])}
                rows.append(row)
                if with_masks:
                    packed.append(mask)
            progress.step(count)
        writer.extra["label_names"] = LABEL_NAMES[classes]
        writer.extra["groups"] = groups
        writer.extra["recipe"] = options.recipe(classes=classes)
    progress.close()
    if with_masks:
        with DatasetWriter(side_file(dest, "masks.zip"), overwrite=overwrite) as writer:
            for mask in packed:
                writer.add(mask)
    write_factors(side_file(dest, "factors.csv"), rows)
    return rows


def side_file(dest: Path, what: str) -> Path:
    """X_what beside X.zip (or beside the folder X)."""
    return dest.with_name(f"{dest.stem if dest.suffix == '.zip' else dest.name}_{what}")


def _pixels_of_study(options: SeriesOptions, number: int, first: int, count: int) -> list[dict]:
    """Both kinds of label, since one reported kind per image makes them equally valid."""
    results = []
    for sheet in sheets_of_study(options, number, first, count):
        name = archive_name(sheet.index)
        pixels, mask = to_pixels(sheet.phantom.image), pack_masks(sheet.phantom.masks)
        results.append({c: (pixels, mask, sheet.row(name, c), sheet.label_in(c)) for c in LABEL_NAMES})
    return results


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
    picture = PIL.Image.new("RGB", (columns * width, (1 + len(KINDS)) * (height + 14)))
    pen = PIL.ImageDraw.Draw(picture)
    for row, kind in enumerate((NO_FINDING, *KINDS)):
        top = row * (height + 14)
        for column in range(columns):
            severity = 0.3 + 0.7 * column / max(columns - 1, 1)
            study = make_study(
                np.random.SeedSequence((seed, row, column)),
                kinds={} if kind == NO_FINDING else {kind: severity},
                difficulty=difficulty,
                confound=confound,
            )
            view = "lateral" if kind == "Foraminal stenosis" or column % 2 else "AP"
            picture.paste(_tile(render(study, 0, size, view), outlines), (column * width, top + 14))
        pen.text((4, top + 1), kind, fill=(255, 255, 255))
    return picture


def _tile(phantom: Phantom, outlines: bool) -> PIL.Image.Image:
    pixels = np.repeat(to_pixels(phantom.image)[:, :, None], 3, 2)
    if outlines:
        for kind, colour in zip(KINDS, _OUTLINES):
            if kind in phantom.masks:
                mask = phantom.masks[kind]
                pixels[mask & ~binary_erosion(mask)] = colour
    return PIL.Image.fromarray(pixels)
