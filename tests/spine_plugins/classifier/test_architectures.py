"""DenseNet121 against a functional one written from torchvision's key names; the small CNN's layer table."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from spine_plugins.classifier.architectures import (
    IMAGENET_URL,
    Cnn13k,
    DenseNet121,
    load_imagenet_weights,
    monai_name,
)
from stylegan2ada import files
from stylegan2ada.errors import MissingError, UserError

BLOCKS = (6, 12, 24, 16)
Weights = dict[str, Tensor]


def torchvision_weights(*, old_names: bool = False) -> Weights:
    """Random tensors under torchvision's keys for densenet121, with plausible scales."""
    generator = torch.Generator().manual_seed(0)
    weights: Weights = {}

    def norm(name: str, channels: int) -> None:
        for end, low, high in (("weight", 0.5, 1.5), ("bias", -0.3, 0.3), ("running_var", 0.5, 1.5)):
            weights[f"{name}.{end}"] = torch.rand(channels, generator=generator) * (high - low) + low
        weights[f"{name}.running_mean"] = torch.randn(channels, generator=generator) * 0.3

    def conv(name: str, out: int, channels: int, side: int) -> None:
        scale = (2 / (channels * side * side)) ** 0.5
        weights[f"{name}.weight"] = torch.randn(out, channels, side, side, generator=generator) * scale

    dot = "." if old_names else ""
    conv("features.conv0", 64, 3, 7)
    norm("features.norm0", 64)
    channels = 64
    for block, layers in enumerate(BLOCKS, 1):
        for layer in range(1, layers + 1):
            name = f"features.denseblock{block}.denselayer{layer}"
            norm(f"{name}.norm{dot}1", channels)
            conv(f"{name}.conv{dot}1", 128, channels, 1)
            norm(f"{name}.norm{dot}2", 128)
            conv(f"{name}.conv{dot}2", 32, 128, 3)
            channels += 32
        if block < len(BLOCKS):
            norm(f"features.transition{block}.norm", channels)
            conv(f"features.transition{block}.conv", channels // 2, channels, 1)
            channels //= 2
    norm("features.norm5", channels)
    weights["classifier.weight"] = torch.randn(1000, channels, generator=generator) / channels**0.5
    weights["classifier.bias"] = torch.randn(1000, generator=generator)
    return weights


def functional_features(x: Tensor, w: Weights) -> Tensor:
    """[N, 1024] by the DenseNet paper (Huang et al. 2017, table 1), from torchvision's names."""

    def norm_relu(x: Tensor, name: str) -> Tensor:
        mean, var, weight, bias = (
            w[f"{name}.{end}"].reshape(1, -1, 1, 1)
            for end in ("running_mean", "running_var", "weight", "bias")
        )
        return ((x - mean) / (var + 1e-5).sqrt() * weight + bias).relu()

    x = functional.conv2d(x, w["features.conv0.weight"], stride=2, padding=3)
    x = functional.max_pool2d(norm_relu(x, "features.norm0"), 3, stride=2, padding=1)
    for block, layers in enumerate(BLOCKS, 1):
        for layer in range(1, layers + 1):
            name = f"features.denseblock{block}.denselayer{layer}"
            new = functional.conv2d(norm_relu(x, f"{name}.norm1"), w[f"{name}.conv1.weight"])
            new = functional.conv2d(norm_relu(new, f"{name}.norm2"), w[f"{name}.conv2.weight"], padding=1)
            x = torch.cat([x, new], dim=1)
        if block < len(BLOCKS):
            name = f"features.transition{block}"
            x = functional.avg_pool2d(
                functional.conv2d(norm_relu(x, f"{name}.norm"), w[f"{name}.conv.weight"]), 2
            )
    return norm_relu(x, "features.norm5").mean(dim=(2, 3))


@pytest.mark.parametrize("old_names", [pytest.param(False, marks=pytest.mark.slow), True])
def test_densenet_equals_torchvisions_layout(old_names: bool, tmp_path: Path) -> None:
    path = tmp_path / "densenet121.pth"
    # The file that torchvision offers is of the old kind in both respects.
    weights = torchvision_weights(old_names=old_names)
    torch.save(weights, path, _use_new_zipfile_serialization=not old_names)
    network = DenseNet121(3, 2, 0.1).eval()
    found = load_imagenet_weights(network, str(path))
    last = network.network.state_dict()
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        features = functional_features(x, torchvision_weights())
        expected = features @ last["class_layers.out.weight"].T + last["class_layers.out.bias"]
        given = network(x)
    assert features.std() > 0.05  # the comparison is not one of zeros
    torch.testing.assert_close(given, expected, rtol=1e-5, atol=1e-5)
    assert found["sha256"] == files.sha256_file(path)
    assert found["origin"] == str(path)


def test_names() -> None:
    assert monai_name("features.norm0.weight") == "features.norm0.weight"
    assert monai_name("features.transition2.conv.weight") == "features.transition2.conv.weight"
    new = "features.denseblock3.denselayer24.layers.norm1.running_mean"
    assert monai_name("features.denseblock3.denselayer24.norm1.running_mean") == new
    assert monai_name("features.denseblock3.denselayer24.norm.1.running_mean") == new
    assert monai_name("classifier.bias") is None


def test_a_damaged_download_is_noticed(tmp_path: Path) -> None:
    target = files.download_target(IMAGENET_URL)
    assert tmp_path in target.parents
    target.parent.mkdir(parents=True)
    target.write_bytes(b"half")
    with pytest.raises(UserError, match="is damaged .* delete it"):
        load_imagenet_weights(DenseNet121(3, 1, 0.1), IMAGENET_URL)


def test_weights_files_that_do_not_fit(tmp_path: Path) -> None:
    network = DenseNet121(3, 1, 0.1)
    with pytest.raises(MissingError, match="nowhere.pth is not a file"):
        load_imagenet_weights(network, str(tmp_path / "nowhere.pth"))
    path = tmp_path / "w.pth"
    weights = torchvision_weights()
    del weights["features.norm5.bias"]
    torch.save(weights, path)
    with pytest.raises(UserError, match=r"not torchvision's densenet121: it lacks features\.norm5\.bias"):
        load_imagenet_weights(network, str(path))
    torch.save(torchvision_weights() | {"features.norm5.bias": torch.zeros(7)}, path)
    with pytest.raises(UserError, match=r"features\.norm5\.bias \[7\]"):
        load_imagenet_weights(network, str(path))
    path.write_bytes(b"no weights")
    with pytest.raises(UserError, match="cannot be read as weights"):
        load_imagenet_weights(network, str(path))
    torch.save({"a": 3}, path)
    with pytest.raises(UserError, match="holds no state dict"):
        load_imagenet_weights(network, str(path))


def test_small_network_is_the_layer_table() -> None:
    network = Cnn13k(1, 1, 0.0)
    x, shapes = torch.zeros(5, 1, 64, 64), []
    for layer in network.features:
        x = layer(x)
        if isinstance(layer, (torch.nn.Conv2d, torch.nn.MaxPool2d, torch.nn.Flatten)):
            shapes.append(tuple(x.shape[1:]))
    assert shapes == [(32, 21, 21), (16, 7, 7), (16, 2, 2), (64,)]
    counted = [
        sum(t.numel() for name, t in layer.state_dict().items() if "num_batches" not in name)
        for layer in [*network.features, *network.head]
    ]
    assert [c for c in counted if c] == [320, 128, 4624, 64, 8320, 129]
    assert sum(p.numel() for p in network.parameters()) == 13_489
    assert sum(b.numel() for name, b in network.named_buffers() if "running" in name) == 96
    assert Cnn13k(1, 13, 0.0)(torch.zeros(2, 1, 64, 64)).shape == (2, 13)
