"""What images are compared by: the built-in pixels against scipy, and the layers of networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage
import torch

from spine_plugins.audit.features import blurred, find_features, halved
from spine_plugins.classifier.model import new_classifier, save_classifier
from stylegan2ada.errors import UserError
from stylegan2ada.images import to_float
from tests.spine_plugins.audit.making import images

CPU = torch.device("cpu")


def test_blur_is_scipys() -> None:
    x = images(2, 1)[:, 0].astype(np.float64)
    found = blurred(torch.from_numpy(x).float(), 2.0).numpy()
    expected = [scipy.ndimage.gaussian_filter(image, 2.0, mode="mirror", radius=6) for image in x]
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_halved_is_the_mean_of_cells() -> None:
    x = torch.arange(35.0).reshape(1, 1, 5, 7)
    np.testing.assert_allclose(halved(x), torch.nn.functional.avg_pool2d(x, 2))


def test_brightness_and_contrast_hardly_matter_and_strangers_do() -> None:
    features = find_features("pixels", CPU)
    x = images(8, 2, side=64)
    brighter = np.clip(x.astype(int) * 8 // 10 + 40, 0, 255).astype(np.uint8)
    a, b = features.of(x), features.of(brighter)
    own, other = (a - b).norm(dim=1), (a - b.roll(1, 0)).norm(dim=1)
    assert (own < 0.3 * other).all()


def test_a_view_is_the_vector_of_the_moved_image() -> None:
    features = find_features("pixels", CPU)
    prepared = features.prepared(images(1, 3, side=64))
    views = features.fine(prepared)
    wide = torch.nn.functional.pad(prepared, (4,) * 4, mode="replicate")
    moved = wide[:, :, 4 + 3 : 68 + 3, 4 - 2 : 68 - 2]  # down by 3, to the left by 2
    assert float((views - features.vector(moved)).abs().amax(dim=2).min()) < 1e-6


def test_a_classifier_gives_what_goes_into_its_last_layer(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = new_classifier("cnn13k", "binary", ["normal", "abnormal"]).eval()
    save_classifier(model, tmp_path / "c.safetensors")
    features = find_features(str(tmp_path / "c.safetensors"), CPU)
    x = images(3, 4, side=64)
    last = [m for m in model.network.modules() if isinstance(m, torch.nn.Linear)][-1]
    found = features.of(x)
    assert found.shape == (3, last.in_features)
    np.testing.assert_allclose(found.norm(dim=1), 1, rtol=1e-5)
    # Up to length, the last layer makes the logits of it.
    logits = model(to_float(torch.from_numpy(x)))[:, 0] - last.bias[0]
    ratio = logits / (found @ last.weight.T)[:, 0]
    assert (ratio > 0).all()


def test_detectors_and_unknown_names() -> None:
    assert find_features("tiny", CPU).of(images(2, 5)).shape == (2, 128)
    with pytest.raises(UserError, match="--features=pixel "):
        find_features("pixel ", CPU)
