"""Boxes of readers as masks: `X_boxes.json` of the DICOM tool beside `X.zip` -> a set of pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from spine_plugins.recipes.pairs import Pairs, ellipses
from spine_plugins.recipes.sheets import mask_pictures, save_sheet
from spine_plugins.vindr import COMMON, RARE
from stylegan2ada import untrusted
from stylegan2ada.data.dataset import ImageFolderDataset
from stylegan2ada.data.source_masks import MOST_KINDS
from stylegan2ada.data.writer import DatasetWriter
from stylegan2ada.errors import MissingError, UserError

_MOST_BYTES = 256 * untrusted.MIB
_SHOWN = 8
_LEAST_INSIDE = 0.25  # of a box, after the crop: what is left of others is no lesion to learn from

Box = tuple[str, float, float, float, float]


def boxes_beside(data: str | Path) -> Path:
    """Where the DICOM tool left the boxes of a data set."""
    path = Path(data)
    return path.with_name(f"{path.stem if path.suffix == '.zip' else path.name}_boxes.json")


def write_from_boxes(data: str, boxes: str | Path, out: str, *, overwrite: bool) -> dict[str, int]:
    """Every image with its boxes as filled ellipses; without one, with an empty mask -> images per kind."""
    dataset = ImageFolderDataset(data, use_labels=True)
    _, height, width = dataset.image_shape
    of = read_boxes(boxes, dataset.resolution)
    if strange := sorted(of.keys() - set(dataset.image_names)):
        raise UserError(
            f"{boxes} speaks of {strange[0]}, which {data} does not hold; give the two of one run"
        )
    others = sorted({box[0] for found in of.values() for box in found} - {*COMMON, *RARE})
    # The numbers of known kinds are those of every other set, the phantom's included.
    kinds = (*COMMON, *RARE, *others)
    if len(kinds) > MOST_KINDS:
        raise UserError(f"{boxes} names {len(kinds)} kinds; a mask has room for {MOST_KINDS}")
    groups = dataset.groups or {}
    kept: dict[str, object] = {}
    count = dict.fromkeys(kinds, 0)
    labels = dataset.raw_labels() if dataset.has_labels else None
    with DatasetWriter(out, overwrite=overwrite) as writer:
        for i, name in enumerate(dataset.image_names):
            # Large ones first, so that small ones lie on top of them.
            found = sorted(of.get(name, []), key=lambda b: -(b[3] - b[1]) * (b[4] - b[2]))
            numbered = [(kinds.index(b[0]) + 1, b[1], b[2], b[3], b[4]) for b in found]
            pixels = dataset.raw_image(i).transpose(1, 2, 0)
            written = writer.add(pixels, None if labels is None else labels[i])
            writer.add_mask(ellipses(numbered, height, width), written)
            if name in groups:
                kept[written] = groups[name]
            for kind in {box[0] for box in found}:
                count[kind] += 1
        facts = {"label_names": dataset.label_names, "recipe": dataset.recipe, "groups": kept or None}
        writer.extra |= {key: value for key, value in facts.items() if value is not None}
        writer.extra["mask_names"] = list(kinds)
    return {kind: n for kind, n in count.items() if n}


def read_boxes(path: str | Path, resolution: int) -> dict[str, list[Box]]:
    """{image name: its boxes in pixels}, but for those that the crop cut off."""
    if not Path(path).is_file():
        raise MissingError(f"{path} is not there; the DICOM tool writes it beside X.zip, or give --boxes")
    found = untrusted.read_json(path, _MOST_BYTES, error=UserError)
    entries = found.get("boxes") if isinstance(found, dict) else None
    if not isinstance(entries, dict):
        raise UserError(f'{path} is no file of boxes: {{"resolution": R, "boxes": {{NAME: [...]}}}}')
    if found.get("resolution") != resolution:
        raise UserError(
            f"{path} is of images of {found.get('resolution')} pixels, these have {resolution}; give the two "
            "of one run"
        )
    return {name: [_box(entry, path, name) for entry in _kept(listed)] for name, listed in entries.items()}


def _kept(listed: object) -> list[object]:
    """Without those of which little is in the picture; what is no box is kept, to be named."""
    entries = listed if isinstance(listed, list) else [listed]
    return [
        e for e in entries if not isinstance(e, dict) or not _is_cut_off(e.get("inside", 1.0))
    ]  # fmt: skip


def _is_cut_off(inside: object) -> bool:
    return isinstance(inside, int | float) and inside < _LEAST_INSIDE


def _box(entry: object, path: str | Path, name: str) -> Box:
    box = entry.get("box") if isinstance(entry, dict) else None
    kind = entry.get("kind") if isinstance(entry, dict) else None
    if not isinstance(kind, str) or not isinstance(box, list) or len(box) != 4:
        raise UserError(f"{path}: a box of {name} is not {{kind, box: [xmin, ymin, xmax, ymax]}}")
    numbers = [float(v) if isinstance(v, int | float) else np.nan for v in box]
    x0, y0, x1, y1 = numbers
    if not np.isfinite(numbers).all() or x1 < x0 or y1 < y0:
        raise UserError(f"{path}: the box {box} of {name} is none; give xmin, ymin, xmax, ymax")
    return kind, x0, y0, x1, y1


def show_pairs(pairs: Pairs, path: Path) -> int:
    """A sheet of those with the most in their masks: image, mask, and both -> how many."""
    order = np.argsort(-(pairs.masks > 0).sum((1, 2)), kind="stable")[:_SHOWN]
    part = pairs.part(np.sort(order))
    img, numbers = part.tensors("cpu")
    mask = mask_pictures(numbers, max(pairs.kinds, 1))
    both = img.where((numbers == 0)[:, None], (img + 1) / 2)  # what is marked is brighter
    save_sheet([("image", img), ("mask", mask), ("both", both)], path)
    return len(order)
