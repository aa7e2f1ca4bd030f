"""The two architectures: DenseNet121 (MONAI's, with ImageNet weights of torchvision's layout) and cnn13k.

Each takes normalised images [N, C, size, size] and gives logits [N, k].
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from spine_plugins.classifier.cards import Origin
from stylegan2ada import files
from stylegan2ada.errors import MissingError, UserError

IMAGENET_URL = "https://download.pytorch.org/models/densenet121-a639ec97.pth"
_IMAGENET_SHA256 = "a639ec97"  # its beginning, which the file's name promises
IMAGENET_LICENCE = "ImageNet weights: ImageNet's terms of access (non-commercial research) may apply"


class DenseNet121(nn.Module):
    """MONAI's 2-D DenseNet121, its linear layer sized for our classes, then dropout on the logits.

    Dropout after the linear layer is what Schonfeld and Veeravagu (2022) describe: linear, dropout, sigmoid.
    """

    def __init__(self, channels: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.network = _monai_densenet121(channels, outputs)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.network(x))


class Cnn13k(nn.Module):
    """A convolutional network of 13,489 weights for 64x64 images, made for the bone-fracture experiments.

    Strides of three shrink 64 pixels to 21, 7 and, pooled, 2: it trains in seconds on a CPU.
    """

    def __init__(self, channels: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(channels, 32, 3, stride=3),  # [N, 32, 21, 21]
            nn.ReLU(),
            nn.BatchNorm2d(32),
            nn.Conv2d(32, 16, 3, stride=3),  # [N, 16, 7, 7]
            nn.ReLU(),
            nn.MaxPool2d(3),  # [N, 16, 2, 2]
            nn.BatchNorm2d(16),
            nn.Dropout(dropout),
            nn.Flatten(),  # [N, 64]
        )
        self.head = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Dropout(dropout), nn.Linear(128, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


Builder = Callable[[int, int, float], nn.Module]  # channels, outputs, dropout
BUILDERS: dict[str, Builder] = {
    "densenet121": DenseNet121,
    "cnn13k": Cnn13k,
}


def _monai_densenet121(channels: int, outputs: int) -> nn.Module:
    try:
        from monai.networks.nets.densenet import DenseNet121 as MonaiDenseNet121
    except ImportError as error:
        raise MissingError(
            "densenet121 needs MONAI, which is not installed; run: pip install 'spinegan[classifier]', "
            "or use --arch=cnn13k"
        ) from error
    return MonaiDenseNet121(spatial_dims=2, in_channels=channels, out_channels=outputs, pretrained=False)


# ImageNet weights of torchvision's layout.

_OLD_NAME = re.compile(r"(norm|conv)\.([12])\.")  # `norm.1.weight`, as torchvision's oldest files spell it
_DENSE_LAYER = re.compile(r"(features\.denseblock\d+\.denselayer\d+)\.")


def monai_name(torchvision_name: str) -> str | None:
    """The key in MONAI's DenseNet for one in torchvision's; None for its 1000-class layer."""
    # A thousand everyday classes say nothing of ours: the new last layer stays random.
    if torchvision_name.startswith("classifier."):
        return None
    # MONAI wraps the norms and convolutions of a dense layer in a Sequential called `layers`.
    return _DENSE_LAYER.sub(r"\1.layers.", _OLD_NAME.sub(r"\1\2.", torchvision_name))


def load_imagenet_weights(network: DenseNet121, path_or_url: str) -> Origin:
    """Fill all but the last layer from a torchvision-format file; returns its provenance for the card."""
    path = files.local_copy(path_or_url)
    if not path.is_file():
        raise MissingError(
            f"--weights={path_or_url} is not a file; give torchvision's densenet121 weights "
            f"({IMAGENET_URL}), or --weights=none to start from random weights"
        )
    sha256 = files.sha256_file(path)
    # Only this address promises a hash; any other file is judged by its layout alone.
    if path_or_url == IMAGENET_URL and not sha256.startswith(_IMAGENET_SHA256):
        raise UserError(f"the download {path} is damaged (SHA-256 {sha256[:8]}...); delete it and try again")
    # nn.DataParallel puts `module.` before the names of what it saves.
    found = {
        name: value
        for key, value in read_tensors(path).items()
        if (name := monai_name(key.removeprefix("module."))) is not None
    }
    target = {k: v for k, v in network.network.state_dict().items() if not k.startswith("class_layers.")}
    # Batch counters are of no use with a fixed momentum, and torchvision's file has none.
    absent = [k for k in target if k not in found and not k.endswith("num_batches_tracked")]
    # Shapes as well: a wider DenseNet, or one for grey images, has many of the same names.
    odd = [k for k in found if k not in target or found[k].shape != target[k].shape]
    if absent or odd:
        problem = f"lacks {absent[0]}" if absent else f"has {odd[0]} {list(found[odd[0]].shape)}"
        raise UserError(
            f"--weights={path_or_url} is not torchvision's densenet121: it {problem} "
            f"({len(absent)} tensors missing, {len(odd)} not fitting); the right file is {IMAGENET_URL}"
        )
    # Strict; `target` comes first to fill in the batch counters that a file may lack.
    network.network.load_state_dict(target | found | _last_layer(network))
    return {"origin": path_or_url, "sha256": sha256, "licence": IMAGENET_LICENCE}


def _last_layer(network: DenseNet121) -> dict[str, Tensor]:
    return {k: v for k, v in network.network.state_dict().items() if k.startswith("class_layers.")}


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors or a torch file, without running anything in it."""
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        read = torch.load(path, map_location="cpu", weights_only=True)
    # Every library complains of damage in its own way; to the user it is one mistake.
    except (safetensors.SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise UserError(
            f"{path} cannot be read as weights ({type(error).__name__}); "
            "it must be a state dict in a .pth or .safetensors file"
        ) from error
    # Many trainers save the weights beside their epoch and optimizer.
    read = read.get("state_dict", read) if isinstance(read, dict) else None
    if not isinstance(read, dict) or not all(isinstance(value, Tensor) for value in read.values()):
        raise UserError(f"{path} holds no state dict; give a file with nothing but named tensors")
    return {str(key): value for key, value in read.items()}
