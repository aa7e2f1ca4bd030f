"""LMDB read page by page: as the library reads what it wrote; damage is a sentence, never a dead process."""

from __future__ import annotations

import io
import os
import random
from pathlib import Path

import pytest

from stylegan2ada.data.lmdb_pages import DamagedError, Database

lmdb = pytest.importorskip("lmdb")


def written(folder: Path, count: int, *, deleted: int = 0) -> Path:
    """A database of values from none to many pages, some of them taken out again."""
    rnd = random.Random(count)
    with lmdb.open(str(folder), map_size=1 << 26) as database:
        names = [f"{rnd.getrandbits(64):x}".encode() * rnd.randint(1, 8) for _ in range(count)]
        for part in range(0, count, 100):  # transactions: both roots are used
            with database.begin(write=True) as transaction:
                for name in names[part : part + 100]:
                    transaction.put(name, rnd.randbytes(rnd.choice([0, 1, 20, 2000, 2100, 9000])))
        with database.begin(write=True) as transaction:
            for name in names[:deleted]:
                transaction.delete(name)
    return folder / "data.mdb"


def read(path: Path) -> list[tuple[bytes, bytes]]:
    with path.open("rb") as file:
        database = Database(file)
        found = list(database)
        assert database.entries == len(found)
        return found


@pytest.mark.parametrize(("count", "deleted"), [(0, 0), (1, 0), (1, 1), (30, 4), (2500, 900)])
def test_it_reads_what_the_library_reads(tmp_path: Path, count: int, deleted: int) -> None:
    path = written(tmp_path, count, deleted=deleted)
    with lmdb.open(str(tmp_path), readonly=True) as database, database.begin() as transaction:
        assert read(path) == list(transaction.cursor())


def test_damage_is_said_or_read_over(tmp_path: Path) -> None:
    """Any number at the head of a root or of a page of the tree can be wrong."""
    content = written(tmp_path, 150).read_bytes()
    pages: list[int] = []
    list(_Noting(_File(content), pages))
    rnd = random.Random(7)
    said = 0
    for _ in range(1000):
        changed = bytearray(content)
        page = rnd.choice(pages)
        for _ in range(rnd.randint(1, 4)):
            at = page + rnd.randrange(200)
            changed[at : at + 2] = rnd.choice([b"\xff\xff", b"\0\0", rnd.randbytes(2)])
        try:
            for _, value in Database(_File(bytes(changed))):
                assert len(value) < len(content)
        except DamagedError:
            said += 1
    assert 100 < said < 1000


@pytest.mark.parametrize("length", [0, 10, 4096, 8192, 100_000])
def test_what_is_cut_off_is_said(tmp_path: Path, length: int) -> None:
    content = written(tmp_path, 150).read_bytes()[:length]
    with pytest.raises(DamagedError):
        list(Database(_File(content)))


def test_pages_that_hang_from_themselves_are_said(tmp_path: Path) -> None:
    content = bytearray(written(tmp_path, 2500).read_bytes())
    with open(tmp_path / "data.mdb", "rb") as file:
        root = Database(file)._root
    page = content[root * 4096 : root * 4096 + 4096]
    first = int.from_bytes(page[16:18], "little")
    content[root * 4096 + first : root * 4096 + first + 6] = root.to_bytes(6, "little")
    with pytest.raises(DamagedError, match="hangs from two"):
        list(Database(_File(bytes(content))))


class _Noting(Database):
    """Notes where it reads a root or a page of the tree."""

    def __init__(self, file: io.BytesIO, places: list[int]) -> None:
        self._places = places
        super().__init__(file)

    def _read(self, offset: int, size: int) -> bytes:
        if size in (152, 4096):
            self._places.append(offset)
        return super()._read(offset, size)


class _File(io.BytesIO):
    """Bytes in memory that have a number, as files do: of an anonymous file as long as they are."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self._number = os.memfd_create("content")
        os.truncate(self._number, len(content))

    def fileno(self) -> int:
        return self._number

    def __del__(self) -> None:
        os.close(self._number)
        super().close()
