"""From data sets to a trained classifier with a complete card: open, split, train, choose, measure, save."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

import stylegan2ada
from spine_plugins.classifier import (
    SpineClassifier,
    load_classifier,
    new_classifier,
    save_classifier,
    training,
)
from spine_plugins.classifier.architectures import (
    ARCHITECTURES,
    IMAGENET_URL,
    DenseNet121,
    load_imagenet_weights,
)
from spine_plugins.classifier.evaluation import evaluate
from spine_plugins.classifier.labelled import (
    LabelledImages,
    check_both_classes,
    open_labelled,
    shared_groups,
    split,
)
from stylegan2ada import processes
from stylegan2ada.errors import UserError


@dataclass(frozen=True)
class Recipe:
    """Everything `spinegan classify train` is told; None means: as the architecture has it."""

    data: str
    out: str  # X.safetensors
    val: str | None = None
    test: str | None = None
    val_share: float = 0.15  # of --data, where there is no --val
    split_seed: int = 0
    task: str = "auto"
    arch: str = "densenet121"
    weights: str | None = None  # file, URL, imagenet or none
    init: str | None = None  # a classifier to go on from
    size: int | None = None
    dropout: float | None = None
    epochs: int | None = None
    lr: float | None = None
    batch: int = 32
    class_weights: str = "ratio"
    augment: str = "standard"
    select_on: str = "val"
    seed: int = 0
    precision: str = "fp32"
    device: str = "auto"
    overwrite: bool = False


_MAY_CHANGE = {"out", "device", "overwrite", "data", "val", "test"}  # fingerprints stand for the data


@dataclass(frozen=True)
class Parts:
    """The images by role, and how they came apart."""

    train: LabelledImages
    val: LabelledImages | None
    test: LabelledImages | None
    split: str  # "patient", "study" or "image": what no two parts share
    note: str | None  # a warning to stamp on results

    def roles(self) -> dict[str, LabelledImages | None]:
        return {"train": self.train, "val": self.val, "test": self.test}


def run(recipe: Recipe, log: Callable[[str], None] = print, *, dry_run: bool = False) -> dict[str, Any]:
    """Train, or continue, and save; returns the card. With dry_run only say what would be done."""
    _check(recipe)
    parts = open_parts(recipe)
    if parts.note:
        print(f"Note: {parts.note}", file=sys.stderr)
    classifier, start = _start(recipe, parts.train)
    schedule = _schedule(recipe)
    card = classifier.card | {
        "epochs": schedule.epochs,
        "schedule": asdict(schedule),
        "selected_on": recipe.select_on,
        "split": parts.split,
        "split_note": parts.note,
        "data": {role: part and part.facts() for role, part in parts.roles().items()},
        "licence": start.get("licence") or "that of its training data",
        "provenance": _provenance(recipe, start),
        "weights": start,
        "versions": versions(),
    }
    if dry_run:
        return card
    classifier.to(processes.pick_device(recipe.device))
    chosen = training.train(
        classifier,
        parts.train,
        schedule,
        selection={"val": parts.val, "test": parts.test}.get(recipe.select_on),
        state_file=state_path(recipe),
        identity=_identity(recipe, card),
        log=log,
    )
    card["chosen_epoch"], card["history"] = chosen["epoch"], chosen["history"]
    card["metrics"] = {
        role: part and evaluate(part, training.predict(classifier, part))
        for role, part in parts.roles().items()
        if role != "train"
    }
    classifier.card = card
    save_classifier(classifier.cpu(), recipe.out)
    for leftover in (state_path(recipe), state_path(recipe).with_name(state_path(recipe).name + ".previous")):
        leftover.unlink(missing_ok=True)
    return card


def open_parts(recipe: Recipe) -> Parts:
    """Open what is given, hold out a part for validation, and see that nobody is on two sides."""
    data = open_labelled(recipe.data, recipe.task)
    check_both_classes(data, "training")
    like = (str(data.task), data.class_names)
    test = None if recipe.test is None else open_labelled(recipe.test, *like)
    if recipe.val is not None:
        train, val = data, open_labelled(recipe.val, *like)
    elif recipe.val_share > 0:
        rest, held_out = split(data, recipe.val_share, recipe.split_seed)
        if not len(rest) or not len(held_out):
            raise UserError(
                f"--val-share={recipe.val_share:g} leaves {len(rest)} images to train and {len(held_out)} to "
                "validate; give --val=ZIP or another share"
            )
        train, val = data.part(rest), data.part(held_out)
    else:
        train, val = data, None
    named = {"training": train, "validation": val, "test": test}
    present = {role: part for role, part in named.items() if part is not None}
    for role, part in present.items():
        check_both_classes(part, role)
    unit, note = _separation(present)
    return Parts(train, val, test, unit, note)


def state_path(recipe: Recipe) -> Path:
    """Where an interrupted training keeps its state: X.state.pt beside X.safetensors."""
    return Path(recipe.out).with_suffix(".state.pt")


def versions() -> dict[str, str]:
    """Of what the numbers may depend on."""
    found = {"python": platform.python_version(), "spinegan": stylegan2ada.__version__}
    for name in ("torch", "numpy", "monai"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def _check(recipe: Recipe) -> None:
    out = Path(recipe.out)
    if out.suffix != ".safetensors":
        raise UserError(f"--out={recipe.out} must end in .safetensors; the card goes beside it as .json")
    if not out.parent.is_dir():
        raise UserError(f"the folder of --out={recipe.out} does not exist; create it")
    if out.exists() and not recipe.overwrite:
        raise UserError(f"{recipe.out} exists already; choose another name, or give --overwrite")
    if recipe.select_on == "test" and recipe.test is None:
        raise UserError("--select-on=test needs --test=ZIP; to choose fairly use --select-on=val")
    if recipe.select_on == "val" and recipe.val is None and recipe.val_share == 0:
        raise UserError("--select-on=val needs validation images; give --val=ZIP or --val-share above 0")
    if not 0 <= recipe.val_share < 1:
        raise UserError(f"--val-share={recipe.val_share:g} must be at least 0 and below 1")
    if recipe.init is not None and recipe.weights not in (None, "none"):
        raise UserError("--init and --weights both say where to start; give one of them")
    if recipe.arch == "cnn13k" and recipe.size not in (None, 64):
        raise UserError(f"--size={recipe.size} does not fit cnn13k, which is made for 64; leave it out")
    if recipe.size is not None and recipe.size < 32:
        raise UserError(f"--size={recipe.size} is too small for densenet121; use 32 or more, 224 is usual")


def _separation(parts: dict[str, LabelledImages]) -> tuple[str, str | None]:
    """What no two parts share, and the warning if that is only images; a UserError if they do share."""
    prints: dict[str, str] = {}
    for role, part in parts.items():
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
        units = {part.unit for part in parts.values()}
        return ("study" if "study" in units else "patient"), None
    lacking = ", ".join(role for role, part in parts.items() if part.groups is None)
    return "image", (
        f"the split is by image: nobody knows which images of the {lacking} data belong to one patient, "
        "so results may be too good"
    )


def _start(recipe: Recipe, data: LabelledImages) -> tuple[SpineClassifier, dict[str, Any]]:
    """The untrained classifier, and where its weights come from."""
    if recipe.init is not None:
        return _continued(recipe, data)
    with torch.random.fork_rng([]):
        torch.manual_seed(recipe.seed)
        classifier = new_classifier(
            recipe.arch, str(data.task), data.class_names, size=recipe.size, dropout=recipe.dropout
        )
    network = classifier.network
    if not isinstance(network, DenseNet121):
        if recipe.weights not in (None, "none"):
            raise UserError(f"--weights={recipe.weights} is for densenet121; {recipe.arch} starts at random")
        return classifier, {"origin": "none"}
    if recipe.weights is None:
        raise UserError(
            "densenet121 starts from ImageNet weights: give --weights=FILE (torchvision's densenet121), "
            f"--weights=imagenet to download {IMAGENET_URL}, or --weights=none to start at random"
        )
    if recipe.weights == "none":
        return classifier, {"origin": "none"}
    where = IMAGENET_URL if recipe.weights == "imagenet" else recipe.weights
    return classifier, load_imagenet_weights(network, where)


def _continued(recipe: Recipe, data: LabelledImages) -> tuple[SpineClassifier, dict[str, Any]]:
    """A trained classifier as the start of another training (warm start)."""
    parent = load_classifier(str(recipe.init))
    if (parent.task, parent.class_names) != (data.task, data.class_names):
        raise UserError(
            f"--init={recipe.init} is a {parent.task} classifier of {', '.join(parent.class_names)}, but the "
            f"labels are {data.task}: {', '.join(data.class_names)}; use data labelled in the same way"
        )
    if recipe.arch != parent.card["arch"] or recipe.size not in (None, parent.size):
        raise UserError(
            f"--init={recipe.init} is {parent.card['arch']} at {parent.size} pixels; give --arch="
            f"{parent.card['arch']} and leave --size out"
        )
    origin = {
        "origin": Path(str(recipe.init)).name,
        "sha256": parent.card["sha256"],
        "licence": parent.card.get("licence"),
        "classifier": {key: parent.card.get(key) for key in ("weights", "data", "selected_on", "split")},
    }
    kept = ("format", "format_version", "arch", "task", "class_names", "dropout", "input")
    card = {key: parent.card[key] for key in kept}
    if recipe.dropout is not None:
        card["dropout"] = recipe.dropout
    child = SpineClassifier(card)
    child.load_state_dict(parent.state_dict())
    return child, origin


def _schedule(recipe: Recipe) -> training.Schedule:
    kind = ARCHITECTURES[recipe.arch]
    return training.Schedule(
        epochs=recipe.epochs or kind.epochs,
        lr=recipe.lr or kind.lr,
        batch=recipe.batch,
        class_weights=recipe.class_weights,
        augment=recipe.augment,
        select_on=recipe.select_on,
        seed=recipe.seed,
        precision=recipe.precision,
    )


def _provenance(recipe: Recipe, start: dict[str, Any]) -> dict[str, Any]:
    is_foreign = start["origin"] != "none" and "classifier" not in start
    inherited = (start.get("classifier") or {}).get("weights")
    return {
        "made_by": "spinegan classify train",
        "foreign": is_foreign or bool(inherited and inherited.get("origin") != "none"),
        "starts_from": [] if start["origin"] == "none" else [start],
        "seed": recipe.seed,
        "split_seed": recipe.split_seed,
    }


def _identity(recipe: Recipe, card: dict[str, Any]) -> dict[str, Any]:
    """What must be equal for a state to be continued."""
    settings = {key: value for key, value in asdict(recipe).items() if key not in _MAY_CHANGE}
    prints = {f"{role} data": facts and facts["fingerprint"] for role, facts in card["data"].items()}
    return settings | asdict(_schedule(recipe)) | prints | {"start": str(card["weights"].get("sha256"))}
