"""What a run writes as it goes: log.txt, stats.jsonl, events; and how files are cut back to a state."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TextIO

from stylegan2ada import processes
from stylegan2ada.errors import UserError
from stylegan2ada.training import run_files

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

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
    ) -> None:
        self.run_dir = run_dir
        self.is_writer = processes.rank() == 0
        self._is_private = re.compile(private).fullmatch if private else lambda name: None
        self._stats: TextIO | None = None
        self._private: TextIO | None = None
        self._events: SummaryWriter | None = None
        if not self.is_writer:
            return
        mode: Literal["w", "a"] = "w" if continues_at is None else "a"
        self._stats = (run_dir / run_files.STATS).open(mode)
        if private:
            self._private = (private_folder(run_dir) / run_files.STATS).open(mode)
        self._events = _event_writer(run_dir, None if continues_at is None else continues_at + 1)

    def write(self, statistics: Statistics, *, step_kimg: int, wall_sec: float) -> None:
        """One line of stats.jsonl and one point per curve; what is private goes to its own file alone."""
        if not self.is_writer:
            return
        # Chosen by name before anything is written: what is private never touches a public file.
        shown = {name: value for name, value in statistics.items() if not self._is_private(name)}
        # A pace is a measurement of the images, too: where they are private, public lines bear no time.
        _append(self._stats, shown, 0.0 if self._private is not None else time.time())
        if self._private is not None:
            _append(self._private, {k: v for k, v in statistics.items() if k not in shown}, time.time())
        for name, value in shown.items():
            self.scalar(name, value["mean"], step_kimg=step_kimg, wall_sec=wall_sec)
        if self._events is not None:
            self._events.flush()

    def scalar(self, name: str, value: float, *, step_kimg: int, wall_sec: float) -> None:
        """One point of a curve, at seconds since the start."""
        if self._events is not None:
            wall_sec = wall_sec if self._private is None else 0.0
            self._events.add_scalar(name, value, global_step=step_kimg, walltime=wall_sec)

    def offsets(self) -> dict[str, int]:
        """Sizes of all growing files now."""
        if not self.is_writer:
            return {}
        # Lines that are still buffered belong to the size.
        sys.stdout.flush()
        paths = run_files.cut_back_files(self.run_dir)
        return {path.relative_to(self.run_dir).as_posix(): os.path.getsize(path) for path in paths}

    def close(self) -> None:
        for file in (self._stats, self._private):
            if file is not None:
                file.close()
        if self._events is not None:
            self._events.close()


def cut_back(run_dir: Path, offsets: Mapping[str, int]) -> None:
    """Make every growing file as long as it was; what came after a saved state happens again."""
    for path in run_files.cut_back_files(run_dir):
        wanted, found = offsets.get(path.relative_to(run_dir).as_posix(), 0), path.stat().st_size
        if found < wanted and path.name == run_files.STATS:
            raise UserError(f"{path} is shorter than when the state was saved; it was changed by hand")
        if found > wanted:
            os.truncate(path, wanted)


def private_folder(run_dir: Path) -> Path:
    """The folder for what only the owner of the images may see; made if it is not there."""
    path = run_dir / run_files.PRIVATE
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o700)
    return path


@contextlib.contextmanager
def console_copy(path: Path | None) -> Iterator[None]:
    """Append everything that is printed to a file, too; None: print only."""
    if path is None:
        yield
        return
    before = sys.stdout, sys.stderr
    # Line by line: after a crash it is the last lines that count.
    with open(path, "a", buffering=1) as file:
        sys.stdout, sys.stderr = _Tee(before[0], file), _Tee(before[1], file)
        try:
            yield
        finally:
            sys.stdout, sys.stderr = before


class _Tee:
    """A text stream that writes to two."""

    def __init__(self, screen: TextIO, file: TextIO) -> None:
        self._screen = screen
        self._file = file

    def write(self, text: str) -> int:
        self._screen.write(text)
        self._file.write(text)
        return len(text)

    def flush(self) -> None:
        self._screen.flush()
        self._file.flush()

    def __getattr__(self, name: str) -> object:  # isatty, encoding, fileno, ...
        return getattr(self._screen, name)


def _append(file: TextIO | None, statistics: Statistics, now: float) -> None:
    assert file is not None
    file.write(json.dumps({**statistics, "timestamp": now}) + "\n")
    # Others read along while the run goes on.
    file.flush()


def _event_writer(run_dir: Path, purge_step: int | None) -> SummaryWriter | None:
    """TensorBoard's writer if it can be imported, else None; points from purge_step on are hidden."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        processes.print0("Skipping event files: TensorBoard is not installed (pip install tensorboard)")
        return None
    return SummaryWriter(str(run_dir), purge_step=purge_step)
