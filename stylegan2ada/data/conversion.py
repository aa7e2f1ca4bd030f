"""From a source to one or several data sets: which image goes where, what is left out, what is said of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from stylegan2ada import files
from stylegan2ada.data import splits, transforms
from stylegan2ada.data.decode import DatasetError
from stylegan2ada.data.pseudonyms import keyed_hash
from stylegan2ada.data.source_groups import SourceGroups
from stylegan2ada.data.source_labels import SourceLabels
from stylegan2ada.data.sources import Source, SourceError, SourceImage
from stylegan2ada.data.writer import DatasetWriter
from stylegan2ada.progress import Progress
from stylegan2ada.protocols import JsonObject


@dataclass(frozen=True)
class Plan:
    """Which images go where."""

    targets: dict[str, Path]  # split ("" without splits): zip or folder
    labels: SourceLabels
    groups: SourceGroups | None
    of: dict[str, str]  # image: split; empty without splits

    @property
    def unit(self) -> str:
        """What a split keeps together."""
        return self.groups.unit if self.groups else "image"


def make_plan(
    source: Source,
    dest: Path,
    labels: SourceLabels,
    groups: SourceGroups | None,
    *,
    shares: tuple[float, ...],  # of train, val, test; (): one data set
    seed: int,
) -> Plan:
    """Where every image of the source will go, known before any is read."""
    if not shares:
        return Plan({"": dest}, labels, groups, {})
    ending = dest.suffix if dest.suffix.lower() == ".zip" else ""
    used = [split for split, share in zip(splits.SPLITS, shares) if share > 0]
    # Of sources without names of files the images know their label themselves.
    found = [(image.name, labels.of.get(image.name, image.label)) for image in source.images()]
    names = [name for name, _ in found]
    numbers = splits.split_groups(
        groups.named(names) if groups else names,
        splits.class_numbers([label for _, label in found]),
        shares,
        seed,
    )
    targets = {split: files.beside(dest, f"{stem_of(dest)}-{split}{ending}") for split in used}
    return Plan(targets, labels, groups, {n: splits.SPLITS[i] for n, i in zip(names, numbers, strict=True)})


def stem_of(dest: Path) -> str:
    """X of X.zip or of a folder X, after which the files beside it are called."""
    return dest.stem if dest.suffix.lower() == ".zip" else files.named(dest).name


@dataclass
class Written:
    """What one data set got."""

    names: dict[str, str] = field(default_factory=dict)  # in the source -> in the data set
    labels: list[Any] = field(default_factory=list)


@dataclass
class Done:
    """What became of the images."""

    sets: dict[str, Written]  # by split
    dropped: int = 0  # by the transform
    bad: list[tuple[str, str]] = field(default_factory=list)  # name, reason

    @property
    def number(self) -> int:
        """Of images that were written."""
        return sum(len(written.names) for written in self.sets.values())


def write_images(
    source: Source,
    plan: Plan,
    transform: transforms.Transform,
    writers: dict[str, DatasetWriter],
    done: Done,
    *,
    skip_bad: bool,
    masks: Callable[[str, np.ndarray], np.ndarray] | None = None,  # name, image as read -> its mask
) -> None:
    """A bad or dropped image uses up its number, so that names tell the place (but in splits)."""
    first: tuple[str, np.ndarray] | None = None
    number = -1
    for image in Progress(source.total, "converting").over(source.images()):
        number += 1
        try:
            read = image.read()
            pixels = transform(read)
            if pixels is None:
                done.dropped += 1
                continue
            _check_image(image, pixels, first)
            mask = None if masks is None else masks(image.name, read)
        except (SourceError, DatasetError) as error:
            is_unreadable = isinstance(error, DatasetError)
            if not skip_bad and not (is_unreadable and source.skips_unreadable):
                raise
            number -= is_unreadable and source.skips_unreadable
            done.bad.append((image.name, str(error)))
            continue
        first = first or (image.name, pixels)
        label = plan.labels.of.get(image.name, image.label)
        split = plan.of.get(image.name, "")
        written = done.sets[split]
        name = writers[split].add(pixels, label, None if split else number)
        if mask is not None:
            writers[split].add_mask(mask, name)
        written.names[image.name] = name
        written.labels.append(label)


def _check_image(image: SourceImage, pixels: np.ndarray, first: tuple[str, np.ndarray] | None) -> None:
    height, width = pixels.shape[:2]
    if first is not None and pixels.shape != first[1].shape:
        raise SourceError(
            f"{image.name} is {_kind(pixels)}, but {first[0]} is {_kind(first[1])}; all images must be alike "
            "(--width and --height set one size, --skip-bad leaves out what differs)"
        )
    if width != height:
        raise SourceError(
            f"{image.name} is {width}x{height}; images must be square: give --transform=center-crop, "
            "or equal --width and --height"
        )
    if width & (width - 1):
        below = 1 << (width.bit_length() - 1)
        raise SourceError(
            f"{image.name} is {width}x{width}; the side must be a power of two: give for example "
            f"--width={below} --height={below}"
        )


def _kind(pixels: np.ndarray) -> str:
    return f"{pixels.shape[1]}x{pixels.shape[0]} {'grey' if pixels.ndim == 2 else 'RGB'}"


def facts(
    source: Source,
    plan: Plan,
    written: Written,
    key: bytes,  # of the hashes of groups
) -> JsonObject:
    """The further keys of a dataset.json, but for the recipe."""
    found: JsonObject = {}
    if plan.labels.names and all(label is not None for label in written.labels):
        found["label_names"] = plan.labels.names
    groups = source.description.get("groups")
    if plan.groups is not None and not plan.groups.is_hashed:
        of = plan.groups.of
        found["groups"] = {
            # The same kinds as of the DICOM tool: with one key a patient has one hash in the sets of both.
            new: {kind: keyed_hash(key, kind, of[old]) for kind in ("study", "patient")}
            for old, new in written.names.items()
            if old in of
        }
    elif isinstance(groups, dict):  # who belongs together stays known under the new names
        found["groups"] = {new: groups[old] for old, new in written.names.items() if old in groups}
    return found
