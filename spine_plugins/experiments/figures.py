"""The paper's pictures from networks and data; figure 4 sets real images beside generated ones."""

from __future__ import annotations

import math
import string
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
import torch

from spine_plugins.runs.documents import number, read_json
from stylegan2ada import synthesis
from stylegan2ada.data.dataset import Dataset
from stylegan2ada.errors import UserError
from stylegan2ada.images import tile
from stylegan2ada.protocols import Generator

_MARGIN, _CAPTION = 12, 30
_SMALLEST_TILE = 96  # pixels; smaller images are enlarged by a whole factor, without smoothing


def class_names(dataset: Dataset) -> list[str]:
    """Names of the classes, or numbers, or one nameless row without labels."""
    if not dataset.has_labels:
        return [""]
    return list(dataset.label_names or [f"class {k}" for k in range(dataset.label_dim)])


def real_rows(dataset: Dataset, per_class: int, seed: int) -> np.ndarray:
    """uint8 [classes * per_class, C, H, W]: a random choice of each class; black where there are too few."""
    rng = np.random.default_rng(seed)
    labels = dataset.get_labels()
    rows = []
    for k in range(max(labels.shape[1], 1)):
        members = np.flatnonzero(labels[:, k] > 0.5) if labels.shape[1] else np.arange(len(dataset))
        images = [dataset[int(i)][0] for i in rng.permutation(members)[:per_class]]
        images += [np.zeros(dataset.image_shape, dtype=np.uint8)] * (per_class - len(images))
        rows += images
    return np.stack(rows)


def panel_of(run_dir: Path) -> tuple[str, str | None]:
    """The title of a run's panel, and what it guarantees (None: it says nothing of privacy)."""
    found = read_json(run_dir / "privacy" / "privacy_report.json")
    if not found:
        return run_dir.name, None
    if found.get("mode") != "paper":
        return f"DP-SGD, epsilon {number(found.get('epsilon')) or math.inf:.3g}", str(found.get("guarantee"))
    clip = "no clip" if found.get("clip") is None else f"clip {found['clip']}"
    title = f"noise {found.get('noise')}, batch {found.get('batch')}, {clip}"
    return title, str(found.get("guarantee"))


def fake_rows(G: Generator, dataset: Dataset, per_class: int, seed: int, psi: float) -> np.ndarray:
    """uint8 [classes * per_class, C, H, W] of a network, seeds in order."""
    classes = max(dataset.label_dim, 1)
    # An unconditional network may stand beside labelled data: its rows are then further seeds.
    if G.c_dim not in (0, dataset.label_dim):
        raise UserError(f"the network knows {G.c_dim} classes, but --data has {dataset.label_dim}")
    return rows_of_classes(G, per_class, seed, psi, classes)


def rows_of_classes(
    G: Generator, per_class: int, seed: int, psi: float = 1.0, classes: int | None = None
) -> np.ndarray:
    """The same for a network alone; `classes`: rows of one that knows none."""
    device = next(G.parameters()).device
    rows = []
    for k in range(classes or max(G.c_dim, 1)):
        # Other seeds for each class: one z in all rows would show the same spine over and over.
        first = seed + k * per_class
        z = synthesis.seed_latents(range(first, first + per_class), G.z_dim)
        c = synthesis.labels(G, per_class, class_idx=k) if G.c_dim else torch.zeros([per_class, 0])
        for img in synthesis.images_from_z(G, z, c, device=device, psi=psi):
            rows.append(synthesis.pixels(img).transpose(0, 3, 1, 2))
    return np.concatenate(rows)


def draw_sheet(panels: list[tuple[str, np.ndarray]], names: list[str], per_class: int) -> PIL.Image.Image:
    """Panels below each other, lettered as in the paper, class names at the left."""
    font = PIL.ImageFont.load_default(size=16)
    # One factor for all panels: enlarged differently, they could not be compared.
    scale = max(-(-_SMALLEST_TILE // panels[0][1].shape[2]), 1)
    grids = [(title, _enlarged(tile(images, per_class), scale)) for title, images in panels]
    gutter = max(int(font.getlength(name)) for name in names) + 2 * _MARGIN
    width = gutter + max(grid.shape[1] for _, grid in grids) + _MARGIN
    height = sum(grid.shape[0] + _CAPTION + _MARGIN for _, grid in grids) + _MARGIN
    sheet = PIL.Image.new("RGB", (width, height), "white")
    pen = PIL.ImageDraw.Draw(sheet)
    top = _MARGIN
    for letter, (title, grid) in zip(string.ascii_lowercase, grids):
        pen.text((_MARGIN, top), f"{letter}.  {title}", fill="black", font=font)
        top += _CAPTION
        sheet.paste(PIL.Image.fromarray(grid), (gutter, top))
        row = grid.shape[0] // len(names)
        for k, name in enumerate(names):
            pen.text((_MARGIN, top + k * row + row // 2 - 10), name, fill="black", font=font)
        top += grid.shape[0] + _MARGIN
    return sheet


def _enlarged(grid: np.ndarray, scale: int) -> np.ndarray:
    """[H, W, C] -> [H * scale, W * scale, 3], every pixel a square."""
    # Repeated, not resampled: smoothing would hide just the faults that one looks for.
    grid = grid.repeat(scale, axis=0).repeat(scale, axis=1)
    return grid.repeat(3, axis=2) if grid.shape[2] == 1 else grid
