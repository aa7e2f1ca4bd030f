"""From data sets to a trained classifier with a complete card: open, split, train, choose, measure, save."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path

import stylegan2ada
from spine_plugins.classifier import training
from spine_plugins.classifier.cards import Card
from spine_plugins.classifier.defaults import ARCHITECTURES
from spine_plugins.classifier.evaluation import evaluate
from spine_plugins.classifier.model import save_classifier
from spine_plugins.classifier.parts import open_parts
from spine_plugins.classifier.recipe import Recipe, check
from spine_plugins.classifier.starts import provenance, start
from spine_plugins.resumable import Resumable
from stylegan2ada import processes
from stylegan2ada.provenance import versions

_MAY_CHANGE = {"out", "device", "overwrite", "data", "add", "val", "test"}  # fingerprints stand for the data


def run(recipe: Recipe, log: Callable[[str], None] = print, *, dry_run: bool = False) -> Card:
    """Train, or continue, and save; returns the card. With dry_run only say what would be done."""
    check(recipe)
    parts = open_parts(recipe)
    if parts.note:
        print(f"Note: {parts.note}", file=sys.stderr)
    classifier, origin = start(recipe, parts.train)
    schedule = schedule_of(recipe)
    card: Card = {
        **classifier.card,
        "epochs": schedule.epochs,
        "schedule": asdict(schedule),
        "selected_on": recipe.select_on,
        "split": parts.split,
        "split_note": parts.note,
        "data": {role: part.facts() if part is not None else None for role, part in parts.roles().items()},
        "licence": origin.get("licence") or "that of its training data",
        "provenance": provenance(recipe, origin),
        "weights": origin,
        "versions": of_numbers(),
    }
    # Only after the start: a dry run shall find weights that do not fit, too.
    if dry_run:
        return card
    # Built on the CPU and moved now, so that a random start is the same on every device.
    classifier.to(processes.pick_device(recipe.device))
    keeper = Resumable(state_path(recipe), _identity(recipe, card))
    selection = {"val": parts.val, "test": parts.test}.get(recipe.select_on)
    chosen = training.train(
        classifier, [parts.train, *parts.added], schedule, selection=selection, keeper=keeper, log=log
    )
    card["chosen_epoch"], card["history"] = chosen.epoch, chosen.history
    # A score on the images it learned from would only mislead whoever reads the card.
    card["metrics"] = {
        role: evaluate(part, training.predict(classifier, part)) if part is not None else None
        for role, part in parts.roles().items()
        if role in ("val", "test")
    }
    classifier.card = card
    save_classifier(classifier.cpu(), recipe.out)
    # Not before the result is on disk: a kill while saving must leave something to continue.
    keeper.remove()
    return card


def state_path(recipe: Recipe) -> Path:
    """Where an interrupted training keeps its state: X.state.pt beside X.safetensors."""
    return Path(recipe.out).with_suffix(".state.pt")


def of_numbers() -> dict[str, str]:
    """Versions of what a classifier's numbers may depend on."""
    ours = {"python": platform.python_version(), "spinegan": stylegan2ada.__version__}
    return ours | versions(("torch", "numpy", "monai"))


def schedule_of(recipe: Recipe) -> training.Schedule:
    """The recipe's schedule, what is not said as the architecture has it."""
    kind = ARCHITECTURES[recipe.arch]
    return training.Schedule(
        epochs=recipe.epochs or kind.epochs,
        steps=recipe.steps,
        lr=recipe.lr or kind.lr,
        batch=recipe.batch,
        class_weights=recipe.class_weights,
        augment=recipe.augment,
        select_on=recipe.select_on,
        seed=recipe.seed,
        precision=recipe.precision,
    )


def _identity(recipe: Recipe, card: Card) -> dict[str, object]:
    """What must be equal for a state to be continued."""
    # The fields of Recipe alone: a command's record derives from it and says more, e.g. where numbers go.
    names = [field.name for field in fields(Recipe) if field.name not in _MAY_CHANGE]
    settings = {name: getattr(recipe, name) for name in names}
    prints = {f"{role} data": facts and facts["fingerprint"] for role, facts in card["data"].items()}
    return settings | asdict(schedule_of(recipe)) | prints | {"start": str(card["weights"].get("sha256"))}
