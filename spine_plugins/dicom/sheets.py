"""What a human looks at: a contact sheet per class, the farthest images, grey-level histograms. PIL only."""

from __future__ import annotations

import heapq
import io
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageDraw

from spine_plugins.dicom.likeness import THUMB

_TILE = 96  # pixels
_PER_CLASS, _BLOCK_COLUMNS = 64, 8
_STRIP = 16
_CAPTION = 18
_BACKGROUND, _INK, _LIGHT = 16, 235, 90


@dataclass
class Gallery:
    """Sums over all kept images, and the names of those to show; memory does not grow with the images."""

    sizes: dict[str, int]  # images per class, known before
    shown: dict[str, list[str]] = field(default_factory=dict)
    by_pi: dict[str, list[str]] = field(default_factory=dict)
    histograms: dict[str, np.ndarray] = field(default_factory=dict)
    clipped: dict[str, list[float]] = field(default_factory=dict)  # [sum, count]
    _seen: dict[str, int] = field(default_factory=dict)
    _sum: np.ndarray = field(default_factory=lambda: np.zeros(THUMB * THUMB))
    _count: int = 0

    def add(
        self, name: str, classes: Iterable[str], pi: str, thumb: bytes, histogram: bytes, clipped: float
    ) -> None:
        """First pass: every kept image once, in order."""
        self._sum += np.frombuffer(thumb, np.uint8)
        self._count += 1
        levels = np.frombuffer(histogram, "<u4").astype(np.int64)
        for key in (*classes, pi):
            self.histograms[key] = self.histograms.get(key, 0) + levels
            total = self.clipped.setdefault(key, [0.0, 0.0])
            total[0] += clipped
            total[1] += 1
        for kind in classes:
            position = self._seen.get(kind, 0)
            self._seen[kind] = position + 1
            chosen = self.shown.setdefault(kind, [])
            step = max(1.0, self.sizes[kind] / _PER_CLASS)  # spread evenly over the class
            if len(chosen) < _PER_CLASS and position >= len(chosen) * step - 0.5:
                chosen.append(name)
        if len(self.by_pi.setdefault(pi, [])) < _STRIP:
            self.by_pi[pi].append(name)

    def farthest(self, thumbs: Iterable[tuple[str, bytes]]) -> list[str]:
        """Second pass: the images that differ most from the mean image, farthest first."""
        mean = self._sum / max(self._count, 1)
        distances = (
            (float(((np.frombuffer(thumb, np.uint8) - mean) ** 2).mean()), name) for name, thumb in thumbs
        )
        return [name for _, name in heapq.nlargest(_STRIP, distances)]


def contact_sheet(path: Path, gallery: Gallery, farthest: list[str], load) -> None:
    """Blocks of at most 8x8 per class, a strip per original polarity, a strip of the farthest images."""
    sections = [
        (f"{kind}: {len(names)} of {gallery.sizes[kind]}", names, _BLOCK_COLUMNS)
        for kind, names in sorted(gallery.shown.items())
    ]
    blocks = [_block(title, names, columns, load) for title, names, columns in sections]
    rows = [_beside(blocks[i : i + 2]) for i in range(0, len(blocks), 2)]
    for pi, names in sorted(gallery.by_pi.items()):
        rows.append(_block(f"original polarity {pi or 'unknown'}: first {len(names)}", names, _STRIP, load))
    rows.append(_block("farthest from the mean image: look here first", farthest, _STRIP, load))
    width = max(row.width for row in rows)
    sheet = PIL.Image.new("L", (width, sum(row.height for row in rows)), _BACKGROUND)
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    _save(sheet, path)


def histogram_sheet(path: Path, gallery: Gallery) -> None:
    """Grey-level histogram per class and per original polarity, with the part of clipped pixels."""
    panels = []
    for key, counts in sorted(gallery.histograms.items()):
        total, images = gallery.clipped[key]
        panels.append(
            _histogram(
                f"{key or 'unknown'}: {int(images)} images, {100 * total / images:.2f}% clipped", counts
            )
        )
    rows = [_beside(panels[i : i + 2]) for i in range(0, len(panels), 2)]
    sheet = PIL.Image.new("L", (max(row.width for row in rows), sum(row.height for row in rows)), _BACKGROUND)
    for i, row in enumerate(rows):
        sheet.paste(row, (0, i * rows[0].height))
    _save(sheet, path)


def _block(title: str, names: list[str], columns: int, load) -> PIL.Image.Image:
    lines = -(-max(len(names), 1) // columns)
    block = PIL.Image.new("L", (columns * _TILE, lines * _TILE + _CAPTION), _BACKGROUND)
    PIL.ImageDraw.Draw(block).text((4, 3), title, fill=_INK)
    for i, name in enumerate(names):
        with PIL.Image.open(io.BytesIO(load(name))) as image:
            tile = image.convert("L").resize((_TILE - 2, _TILE - 2), PIL.Image.Resampling.BOX)
        block.paste(tile, (i % columns * _TILE + 1, i // columns * _TILE + _CAPTION + 1))
    return block


def _histogram(title: str, counts: np.ndarray) -> PIL.Image.Image:
    """Bars of the inner levels to scale; 0 and 255 may stick out, and are cut."""
    width, height = 3 * 256, 150
    panel = PIL.Image.new("L", (width + 16, height + _CAPTION + 8), _BACKGROUND)
    draw = PIL.ImageDraw.Draw(panel)
    draw.text((8, 3), title, fill=_INK)
    top = max(int(counts[1:-1].max()), 1)
    for level, count in enumerate(counts):
        bar = min(height, int(height * int(count) / top))
        x = 8 + 3 * level
        shade = _LIGHT if level in (0, 255) else _INK - 60
        if bar:
            draw.rectangle((x, _CAPTION + height - bar, x + 2, _CAPTION + height), fill=shade)
    return panel


def _beside(images: list[PIL.Image.Image]) -> PIL.Image.Image:
    row = PIL.Image.new(
        "L", (sum(image.width for image in images), max(image.height for image in images)), _BACKGROUND
    )
    left = 0
    for image in images:
        row.paste(image, (left, 0))
        left += image.width
    return row


def _save(image: PIL.Image.Image, path: Path) -> None:
    from stylegan2ada.files import atomic_write

    with atomic_write(path) as file:
        image.save(file, format="PNG")
