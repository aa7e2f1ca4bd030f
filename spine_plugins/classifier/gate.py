"""Whether a classifier may steer a generator: it must know something, these classes, and not the test set."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spine_plugins.classifier import answers
from spine_plugins.classifier.cards import Card, DataFacts
from spine_plugins.statistics import interval_text
from stylegan2ada.errors import UserError

if TYPE_CHECKING:
    from stylegan2ada.data.dataset import DatasetInfo


def check_fit(card: Card, info: DatasetInfo, path: str) -> None:
    """Refuse a classifier whose outputs do not match the labels of the data; nothing can override this."""
    names = list(card["class_names"])
    known = answers.label_dim(card["task"], len(names))
    if known != info.label_dim:
        raise UserError(
            f"--classifier={path} knows {known} classes ({', '.join(names)}), but --data has "
            f"{info.label_dim}; train a classifier on this data set with `spinegan classify train`"
        )
    # Data sets without names can only be compared by their number of classes.
    if info.label_names and list(info.label_names) != names:
        raise UserError(
            f"--classifier={path} was trained for the classes {', '.join(names)}, but --data means "
            f"{', '.join(info.label_names)}; use a classifier of the same classes in the same order"
        )


def doubts(card: Card, test_fingerprint: str | None = None) -> list[str]:
    """Reasons not to trust a classifier; empty if there are none."""
    found = []
    validated = (card.get("metrics") or {}).get("val") or {}
    auc = validated.get("auc")
    if not auc:
        found.append("its card has no validation AUC")
    elif auc.get("value") is None or auc.get("high") is None or (low := auc.get("low")) is None:
        found.append("its validation set was too small for an AUC with an interval")
    # `not >` instead of `<=`: a bound that is NaN is a doubt as well.
    elif not low > 0.5:
        found.append(f"its validation AUC of {interval_text(auc, of='')} may be chance")
    data = card.get("data") or {}
    if not card.get("provenance") or not data.get("train"):
        found.append("its card does not say what it was trained on")
    if card.get("selected_on") == "test":
        found.append("its epoch was chosen on the test set, so test scores of this study would be too good")
    # A part split off a file has a fingerprint of its own; the file's counts too.
    known = [facts for part, facts in data.items() if facts and part != "test"]
    seen = {facts.get(kind) for facts in known for kind in ("fingerprint", "source_fingerprint")} - {None}
    own_test = data.get("test")
    if (own_test and own_test.get("fingerprint") in seen) or (
        test_fingerprint is not None and test_fingerprint in seen
    ):
        found.append("it was trained or selected on the images used as test set")
    return found


def require_trust(card: Card, path: str, *, accept: bool, test_fingerprint: str | None) -> list[str]:
    """The doubts about a classifier; UserError if there are any and the user did not accept them."""
    found = doubts(card, test_fingerprint)
    if found and not accept:
        raise UserError(
            f"--classifier={path} is refused: {'; '.join(found)}. Train a better one with "
            "`spinegan classify train`, or say --accept-classifier=1 and it will be written into every result"
        )
    return found


def overlap(card: Card, facts: DataFacts) -> str | None:
    """A sentence if the classifier was made with images of this file."""
    # By source, for a part of a file has another fingerprint than the file as a whole.
    for role, known in (card.get("data") or {}).items():
        if known and role != "test" and known.get("source_fingerprint") == facts["source_fingerprint"]:
            return f"these include the classifier's own {role} images; the result says little about new ones"
    return None
