"""Images with masks beside them, in a zip or folder: 00000/img00000000.png and masks/00000/img00000000.png.

A mask is grey: 0 background, k = kind k. Phantoms and boxes (as filled ellipses) make such sets.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from spine_plugins.phantom.dataset import to_pixels
from spine_plugins.phantom.scene import make_study, render
from spine_plugins.phantom.series import kind_mask, study_seed
from stylegan2ada.data.dataset import ImageFolderDataset
from stylegan2ada.data.decode import decode_image
from stylegan2ada.data.source_masks import MOST_KINDS
from stylegan2ada.data.writer import LABELS_FILE, MASKS, archive_name, encode_png
from stylegan2ada.errors import UserError
from stylegan2ada.files import atomic_write
from stylegan2ada.images import to_float

_LEAST_SIDE = 16


@dataclass(frozen=True)
class Pairs:
    """Images and masks of one size."""

    images: np.ndarray  # uint8 [n, C, H, W]
    masks: np.ndarray  # uint8 [n, H, W]
    names: tuple[str, ...]
    fingerprint: str
    labels: np.ndarray | None = None  # int64 [n], or float32 [n, c]
    class_names: tuple[str, ...] = ()
    kind_names: tuple[str, ...] = ()  # of the kinds 1, 2, ...

    @property
    def kinds(self) -> int:
        return int(self.masks.max())

    def part(self, where: np.ndarray) -> Pairs:
        """Only these."""
        return replace(
            self,
            images=self.images[where],
            masks=self.masks[where],
            names=tuple(self.names[i] for i in where),
            labels=None if self.labels is None else self.labels[where],
        )

    def split(self, share: float, seed: int) -> tuple[Pairs, Pairs]:
        """(the rest, a share drawn by the seed)."""
        order = np.random.default_rng(seed).permutation(len(self.images))
        cut = max(1, round(share * len(order)))
        return self.part(np.sort(order[cut:])), self.part(np.sort(order[:cut]))

    def tensors(self, device: torch.device | str) -> tuple[Tensor, Tensor]:
        """(float32 images in [-1, 1], int64 masks)."""
        pixels = to_float(torch.from_numpy(self.images))
        return pixels.to(device), torch.from_numpy(self.masks.astype(np.int64)).to(device)


def read_pairs(path: str | Path, *, needs_masks: bool = True) -> Pairs:
    """All pairs in memory; a UserError says what lacks its partner. Without need, no masks are empty ones."""
    if str(path).lower().endswith(".csv"):
        wanted = " with masks/ beside them" if needs_masks else ""
        raise UserError(f"{path} is a table; this recipe learns from images{wanted}")
    dataset = ImageFolderDataset(path)
    stored = dataset.image_names
    names = [name for name in stored if not name.startswith(MASKS)]
    masks = {name.removeprefix(MASKS): name for name in stored if name.startswith(MASKS)}
    if not masks and needs_masks:
        raise UserError(f"{path} holds no masks; put one beside each image, as {MASKS}{names[0]}")
    if masks and (lacking := [name for name in names if name not in masks]):
        raise UserError(
            f"{path} has no {MASKS}{lacking[0]} ({len(lacking)} of {len(names)} images lack a mask)"
        )
    if not names:
        raise UserError(f"{path} holds masks but no images")
    images = [_decoded(dataset, name) for name in names]
    first = images[0].shape
    empty = np.zeros((1, *first[1:]), np.uint8)
    drawn = [_decoded(dataset, masks[name]) if masks else empty for name in names]
    _, height, width = first
    for name, image, mask in zip(names, images, drawn):
        if image.shape != first or mask.shape[1:] != first[1:]:
            raise UserError(
                f"{path}: {name} or its mask has another size than {width}x{height}; all must be alike"
            )
        if mask.shape[0] != 1 or mask.max() > MOST_KINDS:
            raise UserError(
                f"{path}: the mask of {name} is no grey picture of kinds from 0 to {MOST_KINDS} "
                f"(it holds {mask.max()}); write 0 for background and 1 for the first kind"
            )
    if height % _LEAST_SIDE or width % _LEAST_SIDE:
        raise UserError(
            f"the images of {path} are {width}x{height}; sides must be multiples of {_LEAST_SIDE}"
        )
    stack = np.stack([mask[0] for mask in drawn])
    return Pairs(
        np.stack(images),
        stack,
        tuple(names),
        _fingerprint(images, stack),
        dataset.labels_of(names),
        tuple(dataset.label_names or ()),
        tuple(dataset.mask_names),
    )


def parts_of(path: str, val: str | None, seed: int, *, needs_masks: bool = True) -> tuple[Pairs, Pairs]:
    """(pairs to learn from, pairs to measure on)."""
    data = read_pairs(path, needs_masks=needs_masks)
    if val is None:
        return data.split(0.1, seed)
    held = read_pairs(val, needs_masks=needs_masks)
    if held.images.shape[1:] != data.images.shape[1:]:
        raise UserError(f"the images of {val} are unlike those of --data; make both in the same way")
    return data, held


def flipped_together(images: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Half of the pairs mirrored, image and mask alike."""
    flip = torch.rand(len(images), device=images.device) < 0.5
    return torch.where(flip[:, None, None, None], images.flip(3), images), torch.where(
        flip[:, None, None], masks.flip(2), masks
    )


