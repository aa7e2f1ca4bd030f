"""Which of the readable images are kept: duplicates, conflicts, forbidden groups, train/val/test.

Decided after all files are read, in the fixed order of their names, so that it does not matter who read
which file when. Keys are looked up in the journal on disk.
"""

from __future__ import annotations

import hashlib
import json
import os
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import scipy.sparse
import scipy.sparse.csgraph

from spine_plugins.dicom.deidentify import SCORE_BITS, Keyed, open_seal
from spine_plugins.dicom.journal import Journal
from spine_plugins.dicom.record import Record
from stylegan2ada.data.splits import SPLITS, class_numbers, split_groups

Pair = tuple[tuple[str, int], tuple[str, int]]  # (name, row in the report) of two images that look alike
_NEAR = 2  # bits of the difference hash
_MOST_LOOKED_AT = 200  # candidates per band, should very many pictures be alike
_DUMMY_SHARE, _DUMMY_STUDIES = 0.5, 20  # a patient with more is a placeholder such as ANONYMOUS


@dataclass
class Outcome:
    """One line of the report: what finally became of a file."""

    index: int
    record: Record
    reason: str
    split: str = ""
    group: str = ""
    warnings: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.record.path


def split_of(score: int, seed: int, shares: tuple[float, ...]) -> str:
    """The split of a group: depends on the group's own score and the seed, not on which others there are."""
    # Hashed again with the seed, or every seed would deal the same groups.
    digest = hashlib.sha256(f"{seed}:{score}".encode()).digest()
    # A uniform point in [0, 1), which each split's share cuts off from below.
    point, edge = int.from_bytes(digest[:8], "big") / 2**64, 0.0
    for name, share in zip(SPLITS, shares):
        edge += share
        if point < edge:
            return name
    # Shares of 0.1 and their like sum to a hair below 1, and a point may lie beyond.
    return SPLITS[len(shares) - 1]


