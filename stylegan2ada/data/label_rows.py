"""Labels of images to draw, a row each, from a table such as `spinegan recipe medgan apply` writes."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence

from stylegan2ada.errors import UserError
from stylegan2ada.untrusted import MIB, read_file

_MOST_BYTES = 256 * MIB


def read_label_rows(
    path: str,
    c_dim: int,  # of the network
    names: Sequence[str] | None,  # of its classes, where it knows them
    *,
    flag: str = "--labels-from",
) -> list[list[float]]:
    """A label vector per row; columns are found by the classes' names, without names by their order."""
    try:
        text = read_file(path, _MOST_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{flag}={path} is no text in UTF-8; save it as comma separated UTF-8") from error
    lines = [row for row in csv.reader(io.StringIO(text)) if row]
    if len(lines) < 2:
        raise UserError(f"{flag}={path} holds no rows; give a line of column names, then a row per image")
    header = [title.strip() for title in lines[0]]
    if names:
        if missing := [name for name in names if name not in header]:
            raise UserError(
                f"{flag}={path} has no column {missing[0]!r}; the network's classes are {', '.join(names)}"
            )
        columns = [header.index(name) for name in names]
    elif len(header) == c_dim:
        columns = list(range(c_dim))
    else:
        raise UserError(f"{flag}={path} has {len(header)} columns, but the network has {c_dim} classes")
    return [_vector(row, header, columns, f"{flag}={path}, line {i}") for i, row in enumerate(lines[1:], 2)]


def _vector(row: list[str], header: list[str], columns: list[int], where: str) -> list[float]:
    if len(row) != len(header):
        raise UserError(f"{where} has {len(row)} cells, but there are {len(header)} column names")
    values = []
    for column in columns:
        try:
            value = float(row[column])
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise UserError(f"{where}: {row[column]!r} under {header[column]!r} is no number")
        values.append(value)
    return values
