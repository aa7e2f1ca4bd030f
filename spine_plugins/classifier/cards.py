"""The card of a classifier, X.json beside X.safetensors; no network is built to read or write it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from spine_plugins.classifier.architectures import ARCHITECTURES
from stylegan2ada import files
from stylegan2ada.errors import MissingError

FORMAT = "spinegan-classifier"
FORMAT_VERSION = 1
TASKS = ("binary", "multiclass", "multilabel")
TRAIN_FIRST = "train one with `spinegan classify train`"


def card_path(path: str | Path) -> Path:
    """The card lies beside the weights: X.safetensors, X.json."""
    return Path(path).with_suffix(".json")


def write_card(card: dict[str, Any], path: str | Path) -> None:
    """(Re)write the card beside the weights."""
    with files.atomic_write(card_path(path)) as file:
        file.write(json.dumps(card, indent=1).encode() + b"\n")


def read_card(path: str) -> dict[str, Any]:
    """The card beside the weights, checked to be one."""
    beside = (
        files.local_copy(str(path).removesuffix(".safetensors") + ".json")
        if files.is_url(path)
        else card_path(path)
    )
    try:
        card = json.loads(beside.read_bytes())
    except OSError as error:
        raise MissingError(
            f"the classifier {path} has no card {beside}; copy it from where the classifier was trained"
        ) from error
    except ValueError as error:
        raise MissingError(f"the card {beside} is not valid JSON; copy it again") from error
    is_ours = isinstance(card, dict) and card.get("format") == FORMAT
    if not is_ours or card.get("task") not in TASKS or card.get("arch") not in ARCHITECTURES:
        raise MissingError(f"{beside} is not the card of a SpineClassifier; {TRAIN_FIRST}")
    if card.get("format_version") != FORMAT_VERSION:
        raise MissingError(f"{beside} was written by a newer version of this program; update it")
    return card
