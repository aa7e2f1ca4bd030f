"""What a human looks at: a contact sheet per class, the farthest images, pairs that look alike. PIL only."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.PngImagePlugin

from spine_plugins.dicom.likeness import THUMB, frame_doubt
from spine_plugins.dicom.record import Record
from spine_plugins.dicom.select import Pair
from stylegan2ada.data.decode import open_picture
from stylegan2ada.files import atomic_write
from stylegan2ada.images import caption_font, stacked

MARK = "spinegan dataset_tool_dicom"  # in the pictures: a later run may write over them
_TILE, _NUMBER = 96, 13  # pixels: of an image, and of the line above it with its row in the report
_CAPTION = 22  # pixels above each block
_GUTTER = 16  # pixels between blocks: neighbours of two classes must not look like one
_PER_CLASS, _BLOCK_COLUMNS = 64, 8  # images
_STRIP = 16  # images of a row that runs over the whole width
_MOST_DOUBTED = 32  # images
MOST_PAIRS = 40
BACKGROUND, INK, _SOFT, _DOUBT = (16, 16, 16), (235, 235, 235), (150, 160, 170), (255, 170, 60)

Load = Callable[[str], bytes]  # name of an image -> its PNG
Tile = tuple[str, str, bool]  # name of an image, what stands above it, whether that is a doubt


@dataclass
class Gallery:
    """Sums over all kept images, and the names of those to show; memory does not grow with the images."""

    sizes: dict[str, int]  # images per class, known before
    shown: dict[str, list[str]] = field(default_factory=dict)
    by_pi: dict[str, list[str]] = field(default_factory=dict)
    histograms: dict[str, np.ndarray] = field(default_factory=dict)
    clipped: dict[str, list[float]] = field(default_factory=dict)  # [sum, count]
    farthest: list[str] = field(default_factory=list)  # from the mean image, farthest first
    doubtful: dict[str, str] = field(default_factory=dict)  # image: what is doubtful, the first few
    doubts: dict[str, int] = field(default_factory=dict)  # doubt: how many images
    rows: dict[str, int] = field(default_factory=dict)  # of what is shown: the row in the report
    _seen: dict[str, int] = field(default_factory=dict)
    _sum: np.ndarray = field(default_factory=lambda: np.zeros(THUMB * THUMB))
    _count: int = 0

    def add(self, name: str, row: int, classes: list[str], record: Record) -> None:
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
                self.rows[name] = row
        if len(self.by_pi.setdefault(pi, [])) < _STRIP:
            self.by_pi[pi].append(name)
            self.rows[name] = row

    def judge(self, thumbs: Iterable[tuple[str, int, bytes]]) -> None:
        """Second pass, with the mean image known: which differ most from it, and whose frame is doubtful."""
        mean = self._sum / max(self._count, 1)
        far: list[tuple[float, str, int]] = []
        for name, row, thumb in thumbs:
            pixels = np.frombuffer(thumb, np.uint8)
            heapq.heappush(far, (float(((pixels - mean) ** 2).mean()), name, row))
            if len(far) > _STRIP:
                heapq.heappop(far)
            if doubt := frame_doubt(pixels, mean):
                self.doubts[doubt] = self.doubts.get(doubt, 0) + 1
                if len(self.doubtful) < _MOST_DOUBTED:
                    self.doubtful[name] = doubt
                    self.rows[name] = row
        self.farthest = [name for _, name, _ in sorted(far, reverse=True)]
        self.rows.update({name: row for _, name, row in far})


def contact_sheet(path: Path, gallery: Gallery, load: Load) -> None:
    """Blocks of at most 8x8 per class, strips: original polarities, farthest images, doubtful frames."""

    def tiles(names: Iterable[str]) -> list[Tile]:
        return [
            (
                name,
                f"{gallery.rows[name]} {gallery.doubtful.get(name, '')}".rstrip(),
                name in gallery.doubtful,
            )
            for name in names
        ]

    blocks = [
        _block(f"{kind}: {len(names)} of {gallery.sizes[kind]}", tiles(names), _BLOCK_COLUMNS, load)
        for kind, names in sorted(gallery.shown.items(), key=lambda item: (-len(item[1]), item[0]))
    ]
    strips = [
        (f"original polarity {pi or 'unknown'}: first {len(names)}", names)
        for pi, names in sorted(gallery.by_pi.items())
    ]
    strips.append(("farthest from the mean image: look here first", gallery.farthest))
    if gallery.doubtful:
        counts = ", ".join(f"{doubt} {n}" for doubt, n in sorted(gallery.doubts.items()))
        strips.append((f"doubtful frames: {counts}", list(gallery.doubtful)))
    rows = packed(blocks, 2 * _BLOCK_COLUMNS * _TILE + _GUTTER)
    rows += [_block(title, tiles(names), _STRIP, load) for title, names in strips]
    note = _line("The number above an image is its row (column index) in the report.", _SOFT)
    save(stacked([note, *spaced(rows)], background=BACKGROUND), path)


def pair_sheet(path: Path, pairs: Sequence[Pair], n_pairs: int, load: Load) -> None:
    """Images that look almost alike, two by two, so that a human can say whether they are copies."""
    made = []
    for pair in pairs:
        tiles = [(name, str(row), False) for name, row in pair]
        made.append(_block("", tiles, 2, load))
    title = f"near duplicates: {len(pairs)} of {n_pairs} pairs, by their rows in the report"
    rows = packed(made, 2 * _BLOCK_COLUMNS * _TILE + _GUTTER)
    save(stacked([_line(title, INK), *spaced(rows)], background=BACKGROUND), path)


def packed(blocks: Sequence[PIL.Image.Image], width: int) -> list[PIL.Image.Image]:
    """Blocks side by side as long as they fit, so that small classes share a row."""
    shelves: list[list[PIL.Image.Image]] = []
    for block in blocks:
        used = sum(b.width + _GUTTER for b in shelves[-1]) if shelves else width + 1
        if used + block.width > width:
            shelves.append([])
        shelves[-1].append(block)
    return [stacked(spaced(shelf, is_row=True), is_row=True, background=BACKGROUND) for shelf in shelves]


def spaced(pictures: Sequence[PIL.Image.Image], *, is_row: bool = False) -> list[PIL.Image.Image]:
    """With an empty strip between each two."""
    gap = PIL.Image.new("RGB", (_GUTTER, 1) if is_row else (1, _GUTTER), BACKGROUND)
    return [part for picture in pictures for part in (gap, picture)][1:]


def save(image: PIL.Image.Image, path: Path) -> None:
    """Write a picture that a later run may write over, and only its owner may read."""
    known = PIL.PngImagePlugin.PngInfo()
    known.add_text("Software", MARK)
    with atomic_write(path, private=True) as file:
        image.save(file, format="PNG", pnginfo=known)


def _block(title: str, tiles: Sequence[Tile], most_columns: int, load: Load) -> PIL.Image.Image:
    """A title above rows of images, as wide as the images or the title need."""
    head = _line(title, INK)
    columns = max(1, min(most_columns, len(tiles)))
    height = _TILE + _NUMBER
    width = max(columns * _TILE, head.width if title else 0)
    top = head.height if title else 0
    sheet = PIL.Image.new("RGB", (width, top + -(-len(tiles) // columns) * height), BACKGROUND)
    if title:
        sheet.paste(head, (0, 0))
    draw, font = PIL.ImageDraw.Draw(sheet), caption_font(10)
    for i, (name, text, is_doubt) in enumerate(tiles):
        x, y = i % columns * _TILE, top + i // columns * height
        draw.text((x + 2, y), text, fill=_DOUBT if is_doubt else _SOFT, font=font)
        sheet.paste(_tile(load(name)), (x + 1, y + _NUMBER + 1))
        if is_doubt:
            edge = (x, y + _NUMBER, x + _TILE - 1, y + _NUMBER + _TILE - 1)
            draw.rectangle(edge, outline=_DOUBT)
    return sheet


def _line(text: str, ink: tuple[int, int, int]) -> PIL.Image.Image:
    font = caption_font(13)
    width = int(font.getlength(text)) + 12
    line = PIL.Image.new("RGB", (width, _CAPTION), BACKGROUND)
    PIL.ImageDraw.Draw(line).text((4, 3), text, fill=ink, font=font)
    return line


def _tile(png: bytes) -> PIL.Image.Image:
    with open_picture(png) as image:
        # A pixel of background on each side keeps neighbours apart.
        small = image.convert("L").resize((_TILE - 2, _TILE - 2), PIL.Image.Resampling.BOX)
        return small.convert("RGB")
