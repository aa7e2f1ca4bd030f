"""The files of a run folder: names, which of them grow, which are public; and the run's events. No torch.

Writers and readers of a run both stand on this page, so that nobody parses what was printed for people.
"""

from __future__ import annotations

import contextlib
import enum
import fnmatch
import json
import math
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

from stylegan2ada import files
from stylegan2ada.errors import UserError

OPTIONS = "training_options.json"
CONFIG = "config.toml"
OURS = "spinegan"  # our part of the options file, beside upstream's keys
STATE = "training-state.pt"
PREVIOUS = ".previous"  # ending of the state before the newest
LOCK = ".lock"  # of the process that writes to the folder; says who
REQUEUE = "REQUEUE"  # exists while a run was stopped on request and waits to be continued
STATS = "stats.jsonl"
LOG = "log.txt"
EVENTS = "events.jsonl"
JUDGE = "judge.jsonl"
ENGINE = "engine.json"  # which program trained, where it was not ours
ENGINE_LOG = "engine_log.txt"  # what it said last, if it failed
AUDITS = "audits.jsonl"  # of the snapshots, made in training
AUDIT = "audit/audit.json"  # where the report looks for an audit of what the run has drawn
REALS = "reals.png"
REPORT = "report.html"
CLASSES = "classes"  # folder of a grid per class
PRIVATE = "privacy/private"  # mode 700: what a private run may not show


class Trait(enum.Flag):
    """What holds of a file."""

    PUBLIC = enum.auto()  # shows no training image, nor what was measured on one outside the training itself
    GROWS = enum.auto()  # lines are only ever appended
    CUT_BACK = enum.auto()  # by --continue, to its length at the saved state: what followed happens again
    OWNER = enum.auto()  # for the owner's eyes alone, whatever the umask: shows or orders training images


_NONE = Trait(0)
_LOG = Trait.GROWS | Trait.CUT_BACK
_HISTORY = Trait.PUBLIC | Trait.GROWS


@dataclass(frozen=True)
class RunFile:
    """One row of the table below."""

    pattern: str  # as fnmatch has it, relative to the run folder
    traits: Trait
    what: str


# fmt: off
TABLE = (
    RunFile(OPTIONS,                    Trait.PUBLIC, "what was asked for, and of which program"),
    RunFile(CONFIG,                     Trait.PUBLIC, "the flags it was started with, for --config"),
    RunFile(LOG,                        Trait.PUBLIC | _LOG, "what was printed"),
    RunFile(STATS,                      Trait.PUBLIC | _LOG, "statistics of every tick"),
    RunFile("events.out.tfevents*",     _HISTORY, "the same; TensorBoard hides what was undone"),
    RunFile(EVENTS,                     _HISTORY, "what happened; `effective` hides what was undone"),
    RunFile("metric-*.jsonl",           _LOG, "measurements against real images"),
    RunFile(JUDGE,                      _LOG, "what a second classifier says of fakes and reals"),
    RunFile(ENGINE,                     Trait.PUBLIC, "the official program that trained, and with what"),
    RunFile(ENGINE_LOG,                 _NONE, "its last lines, if it failed"),
    RunFile(AUDITS,                     _LOG, "tests of copies at snapshots, against held-out images"),
    RunFile("audit/audit.*",            Trait.PUBLIC, "verdicts of an audit, rounded, and the page about it"),
    RunFile("audit/private/*",          _NONE, "scores of patients and pictures of pairs"),
    RunFile("network-snapshot-*.pkl",   Trait.PUBLIC, "networks"),
    RunFile("fakes*.png",               Trait.PUBLIC, "generated images"),
    RunFile(f"{CLASSES}/*.png",         Trait.PUBLIC, "generated images of one class"),
    RunFile(REQUEUE,                    Trait.PUBLIC, "the run was stopped on request and waits"),
    RunFile(LOCK,                       _NONE, "who writes to the folder now"),
    RunFile(REALS,                      Trait.OWNER, "training images"),
    RunFile(f"{STATE}*",                Trait.OWNER, "all that --continue needs, and the order of images"),
    RunFile(REPORT,                     _NONE, "the page about the run, with training images"),
    RunFile("privacy/ledger.jsonl",     _HISTORY, "queries of a private run; never cut back"),
    RunFile("privacy/privacy_report.*", Trait.PUBLIC, "the statement of a private run"),
    RunFile(f"{PRIVATE}/{STATS}",       _LOG, "statistics that a private run may not show"),
    RunFile(f"{PRIVATE}/*",             _NONE, "what else it may not show"),
)
# fmt: on


