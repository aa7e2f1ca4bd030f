"""Annotation CSV files -> an indexed table on disk, asked by image id; memory does not grow with the rows."""

from __future__ import annotations

import functools
import hashlib
import hmac
import math
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from spine_plugins.dicom import texts
from spine_plugins.dicom.deidentify import Keyed, keyed
from spine_plugins.dicom.frame import Box
from spine_plugins.dicom.labels import Annotation
from spine_plugins.dicom.texts import Table
from spine_plugins.vindr import canonical, plain_name
from stylegan2ada.data.pseudonyms import keyed_hash
from stylegan2ada.errors import UserError
from stylegan2ada.files import private_file
from stylegan2ada.untrusted import MIB, is_regular, open_regular

_IMAGE_COLUMNS = ("image_id", "image", "sopinstanceuid")
_KIND_COLUMNS = ("lesion_type", "class_name", "finding", "label")
_BOX_COLUMNS = ("xmin", "ymin", "xmax", "ymax")
# Of images, studies and patients only keyed hashes: this file stays behind when a run is killed.
_SCHEMA = """
create table rows (
    image text, kind text, x0 real, y0 real, x1 real, y1 real, study text, study_seal integer,
    patient text, patient_seal integer, value text);
create table meta (image text primary key, study text, study_seal integer, patient text, patient_seal integer)
    without rowid;
"""


def find_annotation_files(given: Iterable[str], sources: Iterable[str]) -> list[Path]:
    """The CSV files to read: those given (files or folders), else what lies beside the sources.

    VinDr-SpineXR's folder is called `annotations`, in its own description `annotation`.
    """
    found: list[Path] = []
    for name in given:
        path = Path(name)
        if path.is_dir():
            inside = sorted(path.glob("*.csv"))
            if not inside:
                raise UserError(
                    f"--annotations={name} holds no .csv file; give the folder with train.csv, or a file"
                )
            found += inside
        elif is_regular(path):
            found.append(path)
        else:
            raise UserError(f"--annotations={name} is neither a file nor a folder; check the path")
    if found:
        return found
    for source in sources:
        folder = Path(source)
        for place in (folder, folder.parent) if folder.is_dir() else ():
            for spelling in ("annotations", "annotation"):
                beside = sorted((place / spelling).glob("*.csv"))
                found += [path for path in beside if path not in found and is_regular(path)]
    # Nobody named these: they count only if there are labels among them.
    return found if any(_has_labels(path) for path in found) else []


def _has_labels(path: Path) -> bool:
    columns = set(texts.table_of(path).columns)
    return bool(columns & set(_IMAGE_COLUMNS)) and bool(columns & set(_KIND_COLUMNS))


def looks_generic(files: Iterable[Path]) -> bool:
    """True if no file has VinDr's lesion column: a plain table of image_id and label."""
    return not any("lesion_type" in texts.table_of(path).columns for path in files)


