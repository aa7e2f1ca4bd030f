"""Where a training starts: at random, from ImageNet weights, or from another classifier."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch

from spine_plugins.classifier.architectures import IMAGENET_URL, DenseNet121, load_imagenet_weights
from spine_plugins.classifier.cards import Card, Origin, Provenance
from spine_plugins.classifier.labelled import LabelledImages
from spine_plugins.classifier.model import SpineClassifier, load_classifier, new_classifier
from spine_plugins.classifier.recipe import Recipe
from stylegan2ada.errors import UserError


def start(recipe: Recipe, data: LabelledImages) -> tuple[SpineClassifier, Origin]:
    """The untrained classifier, and where its weights come from."""
    if recipe.init is not None:
        return _continued(recipe, data)
    assert data.task is not None
    # Seeded on a fork, so that the caller's random numbers go on as if nothing was drawn here.
    with torch.random.fork_rng([]):
        torch.manual_seed(recipe.seed)
        classifier = new_classifier(
            recipe.arch, data.task, data.class_names, size=recipe.size, dropout=recipe.dropout
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


def _continued(recipe: Recipe, data: LabelledImages) -> tuple[SpineClassifier, Origin]:
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
    # A new classifier: the parent's card has scores and a history that are not the child's.
    child = SpineClassifier(_beginning(parent.card, recipe.dropout))
    child.load_state_dict(parent.state_dict())
    return child, {
        "origin": Path(str(recipe.init)).name,
        "sha256": parent.card["sha256"],
        "licence": parent.card.get("licence"),
        "classifier": _ancestry(parent.card),
    }


def _beginning(parent: Card, dropout: float | None) -> Card:
    """What of a parent's card describes the network itself."""
    kept = ("format", "format_version", "arch", "task", "class_names", "dropout", "input")
    card = cast(Card, {name: value for name, value in parent.items() if name in kept})
    if dropout is not None:
        card["dropout"] = dropout
    return card


def _ancestry(parent: Card) -> Card:
    """What a child must say of its parent: it may have seen the child's test images."""
    return cast(Card, {name: parent.get(name) for name in ("weights", "data", "selected_on", "split")})


def provenance(recipe: Recipe, origin: Origin) -> Provenance:
    """For the card: whether weights that were not trained here are in it, also by way of a parent."""
    is_foreign = origin["origin"] != "none" and "classifier" not in origin
    # On the safe side: a parent that had any start of its own counts as foreign, whatever that was.
    inherited = (origin.get("classifier") or {}).get("weights")
    return {
        "made_by": "spinegan classify train",
        "foreign": is_foreign or bool(inherited and inherited.get("origin") != "none"),
        "starts_from": [] if origin["origin"] == "none" else [origin],
        "seed": recipe.seed,
        "split_seed": recipe.split_seed,
    }
