"""Easy data sets: noise, with a bright spot where the class is positive."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from stylegan2ada.data.writer import DatasetWriter

NAMES = ["normal", "abnormal"]


def spots(labels: np.ndarray, size: int, seed: int, contrast: float = 90) -> np.ndarray:
    """uint8 [N, size, size]; finding k is a spot in the k-th quarter (the first for plain labels)."""
    rng = np.random.default_rng(seed)
    vectors = labels[:, None] if labels.ndim == 1 else labels
    images = rng.normal(90, 25, (len(labels), size, size))
    place = np.arange(size)
    for i, row in enumerate(vectors):
        for k, has_it in enumerate(row):
            y, x = (rng.uniform(0.15, 0.35, 2) + [k // 2 / 2, k % 2 / 2]) * size
            spot = np.exp(-((place[:, None] - y) ** 2 + (place - x) ** 2) / (2 * (size / 12) ** 2))
            images[i] += has_it * contrast * spot
    return images.clip(0, 255).astype(np.uint8)


def write_spots(
    path: Path,
    n: int = 96,
    *,
    size: int = 32,
    seed: int = 0,
    labels: Any = "binary",  # or an array, or None
    groups: str | None = None,  # prefix of study hashes, three images each
    names: list[str] | None = None,
    contrast: float = 90,
    rgb: bool = False,
) -> Path:
    """A zip; returns its path."""
    rng = np.random.default_rng([seed, 1])
    drawn = (rng.random(n) < 0.4).astype(int) if isinstance(labels, str) else labels
    shown = np.zeros(n, int) if drawn is None else np.asarray(drawn)
    images = spots(shown, size, seed, contrast)
    with DatasetWriter(path, overwrite=True) as writer:
        stored = [
            writer.add(np.repeat(image[..., None], 3, 2) if rgb else image, None if drawn is None else label)
            for image, label in zip(images, shown, strict=True)
        ]
        writer.extra["label_names"] = names or (NAMES if shown.ndim == 1 else None)
        if groups is not None:
            writer.extra["groups"] = {
                name: {"study": f"{groups}{i // 3}", "patient": None} for i, name in enumerate(stored)
            }
    return path
