"""Labels for dataset_tool: from dataset.json, folder names or a CSV file; and the table of classes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stylegan2ada.data.labels import label_table, wrong_label
from stylegan2ada.data.source_tables import is_table, table_of_images
from stylegan2ada.data.sources import Source, SourceError
from stylegan2ada.data.writer import Label
from stylegan2ada.errors import UserError

_MOST_LINES = 40
_MOST_FOLDERS = 20  # that look like classes
_NO_NUMBERS = ("nan", "inf", "infinity")


# As a dataset.json holds them, which may be anything until `_check_alike` has looked.
Labels = dict[str, Any]


@dataclass
class SourceLabels:
    """A label per image name, as far as there are any."""

    of: Labels = field(default_factory=dict)
    names: list[str] | None = None  # of the classes or of the columns
    notes: list[str] = field(default_factory=list)  # what the user should know


def find_labels(source: Source, origin: str | None) -> SourceLabels:
    """`origin` is None (dataset.json of the source), "folders" or the path of a CSV file."""
    if origin is None:
        return _from_description(source)
    if not source.names:
        raise UserError(
            f"--labels={origin} works for folders and zips of image files; {source.path} is neither"
        )
    if origin == "folders":
        return _from_folders(source)
    if is_table(origin):
        return _from_csv(source, origin)
    raise UserError(f"--labels={origin} is neither 'folders' nor the path of a .csv file")


def _from_description(source: Source) -> SourceLabels:
    entries = source.description.get("labels")
    if entries is None:
        return SourceLabels(notes=_hint_of_folders(source))
    table = label_table(entries, source.path)
    # In the order of the images, not of the file.
    found = SourceLabels({name: table[name] for name in source.names if name in table})
    found.names = source.description.get("label_names")
    # A null counts as no label, too.
    lacking = [name for name in source.names if table.get(name) is None]
    # A dataset.json has a label for every image or none at all.
    if lacking:
        found.notes.append(
            f"{len(lacking)} of {len(source.names)} images have no label in dataset.json, "
            f"for example {lacking[0]}; the result gets no labels at all"
        )
    else:
        _check_alike(found.of, f"dataset.json of {source.path}")
    return found


def _hint_of_folders(source: Source) -> list[str]:
    """What to say of images without labels that lie in folders as if by class."""
    parts = _below_common_folders(source).values() if source.names else []
    folders = sorted({p[0] for p in parts if len(p) > 1})
    # Numbers as names are places in a data set, many folders rather patients.
    is_by_class = 2 <= len(folders) <= _MOST_FOLDERS and not any(map(str.isdigit, folders))
    if not is_by_class or min(map(len, parts)) < 2:
        return []
    listed = ", ".join(folders[:4]) + (", ..." if len(folders) > 4 else "")
    return [f"the images lie in {len(folders)} folders ({listed}); --labels=folders makes them classes"]


def _below_common_folders(source: Source) -> dict[str, list[str]]:
    """Per image the parts of its path, without folders around everything, which say nothing."""
    parts = {name: name.split("/") for name in source.names}
    while min(map(len, parts.values())) > 2 and len({p[0] for p in parts.values()}) == 1:
        parts = {name: p[1:] for name, p in parts.items()}
    return parts


def _from_folders(source: Source) -> SourceLabels:
    parts = _below_common_folders(source)
    loose = next((name for name, p in parts.items() if len(p) < 2), None)
    if loose is not None:
        raise SourceError(
            f"--labels=folders: {loose} is in no folder; put every image into the folder of its class"
        )
    # By name, so that class numbers do not depend on the file system.
    classes = sorted({p[0] for p in parts.values()})
    number = {name: index for index, name in enumerate(classes)}
    found = SourceLabels({name: number[p[0]] for name, p in parts.items()}, classes)
    _check_alike(found.of, f"the folders of {source.path}")
    return found


def _from_csv(source: Source, origin: str) -> SourceLabels:
    table = table_of_images(source, origin, "labels")
    path, titles = table.path, table.titles
    found = (
        _single_column(table.cells, path) if len(titles) == 1 else _many_columns(table.cells, titles, path)
    )
    found.notes.extend(table.notes)
    _check_alike(found.of, path)
    return found


def _single_column(cells: dict[str, list[str]], path: str) -> SourceLabels:
    """Numbers are classes, or values if any has a fraction; names are numbered; lists become vectors."""
    texts = {name: row[0] for name, row in cells.items()}
    for name, text in texts.items():
        # Programs write NaN for "nothing known", which must not become the name of a class.
        if any(part.strip().lstrip("+-").lower() in _NO_NUMBERS for part in text.split(";")):
            raise UserError(
                f"{path}: {name} has the label {text}, which is neither a number nor a class; "
                "give it one, or leave the image out"
            )
    # One semicolon anywhere makes every cell a list, so that single entries stay of the same kind.
    if any(";" in text for text in texts.values()):
        return _lists(
            {
                name: [part.strip() for part in text.split(";") if part.strip()]
                for name, text in texts.items()
            },
            path,
        )
    empty = next((name for name, text in texts.items() if not text), None)
    if empty is not None:
        raise UserError(f"{path}: {empty} has an empty label")
    values = {name: v for name, text in texts.items() if (v := _number(text)) is not None}
    if len(values) == len(texts):
        is_whole = all(value == int(value) for value in values.values())
        # [v]: a bare fraction would be read back as a class number, cut to an integer.
        return SourceLabels({name: int(v) if is_whole else [v] for name, v in values.items()})
    classes = sorted(set(texts.values()))  # by name, so that the numbers do not depend on the order of lines
    return SourceLabels({name: classes.index(text) for name, text in texts.items()}, classes)


def _lists(lists: dict[str, list[str]], path: str) -> SourceLabels:
    values = {name: [_number(part) for part in parts] for name, parts in lists.items()}
    if all(value is not None for row in values.values() for value in row):
        # Lengths that occur, each with an image to name in the message.
        lengths: dict[int, str] = {}
        for name, row in values.items():
            lengths.setdefault(len(row), name)
        if len(lengths) > 1:
            (a, first), (b, second) = list(lengths.items())[:2]
            raise UserError(
                f"{path}: {first} has {a} numbers but {second} has {b}; give all images equally many"
            )
        return SourceLabels(values)
    # 0 or 1 per name that occurs: an image may have several.
    classes = sorted({part for parts in lists.values() for part in parts})
    return SourceLabels({name: [int(c in parts) for c in classes] for name, parts in lists.items()}, classes)


def _many_columns(cells: dict[str, list[str]], titles: list[str], path: str) -> SourceLabels:
    for name, row in cells.items():
        for title, text in zip(titles, row):
            if _number(text) is None:
                raise UserError(
                    f"{path}: {name} has {text!r} as {title}; with several columns all labels must be "
                    f"numbers (--labels={path}:COLUMN takes one of them)"
                )
    return SourceLabels({name: [_number(text) for text in row] for name, row in cells.items()}, titles)


def _number(text: str) -> int | float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    if not math.isfinite(value):
        return None
    # So that 1.0 and 1 are one class, and JSON shows the short form.
    return int(value) if value == int(value) else value


def _check_alike(labels: Labels, origin: str) -> None:
    """All class numbers from 0 on, or all lists of numbers of one length."""
    first_name, first = next(iter(labels.items()))
    for name, label in labels.items():
        problem = wrong_label(label)
        if problem is not None:
            raise SourceError(f"{origin}: {name} has {problem}")
        if isinstance(label, list) != isinstance(first, list) or (
            isinstance(label, list) and len(label) != len(first)
        ):
            raise SourceError(
                f"{origin}: {first_name} has the label {first!r}, but {name} has {label!r}; "
                "labels must be all numbers, or all lists of one length"
            )


def class_table(labels: Sequence[Label], names: list[str] | None) -> list[str]:
    """Lines that say how often each class occurs, or how each column is spread, and what looks odd."""
    values = np.asarray(labels)
    if values.ndim == 2:
        titles = (
            names
            if names and len(names) == values.shape[1]
            else [f"column {i}" for i in range(values.shape[1])]
        )
        lines = [
            f"{title}: {np.count_nonzero(column)} of {len(column)} not zero, "
            f"from {column.min():g} to {column.max():g}, mean {column.mean():.4g}"
            for title, column in zip(titles, values.T)
        ]
        return _shortened(lines, "columns")
    counts = np.bincount(values.astype(np.int64))
    titles = names if names and len(names) >= len(counts) else [""] * len(counts)
    lines = [
        f"class {i}{f' ({title})' if title else ''}: {n}" for i, (title, n) in enumerate(zip(titles, counts))
    ]
    empty = [int(i) for i in np.flatnonzero(counts == 0)]
    lines = _shortened(lines, "classes")
    if empty == [0]:
        lines.append("labels seem to count from 1: class 0 has no image; count from 0 to save a class")
    elif empty:
        listed = ", ".join(map(str, empty[:10])) + (", ..." if len(empty) > 10 else "")
        lines.append(f"{len(empty)} of {len(counts)} classes have no image: {listed}")
    return lines


def _shortened(lines: list[str], what: str) -> list[str]:
    if len(lines) <= _MOST_LINES:
        return lines
    return [*lines[: _MOST_LINES - 1], f"... and {len(lines) - _MOST_LINES + 1} more {what}"]