class Groups:
    """Patients and studies that belong together; whole groups go into one split.

    Studies and patients are the nodes of a graph, images its edges, groups its connected components. A group
    is named by the member with the smallest score, patients before studies.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key  # opens the seals of the scores
        self.ignored_patient: str | None = None
        self.dealt: dict[str, str] = {}  # group: its split, where classes decided it
        self._nodes: dict[str, int] = {}  # s + study hash | p + patient hash: number of the node
        self._ranks = array("q")  # of each node: its score, above it a bit that puts studies after patients
        self._edges = array("q")  # study, patient, study, patient, ...
        self._heads: list[tuple[str, int]] | None = None  # of each node: name and score of its group

    def add(self, record: Record) -> None:
        study = self._node("s", record.study, record.study_seal, 1)
        # A study without a patient is still a node, and a group of its own.
        if record.patient and record.patient != self.ignored_patient:
            patient = self._node("p", record.patient, record.patient_seal, 0)
            self._edges.extend((study, patient))
        # One more edge may join two groups, so what was found before is void.
        self._heads = None

    def find(self, record: Record) -> tuple[str, int]:
        """(hash that names the group, its score); once all are added."""
        if self._heads is None:
            self._heads = self._found_heads()
        return self._heads[self._nodes[f"s{record.study}"]]

    def _node(self, letter: str, found: str | None, seal: int | None, kind: int) -> int:
        # Answers the next free number exactly if the name is new.
        number = self._nodes.setdefault(f"{letter}{found}", len(self._ranks))
        if number == len(self._ranks):
            assert found is not None, "every kept image has a study"
            assert seal is not None, "what has a hash has a score"
            self._ranks.append(kind << SCORE_BITS | open_seal(self._key, Keyed(found, seal)))
        return number

    def _found_heads(self) -> list[tuple[str, int]]:
        n = len(self._ranks)
        # [n_edges] each, from the flat list.
        studies, patients = np.array(self._edges, np.int64).reshape(-1, 2).T
        graph = scipy.sparse.coo_array((np.ones(len(studies), np.bool_), (studies, patients)), shape=(n, n))
        n_groups, group = scipy.sparse.csgraph.connected_components(graph, directed=False)
        names = list(self._nodes)
        ranks = np.array(self._ranks, np.int64)
        # By rank; should two scores be equal, which takes some billion patients, by hash.
        # The last key of lexsort is the first to sort by.
        order = np.lexsort((np.array(names, "S"), ranks))
        heads = np.empty(n_groups, np.int64)
        heads[group[order[::-1]]] = order[::-1]  # of several values for one place the last one stays
        # The mask takes the bit off that put studies after patients.
        of_group = [(names[head][1:], int(ranks[head]) & (1 << SCORE_BITS) - 1) for head in heads]
        return [of_group[number] for number in group]


def decide(journal: Journal, *, dedupe: tuple[str, ...], has_labels: bool) -> None:
    """Write the final reason of every readable image into the journal's table `outcomes`."""
    db = journal.db
    with db:
        db.executescript(
            "drop table if exists outcomes; drop table if exists seen; drop table if exists near;"
            "create temp table outcomes (name blob primary key, reason text, near blob);"
            "create temp table seen (key text primary key) without rowid;"
            "create temp table near (band text, hash text, name blob);"
            "create index temp.by_band on near (band);"
        )
        # Which of two labels is wrong cannot be known, so every copy goes, the first as well.
        for key in dedupe if has_labels else ():
            db.execute(
                "insert or ignore into outcomes select f.name, 'conflicting_label', x''"
                " from files f join results r on r.id = f.id"
                f" where r.reason = '' and r.{key} in"
                f" (select r.{key} from files f join results r on r.id = f.id"
                f" where r.reason = '' and f.reason = '' and r.{key} is not null"
                f" group by r.{key} having count(distinct r.label) > 1)"
            )
        # In the order of names: of several copies the first is kept, whoever read it when.
        for name, sop, pixels, study, patient, dhash in _readable(journal):
            reason = _duplicate_or_forbidden(journal, dedupe, sop, pixels, study, patient)
            near = b"" if reason else _near_duplicate(journal, dhash, name)
            db.execute("insert or ignore into outcomes values (?, ?, ?)", (name, reason, near))


_Keys = tuple[bytes, str | None, str | None, str | None, str | None, str]


def _readable(journal: Journal) -> Iterator[_Keys]:
    """(name, sop, pixels, study, patient, dhash) of what may still be kept, in order."""
    last = b""
    # Pages instead of one long cursor: the caller writes into `outcomes`, which this query reads.
    while rows := journal.db.execute(
        "select f.name, r.sop, r.pixels, r.study, r.patient, r.record"
        " from files f join results r on r.id = f.id left join outcomes o on o.name = f.name"
        " where f.name > ? and f.reason = '' and r.reason = '' and o.name is null order by f.name limit 256",
        (last,),
    ).fetchall():
        for row in rows:
            last = row[0]
            yield *row[:5], json.loads(row[5])["dhash"]


def _duplicate_or_forbidden(
    journal: Journal,
    dedupe: tuple[str, ...],
    sop: str | None,
    pixels: str | None,
    study: str | None,
    patient: str | None,
) -> str:
    db = journal.db
    for value in (study, patient, pixels):
        if value and db.execute("select 1 from forbidden where value = ?", (value,)).fetchone():
            return "forbidden_group"
    keys = {"sop": sop, "pixels": pixels}
    for name in dedupe:
        key = f"{name}:{keys[name]}"
        if keys[name] and db.execute("select 1 from seen where key = ?", (key,)).fetchone():
            return f"duplicate_{name}"
    for name in dedupe:  # only what is kept counts as seen
        if keys[name]:
            db.execute("insert or ignore into seen values (?)", (f"{name}:{keys[name]}",))
    return ""


