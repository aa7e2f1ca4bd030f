"""The images of a training by role, opened once: given or held out, and nobody on two sides."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from spine_plugins.classifier.labelled import (
    LabelledImages,
    check_both_classes,
    open_labelled,
    shared_groups,
    split,
)
from spine_plugins.classifier.recipe import Recipe
from stylegan2ada.errors import UserError


@dataclass(frozen=True)
class Parts:
    """The images by role, and how they came apart."""

    train: LabelledImages
    added: tuple[LabelledImages, ...]  # to the training
    val: LabelledImages | None
    test: LabelledImages | None
    split: str  # "patient", "study" or "image": what no two parts share
    note: str | None  # a warning to stamp on results

    def roles(self) -> dict[str, LabelledImages | None]:
        """Those that something is measured on, or that were learned from."""
        added = {f"added {number}": part for number, part in enumerate(self.added, start=1)}
        return {"train": self.train, **added, "val": self.val, "test": self.test}


def open_parts(recipe: Recipe) -> Parts:
    """Open what is given, hold out a part for validation, and see that nobody is on two sides."""
    data = open_labelled(recipe.data, recipe.task)
    check_both_classes(data, "training")
    test = None if recipe.test is None else _open_like(data, recipe.test)
    train, val = data, None
    if recipe.val is not None:
        val = _open_like(data, recipe.val)
    elif recipe.val_share > 0:
        train, val = _hold_out(data, recipe)
    named = {"training": train, "validation": val, "test": test}
    present = {role: part for role, part in named.items() if part is not None}
    # Again after the cut: all groups of a rare class may have gone to one side.
    for role, part in present.items():
        check_both_classes(part, role)
    unit, note = _separation(present)
    added = tuple(_open_added(data, path, present) for path in recipe.add)
    if recipe.shuffle_labels:
        # Both, or the choice of an epoch would still know something.
        train = _shuffled(train, recipe.seed)
        val = None if val is None else _shuffled(val, recipe.seed)
        added = tuple(_shuffled(part, recipe.seed) for part in added)
        note = "; ".join(filter(None, ("the labels were shuffled, so that nothing can be learned", note)))
    return Parts(train, added, val, test, unit, note)


def _open_added(data: LabelledImages, path: str, parts: dict[str, LabelledImages]) -> LabelledImages:
    """Images beside --data: of its size and classes, and of nobody who is held out."""
    added = _open_like(data, path)
    if added.dataset.image_shape != data.dataset.image_shape:
        raise UserError(
            f"--add={path} has images of {_shape(added)}, --data={data.dataset.path} of {_shape(data)}; "
            "make both alike"
        )
    for role, part in parts.items():
        shared = shared_groups(added, part) if role != "training" else set()
        if shared or added.facts()["fingerprint"] == part.facts()["fingerprint"]:
            raise UserError(
                f"--add={path} holds images of patients of the {role} data ({len(shared) or 'all'} of them); "
                "leave them out"
            )
    return added


def _shape(data: LabelledImages) -> str:
    channels, height, width = data.dataset.image_shape
    return f"{width}x{height} and {channels} channels"


def _shuffled(data: LabelledImages, seed: int) -> LabelledImages:
    assert data.targets is not None
    return replace(data, targets=data.targets[np.random.default_rng(seed).permutation(len(data))])


def _open_like(data: LabelledImages, path: str) -> LabelledImages:
    """Other images, labelled for the same task and classes."""
    assert data.task is not None
    # Told, not guessed: a small set of findings may happen to look like exclusive classes.
    return open_labelled(path, data.task, data.class_names)


def _hold_out(data: LabelledImages, recipe: Recipe) -> tuple[LabelledImages, LabelledImages]:
    rest, held_out = split(data, recipe.val_share, recipe.split_seed)
    if not len(rest) or not len(held_out):
        raise UserError(
            f"--val-share={recipe.val_share:g} leaves {len(rest)} images to train and {len(held_out)} to "
            "validate; give --val=ZIP or another share"
        )
    return data.part(rest), data.part(held_out)


def _separation(parts: dict[str, LabelledImages]) -> tuple[str, str | None]:
    """What no two parts share, and the warning if that is only images; a UserError if they do share."""
    prints: dict[str, str] = {}
    for role, part in parts.items():
        # Needs no groups: this alone notices one file given twice where no patients are known.
        found = part.facts()["fingerprint"]
        if found in prints:
            raise UserError(
                f"the {prints[found]} and the {role} data are the same images; give different data sets"
            )
        prints[found] = role
    roles = list(parts)
    for i, first in enumerate(roles):
        for second in roles[i + 1 :]:
            shared = shared_groups(parts[first], parts[second])
            if shared:
                unit = parts[first].unit
                raise UserError(
                    f"{len(shared)} of the {unit} groups have images in both the {first} and the {second} "
                    f"data; split by {unit} (dataset_tool_dicom.py --split does)"
                )
    if all(part.groups is not None for part in parts.values()):
        # The weaker promise holds for all: where only studies are known, a patient may have two of them.
        units = {part.unit for part in parts.values()}
        return ("study" if "study" in units else "patient"), None
    lacking = ", ".join(role for role, part in parts.items() if part.groups is None)
    return "image", (
        f"the split is by image: nobody knows which images of the {lacking} data belong to one patient, "
        "so results may be too good"
    )
