"""One writer per folder: a lock that the system drops with its process, and that says who holds it.

Readers need none. The file goes when its holder ends; one that stays is of a process that was killed, and
the next one on that computer takes it over. Whether a process of another computer still runs cannot be told
from here (not every network disk passes locks on), so that a person decides.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from stylegan2ada.errors import UserError

try:
    import fcntl
except ImportError:  # Windows: what the file says is all there is
    fcntl = None  # type: ignore[assignment]

_MOST_BYTES = 4096  # of the file


@dataclass(frozen=True)
class Holder:
    """Who writes."""

    host: str
    pid: int
    started: str  # local time
    job: str = ""  # its name with a scheduler or launcher, which never runs one job twice at once


class Lock:
    """A lock that is held."""

    def __init__(self, handle: int) -> None:
        self._handle = handle

    def share(self) -> None:
        """Let processes in that this one starts and that ask with `joins`; all others stay outside."""
        if fcntl is not None:
            _flock(self._handle, fcntl.LOCK_SH)


@contextlib.contextmanager
def hold(
    path: Path,  # of the lock's file, in the folder that it is about
    what: str,  # is written to, for the sentences
    *,
    job: str = "",
    joins: bool = False,  # the process that started this one holds it, and shares
) -> Iterator[Lock]:
    """Be the only writer inside; UserError, with what to do, if there may be another."""
    handle = _take(path, what, joins)
    try:
        if not joins:
            _refuse_other_places(_read(handle), path, what, job)
        try:
            if not joins:
                _write(handle, Holder(platform.node(), os.getpid(), time.strftime("%Y-%m-%d %H:%M:%S"), job))
            yield Lock(handle)
        finally:
            if not joins:
                # While it is held: whoever opened the file before looks again once it is theirs. On a disk
                # that went read-only it stays; what ended the work tells of that.
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)
    finally:
        os.close(handle)


def _take(path: Path, what: str, joins: bool) -> int:
    """The open file, locked."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
        try:
            if fcntl is not None and not _flock(handle, fcntl.LOCK_SH if joins else fcntl.LOCK_EX):
                raise UserError(_busy(_read(handle), path, what))
            # Between opening and locking its holder may have removed it: a lock on no file keeps nobody out.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(handle), os.stat(path)):
                    return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _flock(handle: int, kind: int) -> bool:
    """False if another holds it. True, too, on a disk that knows no locks."""
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass  # the file still says who it was
    return True


def _refuse_other_places(holder: Holder | None, path: Path, what: str, job: str) -> None:
    """Somebody was there and did not say goodbye, where the lock cannot tell whether they are gone."""
    if holder is None or holder.host == platform.node() or (job and job == holder.job):
        return
    raise UserError(_busy(holder, path, what))


def _busy(holder: Holder | None, path: Path, what: str) -> str:
    if holder is None:
        return f"{what} is being written to by another process; wait until it ends, or stop it"
    who = f"{what} is being written to by process {holder.pid} on {holder.host} (since {holder.started})"
    if holder.host == platform.node():
        return f"{who}; wait until it ends, or stop it with `kill {holder.pid}`"
    return (
        f"{who}, which cannot be asked from this computer, {platform.node()}: if it still runs, wait or stop "
        f"it there; if it was killed or that computer is off, remove {path} and give the command again"
    )


def _write(handle: int, holder: Holder) -> None:
    os.lseek(handle, 0, os.SEEK_SET)
    os.truncate(handle, 0)
    os.write(handle, (json.dumps(asdict(holder)) + "\n").encode())
    os.fsync(handle)


def _read(handle: int) -> Holder | None:
    os.lseek(handle, 0, os.SEEK_SET)
    try:
        row = json.loads(os.read(handle, _MOST_BYTES))
        return Holder(
            str(row["host"])[:255], int(row["pid"]), str(row["started"])[:40], str(row["job"])[:255]
        )
    except (ValueError, TypeError, KeyError, RecursionError):
        return None  # it is being written, or a power cut emptied it
