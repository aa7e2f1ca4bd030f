"""The work in progress on disk: what became of each file, and the finished PNGs.

One sqlite file beside the output, for its owner alone. A result is committed together with its PNG, so a
killed run loses at most what was under way; what is still valid is not done again. Memory does not grow with
the number of files.

What a killed run leaves behind knows files by keyed hashes only. Names and places are in temporary tables:
sqlite keeps those in a file that has no name, which ends with the process.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import re
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

from spine_plugins.dicom.reasons import LEFT_OUT, RETRIED
from spine_plugins.dicom.record import BLOBS, Record
from spine_plugins.dicom.sources import Item
from stylegan2ada.data.pseudonyms import keyed_hash
from stylegan2ada.errors import UserError
from stylegan2ada.files import private_folder
from stylegan2ada.untrusted import is_regular, open_regular

_JOURNAL, ANNOTATIONS = "journal.sqlite", "annotations.sqlite"
_OURS = re.compile(r"(journal|annotations)\.sqlite(-wal|-shm|-journal)?")
_MARK = 0x5350474A  # sqlite's application id, which tells our journal from anybody else's database
_VERSION = 2  # of the tables
_SCHEMA = """
create table if not exists results (
    id text primary key, state text, record text, reason text, image text, label text, sop text, pixels text,
    study text, patient text, png blob, thumb blob, histogram blob);
create index if not exists by_image on results (image);
create index if not exists by_sop on results (sop);
create index if not exists by_pixels on results (pixels);
create temp table files (name blob primary key, id text, state text, place blob, member blob, size integer,
    mtime integer, reason text, expected text);
