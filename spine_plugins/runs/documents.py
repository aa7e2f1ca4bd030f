"""JSON files as plain data, whatever state they are in: missing, half written, damaged, of another kind.

What was read is `object` until somebody says what it must be; `as_dict`, `as_list`, `number`, `finite`,
`whole` and `cell` are the only doors from there to types, and none of them raises.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

from stylegan2ada.errors import UserError
from stylegan2ada.untrusted import read_file

MOST_BYTES = 256 << 20  # of one text file; more is no file of ours

Document = dict[str, object]  # a JSON object


def as_dict(value: object) -> Document:
    """The value if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def as_list(value: object) -> list[object]:
    """The value if it is a JSON array, else an empty one."""
    return value if isinstance(value, list) else []


def number(value: object) -> float | None:
    """The value as a number (NaN and infinity, too), or None if it is none that can be computed with."""
    # To Python, true and false are integers; a curve of them would mean nothing.
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, int) and abs(value) > 1e300:  # JSON allows integers that no float holds
        return None
    return float(value)


def finite(value: object) -> float | None:
    """The value as a finite number, or None."""
    found = number(value)
    return found if found is not None and math.isfinite(found) else None


def whole(value: object) -> int | None:
    """The value as a whole number, or None."""
    found = finite(value)
    return None if found is None else int(found)


def cell(value: object) -> str | float | None:
    """What can stand in a cell of a table as it is: text or a number; None for anything else."""
    return value if isinstance(value, str | int | float) else None


def parsed(text: str | bytes) -> object:
    """The value, or None if the text is no JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # deep nesting is damage, too
        return None


def read_text(path: Path) -> str:
    """The file as text, or nothing; a wrong byte is no reason to lose the rest."""
    try:
        return read_file(path, MOST_BYTES).decode("utf-8", "replace")
    except UserError:  # among others a pipe, which would be waited for
        return ""


def read_json(path: Path) -> Document:
    """The object in a file; an empty one if there is none."""
    return as_dict(parsed(read_text(path)))


def read_lines(
    path: Path,
    damaged: dict[str, int],  # file name: lines that could not be read; this file's are added
) -> Iterator[Document]:
    """Every complete object; the last line of a run in progress may be half written."""
    # Not splitlines: it also breaks at U+2028 and its like, which JSON allows inside a string.
    lines = read_text(path).split("\n")
    for i, line in enumerate(lines):
        if not line.strip():
            continue
        row = parsed(line)
        if isinstance(row, dict):
            yield row
        elif i < len(lines) - 1:  # an unfinished last line is no damage
            damaged[path.name] = damaged.get(path.name, 0) + 1
