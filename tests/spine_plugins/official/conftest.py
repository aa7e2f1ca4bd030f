"""A stand-in for the official program, and the data and classifier it is trained with."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import stylegan2ada as sg
from spine_plugins.classifier import new_classifier, save_classifier

STAND_IN = Path(__file__).with_name("stand_in")


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The stand-in, or with STYLEGAN2ADA_UPSTREAM the checkout of who has one."""
    return Path(os.environ.get("STYLEGAN2ADA_UPSTREAM", STAND_IN))


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """data.zip and s.safetensors."""
    folder = tmp_path_factory.mktemp("home")
    rng = np.random.default_rng(0)
    with sg.data.DatasetWriter(folder / "data.zip") as writer:
        for i in range(16):
            writer.add(rng.integers(0, 255, size=(16, 16), dtype=np.uint8), label=i % 2)
        writer.extra["label_names"] = ["normal", "abnormal"]
        writer.extra["groups"] = {}
    save_classifier(new_classifier("cnn13k", "binary", ["normal", "abnormal"]), folder / "s.safetensors")
    return folder
