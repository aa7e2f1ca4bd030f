"""A small labelled data set, a small generator and a scripted detector with the official calls."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from stylegan2ada.data.dataset import ImageFolderDataset
from stylegan2ada.data.writer import DatasetWriter
from stylegan2ada.networks.stylegan2 import Generator


class StandIn(torch.nn.Module):
    """What the official TorchScript files accept and answer, with 6 numbers per image."""

    def forward(
        self,
        img: torch.Tensor,
        return_features: bool = False,
        no_output_bias: bool = False,
        resize_images: bool = True,
        return_lpips: bool = False,
    ) -> torch.Tensor:
        x = img.to(torch.float32) / 255
        if return_lpips:
            return torch.nn.functional.adaptive_avg_pool2d(x, 4).flatten(1)
        pooled = torch.nn.functional.adaptive_avg_pool2d(x, 2)[:, 0].flatten(1)
        features = torch.cat([pooled, x.mean([1, 2, 3])[:, None], x.std([1, 2, 3])[:, None]], dim=1)
        return features if return_features else (features * 10).softmax(dim=1)


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DNNLIB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("SPINEGAN_DETECTORS", raising=False)
    return tmp_path / "cache"


def write_stand_in(path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(StandIn()), str(path))
    return path


@pytest.fixture(scope="session")
def stand_in_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_stand_in(tmp_path_factory.mktemp("detector") / "stand-in.pt")


def write_images(path: Path, n: int, seed: int, classes: int = 2) -> Path:
    rng = np.random.default_rng(seed)
    with DatasetWriter(path, overwrite=True) as writer:
        for i in range(n):
            writer.add(rng.integers(0, 255, size=(16, 16), dtype=np.uint8), label=i % classes)
    return path


@pytest.fixture
def real(tmp_path: Path) -> ImageFolderDataset:
    return ImageFolderDataset(write_images(tmp_path / "real.zip", 40, seed=1), use_labels=True)


@pytest.fixture(scope="session")
def small_G() -> Generator:
    torch.manual_seed(0)
    widths = {"channel_base": 64, "channel_max": 8}
    G = Generator(z_dim=4, c_dim=2, w_dim=4, img_resolution=16, img_channels=1, synthesis_kwargs=widths)
    for name, parameter in G.named_parameters():
        if name.endswith("noise_strength"):
            torch.nn.init.constant_(parameter, 0.3)  # so that the noise inputs matter
    return G.eval().requires_grad_(False)
