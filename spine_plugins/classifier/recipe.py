"""What a training of a classifier is told, and what of it cannot be meant."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from spine_plugins.classifier.answers import Task
from spine_plugins.classifier.defaults import Augment
from stylegan2ada.errors import UserError


@dataclass(frozen=True)
class Recipe:
    """Everything `spinegan classify train` is told about its result; None: as the architecture has it."""

    data: str
    out: str  # X.safetensors
    val: str | None = None
    test: str | None = None
    add: tuple[str, ...] = ()  # further images to learn from, as a rule fakes; none of them is held out
    val_share: float = 0.15  # of --data, where there is no --val
    split_seed: int = 0
    task: Task | Literal["auto"] = "auto"
    arch: str = "densenet121"
    weights: str | None = None  # file, URL, imagenet or none
    init: str | None = None  # a classifier to go on from
    size: int | None = None
    dropout: float | None = None
    epochs: int | None = None
    steps: int | None = None  # in all, whatever the number of images
    lr: float | None = None
    batch: int = 32
    class_weights: Literal["ratio", "none"] = "ratio"
    augment: Augment = "standard"
    select_on: Literal["val", "test", "last"] = "val"
    shuffle_labels: bool = False  # a negative control
    seed: int = 0
    precision: Literal["fp32", "bf16"] = "fp32"
    device: str = "auto"
    overwrite: bool = False


def check(recipe: Recipe) -> None:
    """UserError for settings that contradict each other, before anything is opened."""
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
    if recipe.steps is not None and recipe.epochs is not None and recipe.steps < recipe.epochs:
        raise UserError(
            f"--steps={recipe.steps} are fewer than the --epochs={recipe.epochs} they are cut into; "
            "give fewer epochs"
        )
    if recipe.init is not None and recipe.weights not in (None, "none"):
        raise UserError("--init and --weights both say where to start; give one of them")
    if recipe.arch == "cnn13k" and recipe.size not in (None, 64):
        raise UserError(f"--size={recipe.size} does not fit cnn13k, which is made for 64; leave it out")
    # DenseNet halves the image five times: of a smaller one not even a pixel would be left.
    if recipe.size is not None and recipe.size < 32:
        raise UserError(f"--size={recipe.size} is too small for densenet121; use 32 or more, 224 is usual")
