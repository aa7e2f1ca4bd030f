"""Labelled images for a classifier: what task their labels state, who belongs together, a fair split."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from spine_plugins.classifier import answers
from spine_plugins.classifier.answers import Task
from spine_plugins.classifier.cards import DataFacts
from stylegan2ada.data.cache import cached_images
from stylegan2ada.data.dataset import ImageFolderDataset
from stylegan2ada.data.fingerprint import fingerprint, source_fingerprint
from stylegan2ada.data.splits import groups_in_table
from stylegan2ada.errors import UserError

_LABEL_THEM = "make the data set again with labels (dataset_tool_dicom.py --labels=binary, or a dataset.json)"


@dataclass(frozen=True)
class LabelledImages:
    """A data set, or a part of one, with targets in its order."""

    dataset: ImageFolderDataset  # its raw_indices are the images of this part
    task: Task | None  # None: no labels are needed
    class_names: list[str]
    targets: np.ndarray | None  # float32 [n, outputs], as answers.targets_of has them
    groups: list[str] | None  # per image: its patient, or else its study; None: nobody knows
    unit: str  # what a group is: "patient", "study", or "image"

    def __len__(self) -> int:
        return len(self.dataset)

    @property
    def names(self) -> list[str]:
        return [self.dataset.image_names[i] for i in self.dataset.raw_indices]

    def part(self, indices: np.ndarray) -> LabelledImages:
        """Only these images; its fingerprint differs from the whole's."""
        return LabelledImages(
            self.dataset.view(self.dataset.raw_indices[indices], self.dataset.flips[indices]),
            self.task,
            self.class_names,
            None if self.targets is None else self.targets[indices],
            None if self.groups is None else [self.groups[i] for i in indices],
            self.unit,
        )

    def class_counts(self) -> dict[str, int]:
        """Images per class name; with independent findings an image counts for each it has."""
        assert self.targets is not None and self.task is not None
        counts = answers.class_counts(self.targets, self.task)
        return dict(zip(self.class_names, counts, strict=True))

    def facts(self) -> DataFacts:
        """For the card: which data, without a path that could tell names."""
        return {
            "fingerprint": fingerprint(self.dataset),
            "source_fingerprint": source_fingerprint(self.dataset),  # of the file that this is a part of
            "path_name": os.path.basename(str(self.dataset.path).rstrip("/")),
            "n": len(self),
            "of": self.dataset.raw_shape[0],
            "groups_hashed": self.groups is not None,
            "unit": self.unit,
            "n_groups": None if self.groups is None else len(set(self.groups)),
            "class_counts": None if self.targets is None else self.class_counts(),
        }


class Pixels:
    """uint8 images by position, from the decoded cache where there is one."""

    def __init__(self, data: LabelledImages) -> None:
        self._dataset = data.dataset
        self._cached = cached_images(data.dataset)

    def __len__(self) -> int:
        return len(self._dataset)

    def __call__(self, positions: Sequence[int] | np.ndarray) -> torch.Tensor:  # uint8 [B, C, H, W]
        raw = self._dataset.raw_indices[np.asarray(positions)]
        if self._cached is not None:
            # A copy: the cache is mapped read-only, and torch warns of memory that it may not write.
            return torch.from_numpy(np.array(self._cached[raw]))
        return torch.from_numpy(np.stack([self._dataset.raw_image(int(i)) for i in raw]))


class JoinedPixels:
    """Of several data sets one behind the other, all of one size."""

    def __init__(self, sets: Sequence[LabelledImages]) -> None:
        self._sets = [Pixels(data) for data in sets]
        self._ends = np.cumsum([len(pixels) for pixels in self._sets])

    def __call__(self, positions: np.ndarray) -> torch.Tensor:  # uint8 [B, C, H, W]
        owner = np.searchsorted(self._ends, positions, side="right")
        found: torch.Tensor | None = None
        for number in np.unique(owner):
            mine = np.flatnonzero(owner == number)
            start = self._ends[number] - len(self._sets[number])
            images = self._sets[number](positions[mine] - start)
            if found is None:
                found = images.new_empty((len(positions), *images.shape[1:]))
            found[torch.from_numpy(mine)] = images
        assert found is not None, "no positions"
        return found


def open_labelled(
    path: str,
    task: Task | Literal["auto"] = "auto",
    class_names: list[str] | None = None,  # of a classifier that exists: the labels must fit it
) -> LabelledImages:
    """The data set with targets for the task that its labels state; a UserError if they fit none."""
    dataset = ImageFolderDataset(path, use_labels=True)
    raw = dataset.raw_labels()
    if not dataset.has_labels:
        raise UserError(f"{path} has no labels, so a classifier has nothing to learn from; {_LABEL_THEM}")
    # The names may know classes that no image here has; the columns must be there all the same.
    labels = _one_hot(raw, max(len(dataset.label_names or ()), len(class_names or ())))
    names = list(dataset.label_names or [])
    # A single column has become two classes, which the file's one name no longer fits.
    if len(names) != labels.shape[1]:
        names = list(class_names or map(str, range(labels.shape[1])))
    if not np.isin(labels, (0, 1)).all():
        raise UserError(f"the labels of {path} are not 0 or 1; a classifier needs classes or findings")
    found = answers.task_of(labels, raw.dtype == np.int64) if task == "auto" else task
    _check_task(path, labels, found, is_asked=class_names is None)
    if class_names is not None and names != class_names:
        raise UserError(
            f"{path} has the classes {_listed(names)}, the classifier knows {_listed(class_names)}; "
            "use data that was labelled in the same way"
        )
    groups, unit = _groups_of(dataset)
    return LabelledImages(dataset, found, names, answers.targets_of(labels, found), groups, unit)


