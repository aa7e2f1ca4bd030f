"""Which of the readable images are kept: duplicates, conflicts, forbidden groups, train/val/test.

Decided after all files are read, in the fixed order of their names, so that it does not matter who read
which file when. Keys are looked up in the journal on disk.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from spine_plugins.dicom.journal import Journal
from stylegan2ada.errors import UserError

SPLITS = ("train", "val", "test")
_NEAR = 2  # bits of the difference hash
_MOST_LOOKED_AT = 200  # candidates per band, should very many pictures be alike
_DUMMY_SHARE, _DUMMY_STUDIES = 0.5, 20  # a patient with more is a placeholder such as ANONYMOUS


@dataclass
class Outcome:
    """One line of the report: what finally became of a file."""

    index: int
    name: str
    record: dict[str, Any]
    reason: str
    split: str = ""
    group: str = ""
    warnings: list[str] = field(default_factory=list)


def parse_split(text: str) -> tuple[float, ...]:
    """`0.8/0.1/0.1` -> shares of train, val, test, which sum to 1; two numbers leave test out."""
    try:
        shares = tuple(float(part) for part in text.split("/"))
    except ValueError:
        shares = ()
    if len(shares) not in (2, 3) or min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
        raise UserError(f"--split={text} is not two or three shares that sum to 1; for example 0.8/0.1/0.1")
    return shares


def split_of(score: int, seed: int, shares: tuple[float, ...]) -> str:
    """The split of a group: depends on the group's own score and the seed, not on which others there are."""
    digest = hashlib.sha256(f"{seed}:{score}".encode()).digest()
    point, edge = int.from_bytes(digest[:8], "big") / 2**64, 0.0
    for name, share in zip(SPLITS, shares):
        edge += share
        if point < edge:
            return name
    return SPLITS[len(shares) - 1]


class Groups:
    """Patients and studies that belong together; whole groups go into one split."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}
        self._score: dict[
            str, tuple[int, int]
        ] = {}  # (0 patient | 1 study, score); the smallest of a group counts
        self.ignored_patient: str | None = None

    def add(self, record: dict[str, Any]) -> None:
        study = f"s{record['study']}"
        self._insert(study, (1, record["study_score"]))
        if record["patient"] and record["patient"] != self.ignored_patient:
            patient = f"p{record['patient']}"
            self._insert(patient, (0, record["patient_score"]))
            self._join(study, patient)

    def find(self, record: dict[str, Any]) -> tuple[str, int]:
        """(hash that names the group, its score)."""
        root = self._root(f"s{record['study']}")
        return root[1:], self._score[root][1]

    def _insert(self, key: str, score: tuple[int, int]) -> None:
        if key not in self._parent:
            self._parent[key] = key
            self._score[key] = score

    def _root(self, key: str) -> str:
        while self._parent[key] != key:
            self._parent[key] = self._parent[self._parent[key]]
            key = self._parent[key]
        return key

    def _join(self, one: str, other: str) -> None:
        roots = sorted({self._root(one), self._root(other)}, key=lambda root: (self._score[root], root))
        self._parent[roots[-1]] = roots[0]


def decide(journal: Journal, *, dedupe: tuple[str, ...], has_labels: bool) -> None:
    """Write the final reason of every readable image into the journal's table `outcomes`."""
    db = journal.db
    with db:
        db.executescript(
            "drop table if exists outcomes; drop table if exists seen; drop table if exists near;"
            "create table outcomes (name blob primary key, reason text, near text);"
            "create table seen (key text primary key) without rowid;"
            "create table near (band text, hash text, position integer);"
            "create index by_band on near (band);"
        )
        for key in dedupe if has_labels else ():
            db.execute(
                "insert or ignore into outcomes select name, 'conflicting_label', '' from results"
                f" where reason = '' and {key} in (select r.{key} from results r join files f using (name)"
                f" where r.reason = '' and f.reason = '' and r.{key} is not null"
                f" group by r.{key} having count(distinct r.label) > 1)"
            )
        for position, (name, sop, pixels, study, patient, record) in enumerate(_readable(journal)):
            reason = _duplicate_or_forbidden(journal, dedupe, sop, pixels, study, patient)
            near = "" if reason else _near_duplicate(journal, record["dhash"], position)
            db.execute("insert or ignore into outcomes values (?, ?, ?)", (name, reason, near))


