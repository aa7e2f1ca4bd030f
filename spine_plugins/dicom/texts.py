"""Tables and lists that people give us: found out are their encoding and separator, refused what is no text.

Spreadsheets write tables with semicolons where the comma is the decimal mark, as UTF-16 when asked for
"Unicode", and in the code page of the country otherwise.
"""

from __future__ import annotations

import codecs
import csv
import io
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from stylegan2ada import untrusted
from stylegan2ada.errors import UserError

_SEPARATORS = ",;\t"
_BOMS = (  # the longer first: that of UTF-16 begins that of UTF-32
    (codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip
_MOST_LINE = 1 << 20  # characters
_CODE_PAGE = "cp1252"  # of Western Windows; differs from Latin-1 in quotes and dashes only


@dataclass(frozen=True)
class Table:
    """How a table is written."""

    path: Path
    encoding: str
    separator: str
    columns: tuple[str, ...]  # of the first line, in lower case

    @property
    def is_guessed(self) -> bool:
        """True if nothing in the file says its encoding, and it is not UTF-8."""
        return self.encoding == _CODE_PAGE

    def rows(self) -> Iterator[list[str]]:
        """The cells of every line, stripped, those of the first included; quotes and CRLF are fine."""
        with _opened(self.path, self.encoding) as file, _told(self.path):
            for cells in csv.reader(_lines(file, self.path), delimiter=self.separator):
                yield [cell.strip() for cell in cells]

    def records(self) -> Iterator[dict[str, str]]:
        """The lines below the first, by the names of the columns."""
        for cells in itertools.islice(self.rows(), 1, None):
            # Spreadsheets leave out empty cells at the end of a line.
            cells += [""] * (len(self.columns) - len(cells))
            yield dict(zip(self.columns, cells))

    def number(self, text: str) -> float:
        """A number as this table writes it; ValueError for anything else."""
        return float(text.replace(",", ".") if self.separator == ";" else text)


def table_of(path: Path) -> Table:
    """The table in a file."""
    encoding = _encoding(path)
    with _opened(path, encoding) as file, _told(path):
        first = next(_lines(file, path), "")
    with _told(path):
        found = [next(csv.reader([first], delimiter=separator), []) for separator in _SEPARATORS]
    # The separator of the first line is what divides it most; of several the common one.
    best = max(range(len(_SEPARATORS)), key=lambda i: (len(found[i]), -i))
    return Table(path, encoding, _SEPARATORS[best], tuple(name.strip().lower() for name in found[best]))


def lines_of(path: Path) -> Iterator[str]:
    """The lines of a list, stripped; empty ones are left out."""
    with _opened(path, _encoding(path)) as file, _told(path):
        for line in _lines(file, path):
            if text := line.strip():
                yield text


def _lines(file: TextIO, path: Path) -> Iterator[str]:
    while line := file.readline(_MOST_LINE):
        if len(line) == _MOST_LINE:
            raise UserError(f"{path} is no table or list (it has a line without end); check the file")
        yield line


@contextmanager
def _opened(path: Path, encoding: str) -> Iterator[TextIO]:
    with untrusted.open_regular(path) as file:
        # One byte in some code page that has no meaning there is not worth a refusal.
        errors = "replace" if encoding == _CODE_PAGE else "strict"
        with io.TextIOWrapper(file, encoding, errors, newline="") as text:
            yield text


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except csv.Error as error:
        # Its text may hold a part of the file.
        raise UserError(f"{path} cannot be read as CSV; save it as comma separated UTF-8 text") from error
    except UnicodeError as error:
        raise UserError(f"{path} ends inside a character or is damaged; save it as UTF-8 text") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); check the file") from error


def _encoding(path: Path) -> str:
    with untrusted.open_regular(path) as file:
        head = file.read(4096)
        for mark, name in _BOMS:
            if head.startswith(mark):
                return name
        if b"\0" in head:
            return _without_mark(path, head)
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            while head:
                decoder.decode(head)
                head = file.read(untrusted.MIB)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return _CODE_PAGE
    return "utf-8"


def _without_mark(path: Path, head: bytes) -> str:
    """UTF-16 without its mark: every other byte of ordinary text is zero."""
    even, odd = head[::2].count(0), head[1::2].count(0)
    if min(even, odd) * 10 > max(even, odd):
        raise UserError(f"{path} is no text (it holds zero bytes); save it as comma separated UTF-8 text")
    return "utf-16-le" if odd > even else "utf-16-be"
