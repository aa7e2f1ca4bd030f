"""The doors through which a stranger's bytes come in: regular files, bounded reads, whole zips, shallow JSON.

Lengths and depths that the bytes choose themselves are checked before they cost anything; pictures have their
door in `data/decode.py`.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import json
import os
import stat
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO, Protocol

from stylegan2ada.errors import MissingError, UserError

try:
    from lzma import LZMAError as _LZMAError
except ImportError:  # a Python that was built without it, and then cannot fail by it

    class _LZMAError(Exception):  # type: ignore[no-redef]
        pass


MIB = 1 << 20
TEXT_LIMIT = 64 * MIB  # bytes of a table or a JSON document

_NO_FILE = "is not a regular file (a folder, pipe, socket or device); give a file"
# What the standard library raises on damaged, encrypted or exotic archives.
_DAMAGE: tuple[type[Exception], ...] = (
    OSError, EOFError, ValueError, ArithmeticError, LookupError, RuntimeError, MemoryError, struct.error,
    zlib.error, zipfile.BadZipFile, _LZMAError,
)  # fmt: skip


class Readable(Protocol):
    """An open file or a decompressor."""

    def read(self, size: int, /) -> bytes:
        """At most so many bytes; none at the end."""


# Files.


@contextlib.contextmanager
def open_regular(path: str | Path, *, error: type[UserError] = UserError) -> Iterator[BinaryIO]:
    """A file opened for reading; a pipe, socket or device, which could block for ever, is refused."""
    try:
        # Without waiting for the other end of a pipe; asked of the open file, so that no swap comes between.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except FileNotFoundError as missing:
        raise MissingError(f"{path} is not there; check the path") from missing
    except OSError as refused:
        if refused.errno == errno.ENXIO:  # a socket, which cannot be opened at all
            raise error(f"{path} {_NO_FILE}") from refused
        raise error(f"{path} cannot be opened ({refused.strerror}); check its permissions") from refused
    except ValueError as refused:  # a zero byte in the name
        raise error(f"{str(path)!r} is no path ({refused})") from refused
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise error(f"{path} {_NO_FILE}")
    with os.fdopen(handle, "rb") as file:
        yield file


def is_regular(path: str | Path) -> bool:
    """Is there a file, or a link to one, that can be read without waiting?"""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def read_file(path: str | Path, limit: int = TEXT_LIMIT, *, error: type[UserError] = UserError) -> bytes:
    """All bytes of a regular file of at most `limit` bytes."""
    with open_regular(path, error=error) as file:
        return read_whole(file, limit, str(path), error=error)


def read_whole(file: BinaryIO, limit: int, what: str, *, error: type[UserError] = UserError) -> bytes:
    """All bytes of an open regular file: at once, as a network in pieces would stand in memory twice."""
    size = os.fstat(file.fileno()).st_size
    if size > limit:
        raise error(f"{what} holds more than {_amount(limit)}, which cannot be right; check it")
    try:
        data = file.read(size)
    except OSError as failed:
        raise error(f"{what} cannot be read ({failed.strerror}); check the disk") from failed
    # What has grown meanwhile, or never tells its size.
    return data + read_bounded(file, limit - size, what, error=error)


def read_bounded(stream: Readable, limit: int, what: str, *, error: type[UserError] = UserError) -> bytes:
    """The rest of a stream, which may be a decompressor: refused when it gives more than `limit` bytes."""
    parts, size = [], 0
    try:
        while part := stream.read(min(MIB, limit + 1 - size)):
            parts.append(part)
            size += len(part)
            if size > limit:
                raise error(f"{what} holds more than {_amount(limit)}, which cannot be right; check it")
    except _DAMAGE as damage:
        raise error(f"{what} cannot be read ({damage}); restore or remove it") from damage
    return b"".join(parts)


def read_gzip(path: str | Path, limit: int, *, error: type[UserError] = UserError) -> bytes:
    """What a .gz file holds, at most `limit` bytes of it."""
    with open_regular(path, error=error) as file, gzip.open(file) as unpacked:
        return read_bounded(unpacked, limit, str(path), error=error)


# Zips.


@contextlib.contextmanager
def open_zip(path: str | Path, *, error: type[UserError] = UserError) -> Iterator[zipfile.ZipFile]:
    """A zip whose members each have a name of their own."""
    with open_regular(path, error=error) as file, zip_of(file, path, error=error) as archive:
        yield archive


def zip_of(
    file: IO[bytes],
    path: str | Path,  # its name in messages
    *,
    error: type[UserError] = UserError,
) -> zipfile.ZipFile:
    """The zip in an open file."""
    try:
        archive = zipfile.ZipFile(file)
    except _DAMAGE as damage:
        raise error(f"{path} is not a usable zip ({damage}); copy or make it again") from damage
    archive.filename = str(path)  # for messages: opened from a file it knows none
    # Programs differ in which of two they read: what was checked would not be what is used.
    name, count = max(Counter(archive.namelist()).items(), key=lambda item: item[1], default=("", 0))
    if count > 1:
        archive.close()
        raise error(f"{path} holds {count} files called {name}; make it again with one of each name")
    return archive


def read_member(
    archive: zipfile.ZipFile,
    name: str,
    limit: int,  # bytes, unpacked
    *,
    error: type[UserError] = UserError,
) -> bytes:
    """One member of a zip: not encrypted, not larger than `limit`, and equal to its checksum."""
    what = f"{name} in {archive.filename or 'the zip'}"
    try:
        member = archive.getinfo(name)
        if member.flag_bits & 1:
            raise error(f"{what} is encrypted; unpack it and make a zip without a password")
        if member.file_size > limit:
            raise error(f"{what} unpacks to {_amount(member.file_size)}, over {_amount(limit)}; check it")
        stream = archive.open(member)
    except KeyError as missing:
        raise error(f"{what} is not there") from missing
    except _DAMAGE as damage:
        raise error(f"{what} cannot be read ({damage}); restore or remove it") from damage
    with stream:
        return read_bounded(stream, limit, what, error=error)


# Documents.


def parse_json(content: bytes | str, what: str, *, error: type[UserError] = UserError) -> Any:
    """The value of a JSON text; nesting that would exhaust the stack is an error like any other."""
    try:
        return json.loads(content)
    except RecursionError as deep:
        raise error(f"{what} is nested too deeply to be real; restore or remove it") from deep
    except ValueError as wrong:  # not JSON, not UTF-8, or a number of thousands of digits
        raise error(f"{what} is not JSON ({wrong}); restore or remove it") from wrong


def read_json(path: str | Path, limit: int = TEXT_LIMIT, *, error: type[UserError] = UserError) -> Any:
    """The value in a JSON file of a bounded size."""
    return parse_json(read_file(path, limit, error=error), str(path), error=error)


def _amount(size: int) -> str:
    return f"{size / MIB:,.0f} MiB" if size >= MIB else f"{size:,} bytes"
