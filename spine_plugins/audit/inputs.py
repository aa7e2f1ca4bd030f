"""What an audit compares: training images, held-out images and fakes, whose patients they show; refusals.

Names of files and of members never leave this file: what is public speaks of roles and fingerprints.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spine_plugins.runs.documents import as_dict, read_json, whole
from stylegan2ada import files
from stylegan2ada.data.dataset import ImageFolderDataset
from stylegan2ada.data.fingerprint import fingerprint
from stylegan2ada.errors import UserError
from stylegan2ada.protocols import JsonObject

ROLES = ("train", "holdout", "fakes")
FEWEST_HOLDOUT = 200  # images; with fewer the audit calls itself underpowered
# What makes two sets of radiographs look alike or not; other facts of a recipe say nothing about pixels.
_GEOMETRY = ("crop", "window", "resize", "resolution", "size", "channels")


@dataclass(frozen=True)
class Images:
    """One of the three sets, in memory."""

    role: str
    pixels: np.ndarray  # uint8 [N, C, H, W]
    labels: np.ndarray | None  # int64 [N] or float32 [N, c]
    label_names: list[str] | None
    units: list[str]  # whom each image shows: a patient, else a study, else the image itself
    unit: str  # what most of them are: patient, study or image
    fingerprint: str
    recipe: JsonObject | None
    key_id: str | None  # of the key that made the hashes of patients; None: unknown

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def side(self) -> str:
        """`64x64, 1 channel(s)`"""
        _, channels, height, width = self.pixels.shape
        return f"{width}x{height}, {channels} channel(s)"

    def facts(self) -> JsonObject:
        """What may be said of it in public."""
        return {
            "fingerprint": self.fingerprint,
            "images": len(self),
            "units": len(set(self.units)),
            "unit": self.unit,
            "geometry": self.side,
            "labels": self.labels is not None,
        }


@dataclass(frozen=True)
class Inputs:
    """The three sets and what to know before believing a comparison of them."""

    train: Images
    holdout: Images
    fakes: Images
    warnings: tuple[str, ...] = ()

    @property
    def unit(self) -> str:
        """The unit of every count: the coarser facts are of no use if one side lacks them."""
        kinds = {self.train.unit, self.holdout.unit}
        return self.train.unit if len(kinds) == 1 else "image"


def open_inputs(train: str, holdout: str, fakes: str) -> Inputs:
    """The sets, checked against each other; a UserError where no comparison would mean anything."""
    a, b, c = (open_real(path, role) for path, role in zip((train, holdout, fakes), ROLES))
    _refuse_overlap(a, b, c)
    return Inputs(a, b, c, tuple(_doubts(a, b, c)))


def from_arrays(pixels: np.ndarray, role: str, units: list[str] | None = None) -> Images:
    """A set that is in memory already, such as the fakes of a network in training."""
    names = units or [f"{role} {i}" for i in range(len(pixels))]
    mark = hashlib.sha256(np.ascontiguousarray(pixels).data).hexdigest()
    return Images(role, pixels, None, None, names, "patient" if units else "image", mark, None, None)


def open_real(path: str, role: str) -> Images:
    """A zip or folder as one of the sets; its name goes no further."""
    dataset = ImageFolderDataset(path, use_labels=True)
    mark = fingerprint(_nameless(dataset, role))
    pixels = np.stack([dataset.raw_image(i) for i in range(len(dataset))])
    labels = dataset.raw_labels() if dataset.has_labels else None
    units, unit = _units(dataset, role)
    return Images(
        role, pixels, labels, dataset.label_names, units, unit, mark, dataset.recipe, _key_id(dataset)
    )


def _nameless(dataset: ImageFolderDataset, role: str) -> ImageFolderDataset:
    # Progress lines print this name, and names of files can name people.
    dataset.name = role
    return dataset


def _units(dataset: ImageFolderDataset, role: str) -> tuple[list[str], str]:
    """Per image whom it shows, and what kind of fact that is."""
    groups = dataset.groups or {}
    found, kinds = [], []
    for i, name in enumerate(dataset.image_names):
        group = groups.get(name) or {}
        kind = next((kind for kind in ("patient", "study") if group.get(kind)), "image")
        kinds.append(kind)
        found.append(f"{kind} {group[kind]}" if kind != "image" else f"{role} image {i}")
    # One image without a patient is a unit of its own; the set's kind is that of most.
    return found, max(("patient", "study", "image"), key=kinds.count)


def _key_id(dataset: ImageFolderDataset) -> str | None:
    """Which key file hashed the patients: from the recipe, or from the summary beside the zip."""
    recorded = as_dict(dataset.recipe).get("key_id")
    path = Path(str(dataset.path))
    stem = path.stem
    for split in ("-train", "-val", "-test"):
        stem = stem.removesuffix(split)
    recorded = recorded or read_json(files.beside(path, f"{stem}_summary.json")).get("key_id")
    return recorded if isinstance(recorded, str) else None


def image_hashes(pixels: np.ndarray) -> list[bytes]:
    """One per image; equal only for equal pixels."""
    return [hashlib.sha256(np.ascontiguousarray(image).data).digest() for image in pixels]


def _refuse_overlap(train: Images, holdout: Images, fakes: Images) -> None:
    if train.fingerprint == fakes.fingerprint:
        raise UserError("--fakes is the training set itself; give the images that the network drew")
    refuse_shared(train, holdout)
    if set(image_hashes(fakes.pixels)) <= set(image_hashes(train.pixels)):
        raise UserError(
            "every image of --fakes is an image of --train; give the images that the network drew"
        )
    if len(fakes) < 2 or min(len(train), len(holdout)) < 2:
        raise UserError("an audit needs at least 2 images in each of --train, --holdout and --fakes")


def refuse_shared(train: Images, holdout: Images) -> None:
    """A UserError unless the hold-out is of the same kind and of other patients."""
    if holdout.pixels.shape[1:] != train.pixels.shape[1:]:
        raise UserError(
            f"--holdout has images of {holdout.side}, --train of {train.side}; convert both in one way"
        )
    both = set(image_hashes(train.pixels)) & set(image_hashes(holdout.pixels))
    if both:
        raise UserError(
            f"--train and --holdout share {len(both)} image(s); the hold-out must be unseen, so split the "
            "source again by patient"
        )
    shared = set(train.units) & set(holdout.units)
    if shared:
        raise UserError(
            f"--train and --holdout share {len(shared)} patient(s) or studies; split the source again by "
            "patient (dataset_tool_dicom.py --split does)"
        )


def _doubts(train: Images, holdout: Images, fakes: Images) -> list[str]:
    """What may make the sets differ for reasons that have nothing to do with memory."""
    found = []
    if fakes.pixels.shape[1:] != train.pixels.shape[1:]:
        found.append(f"the fakes are {fakes.side}, the real images {train.side}")
    found += _recipe_doubts(train, holdout)
    found += [
        f"how the {'training' if real is train else 'held-out'} images were made is unknown (no recipe)"
        for real in (train, holdout)
        if not real.recipe
    ]
    if train.unit != holdout.unit or train.unit == "image":
        found.append(
            "images without patient groups: every image counts as a unit of its own, and patients with "
            "several images make the audit too sure of itself"
        )
    elif train.key_id and holdout.key_id and train.key_id != holdout.key_id:
        found.append(
            "the hashes of patients were made with different key files, so whether the two sets share "
            "patients cannot be checked"
        )
    if len(holdout) < FEWEST_HOLDOUT:
        found.append(f"only {len(holdout)} held-out images; an audit needs at least {FEWEST_HOLDOUT}")
    return found


def _recipe_doubts(train: Images, holdout: Images) -> list[str]:
    if not train.recipe or not holdout.recipe:
        return []
    found = []
    if train.recipe.get("resize_filter") != holdout.recipe.get("resize_filter"):
        found.append("the training and the held-out images were resized with different filters")
    flags = [recipe.get("flags") or {} for recipe in (train.recipe, holdout.recipe)]
    for name in _GEOMETRY:
        values = [of.get(name) if isinstance(of, dict) else None for of in flags]
        if values[0] != values[1]:
            found.append(f"the training and the held-out images were made with different {name}")
    return found


def count_audits(fakes: str, mark: str, *, add: bool) -> int | None:
    """How many audits these fakes have had, kept beside them; None if that place cannot be written."""
    place = Path(fakes)
    path = files.beside(place, f"{place.stem if place.suffix == '.zip' else place.name}_audits.json")
    counts = as_dict(read_json(path).get("audits"))
    # By fingerprint: a zip that was made again under the old name starts afresh.
    count = (whole(counts.get(mark)) or 0) + add
    if add:
        try:
            files.write_json(path, {"audits": counts | {mark: count}})
        except OSError:
            return None
    return count


def network_hash(path: str | None) -> str | None:
    """What identifies the network that was looked into."""
    return None if path is None else files.sha256_file(files.local_copy(path))
