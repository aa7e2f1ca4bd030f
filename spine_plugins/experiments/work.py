"""One task on whichever computer: its command as a process, a card of its own, a way to be stopped."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stylegan2ada import interrupts
from stylegan2ada.errors import Interrupted, StoppedOnRequest

try:
    import fcntl
except ImportError:  # Windows: one card at a time is the user's business there
    fcntl = None  # type: ignore[assignment]

STOP = ".stop"  # a file in the experiment: whoever works there ends its command, which saves its state
CHILD = ".process"  # in the task's folder: which process works on it
PROGRAM = ("-m", "spine_plugins")
_HOME = (
    Path(__file__).resolve().parent.parent.parent
)  # of the packages: a clone, or where wheels are installed
_LOOK_SEC = 0.2
_LAST_LINES = 4096  # bytes of a log in which the reason is looked for


@dataclass(frozen=True)
class Job:
    """All that a worker must know."""

    out: str  # the folder of the experiment, which all workers see
    id: str
    command: tuple[str, ...]
    log: str
    on_card: bool  # uses one, where there is one
    per_card: int = 1
    threads: int = 0  # of computation; 0: as the environment says
    program: tuple[str, ...] = PROGRAM


@dataclass(frozen=True)
class Outcome:
    """How it ended."""

    code: int
    seconds: float
    why: str | None  # the last thing it said, if it failed

    @property
    def is_stopped(self) -> bool:
        return self.code in (
            StoppedOnRequest.exit_code,
            Interrupted.exit_code,
            -signal.SIGINT,
            -signal.SIGTERM,
        )


def do(job: Job) -> Outcome:
    """Run the command to its end."""
    started = time.monotonic()
    out = Path(job.out)
    _Maker.watch()
    if (out / STOP).exists():
        return Outcome(StoppedOnRequest.exit_code, 0.0, None)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(_HOME), os.environ.get("PYTHONPATH", "")])}
    if job.threads:
        environment |= {"OMP_NUM_THREADS": str(job.threads)}
    with contextlib.ExitStack() as stack:
        if job.on_card:
            card = stack.enter_context(a_card(out, job.per_card))
            environment |= {} if card is None else {"CUDA_VISIBLE_DEVICES": card}
        log = stack.enter_context(open(job.log, "ab"))
        log.write(f"$ spinegan {' '.join(job.command)}\n".encode())
        log.flush()
        code = _watched(job, out, environment, log.fileno())
    return Outcome(code, time.monotonic() - started, reason(Path(job.log)) if code else None)


def _watched(job: Job, out: Path, environment: dict[str, str], log: int) -> int:
    """Exit code of the command; it is told to stop with the experiment, or with the worker's own maker."""
    command = [sys.executable, *job.program, *job.command]
    mark = out / "tasks" / job.id / CHILD
    with interrupts.deferred():
        child = subprocess.Popen(command, cwd=out, env=environment, stdout=log, stderr=log,
                                 stdin=subprocess.DEVNULL)  # fmt: skip
        mark.write_text(f"{platform.node()} {child.pid}")
    is_told = False
    _Busy.count += 1
    while True:
        try:
            code = child.wait(_LOOK_SEC)
            break
        except subprocess.TimeoutExpired:
            if not is_told and ((out / STOP).exists() or not _Maker.lives()):
                child.terminate()
                is_told = True
        except KeyboardInterrupt:  # serial: Ctrl-C reached the command, too; it saves and leaves
            (out / STOP).touch()
    _Busy.count -= 1
    mark.unlink(missing_ok=True)
    if not _Maker.lives():
        os._exit(1)  # nobody waits for the result
    return code


