"""The ledger of a private run: a line per release, on disk before it, chained by hashes, never cut back.

A line that was written for a step that a kill prevented stays: what may have been released counts.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import get_args

from spine_plugins.privacy.accountant import Adjacency, Query
from stylegan2ada.errors import UserError

FILE = "privacy/ledger.jsonl"  # relative to the run folder
_FIRST = "0" * 64  # the hash before the first line
_KEYS = ("kind", "q", "noise_multiplier", "count", "unit", "adjacency", "n_public", "previous_sha256")


class BrokenLedger(UserError):  # noqa: N818 - a claim that does not hold
    """The lines are not those that were written."""

    exit_code = 5


@dataclass(frozen=True)
class Terms:
    """What all lines of one run have in common."""

    unit: str  # image, study, patient
    adjacency: Adjacency
    n_public: int | None  # None: replace-one adjacency, where n itself is public


@dataclass(frozen=True)
class Line:
    """One or more equal releases."""

    kind: str  # dp-sgd, dp-sgd+ada, labels
    q: float
    noise_multiplier: float
    count: int
    unit: str
    adjacency: Adjacency
    n_public: int | None
    previous_sha256: str

    @property
    def query(self) -> Query:
        return Query(self.q, self.noise_multiplier, self.count)


class Ledger:
    """The file and what stands in it; rank 0 alone has one."""

    def __init__(self, path: Path, terms: Terms | None = None) -> None:
        """Open or begin it; `terms` are needed to write, and must be those of the lines that are there."""
        self.path, self.terms = path, terms
        _drop_torn_line(path)
        self.lines, self.head = read(path)
        for line in self.lines:
            if terms is not None and (line.unit, line.adjacency, line.n_public) != (
                terms.unit, terms.adjacency, terms.n_public,
            ):  # fmt: skip
                raise UserError(
                    f"{path} counts {line.unit}s ({line.adjacency}, n {line.n_public}); this run would count "
                    f"{terms.unit}s ({terms.adjacency}, n {terms.n_public}); continue it as it began"
                )

    @property
    def queries(self) -> list[Query]:
        return [line.query for line in self.lines]

    def charge(self, kind: str, query: Query) -> None:
        """Write a line down, safe on disk, before what it counts is done."""
        assert self.terms is not None
        line = Line(kind, query.q, query.noise_multiplier, query.count, **asdict(self.terms),
                    previous_sha256=self.head)  # fmt: skip
        text = json.dumps(asdict(line)).encode()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "ab") as file:
            file.write(text + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self.lines.append(line)
        self.head = hashlib.sha256(text).hexdigest()


def read(path: Path) -> tuple[list[Line], str]:
    """All lines and the hash of the last; BrokenLedger if one was changed, left out or put in."""
    lines: list[Line] = []
    head = _FIRST
    for number, raw in enumerate(_raw_lines(path), 1):
        line = _parsed(raw)
        if line is None:
            raise BrokenLedger(f"{path}, line {number}: not a line of a ledger")
        if line.previous_sha256 != head:
            raise BrokenLedger(f"{path}, line {number}: what stands before it is not what was written")
        lines.append(line)
        head = hashlib.sha256(raw).hexdigest()
    return lines, head


def heads(path: Path) -> list[str]:
    """The hash after each number of lines, from none to all."""
    return [_FIRST, *(hashlib.sha256(raw).hexdigest() for raw in _raw_lines(path))]


def sha256(path: Path) -> str:
    """Of the whole file, as a report names it."""
    return hashlib.sha256(path.read_bytes() if path.exists() else b"").hexdigest()


def _raw_lines(path: Path) -> Iterator[bytes]:
    if path.exists():
        yield from path.read_bytes().splitlines()


def _parsed(raw: bytes) -> Line | None:
    try:
        row = json.loads(raw)
        if tuple(row) != _KEYS:
            return None
        line = Line(**row)
        is_right = (
            0 < line.q <= 1
            and line.noise_multiplier > 0
            and isinstance(line.count, int)
            and line.count >= 1
            and line.adjacency in get_args(Adjacency)
        )
    except (ValueError, TypeError, RecursionError):
        return None
    return line if is_right else None


def _drop_torn_line(path: Path) -> None:
    """A line without its end was cut off by a kill while it was written, so its release never began."""
    if not path.exists():
        return
    data = path.read_bytes()
    if data and not data.endswith(b"\n"):
        with open(path, "rb+") as file:
            file.truncate(data.rfind(b"\n") + 1)
