"""LMDB databases, read page by page with every number checked.

The usual library maps the file into memory and believes it: one damaged number ends the process (SIGBUS).
Here nothing is mapped and nothing believed: the newer of two roots, then the tree of pages in the order of
its keys. The layout is that of LMDB 0.9, little-endian: a header per page, offsets of its nodes behind it.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

_META = struct.Struct("<I I 16x I 44x 4x H H 24x Q Q Q Q")  # behind the header; see _Meta
_HEADER = struct.Struct("<10x H H H")  # of a page: flags, end of the offsets of nodes, start of the nodes
_PAGES = struct.Struct("<I")  # of a value, where other pages have those two
_NODE = struct.Struct("<H H H H")  # value bytes or page below (low, high), flags, key bytes
_NUMBER = struct.Struct("<Q")
_MAGIC, _VERSION = 0xBEEFC0DE, 1
_BRANCH, _LEAF, _VALUE = 0x01, 0x02, 0x04  # kinds of pages
_IS_ELSEWHERE, _IS_DATABASE, _IS_MANY = 0x01, 0x02, 0x04  # kinds of values
_NOTHING = 2**64 - 1  # root of an empty tree
_DEEPEST = 32
_MOST_BYTES = 1 << 28  # of one value


class DamagedError(Exception):
    """What the file says cannot be so."""


class _Meta(NamedTuple):
    """One of the two roots; writing changes the older one."""

    magic: int
    version: int
    page_bytes: int
    kind: int
    depth: int
    entries: int
    root: int
    last_page: int
    transaction: int


class Database:
    """The main database of `data.mdb`."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._bytes = os.fstat(file.fileno()).st_size
        self._page_bytes = self._meta(0).page_bytes
        if self._page_bytes not in [1 << n for n in range(9, 17)]:
            raise DamagedError(f"pages of {self._page_bytes} bytes")
        meta = max(self._meta(0), self._meta(self._page_bytes), key=lambda one: one.transaction)
        self._root, self.entries = meta.root, meta.entries
        if meta.kind:
            raise DamagedError("its keys or values are of a special kind")
        if (meta.last_page + 1) * self._page_bytes > self._bytes:
            raise DamagedError("it is cut off")
        if meta.entries > self._bytes:
            raise DamagedError(f"{meta.entries} entries in {self._bytes} bytes")

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        """(key, value), in the order of the keys."""
        return iter(()) if self._root == _NOTHING else self._below(self._root, set())

    def _meta(self, offset: int) -> _Meta:
        size = _HEADER.size + _META.size
        found = _Meta(*_META.unpack_from(self._read(offset, size), _HEADER.size))
        if (found.magic, found.version) != (_MAGIC, _VERSION):
            raise DamagedError(f"not LMDB of version {_VERSION}")
        return found

    def _below(self, number: int, seen: set[int]) -> Iterator[tuple[bytes, bytes]]:
        """What hangs from a page; each page hangs from one."""
        if number in seen or len(seen) > self._bytes // self._page_bytes:
            raise DamagedError(f"page {number} hangs from two")
        seen.add(number)
        page = self._read(number * self._page_bytes, self._page_bytes)
        flags, end, _ = _HEADER.unpack_from(page)
        if flags & (_BRANCH | _LEAF) not in (_BRANCH, _LEAF) or not _HEADER.size <= end <= len(page):
            raise DamagedError(f"page {number} is none of a tree")
        for place in range(_HEADER.size, end - 1, 2):
            low, high, kind, key_bytes, at = self._node(
                page, int.from_bytes(page[place : place + 2], "little")
            )
            if flags & _BRANCH:
                yield from self._below(low | high << 16 | kind << 32, seen)
            elif kind & (_IS_DATABASE | _IS_MANY):
                raise DamagedError("it holds other databases")
            else:
                start = at + key_bytes
                yield page[at:start], self._value(page, start, low | high << 16, kind)

    def _node(self, page: bytes, offset: int) -> tuple[int, int, int, int, int]:
        """Its numbers, and where its key begins."""
        at = offset + _NODE.size
        if at > len(page):
            raise DamagedError("a node lies behind its page")
        low, high, kind, key_bytes = _NODE.unpack_from(page, offset)
        if at + key_bytes > len(page):
            raise DamagedError("a key lies behind its page")
        return low, high, kind, key_bytes, at

    def _value(self, page: bytes, start: int, size: int, kind: int) -> bytes:
        if not kind & _IS_ELSEWHERE:
            if start + size > len(page):
                raise DamagedError("a value lies behind its page")
            return page[start : start + size]
        if start + _NUMBER.size > len(page) or size > _MOST_BYTES:
            raise DamagedError(f"a value of {size} bytes")
        (number,) = _NUMBER.unpack_from(page, start)
        offset = number * self._page_bytes
        head = self._read(offset, _HEADER.size)
        (pages,) = _PAGES.unpack_from(head, _HEADER.size - _PAGES.size)
        if not _HEADER.unpack_from(head)[0] & _VALUE or _HEADER.size + size > pages * self._page_bytes:
            raise DamagedError(f"page {number} holds no value of {size} bytes")
        return self._read(offset + _HEADER.size, size)

    def _read(self, offset: int, size: int) -> bytes:
        if offset + size > self._bytes:
            raise DamagedError("a page lies behind its end")
        self._file.seek(offset)
        found = self._file.read(size)
        if len(found) != size:
            raise DamagedError("it became shorter")
        return found
