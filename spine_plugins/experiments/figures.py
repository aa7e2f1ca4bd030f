"""The paper's pictures from networks and data; figure 4 sets real images beside generated ones."""

from __future__ import annotations

import math
import string
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
import torch

from spine_plugins.runs.documents import Document, number, read_json
from stylegan2ada import synthesis
from stylegan2ada.data.dataset import Dataset
from stylegan2ada.images import tile
from stylegan2ada.protocols import Generator

_MARGIN, _CAPTION = 12, 30
_SMALLEST_TILE = 96  # pixels; smaller images are enlarged by a whole factor, without smoothing


class Panel(NamedTuple):
    """A part of a sheet: so many images of each of its classes."""

    title: str
    images: np.ndarray  # uint8 [classes * per_class, C, H, W]
    names: list[str]  # of the classes


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


def panel_of(run_dir: Path, name: str | None = None) -> tuple[str, str | None]:
    """The title of a run's panel, and what it guarantees (None: it says nothing of privacy)."""
    found = read_json(run_dir / "privacy" / "privacy_report.json")
    if not found:
        return name or run_dir.name, None
    title = f"{name}: {_noise_of(found)}" if name else _noise_of(found)
    return title, str(found.get("guarantee"))


def _noise_of(found: Document) -> str:
    if found.get("mode") != "paper":
        return f"DP-SGD, epsilon {number(found.get('epsilon')) or math.inf:.3g}"
    clip = "no clip" if found.get("clip") is None else f"clip {found['clip']}"
    return f"noise {found.get('noise')}, batch {found.get('batch')}, {clip}"


def fake_panel(
    G: Generator,
    title: str,
    datasets: Sequence[Dataset],
    per_class: int,
    seed: int,
    psi: float,
    label_names: Sequence[str] = (),  # as the network's card has them
) -> Panel:
    """Images of a network, seeds in order, of the classes it knows: as data, or else its card, name them."""
    fitting = next((d for d in datasets if d.label_dim == G.c_dim), None)
    if G.c_dim == 0 or fitting is not None:
        # An unconditional network may stand beside labelled data: its rows are then further seeds.
        names = class_names(fitting or datasets[0])
    else:
        known = list(label_names) if len(label_names) == G.c_dim else []
        names = known or [f"class {k}" for k in range(G.c_dim)]
    return Panel(title, rows_of_classes(G, per_class, seed, psi, len(names)), names)


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


def draw_sheet(panels: Sequence[Panel], per_class: int) -> PIL.Image.Image:
    """Panels below each other, lettered as in the paper, each with its own classes at the left."""
    font = PIL.ImageFont.load_default(size=16)
    # Enlarged to one size as far as whole factors go: otherwise panels could not be compared.
    side = max(_SMALLEST_TILE, *(panel.images.shape[2] for panel in panels))
    grids = [_enlarged(tile(p.images, per_class), max(side // p.images.shape[2], 1)) for p in panels]
    gutter = max(int(font.getlength(name)) for panel in panels for name in panel.names) + 2 * _MARGIN
    width = gutter + max(grid.shape[1] for grid in grids) + _MARGIN
    height = sum(grid.shape[0] + _CAPTION + _MARGIN for grid in grids) + _MARGIN
    sheet = PIL.Image.new("RGB", (width, height), "white")
    pen = PIL.ImageDraw.Draw(sheet)
    top = _MARGIN
    for letter, panel, grid in zip(string.ascii_lowercase, panels, grids):
        pen.text((_MARGIN, top), f"{letter}.  {panel.title}", fill="black", font=font)
        top += _CAPTION
        sheet.paste(PIL.Image.fromarray(grid), (gutter, top))
        row = grid.shape[0] // len(panel.names)
        for k, name in enumerate(panel.names):
            pen.text((_MARGIN, top + k * row + row // 2 - 10), name, fill="black", font=font)
        top += grid.shape[0] + _MARGIN
    return sheet


def _enlarged(grid: np.ndarray, scale: int) -> np.ndarray:
    """[H, W, C] -> [H * scale, W * scale, 3], every pixel a square."""
    # Repeated, not resampled: smoothing would hide just the faults that one looks for.
    grid = grid.repeat(scale, axis=0).repeat(scale, axis=1)
    return grid.repeat(3, axis=2) if grid.shape[2] == 1 else grid
