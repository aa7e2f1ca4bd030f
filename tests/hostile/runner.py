"""Forked workers that judge cases; this process looks at their time and memory, and ends who goes too far.

The parent has torch and every command loaded, so a worker is there at once. A worker serves many cases, and
is replaced after some, or when it was ended or died.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import pickle
import selectors
import shutil
import signal
import struct
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from tests.hostile.case import Format
from tests.hostile.verdict import MOST_MB, Verdict
from tests.hostile.worker import Worker

_LIVES = 300  # cases, then a new worker: what leaks from case to case does not pile up
_CLOCK = 4  # times the processor's seconds: the machine may be busy
_LOOK_SEC = 0.02
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")

Asked = tuple[str, int]  # format, seed


@dataclass
class _Child:
    """A worker as its parent sees it."""

    pid: int
    to: int  # file numbers of the pipes
    back: int
    err_fd: int  # what the case wrote to standard error
    stack_fd: int  # where it is, written by faulthandler
    served: int = 0
    asked: Asked | None = None
    since: float = 0.0
    cpu: float = 0.0
    rss: int = 0


def run(
    command: click.Command,
    formats: dict[str, Format],
    asked: Iterable[Asked],
    *,
    workers: int = 2,
    keep_in: Path | None = None,  # folders of cases stay here
    cpu_sec: float | None = None,  # instead of the formats' own limits
    most_mb: float = MOST_MB,
) -> Iterator[Verdict]:
    """A verdict for every case, as they are ready."""
    home = keep_in or Path(tempfile.mkdtemp(prefix="hostile-", dir=_fast_disk()))
    pool = _Pool(command, formats, home, keeps=keep_in is not None, cpu_sec=cpu_sec, most_mb=most_mb)
    gc.freeze()  # what the parent has made is not looked through, and not copied, by every worker
    try:
        yield from pool.serve(iter(asked), workers)
    finally:
        pool.close()
        gc.unfreeze()
        if keep_in is None:
            shutil.rmtree(home, ignore_errors=True)


def _fast_disk() -> str | None:
    """Commands sync what they write; in memory that costs nothing."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


