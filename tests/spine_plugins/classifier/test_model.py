"""The classifier as a module: what goes in, gradients, and its file with card."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from spine_plugins.classifier import (
    SpineClassifier,
    card_path,
    load_classifier,
    new_classifier,
    save_classifier,
)
from stylegan2ada.errors import MissingError

MEAN = torch.tensor([0.485, 0.456, 0.406]).reshape(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).reshape(1, 3, 1, 1)


def small(task: str = "binary", names: tuple[str, ...] = ("normal", "abnormal")) -> SpineClassifier:
    torch.manual_seed(0)
    return new_classifier("cnn13k", task, list(names)).eval()


@pytest.fixture(scope="module")
def dense() -> SpineClassifier:
    torch.manual_seed(0)
    return new_classifier("densenet121", "binary", ["normal", "abnormal"], size=48).eval()


def test_card_mapping(dense: SpineClassifier) -> None:
    img = torch.rand(2, 1, 48, 48) * 2 - 1
    expected = ((img + 1) / 2).repeat(1, 3, 1, 1)
    torch.testing.assert_close(dense.prepare(img), (expected - MEAN) / STD)
    assert dense(img).shape == (2, 1)
    assert dense(img.repeat(1, 3, 1, 1)).equal(dense(img))


def test_resize_is_antialiased_bilinear() -> None:
    # Pillow's bilinear filter is the independent truth; it rounds nothing in mode F.
    rng = np.random.default_rng(0)
    picture = rng.random((150, 150)).astype(np.float32)
    expected = np.asarray(PIL.Image.fromarray(picture).resize((64, 64), PIL.Image.Resampling.BILINEAR))
    given = small().resized(torch.from_numpy(picture)[None, None])[0, 0].numpy()
    np.testing.assert_allclose(given, expected, atol=2e-6)


def test_authors_mapping(dense: SpineClassifier) -> None:
    img = torch.rand(2, 1, 60, 52) * 2 - 1
    expected = (img[:, :, 6:54, 2:50].repeat(1, 3, 1, 1) - MEAN) / STD
    torch.testing.assert_close(dense.prepare_as_authors(img), expected)
    torch.testing.assert_close(dense(img, mapping="authors"), dense.logits(expected))
    tiny = torch.ones(1, 3, 40, 40)
    padded = torch.nn.functional.pad(tiny, (4, 4, 4, 4))
    torch.testing.assert_close(dense.prepare_as_authors(tiny), (padded - MEAN) / STD)


def test_grey_network_takes_rgb() -> None:
    classifier, img = small(), torch.rand(3, 1, 64, 64) * 2 - 1
    torch.testing.assert_close(classifier(img.repeat(1, 3, 1, 1)), classifier(img), atol=1e-6, rtol=1e-5)
    with pytest.raises(ValueError, match="1 or 3"):
        classifier(torch.zeros(1, 2, 64, 64))


@pytest.mark.parametrize("mapping", ["card", "authors"])
def test_gradient_reaches_the_image(mapping: str) -> None:
    classifier = small().double().requires_grad_(False)
    # Preparation is float32 for every input; in float64 the gradient can be compared with differences.
    img = torch.rand(1, 1, 64, 64) * 2 - 1
    img.requires_grad_(True)
    x = classifier.prepare(img) if mapping == "card" else classifier.prepare_as_authors(img)
    y = x.detach().double().requires_grad_(True)
    assert torch.autograd.gradcheck(lambda t: classifier.logits(t), y, fast_mode=True)
    (gradient,) = torch.autograd.grad(small()(img, mapping=mapping).sum(), img)
    assert gradient.abs().sum() > 0
    assert torch.isfinite(gradient).all()


def test_probabilities() -> None:
    logits = torch.tensor([[0.0], [2.0]])
    torch.testing.assert_close(small().probabilities(logits)[:, 1], torch.sigmoid(logits[:, 0]))
    assert small().probabilities(logits).sum(1).allclose(torch.ones(2))
    three = torch.randn(4, 3)
    torch.testing.assert_close(small("multiclass", ("a", "b", "c")).probabilities(three), three.softmax(1))
    torch.testing.assert_close(small("multilabel", ("a", "b", "c")).probabilities(three), three.sigmoid())


def test_save_and_load(tmp_path: Path) -> None:
    classifier, path = small(), tmp_path / "c.safetensors"
    save_classifier(classifier, path)
    loaded = load_classifier(str(path))
    img = torch.rand(2, 1, 40, 40)
    assert loaded(img).equal(classifier(img))
    assert not loaded.training and not any(p.requires_grad for p in loaded.parameters())
    assert (loaded.task, loaded.class_names) == ("binary", ["normal", "abnormal"])
    assert loaded.card["input"]["size"] == 64


def test_files_that_are_no_classifier(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    with pytest.raises(MissingError, match=r"does not exist; train one with `spinegan classify train`"):
        load_classifier(str(path))
    save_classifier(small(), path)
    card = json.loads(card_path(path).read_bytes())

    def refused(changed: object, sentence: str) -> None:
        card_path(path).write_text(changed if isinstance(changed, str) else json.dumps(changed))
        with pytest.raises(MissingError, match=sentence) as caught:
            load_classifier(str(path))
        assert caught.value.exit_code == 3
        assert "\n" not in str(caught.value)

    refused("{", "is not valid JSON")
    refused([1], "is not the card of a SpineClassifier")
    refused(card | {"task": "guess"}, "is not the card")
    refused(card | {"format_version": 99}, "newer version")
    refused(card | {"sha256": "0" * 64}, "is of another file")
    refused(card | {"class_names": ["a", "b", "c"], "task": "multiclass"}, "do not describe a classifier")
    refused({k: v for k, v in card.items() if k != "input"}, "its input cannot be")
    card_path(path).unlink()
    with pytest.raises(MissingError, match="has no card"):
        load_classifier(str(path))
