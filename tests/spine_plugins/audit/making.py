"""Small sets of made-up images whose patients are known, in memory and as zips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from spine_plugins.audit.inputs import Images, Inputs
from stylegan2ada.data.writer import DatasetWriter

SIDE = 32


def images(n: int, seed: int, side: int = SIDE) -> np.ndarray:
    """uint8 [n, 1, side, side]: smooth noise, everyone a pattern of their own."""
    rng = np.random.default_rng(seed)
    smooth = gaussian_filter(rng.normal(size=(n, side, side)), (0, 2, 2))
    return np.rint(128 + 40 * smooth / smooth.std()).clip(0, 255).astype(np.uint8)[:, None]


def a_set(pixels: np.ndarray, role: str, per_patient: int = 2, labels: np.ndarray | None = None) -> Images:
    """Consecutive images show one patient."""
    n = len(pixels)
    units = [f"patient {role}{i // per_patient}" for i in range(n)]
    labels = np.arange(n) % 2 if labels is None else labels
    return Images(
        role, pixels, labels, ["normal", "abnormal"], units, "patient", f"{role} mark", {"tool": "x"}, None
    )


def inputs(n: int = 60, n_fakes: int = 80, copies: int = 0, side: int = SIDE) -> Inputs:
    """Three sets of strangers; the first `copies` fakes are training images."""
    train, holdout, fakes = (images(k, seed, side) for k, seed in ((n, 1), (n, 2), (n_fakes, 3)))
    labels = np.arange(n_fakes) % 2
    for i in range(copies):
        fakes[i] = train[2 * i % n]
        labels[i] = 0
    return Inputs(a_set(train, "train"), a_set(holdout, "holdout"), a_set(fakes, "fakes", labels=labels), ())


def write_zip(
    path: Path, pixels: np.ndarray, patients: list[str] | None = None, labels: np.ndarray | None = None,
    **extra: object,
) -> Path:  # fmt: skip
    """A data set as the tools write it; patients become groups."""
    with DatasetWriter(path, overwrite=True) as writer:
        names = [
            writer.add(image[0], None if labels is None else int(labels[i])) for i, image in enumerate(pixels)
        ]
        if patients:
            writer.extra["groups"] = {
                name: {"study": f"study-{patient}", "patient": patient}
                for name, patient in zip(names, patients)
            }
        writer.extra |= {"label_names": ["normal", "abnormal"]} | extra
    return path


def write_sets(folder: Path, n: int = 60, n_fakes: int = 80, copies: int = 0) -> list[str]:
    """--train, --holdout and --fakes of three such zips."""
    made = inputs(n, n_fakes, copies)
    recipe = {"tool": "test", "resize_filter": "area", "flags": {}}
    words = []
    for part in (made.train, made.holdout, made.fakes):
        patients = part.units if part.role != "fakes" else None
        path = write_zip(folder / f"{part.role}.zip", part.pixels, patients, part.labels, recipe=recipe)
        words.append(f"--{part.role}={path}")
    return words
