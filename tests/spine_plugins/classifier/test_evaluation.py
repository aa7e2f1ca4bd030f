"""Measures of all three tasks against scikit-learn; rows of the tables."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from scipy import special
from sklearn import metrics as sk

from spine_plugins.classifier import plots
from spine_plugins.classifier.answers import scores_of
from spine_plugins.classifier.evaluation import evaluate, per_class_rows, prediction_rows, ranking_score
from spine_plugins.classifier.labelled import LabelledImages, open_labelled
from stylegan2ada.files import csv_bytes
from tests.spine_plugins.classifier.making import write_spots


def case(tmp_path: Path, task: str, groups: str | None = "g") -> tuple[LabelledImages, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = {
        "binary": rng.integers(0, 2, 90),
        "multiclass": rng.integers(0, 4, 90),
        "multilabel": (rng.random((90, 3)) < 0.4).astype(int),
    }[task]
    data = open_labelled(
        str(
            write_spots(
                tmp_path / "d.zip",
                90,
                size=8,
                labels=labels,
                groups=groups,
                names=None if task == "binary" else list("abcd")[: 4 if task == "multiclass" else 3],
            )
        )
    )
    return data, (data.targets * 2 - 1 + rng.normal(0, 1.5, data.targets.shape)).astype(np.float32)


def test_binary(tmp_path: Path) -> None:
    data, logits = case(tmp_path, "binary")
    found, y, p = evaluate(data, logits, resamples=200), data.targets[:, 0], special.expit(logits[:, 0])
    assert found["auc"]["value"] == pytest.approx(sk.roc_auc_score(y, logits[:, 0]))
    assert found["auc"]["method"].startswith("study bootstrap")
    assert found["auc_delong"]["method"] == "DeLong"
    assert found["auprc"]["value"] == pytest.approx(sk.average_precision_score(y, logits[:, 0]))
    assert found["brier"] == pytest.approx(sk.brier_score_loss(y, p), abs=1e-6)
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(y, p > 0.5))
    assert found["per_class"][0]["class"] == "abnormal"
    for name in ("auc", "auprc", "sensitivity_at_90_specificity"):
        assert 0 <= found[name]["low"] <= found[name]["value"] <= found[name]["high"] <= 1
    assert ranking_score(data.targets, logits, "binary") == found["auc"]["value"]
    json.dumps(found, allow_nan=False)


def test_without_groups_the_closed_form_serves(tmp_path: Path) -> None:
    data, logits = case(tmp_path, "binary", groups=None)
    found = evaluate(data, logits, resamples=100)
    assert found["auc"] == found["auc_delong"]
    assert found["n_groups"] is None


def test_multiclass(tmp_path: Path) -> None:
    data, logits = case(tmp_path, "multiclass")
    found, p = evaluate(data, logits, resamples=100), special.softmax(logits.astype(np.float64), axis=1)
    y = data.targets.argmax(axis=1)
    np.testing.assert_allclose(special.expit(scores_of(logits, "multiclass")), p, atol=1e-12)
    assert found["auc"]["value"] == pytest.approx(sk.roc_auc_score(y, p, multi_class="ovr"))
    assert found["accuracy"] == pytest.approx((p.argmax(1) == y).mean())
    assert found["confusion"] == sk.confusion_matrix(y, p.argmax(1)).tolist()
    assert [row["n_positive"] for row in found["per_class"]] == np.bincount(y).tolist()


def test_multilabel_with_a_finding_that_nobody_has(tmp_path: Path) -> None:
    data, logits = case(tmp_path, "multilabel")
    expected = sk.roc_auc_score(data.targets, logits)
    assert evaluate(data, logits, resamples=100)["auc"]["value"] == pytest.approx(expected)
    data.targets[:, 2] = 0
    found = evaluate(data, logits, resamples=100)
    assert found["auc"]["value"] == pytest.approx(sk.roc_auc_score(data.targets[:, :2], logits[:, :2]))
    assert found["per_class"][2]["auc"]["value"] is None
    json.dumps(found, allow_nan=False)
    header, rows = per_class_rows(found)
    assert all(len(row) == len(header) for row in rows)
    for draw in (plots.draw_roc, plots.draw_calibration):
        draw(data, logits, found, tmp_path / "plot.png")
        assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_predictions_table(tmp_path: Path, task: str) -> None:
    data, logits = case(tmp_path, task)
    text = csv_bytes(*prediction_rows(data, logits, task, data.class_names)).decode()
    rows = list(csv.DictReader(text.splitlines()))
    assert list(rows[0]) == ["name", "label", "group", *(f"p_{name}" for name in data.class_names)]
    assert [row["name"] for row in rows] == data.names
    assert [row["group"] for row in rows] == data.groups
    p = np.array([[float(row[f"p_{name}"]) for name in data.class_names] for row in rows])
    if task == "multilabel":
        np.testing.assert_allclose(p, special.expit(logits), rtol=1e-6)
        assert rows[0]["label"] == " ".join(str(int(v)) for v in data.targets[0])
    else:
        np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-6)
        expected = data.targets[:, 0] if task == "binary" else data.targets.argmax(axis=1)
        assert [row["label"] for row in rows] == [str(int(v)) for v in expected]
