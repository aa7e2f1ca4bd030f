"""What a run writes as it goes: log.txt, stats.jsonl, event files; and how these are cut back to a state."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from stylegan2ada import processes
from stylegan2ada.errors import UserError

APPENDED = ("stats.jsonl", "log.txt")  # and metric-*.jsonl: files that only ever grow


class RunLog:
    """The log files of one run; on other ranks than 0 it does nothing."""

    def __init__(
        self,
        run_dir: Path,
        *,
        continues_at: int | None = None,  # kimg of the saved state that a run goes on from; None: a new run
    ) -> None:
        self.run_dir = run_dir
        self.is_writer = processes.rank() == 0
        self._stats: TextIO | None = None
        self._events: Any = None
        if not self.is_writer:
            return
        self._stats = open(run_dir / "stats.jsonl", "w" if continues_at is None else "a")  # noqa: SIM115
        self._events = _event_writer(run_dir, None if continues_at is None else continues_at + 1)

    def write(
        self, statistics: Mapping[str, Mapping[str, float]], *, step_kimg: int, wall_sec: float
    ) -> None:
        """One line of stats.jsonl and one point per curve."""
        if not self.is_writer:
            return
        assert self._stats is not None
        self._stats.write(json.dumps({**statistics, "timestamp": time.time()}) + "\n")
        self._stats.flush()
        for name, value in statistics.items():
            self.scalar(name, value["mean"], step_kimg=step_kimg, wall_sec=wall_sec)
        if self._events is not None:
            self._events.flush()

    def scalar(self, name: str, value: float, *, step_kimg: int, wall_sec: float) -> None:
        """One point of a curve, at seconds since the start."""
        if self._events is not None:
            self._events.add_scalar(name, value, global_step=step_kimg, walltime=wall_sec)

    def offsets(self) -> dict[str, int]:
        """Sizes of all growing files now."""
        if not self.is_writer:
            return {}
        sys.stdout.flush()
        names = [*APPENDED, *(path.name for path in self.run_dir.glob("metric-*.jsonl"))]
        return {
            name: os.path.getsize(self.run_dir / name) for name in names if (self.run_dir / name).exists()
        }

    def close(self) -> None:
        if self._stats is not None:
            self._stats.close()
        if self._events is not None:
            self._events.close()


def cut_back(run_dir: Path, offsets: Mapping[str, int]) -> None:
    """Make every growing file as long as it was; what came after a saved state happens again."""
    for path in [*(run_dir / name for name in APPENDED), *run_dir.glob("metric-*.jsonl")]:
        if not path.exists():
            continue
        wanted, found = offsets.get(path.name, 0), path.stat().st_size
        if found < wanted and path.name == "stats.jsonl":
            raise UserError(f"{path} is shorter than when the state was saved; it was changed by hand")
        if found > wanted:
            os.truncate(path, wanted)


@contextlib.contextmanager
def console_copy(path: Path | None) -> Iterator[None]:
    """Append everything that is printed to a file, too; None: print only."""
    if path is None:
        yield
        return
    before = sys.stdout, sys.stderr
    with open(path, "a", buffering=1) as file:
        sys.stdout, sys.stderr = _Tee(before[0], file), _Tee(before[1], file)  # type: ignore[assignment]
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

    def __getattr__(self, name: str) -> Any:  # isatty, encoding, fileno, ...
        return getattr(self._screen, name)


def _event_writer(run_dir: Path, purge_step: int | None) -> Any:
    """TensorBoard's writer if it can be imported, else None; points from purge_step on are hidden."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        processes.print0("Skipping event files: TensorBoard is not installed (pip install tensorboard)")
        return None
    return SummaryWriter(str(run_dir), purge_step=purge_step)
