"""Labels for dataset_tool: from dataset.json, folder names or a CSV file; and the table of classes."""

from __future__ import annotations

import collections
import csv
import math
import numbers
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from stylegan2ada.data.labels import label_table
from stylegan2ada.data.sources import Source, SourceError
from stylegan2ada.data.writer import Label
from stylegan2ada.errors import MissingError, UserError

_NAME_COLUMNS = ("image", "filename", "file", "name", "path")
_MOST_LINES = 40


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
    if origin.lower().endswith(".csv"):
        return _from_csv(source, origin)
    raise UserError(f"--labels={origin} is neither 'folders' nor the path of a .csv file")


def _from_description(source: Source) -> SourceLabels:
    entries = source.description.get("labels")
    if entries is None:
        return SourceLabels()
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


def _from_folders(source: Source) -> SourceLabels:
    parts = {name: name.split("/") for name in source.names}
    while min(map(len, parts.values())) > 2 and len({p[0] for p in parts.values()}) == 1:
        parts = {name: p[1:] for name, p in parts.items()}  # one folder around everything says nothing
    loose = next((name for name, p in parts.items() if len(p) < 2), None)
    if loose is not None:
        raise SourceError(
            f"--labels=folders: {loose} is in no folder; put every image into the folder of its class"
        )
    # By name, so that class numbers do not depend on the file system.
    classes = sorted({p[0] for p in parts.values()})
    number = {name: index for index, name in enumerate(classes)}
    return SourceLabels({name: number[p[0]] for name, p in parts.items()}, classes)


def _from_csv(source: Source, path: str) -> SourceLabels:
    header, rows = _read_csv(path)
    # Titles differ between tools; failing a known one, names usually come first.
    column = next((i for i, title in enumerate(header) if title.lower() in _NAME_COLUMNS), 0)
    by_name: dict[str, list[str]] = {}
    for line, row in rows:
        # Tables from Windows write backslashes; images are named with slashes.
        name = row[column].replace("\\", "/").removeprefix("./")
        values = row[:column] + row[column + 1 :]
        # Exported tables often repeat a line; only a contradiction is an error.
        if by_name.setdefault(name, values) != values:
            raise UserError(f"{path}, line {line}: {name} occurs a second time, with other labels")
    cells, unused = _match(source, by_name, path)
    titles = header[:column] + header[column + 1 :]
    if not titles:
        raise UserError(f"{path} has no column of labels beside {header[column]!r}")
    found = _single_column(cells, path) if len(titles) == 1 else _many_columns(cells, titles, path)
    if unused:
        found.notes.append(f"{unused} lines of {path} name no image of {source.path}")
    _check_alike(found.of, path)
    return found


def _read_csv(path: str) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Titles, and (line number, cells) of every further line; a trailing comma makes no column."""
    if not Path(path).is_file():
        raise MissingError(f"--labels={path} does not exist; give 'folders' or the path of a .csv file")
    try:
        # utf-8-sig: spreadsheets put a byte order mark before the first title.
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            lines = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(row)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is not a CSV file in UTF-8 ({error})") from error
    if len(lines) < 2:
        raise UserError(f"{path} needs a line of titles, such as image,label, and a line per image")
    header = lines[0][1]
    while header and not header[-1]:
        header = header[:-1]
    rows = []
    for number, row in lines[1:]:
        if len(row) < len(header) or any(row[len(header) :]):
            raise UserError(f"{path}, line {number}: {len(row)} cells, but there are {len(header)} titles")
        rows.append((number, row[: len(header)]))
    return header, rows


def _match(source: Source, by_name: dict[str, list[str]], path: str) -> tuple[dict[str, list[str]], int]:
    """The cells for every image, found by relative path or else by a file name that occurs only once."""
    # Tables often name files without their folders; that is a match only where it cannot mean two images.
    base_names = collections.Counter(name.split("/")[-1] for name in source.names)
    found, used = {}, set()
    for name in source.names:
        base = name.split("/")[-1]
        key = name if name in by_name else base if base_names[base] == 1 and base in by_name else None
        if key is not None:
            found[name] = by_name[key]
            used.add(key)
    lacking = [name for name in source.names if name not in found]
    if lacking:
        raise UserError(
            f"{path} has no line for {lacking[0]} ({len(lacking)} of {len(source.names)} images lack one); "
            f"it names for example {next(iter(by_name))}"
        )
    return found, len(by_name) - len(used)


def _single_column(cells: dict[str, list[str]], path: str) -> SourceLabels:
    """Numbers are classes, or values if any has a fraction; names are numbered; lists become vectors."""
    texts = {name: row[0] for name, row in cells.items()}
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
                    f"{path}: {name} has {text!r} as {title}; with several columns all labels must be numbers"
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
        parts = label if isinstance(label, list) else [label]
        # bool and numpy's numbers are Real, too.
        if not all(isinstance(part, numbers.Real) and math.isfinite(part) for part in parts):
            raise SourceError(f"{origin}: {name} has the label {label!r}, which is not made of numbers")
        if isinstance(label, list) != isinstance(first, list) or (
            isinstance(label, list) and len(label) != len(first)
        ):
            raise SourceError(
                f"{origin}: {first_name} has the label {first!r}, but {name} has {label!r}; "
                "labels must be all numbers, or all lists of one length"
            )
        if not isinstance(label, list) and label < 0:
            raise SourceError(f"{origin}: {name} has the class {label}; classes count from 0")
        if not isinstance(label, list) and label != int(label):
            raise SourceError(f"{origin}: {name} has the class {label}, which is no whole number")


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