def _near_duplicate(journal: Journal, text: str, name: bytes) -> bytes:
    """Name of an earlier kept image whose difference hash differs in at most two bits, or nothing.

    Of three bands at least one is then equal (pigeonhole), so only images with an equal band are compared.
    """
    if not text:  # headers only
        return b""
    # The digit in front keeps equal bits of different bands apart.
    bands = [f"{i}{band}" for i, band in enumerate((text[:5], text[5:10], text[10:]))]
    value, found = int(text, 16), b""
    for band in bands:
        # The limit bounds the work where thousands of pictures share a band, such as black ones.
        for other, other_name in journal.db.execute(
            "select hash, name from near where band = ? limit ?", (band, _MOST_LOOKED_AT)
        ):
            if (value ^ int(other, 16)).bit_count() <= _NEAR:
                found = found or other_name
    journal.db.executemany("insert into near values (?, ?, ?)", [(band, text, name) for band in bands])
    return found


def near_pairs(journal: Journal, most: int) -> tuple[list[Pair], int]:
    """The first pairs of kept images that look almost alike, and how many there are."""
    db = journal.db

    def member(name: bytes) -> tuple[str, int]:
        (row,) = db.execute("select count(*) from files where name < ?", (name,)).fetchone()
        return os.fsdecode(name), row

    found = db.execute(
        "select near, name from outcomes where reason = '' and near != x'' order by name limit ?", (most,)
    ).fetchall()
    (n,) = db.execute("select count(*) from outcomes where reason = '' and near != x''").fetchone()
    return [(member(earlier), member(later)) for earlier, later in found], n


def outcomes(
    journal: Journal,
    *,
    shares: tuple[float, ...],
    seed: int,
    groups: Groups | None,  # None while they are being found
    with_png: bool = False,
) -> Iterator[Outcome]:
    """The final outcome of every file, in order."""
    find = "select reason, near from outcomes where name = ?"
    for index, record in enumerate(journal.records(with_png=with_png)):
        outcome = Outcome(index, record, record.reason)
        if not outcome.reason:
            outcome.reason, near = journal.db.execute(find, (os.fsencode(record.path),)).fetchone()
            if near:
                outcome.warnings.append("near_duplicate")
        if not outcome.reason and groups is not None:
            outcome.group, score = groups.find(record)
            if shares:
                outcome.split = groups.dealt.get(outcome.group) or split_of(score, seed, shares)
        yield outcome


def stratify(journal: Journal, groups: Groups, shares: tuple[float, ...], seed: int) -> None:
    """Deal the groups so that every class has its share of each split.

    Unlike `split_of` this looks at all groups at once: data that is added later may move others.
    """
    names: list[str] = []
    labels: list[object] = []
    for outcome in outcomes(journal, shares=(), seed=0, groups=groups):
        if not outcome.reason:
            names.append(outcome.group)
            labels.append(outcome.record.label)
    dealt = split_groups(names, class_numbers(labels), shares, seed)
    groups.dealt = {name: SPLITS[split] for name, split in zip(names, dealt, strict=True)}


def grouped(journal: Journal) -> Groups:
    """The groups of all kept images."""
    groups = Groups(journal.key)
    total = journal.db.execute("select count(*) from outcomes where reason = ''").fetchone()[0]
    largest = journal.db.execute(
        "select r.patient, count(*), count(distinct r.study) from outcomes o join files f using (name)"
        " join results r on r.id = f.id where o.reason = '' and r.patient is not null"
        " group by r.patient order by 2 desc limit 1"
    ).fetchone()
    # Left in, a placeholder joins all its studies into one group, and that group into one split.
    if largest and largest[1] > _DUMMY_SHARE * total and largest[2] >= _DUMMY_STUDIES:
        groups.ignored_patient = largest[0]
    for outcome in outcomes(journal, shares=(), seed=0, groups=None):
        # Kept images only: a rejected file must not tie two patients together.
        if not outcome.reason:
            groups.add(outcome.record)
    return groups
