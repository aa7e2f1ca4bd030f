"""Small copies of a run's pictures, as data for the page, within a budget of bytes."""

from __future__ import annotations

import base64
import io
import os
import urllib.parse
import warnings
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from spine_plugins.runs.reading import Snapshot
from stylegan2ada.data.decode import open_picture
from stylegan2ada.errors import UserError

BUDGET_BYTES = 10 << 20  # of all pictures of a page as they are written into it
MOST_SNAPSHOTS = 40  # of one run; more are thinned out evenly
_COLUMNS, _ROWS = 10, 6  # of a large grid, so that single images can still be judged
_SIZES = ((1000, 85), (800, 80), (640, 75), (480, 70), (360, 60), (240, 50))  # widest side, JPEG quality
_GROWN_BY_BASE64 = 4 / 3
_MOST_PIXELS = 1 << 27  # the largest grid of a run, 7 x 4 images of 2048 x 2048, has 117 million


@dataclass(frozen=True)
class Thumbnail:
    """A picture in the page."""

    data: str  # data: URI
    width: int
    height: int
    columns: int | None = None  # of the part that is shown, if a part is shown
    rows: int | None = None
    of: tuple[int, int] | None = None


def chosen(snapshots: list[Snapshot], most: int = MOST_SNAPSHOTS) -> list[Snapshot]:
    """First, last and evenly between."""
    if len(snapshots) <= most:
        return snapshots
    return [snapshots[round(i * (len(snapshots) - 1) / (most - 1))] for i in range(most)]


def thumbnail(
    path: Path,
    bytes_each: float,  # that it may take in the page
    *,
    cell: int | None = None,  # pixels of one image, if the picture is a grid of them
) -> Thumbnail | None:
    """A small copy, or None if there is no readable picture (a run may be writing it just now)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own grids can be that large
            with open_picture(path, most_pixels=_MOST_PIXELS) as opened:
                whole = opened.convert("L" if opened.mode in ("L", "1", "I;16", "I") else "RGB")
    except UserError:
        return None
    part, columns, rows, of = _first_cells(whole, cell)
    # From good to small; the last is taken however large it is, for a page lives by its pictures.
    for side, quality in _SIZES:
        found = _encoded(part, side, quality)
        if len(found) * _GROWN_BY_BASE64 <= bytes_each or (side, quality) == _SIZES[-1]:
            break
    kind = "png" if found.startswith(b"\x89PNG") else "jpeg"
    uri = f"data:image/{kind};base64,{base64.b64encode(found).decode()}"
    return Thumbnail(uri, part.width, part.height, columns, rows, of)


def link(path: Path, page: Path) -> str | None:
    """The relative address of a file seen from the page; it can never be read as another protocol."""
    try:
        relative = os.path.relpath(path, page.parent)
    except ValueError:  # another drive
        return None
    # `./` keeps a name like `javascript:x` a name; surrogateescape restores bytes that are no UTF-8.
    return "./" + urllib.parse.quote(Path(relative).as_posix().encode("utf-8", "surrogateescape"))


def _first_cells(
    image: Image.Image, cell: int | None
) -> tuple[Image.Image, int | None, int | None, tuple[int, int] | None]:
    """The upper left part of a grid that has many images; all of anything else."""
    if not cell or image.width % cell or image.height % cell:
        return image, None, None, None
    of = image.width // cell, image.height // cell
    columns, rows = min(of[0], _COLUMNS), min(of[1], _ROWS)
    if (columns, rows) == of:
        return image, None, None, None
    # Cut between images only: half of one would look like a fault of the generator.
    return image.crop((0, 0, columns * cell, rows * cell)), columns, rows, of


def _encoded(image: Image.Image, side: int, quality: int) -> bytes:
    """JPEG, or PNG where the picture is small as it is: no artefacts on radiographs of few pixels."""
    out = io.BytesIO()
    # Not at lower qualities: the caller asks for those when PNG was too large.
    if max(image.size) <= side and image.width * image.height <= 1 << 16 and quality >= 80:
        image.save(out, "PNG", optimize=True)
        return out.getvalue()
    if max(image.size) > side:
        # thumbnail works in place, and the caller tries smaller sizes of the same picture.
        image = image.copy()
        image.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0)
    image.save(out, "JPEG", quality=quality, optimize=True)
    return out.getvalue()
