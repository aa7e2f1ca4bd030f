"""Whether a classifier may steer a generator: it must know something, these classes, and not the test set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stylegan2ada.data.dataset import DatasetInfo
from stylegan2ada.errors import UserError


def check_fit(card: Mapping[str, Any], info: DatasetInfo, path: str) -> None:
    """Refuse a classifier whose outputs do not match the labels of the data; nothing can override this."""
    names, task = list(card["class_names"]), card["task"]
    outputs = 2 if task == "binary" else len(names)
    if outputs != info.label_dim:
        raise UserError(
            f"--classifier={path} knows {outputs} classes ({', '.join(names)}), but --data has "
            f"{info.label_dim}; train a classifier on this data set with `spinegan classify train`"
        )
    if info.label_names and list(info.label_names) != names:
        raise UserError(
            f"--classifier={path} was trained for the classes {', '.join(names)}, but --data means "
            f"{', '.join(info.label_names)}; use a classifier of the same classes in the same order"
        )


def doubts(card: Mapping[str, Any], test_fingerprint: str | None = None) -> list[str]:
    """Reasons not to trust a classifier; empty if there are none."""
    found = []
    auc = ((card.get("metrics") or {}).get("val") or {}).get("auc")
    if not auc:
        found.append("its card has no validation AUC")
    elif any(auc.get(name) is None for name in ("value", "low", "high")):
        found.append("its validation set was too small for an AUC with an interval")
    elif not auc["low"] > 0.5:
        interval = f"{auc['low']:.3f} to {auc['high']:.3f}"
        found.append(f"its validation AUC of {auc['value']:.3f} ({interval}) may be chance")
    data = card.get("data") or {}
    if not card.get("provenance") or not data.get("train"):
        found.append("its card does not say what it was trained on")
    if card.get("selected_on") == "test":
        found.append("its epoch was chosen on the test set, so test scores of this study would be too good")
    # A part split off a file has a fingerprint of its own; the file's counts too.
    kinds = ("fingerprint", "source_fingerprint")
    seen = {(data.get(part) or {}).get(kind) for part in ("train", "val") for kind in kinds} - {None}
    own_test = (data.get("test") or {}).get("fingerprint")
    if own_test in seen or (test_fingerprint is not None and test_fingerprint in seen):
        found.append("it was trained or selected on the images used as test set")
    return found


def require_trust(
    card: Mapping[str, Any], path: str, *, accept: bool, test_fingerprint: str | None
) -> list[str]:
    """The doubts about a classifier; UserError if there are any and the user did not accept them."""
    found = doubts(card, test_fingerprint)
    if found and not accept:
        raise UserError(
            f"--classifier={path} is refused: {'; '.join(found)}. Train a better one with "
            "`spinegan classify train`, or say --accept-classifier=1 and it will be written into every result"
        )
    return found
