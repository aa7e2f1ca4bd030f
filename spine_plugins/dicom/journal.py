"""The work in progress on disk: which files there are, what became of each, and the finished PNGs.

One sqlite file beside the output. A result is committed together with its PNG, so a killed run loses at
most what was under way; what is still valid is not done again. Memory does not grow with the number of files.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

from spine_plugins.dicom.reasons import RETRIED
from spine_plugins.dicom.record import BLOBS, Record
from spine_plugins.dicom.sources import Item
from stylegan2ada.errors import UserError

_SCHEMA = """
create table if not exists results (
    name blob primary key, size integer, mtime integer, config text, record text,
    reason text, image_id text, label text, sop text, pixels text, study text, patient text,
    png blob, thumb blob, histogram blob);
create index if not exists by_image on results (image_id);
create index if not exists by_sop on results (sop);
create index if not exists by_pixels on results (pixels);
drop table if exists files;
create table files (name blob primary key, place blob, member blob, size integer, mtime integer, reason text,
    expected text);
drop table if exists wanted;
create table wanted (position integer primary key, name blob);
drop table if exists checksums;
create table checksums (name blob primary key, sha256 text) without rowid;
drop table if exists subset;
create table subset (id text primary key) without rowid;
drop table if exists forbidden;
create table forbidden (value text primary key) without rowid;
"""
_LEFT_OUT = ("not_in_subset", "over_max_images")  # decided anew by each run, whatever an earlier one made


class Journal:
    """Items and records; open it again after a crash and go on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        try:
            self.db = sqlite3.connect(folder / "journal.sqlite")
            # Together these lose at most the last commits in a power cut, and never damage the file.
            self.db.execute("pragma journal_mode = wal")
            self.db.execute("pragma synchronous = normal")
            self.db.execute("pragma cache_size = -16000")  # 16 MB
            self.db.executescript(_SCHEMA)
        except sqlite3.DatabaseError as error:
            raise UserError(
                f"{folder} is damaged ({error}); run again with --overwrite to start anew"
            ) from error

    def is_empty(self) -> bool:
        """True while no result is worth keeping."""
        return self.db.execute("select 1 from results limit 1").fetchone() is None

    def close(self, *, remove: bool = False) -> None:
        self.db.close()
        if remove:
            shutil.rmtree(self.folder)

    def set_items(self, items: Iterable[Item]) -> int:
        """The files of this run; they are worked on in the byte order of their names. Returns how many."""
        with self.db:
            self.db.executemany(
                "insert or ignore into files values (?, ?, ?, ?, ?, ?, ?)",
                (
                    (
                        # Bytes: a file name need not be UTF-8, and bytes sort alike everywhere.
                        os.fsencode(item.name), os.fsencode(item.place), os.fsencode(item.member),
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

    def to_do(self, config: str) -> tuple[int, Iterator[Item]]:
        """(number, items) without a valid result: new, changed, of other settings, or worth a retry."""
        retried = ", ".join(f"'{reason}'" for reason in sorted(RETRIED))
        with self.db:
            # Fixed before the work begins: results that come in meanwhile cannot move the pages.
            self.db.execute("delete from wanted")
            self.db.execute(
                "insert into wanted (name) select f.name from files f left join results r on r.name = f.name"
                # A changed file or other settings match no row, so r.name is null below.
                " and r.size = f.size and r.mtime = f.mtime and r.config = ?"
                # Python writes a tuple of strings as SQL does.
                f" where f.reason not in {_LEFT_OUT}"
                # f.reason is what this run's walk saw; it costs nothing to record anew.
                f" and (r.name is null or r.reason in ({retried}) or f.reason != '') order by f.name",
                (config,),
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
                    "insert or replace into results values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        os.fsencode(item.name), item.size, item.mtime_ns, config, record.to_json(),
                        record.reason, record.image_id, json.dumps(record.label), record.sop,
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
            " from files f left join results r on r.name = f.name"
            # Small pages, for each row may bring a PNG.
            " where f.name > ? order by f.name limit 64",
            (last,),
        ).fetchall():
            for last, reason, text, *blobs in rows:
                name = os.fsdecode(last)
                if text and reason not in _LEFT_OUT:
                    yield Record.from_json(name, text, *blobs)
                else:
                    yield Record(name, reason=reason or "unreadable")


def check_unused(folder: Path, *, may_resume: bool, may_overwrite: bool) -> None:
    """Refuse to throw away, or to go on with, an interrupted run without being told which."""
    if not folder.exists() or may_resume:
        return
    if may_overwrite:
        shutil.rmtree(folder)
        return
    raise UserError(
        f"{folder} holds an interrupted run; add --resume to go on with it, or --overwrite to start anew"
    )