def open_images(path: str) -> LabelledImages:
    """The images alone, for predictions."""
    dataset = ImageFolderDataset(path)
    groups, unit = _groups_of(dataset)
    return LabelledImages(dataset, None, [], None, groups, unit)


def check_both_classes(data: LabelledImages, role: str) -> None:
    """A UserError if a class that the task needs has no image; findings may be absent."""
    counts = data.class_counts()
    empty = [name for name, count in counts.items() if not count]
    # One finding that varies is enough: the mean AUC leaves out those that never or always occur.
    if data.task == "multilabel":
        empty = [] if any(0 < count < len(data) for count in counts.values()) else list(counts)
    elif role != "training" and data.task == "multiclass" and len(counts) - len(empty) > 1:
        empty = []  # an AUC over the classes that occur can still be measured
    if empty:
        listed = ", ".join(f"{name}: {count}" for name, count in counts.items())
        raise UserError(
            f"the {role} data {data.dataset.path} cannot tell classes apart ({listed}); "
            f"add images of {', '.join(empty)}"
        )


def shared_groups(first: LabelledImages, second: LabelledImages) -> set[str]:
    """Patients or studies with images in both; empty also where nobody knows."""
    return set(first.groups or ()) & set(second.groups or ())


def split(data: LabelledImages, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions (rest, held out): whole groups, every class in about the same share."""
    assert data.targets is not None
    # A dict keeps the order of the images, so that a seed draws the same groups every time.
    members: dict[str, list[int]] = {}
    for i, group in enumerate(data.groups or map(str, range(len(data)))):
        members.setdefault(group, []).append(i)
    # Decides among groups of one size: the sort below is stable.
    order = np.random.default_rng(seed).permutation(len(members))
    groups = list(members.values())
    # A class for "none of these", so that normal images are spread as well.
    columns = np.column_stack([data.targets, data.targets.sum(axis=1) == 0]).astype(np.float64)
    wanted = columns.sum(axis=0) * share
    # Deviations in shares of what is wanted, or common classes would outvote rare ones; 1 guards 1 / 0.
    scale = 1 / np.maximum(wanted, 1)
    # A group goes over if that brings the counts of all classes nearer to what is wanted.
    held: list[int] = []
    have = np.zeros_like(wanted)
    # Large groups first: the small ones then even out what is missing.
    for g in sorted(order, key=lambda g: -len(groups[g])):
        with_it = have + columns[groups[g]].sum(axis=0)
        if (((with_it - wanted) * scale) ** 2).sum() < (((have - wanted) * scale) ** 2).sum():
            held += groups[g]
            have = with_it
    held_out = np.sort(np.array(held, dtype=np.int64))
    return np.setdiff1d(np.arange(len(data)), held_out), held_out


def _one_hot(raw: np.ndarray, at_least: int) -> np.ndarray:  # float32 [N, k]
    if raw.dtype != np.int64:
        # One column of 0 and 1 is a binary label; its first class is "not that".
        return np.column_stack([1 - raw[:, 0], raw[:, 0]]) if raw.shape[1] == 1 else raw
    # Two columns at least, also where all images happen to be of class 0.
    columns = np.zeros((len(raw), max(int(raw.max()) + 1, at_least, 2)), dtype=np.float32)
    columns[np.arange(len(raw)), raw] = 1
    return columns


def _check_task(
    path: str,
    labels: np.ndarray,
    task: Task,
    *,
    is_asked: bool,  # by the flag of `classify train`; else a classifier that exists was made for it
) -> None:
    asked = f"--task={task}" if is_asked else f"the classifier, which is {task},"
    remedy = "" if is_asked else "give data that was labelled as its training data were"
    k = labels.shape[1]
    if k != answers.label_dim(task, k):
        raise UserError(f"{asked} needs two classes, but {path} has {k}; {remedy or 'use --task=auto'}")
    if answers.is_exclusive(task) and not (labels.sum(axis=1) == 1).all():
        raise UserError(
            f"{asked} needs one class per image, but images of {path} have several or none; "
            f"{remedy or 'use --task=multilabel'}"
        )


def _groups_of(dataset: ImageFolderDataset) -> tuple[list[str] | None, str]:
    """Per image its group, and what a group is; None where nobody knows."""
    table = dataset.groups
    if not table:
        return None, "image"
    return groups_in_table(table, [dataset.image_names[i] for i in dataset.raw_indices])


def _listed(names: list[str]) -> str:
    return ", ".join(names) if len(names) <= 8 else f"{', '.join(names[:7])}, ... ({len(names)})"
