"""Annotation CSV files -> an indexed table on disk, asked by image id; memory does not grow with the rows."""

from __future__ import annotations

import csv
import hashlib
import math
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

from spine_plugins.dicom.frame import Box
from spine_plugins.dicom.labels import Annotation
from stylegan2ada.errors import UserError

_IMAGE_COLUMNS = ("image_id", "image", "sopinstanceuid")
_KIND_COLUMNS = ("lesion_type", "class_name", "finding", "label")
_BOX_COLUMNS = ("xmin", "ymin", "xmax", "ymax")
_SCHEMA = """
create table rows (
    image text, kind text, x0 real, y0 real, x1 real, y1 real, study text, patient text, value text);
create table meta (image text primary key, study text, patient text) without rowid;
"""


def find_annotation_files(given: Iterable[str], sources: Iterable[str]) -> list[Path]:
    """The CSV files to read: those given (files or folders), else what lies beside the sources.

    VinDr-SpineXR's folder is called `annotations`, in its own description `annotation`.
    """
    found: list[Path] = []
    for name in given:
        path = Path(name)
        if path.is_dir():
            found += sorted(path.glob("*.csv"))
        elif path.is_file():
            found.append(path)
        else:
            raise UserError(f"--annotations={name} is neither a file nor a folder; check the path")
        if path.is_dir() and not sorted(path.glob("*.csv")):
            raise UserError(
                f"--annotations={name} holds no .csv file; give the folder with train.csv, or a file"
            )
    if found:
        return found
    for source in sources:
        folder = Path(source)
        for place in (folder, folder.parent) if folder.is_dir() else ():
            for spelling in ("annotations", "annotation"):
                found += [path for path in sorted((place / spelling).glob("*.csv")) if path not in found]
    # Nobody named these: they count only if there are labels among them.
    return found if any(_has_labels(path) for path in found) else []


def _has_labels(path: Path) -> bool:
    columns = set(_columns(path))
    return bool(columns & set(_IMAGE_COLUMNS)) and bool(columns & set(_KIND_COLUMNS))


def looks_generic(files: Iterable[Path]) -> bool:
    """True if no file has VinDr's lesion column: a plain table of image_id and label."""
    return not any("lesion_type" in _columns(path) for path in files)


def index_annotations(files: list[Path], database: Path, value_column: str = "") -> str:
    """Write the rows of the CSV files into a sqlite table; returns a hash of their contents.

    A file with `image_id` and a lesion column gives labels; one without (VinDr's *_meta.csv) may add
    `study_id` and `patient_id`.
    """
    digest = hashlib.sha256(value_column.encode())
    database.unlink(missing_ok=True)
    n_rows = 0
    connection = sqlite3.connect(database)
    try:
        with connection:
            connection.executescript(_SCHEMA)
            for path in files:
                digest.update(path.read_bytes())
                n_rows += _index_file(path, connection, value_column)
            # After the rows: keeping it up to date at each insert is much slower.
            connection.execute("create index by_image on rows (image)")
    finally:
        connection.close()
    if not n_rows:
        names = ", ".join(path.name for path in files)
        wanted = f"image_id and {value_column}" if value_column else "image_id and lesion_type (or label)"
        raise UserError(f"{names} has no rows with {wanted}; check the columns of the annotations")
    return digest.hexdigest()[:16]


def _index_file(path: Path, connection: sqlite3.Connection, value_column: str) -> int:
    columns = _columns(path)
    image_column = next((name for name in _IMAGE_COLUMNS if name in columns), None)
    if image_column is None:
        return 0
    kind_column = next((name for name in _KIND_COLUMNS if name in columns), None)
    # VinDr's *_meta.csv: no labels, but the studies and patients of them.
    if kind_column is None and value_column.lower() not in columns:
        if {"study_id", "patient_id"} & set(columns):
            found = (
                (_image_id(row[image_column]), row.get("study_id", ""), row.get("patient_id", ""))
                for row in _rows(path)
            )
            connection.executemany("insert or ignore into meta values (?, ?, ?)", found)
        return 0
    before = connection.total_changes
    connection.executemany(
        "insert into rows values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            (
                _image_id(row[image_column]), row.get(kind_column or "", ""), *_box(row),
                row.get("study_id", ""), row.get("patient_id", ""), row.get(value_column.lower(), ""),
            )
            for row in _rows(path)
            if row[image_column]
        ),
    )  # fmt: skip
    return connection.total_changes - before


