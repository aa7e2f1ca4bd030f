"""Tables of codes: CSV with a line of column names, 0/1 or counts below; and one made of latent factors."""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from stylegan2ada import files
from stylegan2ada.data.decode import is_image_name
from stylegan2ada.errors import UserError
from stylegan2ada.untrusted import MIB, read_file

Kind = Literal["binary", "count"]
_MOST_BYTES = 2048 * MIB
_LARGEST_COUNT = 1_000_000
_LEAST_ROWS, _LEAST_COLUMNS = 20, 2


@dataclass(frozen=True)
class Table:
    """A row per patient or image, a column per code."""

    columns: tuple[str, ...]
    values: np.ndarray  # float32 [n, k], whole numbers from 0
    kind: Kind

    @property
    def fingerprint(self) -> str:
        """A hash of names and values, whatever the file's encoding."""
        digest = hashlib.sha256("\0".join(self.columns).encode())
        digest.update(np.ascontiguousarray(self.values, "<f4").tobytes())
        return digest.hexdigest()

    def split(self, share: float, seed: int) -> tuple[Table, Table]:
        """(the rest, a share drawn by the seed)."""
        order = np.random.default_rng(seed).permutation(len(self.values))
        cut = max(1, round(share * len(order)))
        parts = (np.sort(order[cut:]), np.sort(order[:cut]))
        rest, held = (Table(self.columns, self.values[part], self.kind) for part in parts)
        return rest, held


def read_table(path: str | Path) -> Table:
    """The table in a file; a UserError says which cell cannot be."""
    if is_image_name(str(path)) or str(path).lower().endswith(".zip") or Path(path).is_dir():
        raise UserError(f"{path} holds images; this recipe learns from a table: a CSV file of 0/1 or counts")
    text = _text(path)
    first, _, rest = text.partition("\n")
    separator = max(",;\t", key=first.count)
    names = next(csv.reader([first.rstrip("\r")], delimiter=separator), [])
    columns = tuple(name.strip() for name in names)
    if len(columns) < _LEAST_COLUMNS or "" in columns or len(set(columns)) < len(columns):
        raise UserError(f"{path} needs a first line with at least two column names, each given once")
    if all(name.replace(".", "").isdigit() for name in columns):
        raise UserError(f"{path} begins with numbers; give a first line with the names of the columns")
    try:
        values = np.loadtxt(io.StringIO(rest), delimiter=separator, ndmin=2, comments=None, quotechar='"')
    except ValueError as error:
        raise UserError(f"{path} is no table of numbers below its first line ({_place(error)})") from error
    if values.shape[1:] != (len(columns),):
        raise UserError(f"{path} has {len(columns)} column names, but rows of {values.shape[-1]} cells")
    if len(values) < _LEAST_ROWS:
        raise UserError(f"{path} has {len(values)} rows; give at least {_LEAST_ROWS}")
    is_wrong = ~(
        np.isfinite(values) & (values >= 0) & (values <= _LARGEST_COUNT) & (values == np.rint(values))
    )
    if is_wrong.any():
        row, column = np.argwhere(is_wrong)[0]
        raise UserError(
            f"{path}, line {row + 2}, column {columns[column]}: {values[row, column]:g} is neither 0/1 nor a "
            "count; leave that column out, or round it"
        )
    return Table(columns, values.astype(np.float32), "binary" if values.max() <= 1 else "count")


def write_table(path: Path, columns: tuple[str, ...], values: np.ndarray) -> None:
    """The same columns, whole numbers."""
    files.write_csv(path, columns, values.astype(np.int64).tolist())


def factor_table(n: int, k: int, seed: int, *, factors: int = 8) -> Table:
    """Binary codes of a known joint distribution: rates from 0.2 to 60 %, correlated by latent factors."""
    law = np.random.default_rng([seed, 0])  # of the codes; the rows have another, so that n changes no code
    rates = np.exp(law.uniform(np.log(0.002), np.log(0.6), k))
    # As strong as in records of hospitals: regressions on the other codes reach an F1 of about 0.3.
    loadings = law.normal(0, 2, (factors, k)) * (law.random((factors, k)) < 0.5)
    offset = _offsets(law.normal(size=(4000, factors)) @ loadings, rates)
    rows = np.random.default_rng([seed, 1])
    logits = rows.normal(size=(n, factors)) @ loadings + offset
    values = (rows.random((n, k)) < 1 / (1 + np.exp(-logits))).astype(np.float32)
    return Table(tuple(f"code{i:03d}" for i in range(k)), values, "binary")


def _offsets(spread: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """What to add to logits [n, k], for their mean probability to be the wanted rate [k]; by bisection."""
    low, high = np.full(len(rates), -60.0), np.full(len(rates), 60.0)
    for _ in range(50):
        middle = (low + high) / 2
        is_high = (1 / (1 + np.exp(-(spread + middle)))).mean(0) > rates
        low, high = np.where(is_high, low, middle), np.where(is_high, middle, high)
    return low


def _text(path: str | Path) -> str:
    content = read_file(path, _MOST_BYTES)
    encoding = "utf-16" if content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no text in UTF-8 or UTF-16; save it as comma separated UTF-8") from error


def _place(error: ValueError) -> str:
    """numpy names row and column, then advises programmers."""
    return str(error).split(".")[0].split(";")[0][:160]