create temp table wanted (position integer primary key, name blob);
create temp table checksums (name blob primary key, sha256 text) without rowid;
create temp table subset (id text primary key) without rowid;
create temp table forbidden (value text primary key) without rowid;
create temp table annotated (hash text primary key, image text) without rowid;
"""


class Journal:
    """Items and records; open it again after a crash and go on."""

    def __init__(self, folder: Path, key: bytes) -> None:
        self.folder = private_folder(folder)
        self.key = key
        path = folder / _JOURNAL
        # sqlite gives its other files the mode of this one. It may take a name that begins with "file:" for
        # an address, which an absolute path is not.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        path.chmod(0o600)
        try:
            self.db = sqlite3.connect(path.absolute())
            is_new = not path.stat().st_size
            if is_new:  # first of all, so that no killed run leaves a journal that nobody knows
                self.db.execute(f"pragma application_id = {_MARK}")
                self.db.execute(f"pragma user_version = {_VERSION}")
            version = self.db.execute("pragma user_version").fetchone()[0]
            # Together these lose at most the last commits in a power cut, and never damage the file.
            self.db.execute("pragma journal_mode = wal")
            self.db.execute("pragma synchronous = normal")
            self.db.execute("pragma cache_size = -16000")  # 16 MB
            self.db.execute("pragma temp_store = file")
            self.db.executescript(_SCHEMA)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise  # the disk, not the file
            raise UserError(
                f"{folder} is damaged ({error}); run again with --overwrite to start anew"
            ) from error
        if version != _VERSION:
            self.db.close()
            raise UserError(f"{folder} is of another version; run again with --overwrite to start anew")

    def is_empty(self) -> bool:
        """True while no result is worth keeping."""
        return self.db.execute("select 1 from results limit 1").fetchone() is None

    def close(self, *, remove: bool = False) -> None:
        self.db.close()
        if remove:
            remove_parts(self.folder)

    def note_annotated(self, found: str, image: str) -> None:
        """An image of the annotations: its hash and its id."""
        self.db.execute("insert or ignore into annotated values (?, ?)", (found, image))

    def set_items(self, items: Iterable[Item], config: str) -> int:
        """The files of this run; they are worked on in the byte order of their names. Returns how many."""
        with self.db:
            self.db.executemany(
                "insert or ignore into files values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    (
                        # Bytes: a file name need not be UTF-8, and bytes sort alike everywhere.
                        os.fsencode(item.name), self._id(item), self._state(item, config),
                        os.fsencode(item.place), os.fsencode(item.member),
                        item.size, item.mtime_ns, item.reason, item.expected_sha256,
                    )
                    for item in items
                ),
            )  # fmt: skip
            self.db.execute(
                "update files set expected = (select sha256 from checksums c where c.name = files.name)"
                " where name in (select name from checksums)"
            )
        return self.n_files()

    def _id(self, item: Item) -> str:
        # Not keyed_hash, which strips: two names may differ by a blank alone.
        return hmac.new(self.key, b"name:" + os.fsencode(item.name), hashlib.sha256).hexdigest()[:32]

    def _state(self, item: Item, config: str) -> str | None:
        """Changes with the file and with the settings; times are part of it, and may be those of a visit."""
        return keyed_hash(self.key, "state", f"{item.size} {item.mtime_ns} {config}")

    def n_files(self) -> int:
        return self.db.execute("select count(*) from files").fetchone()[0]

    def choose(self, max_files: int | None) -> None:
        """Apply --subset-list and --max-images: mark what is left out and number what stays."""
        with self.db:
            if self.db.execute("select count(*) from subset").fetchone()[0]:
                self._mark_outside_subset()
            # A negative limit is none to sqlite.
            limit = -1 if max_files is None else max_files
            self.db.execute(
                "update files set reason = 'over_max_images' where reason = '' and name not in"
                " (select name from files where reason = '' order by name limit ?)",
                (limit,),
            )

    def _mark_outside_subset(self) -> None:
        last = b""
        while names := self.db.execute(
            "select name from files where name > ? order by name limit 1000", (last,)
        ).fetchall():
            # The loop leaves `last` at the end of the page, where the next one starts.
            for (last,) in names:
                if not self._in_subset(os.fsdecode(last)):
                    self.db.execute(
                        "update files set reason = 'not_in_subset' where name = ? and reason = ''", (last,)
                    )

    def _in_subset(self, name: str) -> bool:
        base = name.rsplit("/", 1)[-1]
        # A list may name files by path, by file name, or by image id as VinDr does.
        ids = (name, base, base.rsplit(".", 1)[0])
        return any(self.db.execute("select 1 from subset where id = ?", (value,)).fetchone() for value in ids)

    def fill(self, table: str, rows: Iterable[tuple[str | bytes, ...]]) -> int:
        """Put rows into `checksums`, `subset` or `forbidden`; returns how many the table holds."""
        width = {"checksums": 2, "subset": 1, "forbidden": 1}[table]
        with self.db:
            self.db.executemany(f"insert or ignore into {table} values ({', '.join('?' * width)})", rows)
        return self.db.execute(f"select count(*) from {table}").fetchone()[0]

    def to_do(self) -> tuple[int, Iterator[Item]]:
        """(number, items) without a valid result: new, changed, of other settings, or worth a retry."""
        retried = ", ".join(f"'{reason}'" for reason in sorted(RETRIED))
        with self.db:
            # Fixed before the work begins: results that come in meanwhile cannot move the pages.
            self.db.execute("delete from wanted")
            self.db.execute(
                "insert into wanted (name) select f.name from files f left join results r on r.id = f.id"
                # A changed file or other settings match no row, so r.id is null below.
                " and r.state = f.state"
                # Python writes a tuple of strings as SQL does.
                f" where f.reason not in {LEFT_OUT}"
                # f.reason is what this run's walk saw; it costs nothing to record anew.
                f" and (r.id is null or r.reason in ({retried}) or f.reason != '') order by f.name"
            )
        return self.db.execute("select count(*) from wanted").fetchone()[0], self._wanted()

    def _wanted(self) -> Iterator[Item]:
        position = 0
        while rows := self.db.execute(
            "select w.position, f.name, f.place, f.member, f.size, f.mtime, f.reason, f.expected"
            " from wanted w join files f on f.name = w.name"
            " where w.position > ? order by w.position limit 256",
            (position,),
        ).fetchall():
            position = rows[-1][0]
            for _, name, place, member, size, mtime, reason, expected in rows:
                name, place, member = map(os.fsdecode, (name, place, member))
                yield Item(name, place, member, size, mtime, reason, expected or "")

    def store(self, items: list[Item], records: list[Record], config: str) -> None:
        """Commit some results, all or none."""
        with self.db:
            for item, record in zip(items, records, strict=True):
                assert record.path == item.name
                self.db.execute(
                    # A result under other settings, or of an older file, gives way.
                    "insert or replace into results values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        self._id(item), self._state(item, config), record.to_json(),
                        record.reason, record.image, json.dumps(record.label), record.sop,
                        record.pixels or None, record.study, record.patient,
                        *(getattr(record, name) for name in BLOBS),
                    ),
                )  # fmt: skip

    def records(self, *, with_png: bool = False) -> Iterator[Record]:
        """Of every file in the final order; for files left out just name and reason."""
        # Not asked for, the pictures stay on disk: they are nearly all of the journal.
        png = "r.png" if with_png else "null"
        last = b""
        while rows := self.db.execute(
            f"select f.name, f.reason, r.record, {png}, r.thumb, r.histogram"
            " from files f left join results r on r.id = f.id"
            # Small pages, for each row may bring a PNG.
            " where f.name > ? order by f.name limit 64",
            (last,),
        ).fetchall():
            for last, reason, text, *blobs in rows:
                name = os.fsdecode(last)
                if text and reason not in LEFT_OUT:
                    yield Record.from_json(name, text, *blobs)
                else:
                    yield Record(name, reason=reason or "unreadable")


def check_unused(folder: Path, *, may_resume: bool, may_overwrite: bool) -> None:
    """Refuse to throw away, or to go on with, an interrupted run without being told which."""
    if not folder.exists() and not folder.is_symlink():
        return
    if not _is_ours(folder):
        raise UserError(
            f"{folder} is where this tool keeps its work, but it was not made by it (or by another version); "
            "move it away, or choose another --dest"
        )
    if may_resume:
        return
    if may_overwrite:
        remove_parts(folder)
        return
    raise UserError(
        f"{folder} holds an interrupted run; add --resume to go on with it, or --overwrite to start anew"
    )


def remove_parts(folder: Path) -> None:
    """Remove what a run of ours left there; what somebody else put beside it stays."""
    for name in os.listdir(folder):
        if _OURS.fullmatch(name):
            (folder / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # not empty
        folder.rmdir()


def _is_ours(folder: Path) -> bool:
    """A folder with nothing but a journal of ours; also a killed run's that did not come that far."""
    if folder.is_symlink() or not folder.is_dir():
        return False
    if not all(_OURS.fullmatch(name) and is_regular(folder / name) for name in os.listdir(folder)):
        return False
    journal = folder / _JOURNAL
    if not journal.exists():
        return not any(folder.iterdir())
    with open_regular(journal) as file:
        head = file.read(72)
    # Bytes 68 to 71 of a database are the application id: https://www.sqlite.org/fileformat.html
    return not head or head[68:72] == _MARK.to_bytes(4, "big")
