"""What a human looks at: a contact sheet per class, the farthest images, grey-level histograms. PIL only."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.PngImagePlugin

from spine_plugins.dicom.likeness import THUMB
from spine_plugins.dicom.record import Record
from stylegan2ada.data.decode import open_picture
from stylegan2ada.files import atomic_write
from stylegan2ada.images import captioned_grid, stacked

MARK = "spinegan dataset_tool_dicom"  # in the pictures: a later run may write over them
_TILE = 96  # pixels
_CAPTION = 18  # pixels above each block
_PER_CLASS, _BLOCK_COLUMNS = 64, 8  # images
_STRIP = 16  # images of a row that runs over the whole width
_BACKGROUND, _INK, _LIGHT = 16, 235, 90  # grey levels


Load = Callable[[str], bytes]  # name of an image -> its PNG


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

    def add(self, name: str, classes: list[str], record: Record) -> None:
        """First pass: every kept image once, in order."""
        self._sum += np.frombuffer(record.thumb, np.uint8)
        self._count += 1
        levels = np.frombuffer(record.histogram, "<u4").astype(np.int64)
        pi = record.header.pi
        for key in (*classes, pi):
            self.histograms[key] = self.histograms.get(key, 0) + levels
            total = self.clipped.setdefault(key, [0.0, 0.0])
            total[0] += record.clipped
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


def contact_sheet(path: Path, gallery: Gallery, farthest: list[str], load: Load) -> None:
    """Blocks of at most 8x8 per class, a strip per original polarity, a strip of the farthest images."""
    blocks = [
        _block(f"{kind}: {len(names)} of {gallery.sizes[kind]}", names, _BLOCK_COLUMNS, load)
        for kind, names in sorted(gallery.shown.items())
    ]
    rows = [_beside(blocks[i : i + 2]) for i in range(0, len(blocks), 2)]
    for pi, names in sorted(gallery.by_pi.items()):
        rows.append(_block(f"original polarity {pi or 'unknown'}: first {len(names)}", names, _STRIP, load))
    rows.append(_block("farthest from the mean image: look here first", farthest, _STRIP, load))
    _save(_below(rows), path)


def histogram_sheet(path: Path, gallery: Gallery) -> None:
    """Grey-level histogram per class and per original polarity, with the part of clipped pixels."""
    panels = []
    for key, counts in sorted(gallery.histograms.items()):
        total, images = gallery.clipped[key]
        title = f"{key or 'unknown'}: {int(images)} images, {100 * total / images:.2f}% clipped"
        panels.append(_histogram(title, counts))
    _save(_below([_beside(panels[i : i + 2]) for i in range(0, len(panels), 2)]), path)


def _block(title: str, names: list[str], columns: int, load: Load) -> PIL.Image.Image:
    return captioned_grid(
        title, [_tile(load(name)) for name in names], columns,
        cell=(_TILE, _TILE), band=_CAPTION, at=(4, 3), background=_BACKGROUND, ink=_INK,
    )  # fmt: skip


def _tile(png: bytes) -> PIL.Image.Image:
    with open_picture(png) as image:
        # A pixel of background on each side keeps neighbours apart.
        return image.convert("L").resize((_TILE - 2, _TILE - 2), PIL.Image.Resampling.BOX)


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


def _below(pictures: list[PIL.Image.Image]) -> PIL.Image.Image:
    return stacked(pictures, background=_BACKGROUND)


def _beside(pictures: list[PIL.Image.Image]) -> PIL.Image.Image:
    return stacked(pictures, is_row=True, background=_BACKGROUND)


def _save(image: PIL.Image.Image, path: Path) -> None:
    known = PIL.PngImagePlugin.PngInfo()
    known.add_text("Software", MARK)
    with atomic_write(path, private=True) as file:
        image.save(file, format="PNG", pnginfo=known)
