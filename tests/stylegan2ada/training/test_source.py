"""Inputs of a step: shares of classes, and a position that is continued exactly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from stylegan2ada.data.dataset import ImageFolderDataset
from stylegan2ada.data.writer import DatasetWriter
from stylegan2ada.training.seams import open_source
from tests.stylegan2ada.training.toy import toy_config

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def rare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One image in ten has class 1; there is no class 2, but a class 3."""
    path = tmp_path_factory.mktemp("data") / "rare.zip"
    with DatasetWriter(path) as writer:
        for index in range(40):
            writer.add(
                np.full([8, 8], index, dtype=np.uint8), label=[0, 1, 0, 0, 0, 0, 0, 0, 0, 3][index % 10]
            )
    return path


@pytest.mark.parametrize(
    ("sampler", "shares"), [("uniform", [0.8, 0.1, 0, 0.1]), ("balanced", [1 / 3, 1 / 3, 0, 1 / 3])]
)
def test_fakes_and_images_have_the_same_shares(rare: Path, sampler: str, shares: list[float]) -> None:
    config = toy_config(rare, sampler=sampler, batch_size=400)
    source = open_source(config, ImageFolderDataset(rare, use_labels=True), CPU)
    drawn = np.stack([source.latents("Gmain")[1].numpy().mean(0) for _ in range(10)]).mean(0)
    shown = np.stack([source.reals()[1].numpy().mean(0) for _ in range(10)]).mean(0)
    source.close()
    np.testing.assert_allclose(drawn, shares, atol=0.04)  # 5 sigma of 4000 draws
    np.testing.assert_allclose(shown, shares, atol=0.04)


@pytest.mark.parametrize("sampler", ["uniform", "balanced"])
def test_a_saved_position_goes_on_exactly(rare: Path, sampler: str) -> None:
    config = toy_config(rare, sampler=sampler)
    dataset = ImageFolderDataset(rare, use_labels=True)
    source, other = (open_source(config, dataset, CPU) for _ in range(2))
    for _ in range(7):
        source.reals()
        source.latents("Gmain")
    other.load_state_dict(source.state_dict())
    for _ in range(5):
        for one, two in ((source.reals(), other.reals()), (source.latents("x")[1:], other.latents("x")[1:])):
            assert all(torch.equal(a, b) for a, b in zip(one, two))
    assert source.wait_sec > 0
    source.close()
    other.close()
