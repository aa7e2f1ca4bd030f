"""Open a local path or a URL, with a checked download cache; hash and replace files atomically."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from stylegan2ada import untrusted
from stylegan2ada.errors import MissingError, UserError

_URL = re.compile(r"^[a-z]+://")
_UNSAFE = re.compile(r"[^0-9a-zA-Z\-._]")
_DOWNLOAD_ATTEMPTS = 10
_HOST = re.sub(r"[^0-9a-zA-Z-]", "_", platform.node())[:64] or "host"
_TEMPORARY = re.compile(r"\.(?P<name>.+)\.(?P<host>[0-9a-zA-Z_-]+)\.(?P<pid>\d+)\.tmp")
_FORMULA = ("=", "+", "-", "@", "\t", "\n")  # a spreadsheet calculates such cells


def is_url(path: str) -> bool:
    """True for `scheme://...`; anything else is a local file."""
    return bool(_URL.match(path))


def cache_dir(*parts: str) -> Path:
    """Our place for downloads and caches: $DNNLIB_CACHE_DIR, else ~/.cache/dnnlib, else the temp folder."""
    root = os.environ.get("DNNLIB_CACHE_DIR")
    if root is None:
        home = os.environ.get("HOME") or os.environ.get("USERPROFILE")
        root = (
            os.path.join(home, ".cache", "dnnlib")
            if home
            else os.path.join(tempfile.gettempdir(), ".cache", "dnnlib")
        )
    return Path(root, *parts)


def sha256_file(path: str | Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def atomic_write(
    path: str | Path,
    *,
    keep_previous: bool = False,  # the file that stood there remains as `<name>.previous`
    private: bool = False,  # for the owner alone, whatever the umask says
) -> Iterator[BinaryIO]:
    """A binary file that appears under its name only when complete (temporary name, fsync, rename)."""
    path = Path(path)
    temporary = temporary_path(path)
    sweep(path.parent, of=path.name)
    try:
        with private_file(temporary) if private else open(temporary, "wb") as file:
            yield file
            file.flush()
            # Content before name: after a power cut the name could stand for an empty file.
            os.fsync(file.fileno())
        if keep_previous and path.exists():
            # Until the next rename nothing bears the name; readers then look for the previous file.
            os.replace(path, path.with_name(path.name + ".previous"))
        os.replace(temporary, path)
        # A rename changes the folder, and lasts only once that is on the disk.
        _fsync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def temporary_path(path: Path) -> Path:
    """Where this process may prepare a file or folder; `sweep` removes it should the process be killed."""
    if not path.name:
        raise UserError(f"{path} is a folder, and a file was to be written; add a name")
    # In the same folder: renames are atomic only within a file system. Host and number keep processes apart.
    return path.with_name(f".{path.name}.{_HOST}.{os.getpid()}.tmp")


def named(path: Path) -> Path:
    """The same place by a name: `.` has none."""
    return path if path.name else path.resolve()


def beside(path: Path, name: str) -> Path:
    """A neighbour of what a user named."""
    return named(path).parent / name


def private_file(path: str | Path) -> BinaryIO:
    """A new or emptied file that its owner alone can read, from its first byte on, whatever the umask."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0), 0o600)
    if hasattr(os, "fchmod"):  # it may have been there, with other modes
        os.fchmod(handle, 0o600)
    return os.fdopen(handle, "wb")


