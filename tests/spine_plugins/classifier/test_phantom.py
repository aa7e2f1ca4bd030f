"""The small CNN on phantoms of the default difficulty: learnable, and not solved."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch

from spine_plugins import phantom
from spine_plugins.classifier.fitting import Recipe, run
from stylegan2ada.images import to_float
from tests.spine_plugins.classifier.making import write_spots


@pytest.mark.slow
def test_small_network_finds_lesions(tmp_path: Path) -> None:
    phantom.write_dataset_zip(tmp_path / "p.zip", 1600, seed=0, resolution=64)
    start = time.process_time()
    card = run(
        Recipe(
            str(tmp_path / "p.zip"),
            str(tmp_path / "c.safetensors"),
            arch="cnn13k",
            val_share=0.25,
            device="cpu",
        )
    )
    assert time.process_time() - start < 180
    assert card["split"] in ("patient", "study")
    found = card["metrics"]["val"]["auc"]
    assert 0.80 <= found["value"] <= 0.95, found
    assert found["low"] < found["value"] < found["high"]


@pytest.mark.gpu
@pytest.mark.parametrize("arch", ["cnn13k", "densenet121"])
def test_trains_on_an_accelerator(tmp_path: Path, arch: str) -> None:
    data = write_spots(tmp_path / "d.zip", 150, groups="g")
    out = tmp_path / "c.safetensors"
    card = run(
        Recipe(
            str(data), str(out), arch=arch, weights="none", epochs=4, batch=16, lr=2e-3, device="cuda",
            size=64, dropout=0.1,
        )
    )  # fmt: skip
    assert card["metrics"]["val"]["auc"]["value"] > 0.9
    from spine_plugins.classifier import load_classifier

    images = to_float(torch.randint(0, 256, (4, 1, 32, 32), dtype=torch.uint8))
    here, there = load_classifier(str(out)), load_classifier(str(out)).cuda()
    torch.testing.assert_close(there(images.cuda()).cpu(), here(images), atol=5e-3, rtol=1e-2)
