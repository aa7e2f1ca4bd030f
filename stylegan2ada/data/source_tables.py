"""Tables that speak of the images of a source: a CSV file with a column of names, and others."""

from __future__ import annotations

import collections
import csv
import io
from dataclasses import dataclass
from pathlib import Path

from stylegan2ada.data.sources import Source
from stylegan2ada.errors import MissingError, UserError
from stylegan2ada.untrusted import MIB, read_file

_NAME_COLUMNS = ("image", "filename", "file", "name", "path")
_MOST_BYTES = 256 * MIB


@dataclass(frozen=True)
class Table:
    """What a table says of every image of a source."""

    path: str
    titles: list[str]  # of the columns beside that of names, or of the one that was asked for
    cells: dict[str, list[str]]  # image: as many
    notes: list[str]  # what the user should know


def is_table(origin: str) -> bool:
    """Is it FILE.csv or FILE.csv:COLUMN?"""
    return _parts(origin)[0].lower().endswith(".csv")


def table_of_images(
    source: Source,
    origin: str,  # FILE.csv or FILE.csv:COLUMN
    flag: str,  # in messages
    columns: tuple[str, ...] = (),  # the first of these is taken where none is named; (): all
) -> Table:
    """The table, with a line for every image."""
    path, wanted = _parts(origin)
    header, rows = _read_csv(path, flag)
    # Titles differ between tools; failing a known one, names usually come first.
    column = next((i for i, title in enumerate(header) if title.lower() in _NAME_COLUMNS), 0)
    titles = header[:column] + header[column + 1 :]
    if not titles:
        raise UserError(f"{path} has no column of {flag} beside {header[column]!r}")
    chosen = _chosen(titles, (wanted,) if wanted else columns, path, flag)
    by_name: dict[str, list[str]] = {}
    for line, row in rows:
        # Tables from Windows write backslashes; images are named with slashes.
        name = row[column].replace("\\", "/").removeprefix("./")
        others = row[:column] + row[column + 1 :]
        values = [others[i] for i in chosen]
        # Exported tables often repeat a line; only a contradiction is an error.
        if by_name.setdefault(name, values) != values:
            raise UserError(f"{path}, line {line}: {name} occurs a second time, with other {flag}")
    cells, unused = _match(source, by_name, path)
    notes = [f"{unused} lines of {path} name no image of {source.path}"] if unused else []
    return Table(path, [titles[i] for i in chosen], cells, notes)


def _parts(origin: str) -> tuple[str, str]:
    path, colon, column = origin.rpartition(":")
    # A colon may be part of the name, as behind the drive of Windows.
    return (path, column) if colon and path.lower().endswith(".csv") else (origin, "")


def _chosen(titles: list[str], wanted: tuple[str, ...], path: str, flag: str) -> list[int]:
    """The places of the columns to take."""
    if not wanted:
        return list(range(len(titles)))
    lower = [title.lower() for title in titles]
    for title in wanted:
        if title.lower() in lower:
            return [lower.index(title.lower())]
    raise UserError(
        f"{path} has no column {' or '.join(wanted)}; it has {', '.join(titles)}: say which is meant, "
        f"--{flag}={path}:COLUMN"
    )


def _delimiter(text: str) -> str:
    """What separates the titles: in some countries spreadsheets write semicolons, others export tabs."""
    titles = text.split("\n", 1)[0]
    return next((mark for mark in (",", ";", "\t") if mark in titles), ",")


def _read_csv(path: str, flag: str) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Titles, and (line number, cells) of every further line; a trailing comma makes no column."""
    if not Path(path).exists():
        raise MissingError(f"--{flag}={path} does not exist; give the path of a .csv file")
    content = read_file(path, _MOST_BYTES)
    try:
        # Spreadsheets put a byte order mark before the first title, and some write UTF-16.
        text = content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text))
        lines = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(row)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is not a CSV file in UTF-8 or UTF-16 ({error})") from error
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