def _image_id(text: str) -> str:
    """Ids are opaque; only a file suffix is taken off, should the table name files."""
    for suffix in (".dicom", ".dcm", ".png"):
        text = text.removesuffix(suffix)
    return text


def _box(row: dict[str, str]) -> tuple[float | None, ...]:
    try:
        box = tuple(float(row[name]) for name in _BOX_COLUMNS)
    except (KeyError, ValueError):
        return (None,) * 4
    return box if all(math.isfinite(edge) for edge in box) else (None,) * 4


def _columns(path: Path) -> list[str]:
    with _opened(path) as file:
        try:
            return [name.strip().lower() for name in next(csv.reader(file), [])]
        except csv.Error as error:
            raise UserError(
                f"{path} cannot be read as CSV ({error}); save it as comma separated text"
            ) from error


def _rows(path: Path) -> Iterator[dict[str, str]]:
    """Rows with lower-case column names and stripped values; a byte order mark, CRLF and quotes are fine."""
    columns = _columns(path)
    try:
        with _opened(path) as file:
            reader = csv.reader(file)
            next(reader, None)
            for cells in reader:
                # Spreadsheets leave out empty cells at the end of a line.
                cells += [""] * (len(columns) - len(cells))
                yield {name: cell.strip() for name, cell in zip(columns, cells)}
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(
            f"{path} cannot be read as CSV ({error}); save it as comma separated UTF-8 text"
        ) from error


def _opened(path: Path) -> TextIO:
    return open(path, encoding="utf-8-sig", newline="", errors="replace")


_FIND = "select kind, x0, y0, x1, y1, study, patient, value from rows where image = ? order by rowid"


class AnnotationTable:
    """Read-only view of the indexed annotations."""

    def __init__(self, database: str) -> None:
        # Immutable: no locks, so any number of workers can read, on network drives as well.
        self._uri = f"file:{Path(database).absolute().as_posix()}?mode=ro&immutable=1"

    def find(self, *image_ids: str) -> tuple[str, Annotation] | None:
        """The first of the ids that has rows, with everything that they say."""
        connection = sqlite3.connect(self._uri, uri=True)
        try:
            for image in image_ids:
                rows = connection.execute(_FIND, (image,)).fetchall() if image else []
                if rows:
                    meta = connection.execute(
                        "select study, patient from meta where image = ?", (image,)
                    ).fetchone()
                    return image, _annotation(rows, meta or ("", ""))
            return None
        finally:
            connection.close()

    def values(self) -> tuple[str, ...]:
        """The distinct values of the column asked for; numbers in numerical order."""
        connection = sqlite3.connect(self._uri, uri=True)
        try:
            found = [
                row[0] for row in connection.execute("select distinct value from rows where value != ''")
            ]
        finally:
            connection.close()
        try:
            # As text 10 would come before 2, and class numbers follow this order.
            return tuple(sorted(found, key=float))
        except ValueError:
            return tuple(sorted(found))


def _annotation(rows: list[tuple], meta: tuple[str, str]) -> Annotation:
    boxes = tuple(
        (row[0], Box(*row[1:5])) for row in rows if row[1] is not None and row[3] > row[1] and row[4] > row[2]
    )
    values = {row[7] for row in rows if row[7]}
    return Annotation(
        kinds=tuple(row[0] for row in rows),
        boxes=boxes,
        value=min(values, default=""),
        has_conflict=len(values) > 1,
        study_id=next((row[5] for row in rows if row[5]), meta[0]),
        patient_id=next((row[6] for row in rows if row[6]), meta[1]),
    )
