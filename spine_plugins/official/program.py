"""Start the official program on a request, watch what it makes, and pass on how it ended."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from spine_plugins.official.checkout import Checkout
from spine_plugins.official.request import Request
from stylegan2ada import files, provenance
from stylegan2ada.errors import Interrupted, TooManyFailuresError, UserError
from stylegan2ada.protocols import JsonObject
from stylegan2ada.training import run_files

_START = Path(__file__).with_name("start.py")
_KEPT_LINES = 60  # of what it said last
_LOOK_SEC = 5.0  # between looks for new snapshots
_USAGE = 2  # the exit code of a refused command line


def run(
    checkout: Checkout,
    request: Request,
    *,
    outdir: Path,
    record: JsonObject,  # facts about the run that its own options file cannot hold
    on_snapshot: Callable[[Path], None] | None = None,
) -> Path | None:
    """Train to the end in processes of their own; the run's folder, None of a dry run."""
    before = _folders(outdir)
    watch = _Watch(outdir, before, on_snapshot, _record_of(checkout, record))
    said: deque[str] = deque(maxlen=_KEPT_LINES)
    with files.scratch_folder("engine") as folder:
        changes = folder / "changes.json"
        changes.write_text(json.dumps(request.changes))
        command = [sys.executable, str(_START), str(checkout.path), str(changes), *request.flags]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        ) as child:
            teller = threading.Thread(target=_tell, args=(child.stdout, said), daemon=True)
            teller.start()
            with _passing_on_signals(child) as heard:
                while child.poll() is None:
                    watch.look()
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        child.wait(_LOOK_SEC)
            teller.join()
    watch.look(is_over=True)
    if child.returncode:
        if heard or child.returncode in (-signal.SIGINT, -signal.SIGTERM):
            raise Interrupted(
                f"the program in {checkout.path} was stopped; it saves no state: go on from its last "
                "snapshot with --resume"
            )
        _fail(checkout, child.returncode, list(said), watch.run_dir)
    return watch.run_dir


class _Watch:
    """The run's folder as it appears, and its snapshots as they are complete."""

    def __init__(
        self,
        outdir: Path,
        before: set[str],  # folders that were there
        on_snapshot: Callable[[Path], None] | None,
        record: JsonObject,
    ) -> None:
        self.outdir, self.before, self.on_snapshot, self.record = outdir, before, on_snapshot, record
        self.run_dir: Path | None = None
        self._sizes: dict[Path, int] = {}
        self._seen: set[Path] = set()

    def look(self, *, is_over: bool = False) -> None:
        if self.run_dir is None:
            new = sorted(_folders(self.outdir) - self.before)
            if not new:
                return
            self.run_dir = self.outdir / new[-1]
            files.write_json(self.run_dir / run_files.ENGINE, self.record)
        for path in run_files.snapshots_in(self.run_dir):
            size = path.stat().st_size
            # It writes in place: a file is complete when it no longer grows.
            is_complete = is_over or self._sizes.get(path) == size
            self._sizes[path] = size
            if is_complete and path not in self._seen and self.on_snapshot is not None:
                self._seen.add(path)
                self.on_snapshot(path)


def _record_of(checkout: Checkout, record: JsonObject) -> JsonObject:
    return {
        "engine": checkout.record(),
        "trained_by": "stylegan2-ada-pytorch",
        "spinegan": provenance.of_this_program(),
        "started": time.time(),
        **record,
    }


def _folders(outdir: Path) -> set[str]:
    """Run folders: they begin with a number."""
    if not outdir.is_dir():
        return set()
    return {path.name for path in outdir.iterdir() if path.is_dir() and path.name[:1].isdigit()}


def _tell(stream: IO[str], kept: deque[str]) -> None:
    """Print what it says as it says it, and keep the end."""
    for line in stream:
        sys.stdout.write(line)
        sys.stdout.flush()
        kept.append(line.rstrip("\n"))


@contextlib.contextmanager
def _passing_on_signals(child: subprocess.Popen[str]) -> Iterator[list[int]]:
    """The program that trains hears what we are told; the signals that came.

    A terminal's Ctrl-C reaches it by itself. What it makes of one is its own affair: click leaves with 1.
    """
    heard: list[int] = []

    def forward(number: int, _: object) -> None:
        heard.append(number)
        if number != signal.SIGINT or not os.isatty(0):
            child.send_signal(number)

    is_main = threading.current_thread() is threading.main_thread()
    kept = {n: signal.signal(n, forward) for n in (signal.SIGINT, signal.SIGTERM)} if is_main else {}
    try:
        yield heard
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def _fail(checkout: Checkout, code: int, said: list[str], run_dir: Path | None) -> None:
    """Its refusal in one sentence; its last lines stay with the run."""
    where = ""
    if run_dir is not None:
        (run_dir / run_files.ENGINE_LOG).write_text("\n".join(said) + "\n")
        where = f"; its last lines are in {run_dir / run_files.ENGINE_LOG}"
    spoken = [line.strip() for line in said if line.strip()]
    last = spoken[-1] if spoken else "it said nothing"
    if code == _USAGE:
        raise UserError(f"the program in {checkout.path} refuses: {last.removeprefix('Error: ')}")
    raise TooManyFailuresError(f"the program in {checkout.path} ended with exit code {code}: {last}{where}")