def planes(masks: Tensor, kinds: int) -> Tensor:
    """Class numbers [N, H, W] -> one plane of 0 and 1 per kind, [N, kinds, H, W]."""
    return one_hot(masks.clamp(max=kinds), kinds + 1)[..., 1:].permute(0, 3, 1, 2).float()


def ellipses(boxes: list[tuple[int, float, float, float, float]], height: int, width: int) -> np.ndarray:
    """uint8 [H, W]: (kind, xmin, ymin, xmax, ymax) as filled ellipses; no lesion has a box's corners."""
    y, x = np.mgrid[:height, :width] + 0.5
    mask = np.zeros((height, width), np.uint8)
    for kind, left, top, right, bottom in boxes:
        rx, ry = max((right - left) / 2, 0.5), max((bottom - top) / 2, 0.5)
        inside = np.square((x - (left + right) / 2) / rx) + np.square((y - (top + bottom) / 2) / ry) <= 1
        mask[inside] = kind
    return mask


def write_pairs(path: Path, images: np.ndarray, masks: np.ndarray, labels: list[int] | None = None) -> None:
    """A zip of pairs; uint8 [n, H, W] each."""
    names = [archive_name(i) for i in range(len(images))]
    with atomic_write(path, private=True) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, image, mask in zip(names, images, masks, strict=True):
            archive.writestr(name, encode_png(image))
            archive.writestr(MASKS + name, encode_png(mask))
        described = {"labels": None if labels is None else list(zip(names, labels))}
        archive.writestr(LABELS_FILE, json.dumps(described))


def phantom_pairs(
    n: int,
    seed: int,
    *,
    resolution: int = 64,
    what: str = "vertebrae",  # lesions: those of abnormal spines, as one kind; kinds: numbered, of all spines
    view: str | None = None,  # AP or lateral; None: as they come
    difficulty: float = 1.0,
    is_open: bool = False,  # no collimated borders, which no mask tells of
) -> tuple[np.ndarray, ...]:
    """(images, masks, labels) of phantoms."""
    images: list[np.ndarray] = []
    masks: list[np.ndarray] = []
    labels: list[int] = []
    number = 0
    while len(images) < n:
        study = make_study(study_seed(seed, number), difficulty=difficulty)
        number += 1
        phantom = render(study, 0, (resolution, resolution), view)
        if (what == "lesions" and not phantom.label) or (is_open and phantom.factors["collimation"]):
            continue
        images.append(to_pixels(phantom.image))
        kinds = kind_mask(phantom.masks, what)
        masks.append(kinds if what == "kinds" else kinds.clip(max=1))
        labels.append(phantom.label)
    return np.stack(images), np.stack(masks), np.array(labels)


def _decoded(dataset: ImageFolderDataset, name: str) -> np.ndarray:
    pixels = decode_image(dataset.read_bytes(name), f"{name} in {dataset.path}")
    return pixels[np.newaxis] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def _fingerprint(images: list[np.ndarray], masks: np.ndarray) -> str:
    digest = hashlib.sha256()
    for image, mask in zip(images, masks):
        digest.update(str(image.shape).encode() + image.tobytes() + mask.tobytes())
    return digest.hexdigest()