def private_folder(path: str | Path) -> Path:
    """A folder (made, with its parents, if need be) that its owner alone can enter."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o700)
    if path.stat().st_mode & 0o077:
        path.chmod(0o700)
    return path


@contextlib.contextmanager
def scratch_folder(purpose: str) -> Iterator[Path]:
    """A private folder in the temp folder, gone afterwards; first goes what killed processes left there."""
    root = Path(tempfile.gettempdir())
    prefix = f"spinegan-{purpose}-{_HOST}-"
    for old in root.glob(f"{prefix}*"):
        number = old.name.removeprefix(prefix).partition("-")[0]
        with contextlib.suppress(OSError):  # gone meanwhile, or somebody else's
            if number.isdigit() and not _runs(int(number)) and old.lstat().st_uid == os.getuid():
                shutil.rmtree(old)
    with tempfile.TemporaryDirectory(prefix=f"{prefix}{os.getpid()}-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def sweep(folder: Path, *, of: str | None = None) -> list[str]:
    """Remove what killed processes of this computer left half-written there -> the names.

    With `of` only what was to become that file.
    """
    gone = []
    with contextlib.suppress(OSError):  # a folder that is not there holds nothing
        names = os.listdir(folder)
        for name in names:
            match = _TEMPORARY.fullmatch(name)
            if (
                match
                and of in (None, match["name"])
                and match["host"] == _HOST
                and not _runs(int(match["pid"]))
            ):
                place = folder / name
                shutil.rmtree(place) if place.is_dir() and not place.is_symlink() else place.unlink()
                gone.append(name)
    return sorted(gone)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True  # somebody else's
    return True


def append_line(path: str | Path, text: str, *, sync: bool = False) -> None:
    """One line at the end of a file, which is made if need be; on the disk before this returns if it must be.

    Whoever was killed here before left half a line: it is ended first, so that it spoils no other.
    """
    with open(path, "a+b") as file:
        size = file.seek(0, os.SEEK_END)
        is_torn = False
        if size:
            file.seek(size - 1)
            is_torn = file.read(1) != b"\n"
        file.write(b"\n" * is_torn + text.encode("utf-8") + b"\n")
        file.flush()
        if sync:
            os.fsync(file.fileno())


def write_json(path: str | Path, value: Any, *, indent: int = 1, private: bool = False) -> None:
    """Readable JSON that appears complete or not at all."""
    with atomic_write(path, private=private) as file:
        text = json.dumps(value, indent=indent, ensure_ascii=False)
        file.write((text + "\n").encode("utf-8", "backslashreplace"))


def write_csv(
    path: str | Path,
    header: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    private: bool = False,
) -> None:
    """A table in UTF-8 with Unix line ends that appears complete or not at all; None is an empty cell."""
    with atomic_write(path, private=private) as file:
        file.write(csv_bytes(header, rows))


def csv_bytes(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    """The content of such a table; text that a spreadsheet would calculate gets an apostrophe before it.

    File names and labels come from strangers: `=HYPERLINK(...)` in a cell acts when the table is opened.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([_inert(cell) for cell in row] for row in (header, *rows))
    return text.getvalue().encode("utf-8", "backslashreplace")


def _inert(cell: Any) -> Any:
    if not isinstance(cell, str):
        return cell
    # Python quotes a line feed in a cell but not a lone carriage return, which then ends the row for readers.
    cell = cell.replace("\r\n", "\n").replace("\r", "\n")
    return f"'{cell}" if cell[:1] in _FORMULA and not _is_number(cell) else cell


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def local_copy(path_or_url: str) -> Path:
    """The local path of a file; a URL is downloaded once into the cache."""
    if not is_url(path_or_url):
        return Path(path_or_url)
    if path_or_url.startswith("file://"):
        return Path(path_or_url.removeprefix("file://"))
    target = download_target(path_or_url)
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        _download(path_or_url, target)
    return target


def download_target(url: str) -> Path:
    """Where the cache keeps (or would keep) a download; caches that upstream filled serve us too."""
    name = _UNSAFE.sub("_", url.split("?")[0].rstrip("/").split("/")[-1])
    digest = hashlib.md5(url.encode(), usedforsecurity=False).hexdigest()
    return cache_dir("downloads", f"{digest}_{name}")


@contextlib.contextmanager
def open_path_or_url(path_or_url: str) -> Iterator[BinaryIO]:
    """Open a local file or a (cached) download for reading."""
    path = local_copy(path_or_url)
    if not path.is_file():
        raise MissingError(
            f"{path_or_url} is not a file; check the path, or give a URL that starts with https://"
        )
    with untrusted.open_regular(path) as file:
        yield file


def _download(url: str, target: Path) -> None:
    import requests  # only needed when something really is downloaded

    for attempt in range(1, _DOWNLOAD_ATTEMPTS + 1):
        try:
            with requests.get(url, stream=True, timeout=60) as answer:
                answer.raise_for_status()
                with atomic_write(target) as file:
                    for chunk in answer.iter_content(1 << 20):
                        file.write(chunk)
            return
        except requests.RequestException as error:
            # What is not there will not come; an overloaded server or a lost connection may.
            is_client_mistake = error.response is not None and error.response.status_code < 500
            if attempt == _DOWNLOAD_ATTEMPTS or is_client_mistake:
                raise MissingError(
                    f"{url} could not be downloaded ({type(error).__name__}); "
                    "fetch the file on a connected computer and give its path"
                ) from error
            time.sleep(min(attempt, 5))


def _fsync_folder(folder: Path) -> None:
    if os.name != "posix":
        return  # Windows cannot open folders; its rename is durable enough
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
