"""What a command does besides its work, by Python's audit events: processes, sockets, imports, writes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

_PROCESSES = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork",
              "os.forkpty",              "pty.spawn", "os.startfile")  # fmt: skip
_SOCKETS = ("socket.__new__", "socket.connect", "socket.bind", "socket.getaddrinfo", "socket.gethostbyname",
            "urllib.Request", "ftplib.connect", "smtplib.connect")  # fmt: skip
_PICKLES = ("pickle.find_class",)
# Event -> which arguments are paths that change.
_CHANGES: dict[str, tuple[int, ...]] = {
    "os.mkdir": (0,), "os.remove": (0,), "os.rmdir": (0,), "os.rename": (0, 1), "os.link": (1,),
    "os.symlink": (1,),
    "os.truncate": (0,), "os.chmod": (0,), "os.chown": (0,), "os.utime": (0,), "os.setxattr": (0,),
    "shutil.rmtree": (0,), "shutil.move": (0, 1), "shutil.copyfile": (1,),
}  # fmt: skip
_WITHOUT_FOLDER = ("os.truncate", "os.setxattr", "shutil.rmtree", "shutil.move", "shutil.copyfile")
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_DEVICES = ("/dev/null", "/dev/full", "/dev/tty", "/dev/zero", "/dev/urandom")
_NOWHERE = ("/proc", "/dev/null/")  # nothing can be made there, whoever asks
# Loaded by the commands themselves, or the libraries under them, when they are needed; with what these import
# in turn. All else that is imported while a command reads a stranger's file was named by that file.
LATE_IMPORTS = frozenset((
    "linecache", "traceback", "tracemalloc", "click._textwrap", "click.shell_completion", "imagecodecs",
    "imagecodecs.imagecodecs", "torch._dynamo", "torch.utils.tensorboard",
    "torch.utils.serialization",
    "torch.utils.serialization.config", "torch.profiler._cupti_monitor", "torch.privateuseone", "gdcm",
    "getpass", "pwd",
))  # fmt: skip
_MODULE = "<module>"
# What a CIFAR-10 archive needs; they come from a list, not from the file.
_UNPICKLED = frozenset((
    ("numpy._core.multiarray", "_reconstruct"), ("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs",
     "encode"),
))  # fmt: skip

Sin = tuple[str, str]  # kind, what


class BlockedError(PermissionError):
    """What the sinner gets to see: the thing is noted, and does not happen."""


class Watch:
    """Between `begin` and `end` every event is looked at; one per process, as hooks stay for ever."""

    def __init__(self) -> None:
        self._folder = ""
        self._sins: list[Sin] = []
        self._is_on = False
        self._checks: dict[str, Callable[[str, tuple[Any, ...]], None]] = {
            **dict.fromkeys(_PROCESSES, self._process),
            **dict.fromkeys(_SOCKETS, self._socket),
            **dict.fromkeys(_PICKLES, self._unpickled),
            **dict.fromkeys(_CHANGES, self._changed),
            "open": self._opened,
            "sqlite3.connect": self._database,
            "import": self._imported,
        }
        sys.addaudithook(self._see)

    def begin(self, folder: Path) -> None:
        """From now on everything is the command's, which may change what is in this folder."""
        self._folder, self._sins, self._is_on = os.path.realpath(folder) + os.sep, [], True

    def end(self) -> list[Sin]:
        """What it did."""
        self._is_on = False
        return self._sins

    def _see(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._is_on and (check := self._checks.get(event)) is not None:
            check(event, arguments)

    def _sin(self, kind: str, what: str, *, blocks: bool = True) -> None:
        self._sins.append((kind, what[:300]))
        if blocks:
            raise BlockedError(1, f"{kind} is not allowed here", what[:300])

    def _process(self, event: str, arguments: tuple[Any, ...]) -> None:
        if arguments[:1] == ("uname",):  # platform.processor(), of which torch asks while it is imported
            return
        self._sin("child process", f"{event} {arguments[:2]!r}")

    def _socket(self, event: str, arguments: tuple[Any, ...]) -> None:
        self._sin("socket", f"{event} {arguments[1:]!r}")

    def _unpickled(self, event: str, arguments: tuple[Any, ...]) -> None:
        if arguments not in _UNPICKLED:
            self._sin("unpickled", ".".join(map(str, arguments)), blocks=False)

    def _imported(self, event: str, arguments: tuple[Any, ...]) -> None:
        name = str(arguments[0])
        if name not in LATE_IMPORTS and not _is_nested(sys._getframe(2)):
            self._sin("import", name, blocks=False)

    def _opened(self, event: str, arguments: tuple[Any, ...]) -> None:
        path, mode, flags = arguments
        writes = any(letter in mode for letter in "wax+") if isinstance(mode, str) else bool(flags & _WRITES)
        if writes and not isinstance(path, int):
            self._must_be_inside(event, path, None)

    def _changed(self, event: str, arguments: tuple[Any, ...]) -> None:
        # Relative to an open folder, as shutil.rmtree works: its number is the last argument of some.
        last = arguments[-1] if event not in _WITHOUT_FOLDER else None
        number = last if type(last) is int and last > 2 else None
        for i in _CHANGES[event]:
            self._must_be_inside(event, arguments[i], number)

    def _database(self, event: str, arguments: tuple[Any, ...]) -> None:
        name = os.fsdecode(arguments[0]) if isinstance(arguments[0], str | bytes | os.PathLike) else ""
        if name.startswith("file:"):
            name = "" if "mode=ro" in name else name.removeprefix("file:").partition("?")[0]
        if name not in ("", ":memory:"):
            self._must_be_inside(event, name, None)

    def _must_be_inside(self, event: str, path: object, folder_number: int | None) -> None:
        if isinstance(path, int) or not isinstance(path, str | bytes | os.PathLike):
            return
        text = os.fsdecode(path)
        if text in _DEVICES or text.startswith(_NOWHERE) or "\0" in text:
            return
        if folder_number is not None and not os.path.isabs(text):
            try:
                text = os.path.join(os.readlink(f"/proc/self/fd/{folder_number}"), text)
            except OSError:
                return  # closed already: then the call fails by itself
        # The folder is resolved, the last part not: removing a link is no change of what it points to.
        whole = os.path.abspath(text)
        resolved = os.path.join(os.path.realpath(os.path.dirname(whole)), os.path.basename(whole))
        if event in ("open", "os.truncate", "os.chmod"):
            resolved = os.path.realpath(whole)
        if not (resolved + os.sep).startswith(self._folder) and resolved not in _DEVICES:
            self._sin("outside", f"{event} {text}")


def _is_nested(frame: FrameType | None) -> bool:
    """Is this import asked for by a module that is being imported itself?"""
    while frame is not None:
        if frame.f_code.co_name == _MODULE and "tests/hostile" not in frame.f_code.co_filename:
            return (
                frame.f_globals.get("__name__") != "__main__"
                and frame.f_globals.get("__spec__") is not None
                and (getattr(frame.f_globals["__spec__"], "_initializing", False))
            )
        frame = frame.f_back
    return False