def find_row(name: str) -> RunFile | None:
    """The row of a file, given relative to its run folder; None for a file that is not ours."""
    return next((row for row in TABLE if fnmatch.fnmatchcase(name, row.pattern)), None)


def is_public(name: str) -> bool:
    """Whether a file of a run may be shown; what is not on the table may not."""
    row = find_row(name)
    return row is not None and Trait.PUBLIC in row.traits


def cut_back_files(run_dir: Path) -> list[Path]:
    """The files that are there and go back to their length at the saved state."""
    patterns = [row.pattern for row in TABLE if Trait.CUT_BACK in row.traits]
    return sorted({path for pattern in patterns for path in run_dir.glob(pattern) if path.is_file()})


# Names with a number in them.


SNAPSHOTS = "network-snapshot-KIMG.pkl"  # for sentences
_SNAPSHOT = re.compile(r"network-snapshot-\d+\.(pkl|safetensors)")


def snapshot(kimg: int) -> str:
    """network-snapshot-000200.pkl"""
    return f"network-snapshot-{kimg:06d}.pkl"


def snapshots_in(run_dir: Path) -> list[Path]:
    """Network snapshots, oldest first."""
    return sorted(path for path in run_dir.iterdir() if _SNAPSHOT.fullmatch(path.name))


def fakes(kimg: int | None) -> str:
    """fakes000200.png; fakes_init.png before training."""
    return "fakes_init.png" if kimg is None else f"fakes{kimg:06d}.png"


def class_fakes(kimg: int | None, index: int, name: str | None = None) -> str:
    """classes/fakes000200-class1-abnormal.png"""
    tail = re.sub(r"[^0-9A-Za-z]+", "_", name).strip("_") if name else ""
    return f"{CLASSES}/{fakes(kimg).removesuffix('.png')}-class{index}{'-' + tail if tail else ''}.png"


def metric(name: str) -> str:
    """metric-fid50k_full.jsonl"""
    return f"metric-{name}.jsonl"


def metric_files(run_dir: Path) -> dict[str, Path]:
    """{metric: the file of its measurements}, in order of names."""
    prefix, suffix = metric("*").split("*")
    paths = sorted(run_dir.glob(metric("*")))
    return {path.name.removeprefix(prefix).removesuffix(suffix): path for path in paths}


_GRID = re.compile(r"fakes(\d+|_init)(?:-class(\d+)(?:-(.*))?)?\.png")


@dataclass(frozen=True)
class Grid:
    """A picture of generated images, as its name tells."""

    path: Path
    kimg: int | None  # None: before training
    index: int | None = None  # of the one class it shows; None: all classes
    name: str | None = None  # of that class, as far as a file name can say it


def grids_in(run_dir: Path) -> list[Grid]:
    """Pictures of generated images: first those of all classes, then those of one class; by names."""
    found = []
    for folder in (run_dir, run_dir / CLASSES):
        for path in sorted(folder.glob("fakes*.png")):
            match = _GRID.fullmatch(path.name)
            if match is None or (match[2] is not None) != (folder != run_dir):
                continue
            kimg = None if match[1] == "_init" else int(match[1])
            index = None if match[2] is None else int(match[2])
            found.append(Grid(path, kimg, index, match[3] and match[3].replace("_", " ")))
    return found


def kimg_of(name: str) -> int | None:
    """The number at the end of a snapshot's or a picture's name; None if it has none."""
    digits = re.search(r"(\d+)\.\w+$", name)
    return int(digits[1]) if digits else None


# Networks by where they were trained.

LOWER_IS_BETTER = ("fid", "kid", "ppl")  # how names of such metrics begin