@dataclass(frozen=True)
class Index:
    """How annotations become a table of ours."""

    key: bytes  # of the hashes
    value_column: str = ""  # of csv:COLUMN
    class_map: tuple[tuple[str, str], ...] = ()
    note: Callable[[str, str], object] | None = None  # told hash and id of every image with labels
    say: Callable[[str], object] | None = None

    def write(self, files: list[Path], database: Path) -> str:
        """Write the rows of the CSV files into a sqlite table; returns a keyed hash of their contents.

        A file with `image_id` and a lesion column gives labels; one without (VinDr's *_meta.csv) may add
        `study_id` and `patient_id`.
        """
        digest = hmac.new(self.key, self.value_column.encode(), hashlib.sha256)
        database.unlink(missing_ok=True)
        private_file(database).close()
        n_rows = 0
        connection = sqlite3.connect(database.absolute())
        try:
            with connection:
                connection.executescript(_SCHEMA)
                for path in files:
                    with open_regular(path) as file:
                        while part := file.read(MIB):
                            digest.update(part)
                    n_rows += self._add(texts.table_of(path), connection)
                # After the rows: keeping it up to date at each insert is much slower.
                connection.execute("create index by_image on rows (image)")
        finally:
            connection.close()
        if not n_rows:
            names = ", ".join(path.name for path in files)
            column = self.value_column
            wanted = f"image_id and {column}" if column else "image_id and lesion_type (or label)"
            raise UserError(f"{names} has no rows with {wanted}; check the columns of the annotations")
        return digest.hexdigest()[:16]

    def _add(self, table: Table, connection: sqlite3.Connection) -> int:
        columns = table.columns
        image_column = next((name for name in _IMAGE_COLUMNS if name in columns), None)
        if image_column is None:
            return 0
        if table.is_guessed and self.say:
            self.say("note: an annotation table is not UTF-8; it is read as Windows-1252")
        kind_column = next((name for name in _KIND_COLUMNS if name in columns), None)
        # VinDr's *_meta.csv: no labels, but the studies and patients of them.
        if kind_column is None and self.value_column.lower() not in columns:
            if {"study_id", "patient_id"} & set(columns):
                found = ((self._hash(row[image_column]), *self._whose(row)) for row in table.records())
                connection.executemany("insert or ignore into meta values (?, ?, ?, ?, ?)", found)
            return 0
        before = connection.total_changes
        connection.executemany(
            "insert into rows values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (
                    self._noted(row[image_column]), self._kind(row, kind_column), *_box(row, table),
                    *self._whose(row), self._value(row),
                )
                for row in table.records()
                if row[image_column]
            ),
        )  # fmt: skip
        return connection.total_changes - before

    def _hash(self, image: str) -> str:
        return image_hash(self.key, _image_id(image)) or ""

    def _noted(self, image: str) -> str:
        found = self._hash(image)
        if self.note:
            self.note(found, _image_id(image))
        return found

    def _whose(self, row: dict[str, str]) -> tuple[str | None, int | None, str | None, int | None]:
        study = keyed(self.key, "study", row.get("study_id"))
        patient = keyed(self.key, "patient", row.get("patient_id"))
        return (*(study or (None, None)), *(patient or (None, None)))

    def _kind(self, row: dict[str, str], column: str | None) -> str:
        """The name of a lesion, should the data set tell it: one that we know, or a class of its own."""
        name = row.get(column or "", "")
        is_class = column == self.value_column.lower() and not self.class_map
        return name if not name or is_class or _is_lesion(name, self.class_map) else self._unknown(name)

    def _value(self, row: dict[str, str]) -> str:
        value = row.get(self.value_column.lower(), "")
        # Without a map every value becomes a class, and so is told.
        is_told = not value or not self.class_map or _is_mapped(value, self.class_map)
        return value if is_told else self._unknown(value)

    def _unknown(self, text: str) -> str:
        # Equal texts stay equal and others different, which is all that is asked of them.
        return f"?{keyed_hash(self.key, 'text', text)}"


@functools.lru_cache(1024)  # tables say the same few words again and again
def _is_lesion(name: str, class_map: tuple[tuple[str, str], ...]) -> bool:
    return canonical(name, class_map) is not None


@functools.lru_cache(1024)
def _is_mapped(value: str, class_map: tuple[tuple[str, str], ...]) -> bool:
    return plain_name(value) in {plain_name(name) for name, _ in class_map}


def image_hash(key: bytes, image: str) -> str | None:
    """By which an image is found in the annotations."""
    return keyed_hash(key, "image", image)


def _image_id(text: str) -> str:
    """Ids are opaque; only a file suffix is taken off, should the table name files."""
    for suffix in (".dicom", ".dcm", ".png"):
        text = text.removesuffix(suffix)
    return text


def _box(row: dict[str, str], table: Table) -> tuple[float | None, ...]:
    try:
        box = tuple(table.number(row[name]) for name in _BOX_COLUMNS)
    except (KeyError, ValueError):
        return (None,) * 4
    return box if all(math.isfinite(edge) for edge in box) else (None,) * 4


_FIND = (
    "select kind, x0, y0, x1, y1, study, study_seal, patient, patient_seal, value from rows where image = ?"
    " order by rowid"
)


class AnnotationTable:
    """Read-only view of the indexed annotations."""

    def __init__(self, database: str, key: bytes) -> None:
        self._key = key
        # Immutable: no locks, so any number of workers can read, on network drives as well.
        self._uri = f"{Path(database).absolute().as_uri()}?mode=ro&immutable=1"

    def find(self, *image_ids: str) -> tuple[str, Annotation] | None:
        """The hash of the first of the ids that has rows, with everything that they say."""
        connection = sqlite3.connect(self._uri, uri=True)
        try:
            for image in image_ids:
                found = image_hash(self._key, image)
                rows = connection.execute(_FIND, (found,)).fetchall() if found else []
                if rows:
                    meta = connection.execute(
                        "select study, study_seal, patient, patient_seal from meta where image = ?", (found,)
                    ).fetchone()
                    return str(found), _annotation(rows, meta or (None,) * 4)
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


def _annotation(rows: list[tuple], meta: tuple) -> Annotation:
    boxes = tuple(
        (row[0], Box(*row[1:5])) for row in rows if row[1] is not None and row[3] > row[1] and row[4] > row[2]
    )
    values = {row[9] for row in rows if row[9]}
    study = next((row[5:7] for row in rows if row[5]), meta[:2])
    patient = next((row[7:9] for row in rows if row[7]), meta[2:])
    return Annotation(
        kinds=tuple(row[0] for row in rows),
        boxes=boxes,
        value=min(values, default=""),
        has_conflict=len(values) > 1,
        study=Keyed(*study) if study[0] else None,
        patient=Keyed(*patient) if patient[0] else None,
    )
