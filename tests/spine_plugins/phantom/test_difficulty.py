"""Neither trivial nor hopeless: an oracle of severities is nearly perfect, a small network lands between."""

from __future__ import annotations

import datetime
import io
import json
import os
import platform
import zipfile
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from sklearn.metrics import roc_auc_score

from spine_plugins import phantom

N_TRAIN, N_TEST, EPOCHS = 1600, 800, 10
PROOFS = Path(__file__).parents[2] / "benchmarks" / "proofs"


def small_network() -> torch.nn.Module:
    """The bone-fracture blog's CNN on 64x64 grey: 13,489 parameters (13,585 with the running statistics)."""
    nn = torch.nn
    return nn.Sequential(
        *(nn.Conv2d(1, 32, 3, stride=3), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.Conv2d(32, 16, 3, stride=3), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(3), nn.Flatten()),
        *(nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 1)),
    )


def test_the_small_network_is_the_one_of_the_blog():
    network = small_network()
    counts = [sum(p.numel() for p in network.parameters()), sum(b.numel() for b in network.buffers())]
    assert counts == [13_489, 96 + 2]  # two of the buffers only count batches


def _auc_of_small_network(images: torch.Tensor, labels: torch.Tensor, seed: int) -> float:
    torch.manual_seed(seed)
    network = small_network()
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    for _ in range(EPOCHS):
        for batch in torch.randperm(N_TRAIN).split(32):
            loss = torch.nn.functional.binary_cross_entropy_with_logits(
                network(images[batch])[:, 0], labels[batch]
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    network.eval()
    with torch.no_grad():
        return float(roc_auc_score(labels[N_TRAIN:], network(images[N_TRAIN:])[:, 0]))


@pytest.mark.proof
def test_small_network_lands_between_chance_and_oracle(tmp_path):
    rows = phantom.write_dataset_zip(
        tmp_path / "set.zip", N_TRAIN + N_TEST, seed=1, resolution=64, workers=None
    )
    with zipfile.ZipFile(tmp_path / "set.zip") as archive:
        pixels = [np.asarray(PIL.Image.open(io.BytesIO(archive.read(str(row["name"]))))) for row in rows]
    images = torch.from_numpy(np.stack(pixels))[:, None].float() / 127.5 - 1
    labels = torch.tensor([float(str(row["label"])) for row in rows])
    oracle = float(roc_auc_score(labels, [float(str(row["severity"])) for row in rows]))
    aucs = [_auc_of_small_network(images, labels, seed) for seed in range(3)]
    PROOFS.mkdir(parents=True, exist_ok=True)
    record = {
        "proof": "phantom difficulty at the default",
        "date": datetime.date.today().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {"torch": torch.__version__, "numpy": np.__version__},
        "train": N_TRAIN,
        "test": N_TEST,
        "epochs": EPOCHS,
        "oracle_auc": round(oracle, 5),
        "small_network_auc": [round(auc, 4) for auc in aucs],
    }
    (PROOFS / f"phantom-difficulty-{record['date']}.json").write_text(json.dumps(record, indent=1) + "\n")
    assert oracle >= 0.98
    assert 0.80 <= np.mean(aucs) <= 0.95
