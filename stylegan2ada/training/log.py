"""What a run writes as it goes: log.txt, stats.jsonl, events; and how files are cut back to a state."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TextIO

from stylegan2ada import files, processes
from stylegan2ada.training import run_files
from stylegan2ada.training.trackers import Setting, Trackers

Statistics = Mapping[str, Mapping[str, float]]  # {name: {"num", "mean", "std"}}


def note(run_dir: Path, event: str, *, kimg: float, code: str = "", text: str = "") -> None:
    """Add an event, once for all ranks."""
    if processes.rank() == 0:
        run_files.add_event(run_dir, event, kimg=kimg, code=code, text=text)


def warn(run_dir: Path, code: str, text: str, *, kimg: float) -> None:
    """Tell people, and by the event programs."""
    processes.print0(f"Warning: {text}")
    note(run_dir, "warning", kimg=kimg, code=code, text=text)


class RunLog:
    """The log files of one run; on other ranks than 0 it does nothing."""

    def __init__(
        self,
        run_dir: Path,
        *,
        continues_at: int | None = None,  # kimg of the saved state that a run goes on from; None: a new run
        private: str = "",  # names (regular expression) of statistics that only the private file gets
        services: Sequence[str] = (),  # that are told, too: wandb, mlflow
        settings: Mapping[str, Setting] | None = None,  # what people compare runs by
    ) -> None:
        self.run_dir = run_dir
        self.is_writer = processes.rank() == 0
        self._is_private = re.compile(private).fullmatch if private else lambda name: None
        self._stats: list[Path] = []  # the public file, and the private one if there is one
        self._trackers: Trackers | None = None
        if not self.is_writer:
            return
        self._stats = [run_dir / run_files.STATS]
        if private:
            self._stats.append(private_folder(run_dir) / run_files.STATS)
        for path in self._stats:
            path.open("w" if continues_at is None else "a").close()  # there from the beginning, empty
        if private:
            return  # trackers note when each point came, and a pace is a measurement of the images, too
        self._trackers = Trackers(
            run_dir,
            services=services,
            purge_step=None if continues_at is None else continues_at + 1,
            warn=lambda text: warn(run_dir, "tracker", text, kimg=continues_at or 0),
        )
        # Of a run that goes on, the event files know them.
        if settings and continues_at is None:
            self._trackers.settings(settings)

    def write(self, statistics: Statistics, *, step_kimg: int, wall_sec: float) -> None:
        """One line of stats.jsonl and one point per curve; what is private goes to its own file alone."""
        if not self.is_writer:
            return
        # Chosen by name before anything is written: what is private never touches a public file.
        shown = {name: value for name, value in statistics.items() if not self._is_private(name)}
        hidden = {name: value for name, value in statistics.items() if name not in shown}
        now = time.time()
        # Where images are private, public lines bear no time: see above.
        times = (now, now) if len(self._stats) == 1 else (0.0, now)
        for path, part, when in zip(self._stats, (shown, hidden), times):
            files.append_line(path, json.dumps({**part, "timestamp": when}))
        if self._trackers is not None:
            means = {name: value["mean"] for name, value in shown.items()}
            self._trackers.scalars(means, kimg=step_kimg, wall_sec=wall_sec)

    def scalar(self, name: str, value: float, *, step_kimg: int, wall_sec: float) -> None:
        """One point of a curve, at seconds since the start."""
        if self._trackers is not None:
            self._trackers.scalars({name: value}, kimg=step_kimg, wall_sec=wall_sec)

    def pictures(self, found: Mapping[str, Path], *, step_kimg: int) -> None:
        """Grids of fakes that were written to the folder, by their titles."""
        if self._trackers is not None:
            for name, path in found.items():
                self._trackers.picture(name, path, kimg=step_kimg)

    def offsets(self) -> dict[str, int]:
        """Sizes of all growing files now, and their content on the disk: a state outlives a power cut."""
        if not self.is_writer:
            return {}
        # Lines that are still buffered belong to the size.
        sys.stdout.flush()
        return {
            path.relative_to(self.run_dir).as_posix(): _synced_size(path)
            for path in run_files.cut_back_files(self.run_dir)
        }

    def close(self) -> None:
        if self._trackers is not None:
            self._trackers.close()


def cut_back(run_dir: Path, offsets: Mapping[str, int]) -> list[str]:
    """Make every growing file as long as it was; what came after a saved state happens again.

    A sentence for each file that has become shorter: it lost lines that will not come again.
    """
    found = {path.relative_to(run_dir).as_posix(): path for path in run_files.cut_back_files(run_dir)}
    gaps = []
    for name in sorted(found.keys() | offsets.keys()):
        path, wanted = found.get(name), offsets.get(name, 0)
        size = 0 if path is None else path.stat().st_size
        if path is not None and size > wanted:
            os.truncate(path, wanted)
        elif size < wanted:
            gaps.append(
                f"{name} is {wanted - size} bytes shorter than when the state was saved (a power cut, or "
                "changed by hand): what it told is missing, and all else goes on"
            )
    return gaps


def private_folder(run_dir: Path) -> Path:
    """The folder for what only the owner of the images may see; made if it is not there."""
    return files.private_folder(run_dir / run_files.PRIVATE)


class _Copy:
    """What is printed, on its way into a file; held back until `begin`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting: list[str] = []
        self._file: TextIO | None = None

    def begin(self) -> None:
        # Line by line: after a crash it is the last lines that count.
        self._file = open(self._path, "a", buffering=1, errors="backslashreplace")
        self._file.write("".join(self._waiting))
        self._waiting.clear()

    def write(self, text: str) -> None:
        if self._file is None:
            self._waiting.append(text)
        else:
            self._file.write(text)

    def flush(self) -> None:
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


@contextlib.contextmanager
def console_copy(
    path: Path | None,  # None: print only
    *,
    waits: bool = False,  # write nothing until the yielded function is called; then what came before, too
) -> Iterator[Callable[[], None]]:
    """Append everything that is printed to a file, too."""
    if path is None:
        yield lambda: None
        return
    before, copy = (sys.stdout, sys.stderr), _Copy(path)
    try:
        if not waits:
            copy.begin()
        sys.stdout, sys.stderr = _Tee(before[0], copy), _Tee(before[1], copy)
        yield copy.begin
    finally:
        sys.stdout, sys.stderr = before
        copy.close()


class _Tee:
    """A text stream whose text goes into a copy, too."""

    def __init__(self, screen: TextIO, copy: _Copy) -> None:
        self._screen = screen
        self._copy = copy

    def write(self, text: str) -> int:
        self._screen.write(text)
        self._copy.write(text)
        return len(text)

    def flush(self) -> None:
        self._screen.flush()
        self._copy.flush()

    def __getattr__(self, name: str) -> object:  # isatty, encoding, fileno, ...
        return getattr(self._screen, name)


def _synced_size(path: Path) -> int:
    with path.open("rb") as file:
        os.fsync(file.fileno())
        return os.fstat(file.fileno()).st_size