class _Pool:
    """The workers, and who does what."""

    def __init__(
        self, command: click.Command, formats: dict[str, Format], home: Path, *, keeps: bool,
        cpu_sec: float | None, most_mb: float,
    ) -> None:  # fmt: skip
        self.command, self.formats, self.home, self.keeps = command, formats, home, keeps
        self.cpu_sec, self.most_mb = cpu_sec, most_mb
        self.children: list[_Child] = []

    def serve(self, asked: Iterator[Asked], workers: int) -> Iterator[Verdict]:
        with selectors.DefaultSelector() as ready:
            for _ in range(workers):
                self._employ(ready, asked)
            while self.children:
                for key, _ in ready.select(_LOOK_SEC):
                    child: _Child = key.data
                    verdict = self._answer(child)
                    yield verdict
                    if child.pid and child.served < _LIVES and self._ask(child, asked):
                        continue
                    self._dismiss(child, ready)
                    self._employ(ready, asked)
                for child in [child for child in self.children if self._is_too_much(child)]:
                    yield self._end(child)
                    self._dismiss(child, ready)
                    self._employ(ready, asked)

    def close(self) -> None:
        """None of the workers outlives this."""
        for child in self.children:
            _kill(child.pid)
            os.waitpid(child.pid, 0)

    def _employ(self, ready: selectors.BaseSelector, asked: Iterator[Asked]) -> None:
        one = next(asked, None)
        if one is None:
            return
        child = self._fork()
        self.children.append(child)
        ready.register(child.back, selectors.EVENT_READ, child)
        self._tell(child, one)

    def _fork(self) -> _Child:
        (read_asked, to), (back, write_back) = os.pipe(), os.pipe()
        out_fd, err_fd, stack_fd = (os.memfd_create(name) for name in ("out", "err", "stack"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons: of forks beside threads
            pid = os.fork()
        if pid == 0:
            try:
                os.setpgid(0, 0)  # with all that it might start
                os.close(to)
                os.close(back)
                faulthandler.enable(os.fdopen(os.dup(stack_fd), "w"))
                faulthandler.register(signal.SIGUSR1, os.fdopen(os.dup(stack_fd), "w"))
                worker = Worker(self.command, self.formats, self.home, out_fd, err_fd)
                _serve(worker, read_asked, write_back, keeps=self.keeps)
            finally:
                os._exit(0)
        for fd in (read_asked, write_back, out_fd):
            os.close(fd)
        return _Child(pid, to, back, err_fd, stack_fd)

    def _ask(self, child: _Child, asked: Iterator[Asked]) -> bool:
        one = next(asked, None)
        if one is not None:
            self._tell(child, one)
        return one is not None

    def _tell(self, child: _Child, one: Asked) -> None:
        child.asked, child.since = one, time.monotonic()
        child.cpu, child.rss = _cpu_sec(child.pid), _rss(child.pid)
        child.served += 1
        _send(child.to, one)

    def _answer(self, child: _Child) -> Verdict:
        """What the worker says, or what is known of one that died."""
        assert child.asked is not None
        answer = _receive(child.back)
        if isinstance(answer, Verdict):
            child.asked = None
            return answer
        _, status = os.waitpid(child.pid, 0)
        child.pid = 0
        number = os.waitstatus_to_exitcode(status)
        if isinstance(answer, str):
            return self._ended(child, "harness", answer)
        how = signal.Signals(-number).name if number < 0 else f"exit {number}"
        return self._ended(child, "crash", how)

    def _is_too_much(self, child: _Child) -> bool:
        if child.asked is None or not child.pid:
            return False
        limit = self.cpu_sec or self.formats[child.asked[0]].cpu_sec
        is_late = time.monotonic() - child.since > _CLOCK * limit
        grown = (_rss(child.pid) - child.rss) / 2**20
        return is_late or _cpu_sec(child.pid) - child.cpu > limit or grown > 2 * self.most_mb

    def _end(self, child: _Child) -> Verdict:
        """SIGKILL, after a look at where it is."""
        grown = (_rss(child.pid) - child.rss) / 2**20
        os.kill(child.pid, signal.SIGUSR1)
        time.sleep(0.05)
        _kill(child.pid)
        os.waitpid(child.pid, 0)
        child.pid = 0
        sec = time.monotonic() - child.since
        if grown > 2 * self.most_mb:
            return self._ended(child, "memory", f"{grown:.0f} MB and more", grown)
        return self._ended(child, "hang", f"ended after {sec:.1f} s", grown)

    def _ended(self, child: _Child, kind: str, what: str, grown_mb: float = 0.0) -> Verdict:
        assert child.asked is not None
        name, seed = child.asked
        stack = _text(child.stack_fd)
        attack, argv = self._made(name, seed)
        if not self.keeps:
            shutil.rmtree(self.home / f"{name}-{seed}", ignore_errors=True)
        said = (_text(child.err_fd) + stack)[-2000:]
        sec = time.monotonic() - child.since
        return Verdict(
            name, seed, attack, argv, None, ((kind, what),), _innermost(stack), said, sec, grown_mb
        )

    def _made(self, name: str, seed: int) -> tuple[str, tuple[str, ...]]:
        """What the case was: the worker that knew it is gone."""
        with tempfile.TemporaryDirectory(dir=_fast_disk()) as folder:
            inner = Path(folder, "case")
            inner.mkdir()
            try:
                case = self.formats[name].make(name, seed, inner)
            except Exception as error:  # noqa: BLE001 - the generator's own failure is told, too
                return f"cannot be made: {error!r}", ()
        return case.attack, case.argv

    def _dismiss(self, child: _Child, ready: selectors.BaseSelector) -> None:
        ready.unregister(child.back)
        self.children.remove(child)
        for fd in (child.to, child.back, child.err_fd, child.stack_fd):
            os.close(fd)
        if child.pid:
            _kill(child.pid)
            os.waitpid(child.pid, 0)


def _serve(worker: Worker, asked_fd: int, back_fd: int, *, keeps: bool) -> None:
    """The life of a worker."""
    while (asked := _receive(asked_fd)) is not None:
        name, seed = asked
        try:
            answer: object = worker.run(name, seed, keeps=keeps)
        except BaseException:  # noqa: BLE001 - a fault of the harness or of a generator, told as one
            import traceback

            answer = traceback.format_exc()
            _send(back_fd, answer)
            return
        _send(back_fd, answer)


def _send(fd: int, value: object) -> None:
    data = pickle.dumps(value)
    data = struct.pack("<I", len(data)) + data
    while data:
        data = data[os.write(fd, data) :]


def _receive(fd: int) -> object:
    head = _exactly(fd, 4)
    return None if head is None else pickle.loads(_exactly(fd, struct.unpack("<I", head)[0]) or b"N.")


def _exactly(fd: int, size: int) -> bytes | None:
    data = b""
    while len(data) < size:
        part = os.read(fd, size - len(data))
        if not part:
            return None
        data += part
    return data


def _kill(pid: int) -> None:
    if pid:
        try:
            os.killpg(pid, signal.SIGKILL)
        except ProcessLookupError:
            os.kill(pid, signal.SIGKILL)  # before it had a group of its own


def _cpu_sec(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _rss(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


def _text(fd: int) -> str:
    return os.pread(fd, 1 << 20, 0).decode("utf-8", "replace")


def _innermost(stack: str) -> str:
    """The innermost line of ours in what faulthandler wrote."""
    for line in stack.splitlines():
        for package in ("stylegan2ada", "spine_plugins"):
            if f"/{package}/" in line and "File" in line:
                file, _, rest = line.partition('"')[2].partition('"')
                number = rest.partition("line ")[2].split()[0]
                return f"{package}/{file.rpartition(f'/{package}/')[2]}:{number}"
    return "?"
