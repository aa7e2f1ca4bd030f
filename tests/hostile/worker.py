"""One case in this process: made, run with everything caught, looked at, and all that it changed put back."""

from __future__ import annotations

import io
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

import click

from tests.hostile.case import Case, Format
from tests.hostile.verdict import Heard, Verdict, sins_of
from tests.hostile.watch import Watch

OURS = ("stylegan2ada", "spine_plugins")
_TAIL = 1200
_PACKAGES = Path(__file__).resolve().parents[2]


class Worker:
    """What stays the same from case to case."""

    def __init__(
        self,
        command: click.Command,
        formats: dict[str, Format],
        home: Path,  # a folder per case is made here, and removed
        out_fd: int,
        err_fd: int,
    ) -> None:
        self.command, self.formats, self.home = command, formats, home
        self.fds = (out_fd, err_fd)
        self.watch = Watch()
        self._environment = dict(os.environ)
        self._handlers = {
            kind: signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
        }

    def run(self, name: str, seed: int, *, keeps: bool = False) -> Verdict:
        """Make the case and judge the command; with `keeps` the folder stays."""
        place = self.home / f"{name}-{seed}"
        folder = place / "case"
        folder.mkdir(parents=True)
        (folder / "tmp").mkdir()
        try:
            os.chdir(folder)
            case = self.formats[name].make(name, seed, folder)
            started = time.monotonic()
            heard = self._hear(case, place, folder)
            return Verdict(
                name, seed, case.attack, case.argv, heard.code, tuple(sins_of(case, heard)), heard.cause,
                (heard.err + ("\n" + heard.trace if heard.trace else ""))[-_TAIL:],
                time.monotonic() - started, heard.grown_mb,
            )  # fmt: skip
        finally:
            os.chdir(self.home)
            if not keeps:
                shutil.rmtree(place, ignore_errors=True)

    def _hear(self, case: Case, place: Path, folder: Path) -> Heard:
        kept, around = _contents(folder, case.keeps), set(place.iterdir())
        trace = cause = ""
        code: object = 0
        for fd in self.fds:
            os.ftruncate(fd, 0)
            os.lseek(fd, 0, os.SEEK_SET)
        before = _start_measuring()
        os.environ.update({"TMPDIR": str(folder / "tmp"), "DNNLIB_CACHE_DIR": str(folder / "tmp" / "cache")})
        tempfile.tempdir = None
        with _Streams(self.fds), warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", PendingDeprecationWarning)
            self.watch.begin(folder)
            try:
                self.command.main(list(case.argv), prog_name="spinegan", standalone_mode=True)
            except SystemExit as stop:
                code = stop.code
            except BaseException as error:  # noqa: BLE001 - this is what is looked for
                code, trace, cause = 1, _last_line(error), _cause(error)
            finally:
                sins = self.watch.end()
        grown = _peak_mb() - before
        self._put_back()
        number = code if isinstance(code, int) else 0 if code is None else 1
        lost = [path for path, content in _contents(folder, case.keeps).items() if kept.get(path) != content]
        lost += [path for path in kept if not (folder / path).exists() and path not in lost]
        # Native code writes without an audit event; what it leaves beside the case's folder is seen here.
        sins += [("outside", str(path)) for path in around ^ set(place.iterdir())]
        out, err = (_read(fd) for fd in self.fds)
        return Heard(number, out, err, sins, trace, cause, grown, tuple(lost) if number else ())

    def _put_back(self) -> None:
        os.environ.clear()
        os.environ.update(self._environment)
        tempfile.tempdir = None
        signal.alarm(0)
        for kind, handler in self._handlers.items():
            signal.signal(kind, handler)


class _Streams:
    """Standard output and error as files: Python's, and what native code writes to numbers 1 and 2."""

    def __init__(self, fds: tuple[int, int]) -> None:
        self._fds = fds

    def __enter__(self) -> None:
        self._saved = [os.dup(number) for number in (1, 2)]
        self._python = (sys.stdout, sys.stderr)
        for number, fd in zip((1, 2), self._fds):
            os.dup2(fd, number)
        sys.stdout, sys.stderr = (
            io.TextIOWrapper(
                io.FileIO(fd, "w", closefd=False), "utf-8", "backslashreplace", write_through=True
            )
            for fd in self._fds
        )

    def __exit__(self, *_: object) -> None:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        sys.stdout, sys.stderr = self._python
        for number, saved in zip((1, 2), self._saved):
            os.dup2(saved, number)
            os.close(saved)


def _read(fd: int) -> str:
    size = os.fstat(fd).st_size
    return os.pread(fd, min(size, 1 << 20), 0).decode("utf-8", "replace")


def _start_measuring() -> float:
    """Resets the highest mark of this process's memory; MB now."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass  # then the mark is that of the worker's whole life, and the parent's looks must do
    return _status_mb("VmRSS")


def _peak_mb() -> float:
    return _status_mb("VmHWM")


def _status_mb(name: str) -> float:
    text = Path("/proc/self/status").read_text()
    return int(text.partition(f"{name}:")[2].split()[0]) / 1024


def _contents(folder: Path, names: tuple[str, ...]) -> dict[str, bytes]:
    found = {}
    for name in names:
        path = folder / name
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        found |= {str(file.relative_to(folder)): file.read_bytes() for file in files if file.is_file()}
    return found


def _last_line(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))[-4000:]


def _cause(error: BaseException) -> str:
    """The innermost line of ours that the exception went through, and its type."""
    place = "?"
    for frame in traceback.extract_tb(error.__traceback__):
        try:
            relative = Path(frame.filename).resolve().relative_to(_PACKAGES)
        except ValueError:
            continue
        if relative.parts[0] in OURS:
            place = f"{relative}:{frame.lineno}"
    return f"{place} {type(error).__name__}"
