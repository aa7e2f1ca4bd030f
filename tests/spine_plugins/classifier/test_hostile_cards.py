"""Cards of strangers: what cannot be is named, before a network is built of it."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from spine_plugins.classifier.cards import card_path, read_card
from spine_plugins.classifier.model import load_classifier, new_classifier, save_classifier
from stylegan2ada.errors import MissingError

NAN = float("nan")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    save_classifier(new_classifier("cnn13k", "binary", ["normal", "abnormal"]), tmp_path / "c.safetensors")
    return tmp_path / "c.safetensors"


def rewrite(path: Path, place: str, value: Any) -> None:
    card = json.loads(card_path(path).read_text())
    inner = card
    *way, last = place.split("/")
    for part in way:
        inner = inner.setdefault(part, {})
    inner[last] = value
    if value is ...:
        del inner[last]
    card_path(path).write_text(json.dumps(card))


WRONG: list[tuple[str, str, Any]] = [
    *(("input.size", "input/size", value) for value in (0, -5, 10**9, 64.0, "64", None, True, 30, ...)),
    *(("input.channels", "input/channels", value) for value in (0, 2, -1, 10**9, "1", True, ...)),
    *(("input.mean", "input/mean", value) for value in ([], [0.5, 0.5], ["x"], [NAN], 0.5, [1e300], ...)),
    *(("input.std", "input/std", value) for value in ([0], [-1], [NAN], [float("inf")], [1e-300], "x", ...)),
    *(("input", "input", value) for value in ([], None, 5, ...)),
    *(("dropout", "dropout", value) for value in (-1, 1, NAN, "0.1", None, ...)),
    *(("class_names", "class_names", value)
      for value in ([], ["a"], ["a", "a"], ["a", 5], ["a", ""], "ab", 5, {"a": 1}, ["a", "b", "c"],
                    [str(n) for n in range(10_000)], ...)),
    *(("not the card", "arch", value) for value in ([], {}, 5, "resnet", None)),
    *(("not the card", "task", value) for value in ([], {}, 5, "regression")),
    ("sha256", "sha256", 5),
    *(("data", "data", value) for value in ([], 5, {"train": 5}, {"train": {"fingerprint": []}})),
    *(("metrics", "metrics", value)
      for value in ([], {"val": 5}, {"val": {"auc": 0.9}}, {"val": {"auc": {"low": "x"}}})),
    ("provenance", "provenance", 5),
    ("weights", "weights", []),
    ("licence", "licence", 5),
]  # fmt: skip


@pytest.mark.parametrize(("says", "place", "value"), WRONG)
def test_what_cannot_be_is_named(path, says, place, value):
    rewrite(path, place, value)
    with pytest.raises(MissingError, match=f"c.json.*{says}") as error:
        read_card(path, check_weights=False)
    assert "\n" not in str(error.value)
    with pytest.raises(MissingError):
        load_classifier(path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b'{"a":' * 100_000, "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b"9" * 10_000, "not valid JSON"),
        (b" " * (17 << 20), "more than 16 MiB"),
    ],
    ids=range(6),
)
def test_what_is_no_card_is_said_to_be_none(path, content, says):
    card_path(path).write_bytes(content)
    with pytest.raises(MissingError, match=says):
        load_classifier(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_no_card(path):
    card_path(path).unlink()
    os.mkfifo(card_path(path))
    with pytest.raises(MissingError, match="has no card"):
        load_classifier(path)


@pytest.mark.parametrize("value", [NAN, float("inf")])
def test_weights_that_are_no_numbers_are_named(tmp_path, value):
    classifier = new_classifier("cnn13k", "multilabel", ["wedge"])
    classifier.state_dict()["network.head.0.weight"][3, 4] = value
    save_classifier(classifier, tmp_path / "c.safetensors")
    with pytest.raises(MissingError, match=r"network\.head\.0\.weight holds NaN or infinity"):
        load_classifier(tmp_path / "c.safetensors")


def test_weights_that_do_not_fit_are_refused(path):
    for content in (b"", b"\xff" * 100, safetensors.torch.save({"x": torch.zeros(2)})):
        path.write_bytes(content)
        card = json.loads(card_path(path).read_text())
        card_path(path).write_text(json.dumps(card | {"sha256": hashlib.sha256(content).hexdigest()}))
        with pytest.raises(MissingError, match="do not describe a classifier"):
            load_classifier(path)


@pytest.mark.parametrize("size", [54, 64, 80])
def test_the_smallest_and_the_largest_size_compute(tmp_path, size):
    save_classifier(new_classifier("cnn13k", "binary", ["a", "b"], size=size), tmp_path / "c.safetensors")
    classifier = load_classifier(tmp_path / "c.safetensors")
    assert classifier(torch.zeros(1, 1, 16, 16)).isfinite().all()
