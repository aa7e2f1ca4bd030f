"""A file layer that fails on request: below one folder, at the n-th change, by death, by error, or for good.

It stands between Python and the system: `open`, and the functions of `os` that change files. A write is
done by half first, so that a fault falls inside it. Without a number it only watches.
"""

from __future__ import annotations

import builtins
import contextlib
import io
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

DEAD = 137  # exit code of a process that died inside a change
_PATHS = ("replace", "rename", "unlink", "remove", "truncate", "mkdir", "rmdir", "chmod")  # path first
_HANDLES = ("fsync", "ftruncate", "pwrite", "write", "fchmod")  # handle first


class Faults:
    """Counts changes below a folder, and lets one of them fail."""

    def __init__(
        self,
        folder: Path,
        at: int | None = None,  # number of the change, from 0
        *,
        error: int | None = None,  # errno; None: the process dies
        lasts: bool = False,  # all later changes fail, too
    ) -> None:
        self.folder, self.at, self.error, self.lasts = os.path.realpath(folder), at, error, lasts
        self.count = 0
        self.what: list[str] = []  # every change so far
        self.synced: dict[str, int] = {}  # path: how much of it is surely on the disk
        self._lock = threading.Lock()
        self._row = 0

    def is_ours(self, path: object) -> bool:
        try:
            return os.path.realpath(os.fspath(path)).startswith(self.folder)  # type: ignore[call-overload]
        except TypeError:
            return False

    def change(self, what: str, path: object, half: Callable[[], None] = lambda: None) -> None:
        """Called before each change; `half` does a half of it."""
        name = f"{what} {os.path.relpath(os.path.realpath(os.fspath(path)), self.folder)}"  # type: ignore[call-overload]
        with self._lock:
            # A network is written in thousands of pieces: two of each row of writes stand for all.
            self._row = self._row + 1 if self.what and name == self.what[-1] and what == "write" else 0
            if self._row not in (0, 5) and not (self.lasts and self.at is not None and self.count > self.at):
                return
            number, self.count = self.count, self.count + 1
            self.what.append(name)
        if self.at is None or number < self.at or (number > self.at and not self.lasts):
            return
        if number == self.at:
            half()
        if self.error is None:
            os._exit(DEAD)
        raise OSError(self.error, os.strerror(self.error), os.fspath(path))  # type: ignore[call-overload]

    @contextlib.contextmanager
    def installed(self) -> Iterator[Faults]:
        opened = builtins.open

        def open_(file: Any, mode: str = "r", *args: Any, **settings: Any) -> Any:
            path = path_of(file) if isinstance(file, int) else file
            if not self.is_ours(path) or not set(mode) & set("wax+"):
                return opened(file, mode, *args, **settings)
            if not isinstance(file, int):
                self.change("open", path)
            return _File(opened(file, mode, *args, **settings), self, str(path))

        with contextlib.ExitStack() as stack:
            stack.enter_context(mock.patch.object(builtins, "open", open_))
            stack.enter_context(mock.patch.object(io, "open", open_))
            for name in _PATHS:
                stack.enter_context(mock.patch.object(os, name, self._of_path(name, getattr(os, name))))
            for name in _HANDLES:
                stack.enter_context(mock.patch.object(os, name, self._of_handle(name, getattr(os, name))))
            stack.enter_context(mock.patch.object(os, "open", self._os_open(os.open)))
            yield self

    def _of_path(self, name: str, plain: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any, *args: Any, **settings: Any) -> Any:
            if self.is_ours(path):
                self.change(name, path)
            result = plain(path, *args, **settings)
            if name == "replace" and self.is_ours(path):
                self.synced[os.path.realpath(args[0])] = self.synced.pop(os.path.realpath(path), 0)
            return result

        return call

    def _of_handle(self, name: str, plain: Callable[..., Any]) -> Callable[..., Any]:
        def call(handle: Any, *args: Any) -> Any:
            path = path_of(handle if isinstance(handle, int) else handle.fileno())
            if not self.is_ours(path):
                return plain(handle, *args)
            self.change(name, path)
            result = plain(handle, *args)
            if name == "fsync" and os.path.isfile(path):
                self.synced[path] = os.path.getsize(path)
            return result

        return call

    def _os_open(self, plain: Callable[..., int]) -> Callable[..., int]:
        def call(path: Any, flags: int, *args: Any, **settings: Any) -> int:
            if flags & (os.O_WRONLY | os.O_RDWR) and self.is_ours(path):
                self.change("open", path)
            return plain(path, flags, *args, **settings)

        return call


def path_of(handle: int) -> str:
    """What an open file is called."""
    try:
        return os.readlink(f"/proc/self/fd/{handle}")
    except OSError:
        return ""


class _File:
    """An open file whose writes may fail."""

    def __init__(self, file: Any, faults: Faults, path: str) -> None:
        self._file, self._faults, self._path = file, faults, path

    def write(self, data: Any) -> Any:
        def half() -> None:
            self._file.write(data[: len(data) // 2])
            self._file.flush()

        self._faults.change("write", self._path, half)
        return self._file.write(data)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> _File:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[Any]:
        return iter(self._file)
