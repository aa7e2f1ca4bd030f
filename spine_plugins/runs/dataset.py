"""The training images of a run, as far as the data set and the files beside it tell."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from spine_plugins.runs.documents import MOST_BYTES, Document, as_dict, parsed, read_json
from stylegan2ada import files
from stylegan2ada.data.labels import description_limit
from stylegan2ada.errors import UserError
from stylegan2ada.untrusted import open_zip, read_member

_DESCRIPTION = "dataset.json"
_SPLIT = re.compile(r"-(train|val|test)$")


@dataclass(frozen=True)
class Dataset:
    """What is known of a zip or folder of images."""

    name: str | None  # of the zip or folder, never its place
    is_there: bool = False
    summary: Document = field(default_factory=dict)
    contact: Path | None = None
    histogram: Path | None = None
    has_groups: bool | None = None  # None: unknown
    recipe: Document = field(default_factory=dict)
    label_names: tuple[str, ...] = ()


def places(recorded: str, folder: Path) -> list[Path]:
    """Where a recorded path may be today: there, or moved together with the run."""
    path = Path(recorded)
    # A study is often copied as a whole: its data then lies in the run's folder or one of two above.
    return [path, *(place / path.name for place in (folder, *list(folder.parents)[:2]))]


def read_dataset(recorded: object, folder: Path) -> Dataset:
    """The data set whose path a run recorded."""
    if not isinstance(recorded, str):
        return Dataset(None)
    candidates = places(recorded, folder)
    place = next((path for path in candidates if path.exists()), candidates[0])
    stems = [place.stem, _SPLIT.sub("", place.stem)]  # X-train.zip belongs to X_summary.json
    summaries = (read_json(files.beside(place, f"{stem}_summary.json")) for stem in stems)
    meta = description(place)
    names = meta.get("label_names")
    return Dataset(
        name=place.name,
        is_there=place.exists(),
        summary=next(filter(None, summaries), {}),
        contact=_existing(place, stems, "_contact.png"),
        histogram=_existing(place, stems, "_hist.png"),
        has_groups=bool(meta.get("groups")) if meta else None,
        recipe=as_dict(meta.get("recipe")),
        label_names=tuple(map(str, names)) if isinstance(names, list) else (),
    )


def _existing(place: Path, stems: list[str], ending: str) -> Path | None:
    paths = (files.beside(place, stem + ending) for stem in stems)
    return next((path for path in paths if path.is_file()), None)


def description(place: Path) -> Document:
    """The data set's own description; {} if it has none or cannot be read."""
    if place.is_dir():
        return read_json(place / _DESCRIPTION)
    try:
        with open_zip(place) as archive:
            limit = min(description_limit(len(archive.namelist())), MOST_BYTES)
            return as_dict(parsed(read_member(archive, _DESCRIPTION, limit)))
    except UserError:
        return {}
