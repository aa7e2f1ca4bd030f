"""What train_spine refuses or doubts before a run begins: by cards and labels, without building networks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

from spine_plugins.classifier import gate
from spine_plugins.classifier.cards import Card, read_card
from spine_plugins.training.judge import same_judge
from stylegan2ada.data.dataset import Dataset, ImageFolderDataset
from stylegan2ada.data.fingerprint import fingerprint
from stylegan2ada.errors import UserError

_EXPECTED_CLASSES = {"paper-ada": 2, "paper-spine": 2, "paper-multi": 8} | dict.fromkeys(
    ("paper-dp-b", "paper-dp-c", "paper-dp-d", "paper-dp-e"), 2
)


class ClassifierFacts(TypedDict):
    """What a run's record says of the classifier in its loss."""

    classifier_sha256: str | None
    classifier_auc: Mapping[str, object] | None  # on its validation set, with an interval
    classifier_doubts: list[str]  # that the user accepted


def classifier(
    path: str | None,
    dataset: Dataset | None,  # None: --data is missing, which is somebody else's sentence
    *,
    cond: bool,
    test_data: str | None,
    accept: bool,
) -> ClassifierFacts:
    """Facts about the classifier for the run's record; UserError if it may not be used."""
    if not path:
        raise UserError(
            "--loss=spine needs a classifier; give --classifier=FILE, made by `spinegan classify train`"
        )
    if not cond:
        raise UserError("--loss=spine asks fakes for their class, so the network needs labels; add --cond=1")
    card = read_card(path)
    if dataset is not None:
        if not dataset.has_labels:
            raise UserError(f"--loss=spine needs labels, and {dataset.path} has none; pack it with labels")
        gate.check_fit(card, dataset.info(), path)
    test = None if test_data is None else fingerprint(ImageFolderDataset(test_data))
    accepted = gate.require_trust(card, path, accept=accept, test_fingerprint=test)
    return {
        "classifier_sha256": card.get("sha256"),
        "classifier_auc": _auc(card),
        "classifier_doubts": accepted,
    }


def judge(path: str, classifier_path: str | None, dataset: Dataset | None) -> list[str]:
    """Why the judge is no second opinion; UserError if it knows other classes than the data."""
    card = read_card(path)
    if dataset is not None:
        gate.check_fit(card, dataset.info(), path)
    return same_judge(card, read_card(classifier_path)) if classifier_path else []


def classes(preset: str, dataset: Dataset | None) -> None:
    """Refuse data of another number of classes than a preset of the paper is for."""
    expected = _EXPECTED_CLASSES.get(preset)
    if expected is None or dataset is None:
        return
    found = dataset.label_dim if dataset.has_labels else 0
    if found != expected:
        raise UserError(
            f"--preset={preset} is for {expected} classes, but {dataset.path} has {found}; "
            f"make it with dataset_tool_dicom.py --labels={'spine8' if expected == 8 else 'binary'}"
        )


def _auc(card: Card) -> Mapping[str, object] | None:
    return ((card.get("metrics") or {}).get("val") or {}).get("auc")