class _Maker:
    """The process that this worker works for: should it be killed, the worker must not stay behind."""

    is_watched = False

    @staticmethod
    def lives() -> bool:
        maker = multiprocessing.parent_process()
        return maker is None or maker.is_alive()

    @classmethod
    def watch(cls) -> None:
        """An idle worker waits for words that never come; this thread ends it."""
        maker = multiprocessing.parent_process()
        if maker is None or cls.is_watched:
            return
        cls.is_watched = True

        def wait() -> None:
            maker.join()
            while _Busy.count:  # whoever watches a command ends it first
                time.sleep(_LOOK_SEC)
            os._exit(1)

        threading.Thread(target=wait, daemon=True).start()


class _Busy:
    """Commands that this process watches just now."""

    count = 0


def end_orphan(folder: Path, *, patience_sec: float = 60.0) -> bool:
    """End what a killed runner left working in a task's folder, so that it saves; whether there was one."""
    mark = folder / CHILD
    try:
        host, number = mark.read_text().split()
        pid = int(number)
        # A number is given again to others: only a process that names this task is its own.
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        mark.unlink(missing_ok=True)
        return False
    if host != platform.node() or folder.name.encode() not in words:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + patience_sec
    while time.monotonic() < end and Path(f"/proc/{pid}").exists() and not _is_zombie(pid):
        time.sleep(_LOOK_SEC)
    mark.unlink(missing_ok=True)
    return True


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def reason(log: Path) -> str:
    """The sentence that a command left with: its last line, or the last that begins with `Error`."""
    try:
        with open(log, "rb") as file:
            file.seek(max(0, os.path.getsize(log) - _LAST_LINES))
            lines = [line.strip() for line in file.read().decode("utf-8", "replace").splitlines()]
    except OSError:
        return "it left no log"
    said = [line for line in lines if line and not line.startswith("$ ")]
    errors = [line for line in said if line.startswith(("Error: ", "UserError: "))]
    return (errors or said or ["it said nothing"])[-1].removeprefix("Error: ")


# Cards.


def cards() -> list[str]:
    """The graphics cards of this computer that may be used, by number or name, without asking a library."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [card.strip() for card in visible.split(",") if card.strip() not in ("", "-1")]
    devices = (path.name.removeprefix("nvidia") for path in Path("/dev").glob("nvidia[0-9]*"))
    return sorted((name for name in devices if name.isdigit()), key=int)


@contextlib.contextmanager
def a_card(out: Path, per_card: int) -> Iterator[str | None]:
    """A card that no other task has, waited for; None where there is none.

    Held by a lock of the computer, so that workers of several runners, and threads of a cluster, agree.
    """
    found = cards()
    if not found or fcntl is None:
        yield None
        return
    with contextlib.ExitStack() as stack:
        while True:
            for card in found:
                for place in range(per_card):
                    if _locked(stack, card, place):
                        yield card
                        return
            if (out / STOP).exists():
                yield found[0]  # it will be stopped before it begins
                return
            time.sleep(_LOOK_SEC)


def _locked(stack: contextlib.ExitStack, card: str, place: int) -> bool:
    safe = "".join(c if c.isalnum() else "_" for c in card)
    path = Path(tempfile.gettempdir(), f"spinegan-card-{os.getuid()}-{safe}-{place}.lock")
    file = open(path, "ab")  # noqa: SIM115 - kept open: the lock is its
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return False
    stack.callback(file.close)
    return True


# What stands in the folder before and after.


def prepare(folder: Path, writes: tuple[str, ...], *, continues: bool) -> None:
    """Remove what a try that was stopped has left, unless it is gone on with."""
    if continues:
        return
    for pattern in writes:
        for path in folder.glob(pattern):
            path.unlink() if path.is_file() else shutil.rmtree(path)


def finish(folder: Path, work: str, run: str) -> None:
    """The one run folder of a GAN gets the name that readers know."""
    if (folder / work).is_dir() and not (folder / run).exists():
        made = sorted(path for path in (folder / work).iterdir() if path.is_dir())
        if made:
            os.replace(made[-1], folder / run)
            shutil.rmtree(folder / work)
