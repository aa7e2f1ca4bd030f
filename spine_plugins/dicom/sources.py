"""What lies in the sources: folders, zip files, lists of files, single files -> items in one fixed order."""

from __future__ import annotations

import functools
import os
import re
import stat
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from spine_plugins.dicom import texts
from spine_plugins.dicom.reasons import Rejected
from stylegan2ada import untrusted
from stylegan2ada.errors import UserError

_MOST_RATIO = 200  # a zip member that shrinks by more is no radiograph


@dataclass(frozen=True)
class Item:
    """One input file; plain values, so that it can travel to any worker."""

    name: str  # relative path for the report; surrogate escapes where the file name is no UTF-8
    place: str  # file on disk, or the zip that holds the member
    member: str = ""  # name inside the zip
    size: int = 0
    mtime_ns: int = 0
    reason: str = ""  # already rejected by what the walk saw
    expected_sha256: str = ""  # from --checksums

    @property
    def stem(self) -> str:
        """The image id of VinDr: the file's name without its last suffix."""
        return PurePosixPath(self.name).stem

    def read(self, limit: int) -> bytes:
        """The file's bytes; rejects what is unreadable, larger than `limit`, or grows beyond it."""
        if self.size > limit:
            raise Rejected("too_large", f"{self.size >> 20} MB")
        try:
            if not self.member:
                return _read_file(self.place, limit)
            # The size that a zip claims for a member may be a lie, so reading is bounded as well.
            with _archive(self.place, self.mtime_ns).open(self.member) as file:
                data = file.read(limit + 1)
        except (Rejected, MemoryError):
            raise
        except Exception as error:  # OSError, BadZipFile, zlib.error, RuntimeError for encrypted members, ...
            raise Rejected("unreadable", type(error).__name__) from None
        if len(data) > limit:
            raise Rejected("too_large", f"more than {limit >> 20} MB")
        return data


@functools.lru_cache(1)  # a zip of many files is not read anew for each of them
def _archive(place: str, mtime_ns: int) -> zipfile.ZipFile:
    if not untrusted.is_regular(place):
        raise Rejected("unreadable", "the zip is gone")
    return zipfile.ZipFile(place)


def close_archives() -> None:
    """Let go of the zip that was read last."""
    _archive.cache_clear()


def _read_file(place: str, limit: int) -> bytes:
    # O_NONBLOCK: should the file have become a FIFO since the walk, opening must not wait for a writer.
    handle = os.open(place, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise Rejected("not_regular_file")
        # One byte more than allowed unmasks a file that grew.
        data = file.read(limit + 1)
    if len(data) > limit:
        raise Rejected("too_large", f"more than {limit >> 20} MB")
    return data


def walk_sources(sources: list[str]) -> Iterator[Item]:
    """Every file of every source, in no particular order; names are unique over all sources."""
    names = _source_names(sources)
    for source, prefix in zip(sources, names):
        path = Path(source)
        if path.is_dir():
            found = _walk_folder(path)
        elif not untrusted.is_regular(path):
            raise UserError(
                f"--source={source} does not exist, or is a pipe or device; "
                "give a folder, a zip file, a DICOM file or a list"
            )
        elif zipfile.is_zipfile(path):
            found = _walk_zip(path)
        elif _is_dicom(path):
            found = iter([_file_item(path, path.name)])
        else:
            found = _walk_list(path)
        for item in found:
            yield item if not prefix else _renamed(item, prefix)


def _source_names(sources: list[str]) -> list[str]:
    """A prefix per source, needed only when there are several; equal names get a number."""
    if len(sources) == 1:
        return [""]
    names: list[str] = []
    for source in sources:
        base = Path(source).name or "source"
        name, count = base, 2
        while name in names:
            name, count = f"{base}#{count}", count + 1
        names.append(name)
    return names


def _renamed(item: Item, prefix: str) -> Item:
    return Item(f"{prefix}/{item.name}", item.place, item.member, item.size, item.mtime_ns, item.reason)


def _walk_folder(root: Path) -> Iterator[Item]:
    inside = os.path.realpath(root)
    closed: list[str] = []  # folders that may not be looked into: what they hold is missing, and that is said
    for folder, folders, files in os.walk(root, onerror=lambda error: closed.append(error.filename)):
        # Links to folders are reported, not followed: one that leads upwards would never end.
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        for name in sorted(files + links):
            path = Path(folder, name)
            relative = path.relative_to(root).as_posix()
            real = os.path.realpath(path)
            # The separator matters: /data-private begins with /data, too.
            if real != inside and not real.startswith(inside + os.sep):
                yield Item(relative, str(path), reason="path_escape")
            elif name in links:
                yield Item(relative, str(path), reason="not_regular_file")  # its target is walked by itself
            else:
                yield _file_item(path, relative)
    for place in closed:
        yield Item(Path(place).relative_to(root).as_posix(), place, reason="unreadable")


def _file_item(path: Path, name: str) -> Item:
    try:
        status = path.stat()
    except (OSError, ValueError):  # a dangling or circular link, no right to look, or no name at all
        return Item(name, str(path), reason="not_regular_file")
    if not stat.S_ISREG(status.st_mode):
        return Item(name, str(path), reason="not_regular_file")
    return Item(name, str(path), size=status.st_size, mtime_ns=status.st_mtime_ns)


def _walk_zip(path: Path) -> Iterator[Item]:
    mtime = path.stat().st_mtime_ns
    with untrusted.open_zip(path) as archive:
        for info in archive.infolist():
            if info.filename.endswith("/"):  # is_dir() would look at the last letter of a name without any
                continue
            parts = PurePosixPath(info.filename.replace("\\", "/")).parts
            reason = ""
            # The colon is that of a Windows drive.
            if ".." in parts or info.filename.startswith(("/", "\\")) or ":" in (parts or ("",))[0]:
                reason = "path_escape"
            # Below a megabyte any ratio is harmless, and blank images reach high ones.
            elif info.file_size > (1 << 20) and info.file_size > _MOST_RATIO * max(info.compress_size, 1):
                reason = "inflate_limit"
            yield Item(info.filename, str(path), info.filename, info.file_size, mtime, reason)


def _walk_list(path: Path) -> Iterator[Item]:
    """A text file with one path per line, relative to its own folder; # begins a comment."""
    try:
        entries = [line for line in texts.lines_of(path) if not line.startswith("#")]
    except UserError as error:
        raise UserError(
            f"--source={path} is no folder, zip, DICOM file or list; a list is text with one path per line"
        ) from error
    if not entries:
        raise UserError(f"--source={path} is an empty list; write one path per line")
    # Any text would pass for a list, and be reported as thousands of missing files.
    if not any((path.parent / entry).exists() for entry in entries[:100]):
        raise UserError(
            f"--source={path} was read as a list, but none of its first lines is a file; "
            "give a folder, a zip file, a DICOM file, or a list with one path per line"
        )
    seen = set()
    for entry in entries:
        if entry not in seen:
            seen.add(entry)
            yield _file_item(path.parent / entry, Path(entry).as_posix())


def _is_dicom(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(132)[128:] == b"DICM"


def safe_name(name: str) -> str:
    """A path as UTF-8 text, whatever bytes the file system holds; line breaks cannot forge report rows."""
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return re.sub(r"[\x00-\x1f\x7f]", "?", text)
