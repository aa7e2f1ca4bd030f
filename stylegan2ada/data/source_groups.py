"""Who belongs together among the images of a source: by its dataset.json, a table, or its folders."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from stylegan2ada.data.source_tables import is_table, table_of_images
from stylegan2ada.data.sources import Source
from stylegan2ada.data.splits import groups_in_table
from stylegan2ada.errors import UserError

_PLACE = "{group}"
_COLUMNS = ("group", "patient", "patient_id", "subject")


@dataclass(frozen=True)
class SourceGroups:
    """A group per image."""

    of: dict[str, str]  # an image without one is not in it
    unit: str  # what a group is: patient, study, group
    is_hashed: bool  # as a dataset.json holds them; else as the user wrote them, which stays in the house
    notes: list[str] = field(default_factory=list)

    def named(self, names: Sequence[str]) -> list[str]:
        """One for every image: those without are alone."""
        return [self.of.get(name) or f"alone: {name}" for name in names]


def find_groups(source: Source, origin: str | None) -> SourceGroups | None:
    """`origin` is None (dataset.json of the source), FILE.csv, FILE.csv:COLUMN, or a pattern with {group}."""
    if origin is None:
        table = source.description.get("groups")
        if not table:
            return None
        found, unit = groups_in_table(table, source.names)
        return SourceGroups(dict(zip(source.names, found, strict=True)), unit, is_hashed=True)
    if not source.names:
        raise UserError(
            f"--groups={origin} works for folders and zips of image files; {source.path} is neither"
        )
    if _PLACE in origin:
        return _by_pattern(source, origin)
    return _by_table(source, origin)


def _by_pattern(source: Source, pattern: str) -> SourceGroups:
    """`*/{group}_*`: the part of an image's name in the place of {group}; * is anything but a slash."""
    if pattern.count(_PLACE) != 1:
        raise UserError(f"--groups={pattern} has {_PLACE} more than once; name one part of the path")
    before, after = (
        "".join("[^/]*" if character == "*" else re.escape(character) for character in part)
        for part in pattern.split(_PLACE)
    )
    # As short as possible: of 17_ap.png and */{group}_*, the group is 17.
    shape = re.compile(f"{before}([^/]+?){after}")
    found = {name: match[1] for name in source.names if (match := shape.fullmatch(name))}
    other = next((name for name in source.names if name not in found), None)
    if other is not None:
        raise UserError(
            f"--groups={pattern} does not fit {other}; * stands for anything within a folder, {_PLACE} for "
            "the part that names the patient, for example '*/{group}/*' or '*/{group}_*'"
        )
    return SourceGroups(found, "group", is_hashed=False)


def _by_table(source: Source, origin: str) -> SourceGroups:
    if not is_table(origin):
        raise UserError(
            f"--groups={origin} is neither the path of a .csv file nor a pattern with {_PLACE}, such as "
            "'*/{group}/*'"
        )
    table = table_of_images(source, origin, "groups", _COLUMNS)
    (title,) = table.titles
    found = {name: row[0] for name, row in table.cells.items() if row[0]}
    lonely = len(source.names) - len(found)
    notes = [f"{lonely} images have no {title} in {table.path}; each is alone"] if lonely else []
    unit = "patient" if "patient" in title.lower() else "group"
    return SourceGroups(found, unit, is_hashed=False, notes=[*notes, *table.notes])