def network_in(place: str) -> str:
    """The file that is meant by a run folder, RUN/latest or RUN/best:METRIC; anything else as it is."""
    path = Path(place)
    if path.is_file():
        return place
    if path.is_dir():
        path = path / "latest"
    folder, which = path.parent, path.name
    is_choice = which == "latest" or which.startswith("best:")
    if not is_choice or not folder.is_dir():
        return place
    if not (known := snapshots_in(folder)):
        raise UserError(f"{folder} holds no network yet; give a run folder with a {SNAPSHOTS}, or a file")
    return str(known[-1] if which == "latest" else _best(folder, which.removeprefix("best:"), known))


def _best(folder: Path, name: str, known: list[Path]) -> Path:
    """The snapshot with the best value of a metric, the earliest of equals."""
    there = {path.name: path for path in known}
    found: list[tuple[float, Path]] = []
    with contextlib.suppress(OSError):
        for line in (folder / metric(name)).read_text().splitlines():
            row = json.loads(line)
            if row.get("snapshot_pkl") in there:
                found.append((next(iter(row["results"].values())), there[row["snapshot_pkl"]]))
    if not found:
        raise UserError(
            f"{folder}/best:{name}: the run has no {metric(name)} about a network that is still there; use "
            "latest, or measure with calc_metrics.py"
        )
    is_low = name.startswith(LOWER_IS_BETTER)
    return min(found, key=lambda row: row[0] if is_low else -row[0])[1]


# Events.

_ENDS = ("stopped", "finished", "diverged")
KINDS = ("started", "continued", "saved", "stopped", "finished", "diverged", "warning")
_MOST_BYTES = 64 << 20  # of the events of one run; more is no file of ours


@dataclass(frozen=True)
class Event:
    """Something that happened to a run; `code` is for programs, `text` for people."""

    event: str  # one of KINDS
    kimg: float
    code: str = ""
    text: str = ""
    time: float = 0.0  # seconds since 1970


def add_event(run_dir: Path, event: str, *, kimg: float, code: str = "", text: str = "") -> Event:
    """Append one line, on disk before this returns; an event is worth more than the run that it ends."""
    assert event in KINDS, event
    record = Event(event, kimg, code, text, time.time())
    line = json.dumps({"time": record.time, "kimg": kimg, "event": event, "code": code, "text": text})
    files.append_line(run_dir / EVENTS, line, sync=True)
    return record


def read_events(run_dir: Path) -> list[Event]:
    """All events in order; lines that are no event (half written, damaged) are left out."""
    path = run_dir / EVENTS
    try:
        if path.stat().st_size > _MOST_BYTES:
            return []
        lines = path.read_bytes().decode("utf-8", "replace").split("\n")
    except OSError:
        return []
    return [event for event in map(_parsed, lines) if event is not None]


def has_warned(run_dir: Path, text: str) -> bool:
    """Whether the run, with all its parts, has said this before."""
    return any(e.event == "warning" and e.text == text for e in effective(read_events(run_dir)))


def effective(events: Iterable[Event]) -> list[Event]:
    """The events less those that a later `continued` took back: what came after its state happened again."""
    kept: list[Event] = []
    for event in events:
        if event.event == "continued":
            kept = [e for e in kept if e.kimg <= event.kimg and e.event not in _ENDS]
        kept.append(event)
    return kept


def state_of(events: Iterable[Event]) -> str:
    """`finished`, `stopped`, `diverged`, `running` (or killed: that leaves no event), `unknown`."""
    last = "unknown"
    for event in events:
        if event.event in ("started", "continued"):
            last = "running"
        elif event.event in _ENDS:
            last = event.event
    return last


def _parsed(line: str) -> Event | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, Mapping) or row.get("event") not in KINDS:
        return None
    kimg, when = row.get("kimg"), row.get("time")
    if not _is_number(kimg):
        return None
    texts = {name: row[name] if isinstance(row.get(name), str) else "" for name in ("code", "text")}
    return Event(str(row["event"]), float(kimg), **texts, time=float(when) if _is_number(when) else 0.0)


def _is_number(value: object) -> TypeGuard[float]:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < 1e300 and math.isfinite(value)