def _readable(journal: Journal) -> Iterator[tuple]:
    last = b""
    while rows := journal.db.execute(
        "select f.name, r.sop, r.pixels, r.study, r.patient, r.record"
        " from files f join results r on r.name = f.name left join outcomes o on o.name = f.name"
        " where f.name > ? and f.reason = '' and r.reason = '' and o.name is null order by f.name limit 256",
        (last,),
    ).fetchall():
        for row in rows:
            last = row[0]
            yield *row[:5], json.loads(row[5])


def _duplicate_or_forbidden(journal: Journal, dedupe: tuple[str, ...], sop: str | None, pixels: str | None,
                            study: str | None, patient: str | None) -> str:  # fmt: skip
    db = journal.db
    for value in (study, patient, pixels):
        if value and db.execute("select 1 from forbidden where value = ?", (value,)).fetchone():
            return "forbidden_group"
    keys = {"sop": sop, "pixels": pixels}
    for name in dedupe:
        if (
            keys[name]
            and db.execute("select 1 from seen where key = ?", (f"{name}:{keys[name]}",)).fetchone()
        ):
            return f"duplicate_{name}"
    for name in dedupe:  # only what is kept counts as seen
        if keys[name]:
            db.execute("insert or ignore into seen values (?)", (f"{name}:{keys[name]}",))
    return ""


def _near_duplicate(journal: Journal, text: str, position: int) -> str:
    """Position of an earlier kept image whose difference hash differs in at most two bits, or nothing.

    Of three bands at least one is then equal (pigeonhole), so only images with an equal band are compared.
    """
    if not text:  # headers only
        return ""
    bands = [f"{i}{band}" for i, band in enumerate((text[:5], text[5:10], text[10:]))]
    value, found = int(text, 16), ""
    for band in bands:
        for other, other_position in journal.db.execute(
            "select hash, position from near where band = ? limit ?", (band, _MOST_LOOKED_AT)
        ):
            if (value ^ int(other, 16)).bit_count() <= _NEAR:
                found = found or str(other_position)
    journal.db.executemany("insert into near values (?, ?, ?)", [(band, text, position) for band in bands])
    return found


def outcomes(journal: Journal, *, shares: tuple[float, ...], seed: int, groups: Groups | None,
             with_png: bool = False) -> Iterator[Outcome]:  # fmt: skip
    """The final outcome of every file, in order."""
    for index, (name, record) in enumerate(journal.rows(with_png=with_png)):
        outcome = Outcome(index, name, record, record["reason"])
        if not outcome.reason:
            row = journal.db.execute(
                "select reason, near from outcomes where name = ?", (os.fsencode(name),)
            ).fetchone()
            outcome.reason = row[0]
            if row[1]:
                outcome.warnings.append("near_duplicate")
        if not outcome.reason and groups is not None:
            outcome.group, score = groups.find(record)
            if shares:
                outcome.split = split_of(score, seed, shares)
        yield outcome


def grouped(journal: Journal) -> Groups:
    """The groups of all kept images."""
    groups = Groups()
    total = journal.db.execute("select count(*) from outcomes where reason = ''").fetchone()[0]
    largest = journal.db.execute(
        "select r.patient, count(*), count(distinct r.study) from outcomes o join results r using (name)"
        " where o.reason = '' and r.patient is not null group by r.patient order by 2 desc limit 1"
    ).fetchone()
    if largest and largest[1] > _DUMMY_SHARE * total and largest[2] >= _DUMMY_STUDIES:
        groups.ignored_patient = largest[0]
    for outcome in outcomes(journal, shares=(), seed=0, groups=None):
        if not outcome.reason:
            groups.add(outcome.record)
    return groups
