"""Grey levels of a data set as curves: classes over each other, original polarities over each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageDraw

from spine_plugins.dicom.sheets import BACKGROUND, INK, Gallery, save, spaced
from stylegan2ada.images import caption_font, stacked

_WIDTH, _HEIGHT = 3 * 256, 260  # of the axes: three pixels a level
_LEFT, _RIGHT, _BOTTOM, _LINE = 56, 16, 40, 17
_GRID, _SOFT = (52, 56, 62), (150, 160, 170)
_COLOURS = (
    (108, 178, 255), (255, 156, 90), (69, 208, 165), (240, 143, 208), (220, 197, 75), (179, 164, 255),
    (255, 120, 120), (140, 220, 240), (190, 230, 120), (210, 180, 150), (200, 200, 200), (120, 160, 120),
    (230, 120, 220),
)  # fmt: skip


def histogram_sheet(path: Path, gallery: Gallery) -> None:
    """Two panels on one scale: the classes, and the original polarities."""
    kinds = sorted(gallery.shown)
    top = _top([gallery.histograms[key] for key in gallery.histograms])
    panels = [
        _panel("Grey levels by class", kinds, gallery, top),
        _panel("Grey levels by original polarity", sorted(gallery.by_pi), gallery, top),
    ]
    save(stacked(spaced(panels), background=BACKGROUND), path)


def _shares(counts: np.ndarray) -> np.ndarray:
    """Percent of the pixels of each level, so that large and small classes compare."""
    return 100 * counts / max(int(counts.sum()), 1)


def _top(histograms: Sequence[np.ndarray]) -> float:
    """The end of the scale, a round number above all inner levels: black borders would flatten the rest."""
    highest = max((float(_shares(counts)[1:-1].max()) for counts in histograms), default=0.0) or 1.0
    power = 10.0 ** np.floor(np.log10(highest))
    return float(next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= highest * 0.999))


def _panel(title: str, keys: Sequence[str], gallery: Gallery, top: float) -> PIL.Image.Image:
    above = 26 + _LINE * len(keys) + 8  # title and legend
    panel = PIL.Image.new("RGB", (_LEFT + _WIDTH + _RIGHT, above + _HEIGHT + _BOTTOM), BACKGROUND)
    draw, font = PIL.ImageDraw.Draw(panel), caption_font(12)
    draw.text((8, 4), title, fill=INK, font=caption_font(14))
    _axes(draw, above, top)
    for i, key in enumerate(keys):
        colour = _COLOURS[i % len(_COLOURS)]
        clipped, images = gallery.clipped[key]
        counts = gallery.histograms[key]
        black, white = _shares(counts)[[0, -1]]
        y = 26 + _LINE * i
        draw.line((_LEFT, y + 8, _LEFT + 22, y + 8), fill=colour, width=3)
        text = (
            f"{key or 'unknown'}: {int(images)} images, {100 * clipped / images:.2f}% outside the window; "
            f"{black:.1f}% black, {white:.1f}% white"
        )
        draw.text((_LEFT + 30, y + 1), text, fill=INK, font=font)
        # What is higher than the scale (level 0 or 255) is cut; the legend says how much it is.
        heights = np.minimum(_shares(counts) / top, 1.0)
        points = [(_LEFT + 3 * level + 1, above + _HEIGHT * (1 - h)) for level, h in enumerate(heights)]
        draw.line(points, fill=colour, width=2)
    return panel


def _axes(draw: PIL.ImageDraw.ImageDraw, above: int, top: float) -> None:
    font, base = caption_font(11), above + _HEIGHT
    for step in range(5):
        y = base - _HEIGHT * step // 4
        draw.line((_LEFT, y, _LEFT + _WIDTH, y), fill=_GRID)
        draw.text((_LEFT - 6, y), f"{top * step / 4:.3g}%", fill=_SOFT, font=font, anchor="rm")
    for level in (0, 32, 64, 96, 128, 160, 192, 224, 255):
        x = _LEFT + 3 * level + 1
        draw.line((x, base, x, base + 4), fill=_SOFT)
        draw.text((x, base + 6), str(level), fill=_SOFT, font=font, anchor="mt")
    words = "grey level (0 black, 255 white); height: share of a class's pixels"
    draw.text((_LEFT, base + 22), words, fill=_SOFT, font=font)
