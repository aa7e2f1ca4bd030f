"""Small data sets for the tests of this room, and a cache folder of their own."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stylegan2ada.data.writer import DatasetWriter
from tests.golden_data import golden_path


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("DNNLIB_CACHE_DIR", str(folder))
    return folder


@pytest.fixture
def make_dataset(tmp_path: Path) -> Callable[..., Path]:
    """make_dataset("a.zip", n=5, shape=(8, 8), labels=[...], seed=0) -> path"""

    def make(
        name: str, n: int = 5, shape: tuple[int, ...] = (8, 8), labels: Any = None, seed: int = 0
    ) -> Path:
        images = np.random.RandomState(seed).randint(0, 256, size=(n, *shape), dtype=np.uint8)
        with DatasetWriter(tmp_path / name) as writer:
            for index, image in enumerate(images):
                writer.add(image, None if labels is None else labels[index])
        return tmp_path / name

    return make


@pytest.fixture
def source_folder(tmp_path: Path) -> Path:
    """The recorded source images, unpacked."""
    with zipfile.ZipFile(golden_path("dataset/source_folder.zip")) as archive:
        archive.extractall(tmp_path / "src")
    return tmp_path / "src"
