"""Whether a classifier may steer: what makes it doubtful, what must fit, whose images it knows."""

from __future__ import annotations

import pytest

from spine_plugins.classifier import gate
from spine_plugins.classifier.cards import Card
from stylegan2ada.data.dataset import DatasetInfo
from stylegan2ada.errors import UserError


def card(low: float | None = 0.8, **changes: object) -> Card:
    made = {
        "task": "binary",
        "class_names": ["normal", "abnormal"],
        "metrics": {"val": {"auc": {"value": 0.9, "low": low, "high": 0.95, "method": "DeLong"}}},
        "data": {
            "train": {"fingerprint": "a", "source_fingerprint": "file"},
            "val": {"fingerprint": "b", "source_fingerprint": "file"},
            "test": {"fingerprint": "c", "source_fingerprint": "c"},
        },
        "provenance": {"made_by": "test"},
        "selected_on": "val",
    }
    return made | changes


def test_nothing_to_doubt() -> None:
    assert gate.doubts(card()) == []
    assert gate.doubts(card(), test_fingerprint="c") == []
    assert gate.require_trust(card(), "c", accept=False, test_fingerprint=None) == []


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (card(0.45), r"its validation AUC of 0.900 \(0.450 to 0.950\) may be chance"),
        (card(None), "too small for an AUC with an interval"),
        (card(metrics={"val": None}), "no validation AUC"),
        (card(metrics=None), "no validation AUC"),
        (card(provenance=None), "does not say what it was trained on"),
        (card(data={"val": None}), "does not say what it was trained on"),
        (card(selected_on="test"), "chosen on the test set"),
        (card(data=card()["data"] | {"test": {"fingerprint": "file"}}), "used as test set"),
    ],
)
def test_each_doubt_has_its_words(made: Card, reason: str) -> None:
    with pytest.raises(UserError, match=f"^--classifier=x is refused: .*{reason}.* --accept-classifier=1"):
        gate.require_trust(made, "x", accept=False, test_fingerprint=None)
    (said,) = gate.require_trust(made, "x", accept=True, test_fingerprint=None)
    assert said in gate.doubts(made)


@pytest.mark.parametrize("seen", ["a", "b", "file"])
def test_whoever_knows_the_test_set_is_doubted(seen: str) -> None:
    assert "used as test set" in gate.doubts(card(), test_fingerprint=seen)[0]


def info(label_dim: int, names: tuple[str, ...] | None) -> DatasetInfo:
    return DatasetInfo("d", "d.zip", 4, (1, 8, 8), label_dim, label_dim > 0, names)


def test_labels_must_be_those_of_the_classifier() -> None:
    for names in (None, ("normal", "abnormal")):
        gate.check_fit(card(), info(2, names), "x")
    with pytest.raises(UserError, match=r"knows 2 classes \(normal, abnormal\), but --data has 3"):
        gate.check_fit(card(), info(3, None), "x")
    with pytest.raises(UserError, match="but --data means abnormal, normal"):
        gate.check_fit(card(), info(2, ("abnormal", "normal")), "x")
    several = card(task="multilabel", class_names=["a", "b", "c"])
    gate.check_fit(several, info(3, ("a", "b", "c")), "x")


def test_images_that_the_classifier_was_made_with() -> None:
    facts = {"fingerprint": "z", "source_fingerprint": "file"}
    assert gate.overlap(card(), facts) == (
        "these include the classifier's own train images; the result says little about new ones"
    )
    assert gate.overlap(card(), facts | {"source_fingerprint": "c"}) is None  # measured on, not made with
    assert gate.overlap(card(data=None), facts) is None
