"""task.json: what a task was, what it read and wrote, by hashes; and whether that still holds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

from spine_plugins.experiments.tasks import Facts, Task
from stylegan2ada import files
from stylegan2ada.errors import UserError

State = Literal["waiting", "running", "done", "failed", "skipped"]
RECORD = "task.json"
LOG = "log.txt"
_HASHES = "hashes.json"  # of files that are not a task's, so that large ones are read once

Stamp = list[int]  # size, time of last change in nanoseconds: what has the same is the same


@dataclass(frozen=True)
class Record:
    """The file's content."""

    id: str
    kind: str
    command: list[str]
    needs: list[str]
    facts: Facts
    state: State = "waiting"
    inputs: dict[str, str] = field(default_factory=dict)  # {path: SHA-256}
    outputs: dict[str, str] = field(default_factory=dict)  # {path in the task's folder: SHA-256}
    stamps: dict[str, Stamp] = field(default_factory=dict)  # of the outputs, when they were hashed
    seconds: float | None = None  # over all tries
    why: str | None = None  # it failed or was skipped

    @property
    def identity(self) -> tuple[object, ...]:
        """What must be equal for its outputs to be those of this task."""
        return (self.kind, self.command, self.inputs)


def of_task(task: Task) -> Record:
    return Record(task.id, task.kind, list(task.command), list(task.needs), dict(task.facts))


def read(out: Path, task_id: str) -> Record | None:
    """What is known of a task; None if nothing is, or the file is damaged."""
    try:
        found = json.loads((out / "tasks" / task_id / RECORD).read_bytes())
        return Record(**found)
    except (OSError, ValueError, TypeError):
        return None


def write(out: Path, record: Record) -> None:
    """The record in the folder of its task."""
    folder = out / "tasks" / record.id
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files.write_json(folder / RECORD, asdict(record))
    except OSError as error:
        raise UserError(
            f"{folder / RECORD} cannot be written ({error.strerror}); make room or give rights, and give the "
            "same command again: what is done stays done"
        ) from error


class Hashes:
    """SHA-256 of files by path, each read once while it stays as it is."""

    def __init__(self, out: Path) -> None:
        self.out, self._path = out, out / _HASHES
        try:
            known = json.loads(self._path.read_bytes())
        except (OSError, ValueError):
            known = {}
        self._known: dict[str, list[object]] = known if isinstance(known, dict) else {}

    def of(self, path: str) -> str:
        """Of a file, given absolutely or relative to the experiment."""
        place = self.out / path
        stamp = stamp_of(place)
        known = self._known.get(path)
        if known is None or known[0] != stamp:
            known = self._known[path] = [stamp, files.sha256_file(place)]
            files.write_json(self._path, self._known)
        return str(known[1])

    def inputs(self, reads: tuple[str, ...]) -> dict[str, str]:
        """Of all that a task reads; patterns stand for the files they find."""
        found: dict[str, str] = {}
        for path in reads:
            if "*" in path:
                found |= {str(one.relative_to(self.out)): "" for one in sorted(self.out.glob(path))}
            else:
                found[path] = ""
        return {path: self.of(path) for path in found}


def stamp_of(path: Path) -> Stamp:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def with_outputs(out: Path, record: Record, writes: tuple[str, ...]) -> Record:
    """The record with what the task has left; UserError if something is not there."""
    folder = out / "tasks" / record.id
    outputs, stamps = {}, {}
    for pattern in writes:
        found = sorted(folder.glob(pattern))
        if not found:
            raise UserError(f"the command ended well, but left no {pattern}")
        for path in found:
            name = str(path.relative_to(folder))
            outputs[name], stamps[name] = files.sha256_file(path), stamp_of(path)
    return replace(record, outputs=outputs, stamps=stamps)


def edited(out: Path, record: Record) -> list[str]:
    """Outputs that are there and are not what the task wrote."""
    folder = out / "tasks" / record.id
    return [
        name
        for name, digest in record.outputs.items()
        if (folder / name).exists()
        and stamp_of(folder / name) != record.stamps.get(name)
        and files.sha256_file(folder / name) != digest
    ]


def is_complete(out: Path, record: Record) -> bool:
    """Whether all outputs are there."""
    return all((out / "tasks" / record.id / name).exists() for name in record.outputs)


def sha256_of(value: Mapping[str, object] | str) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
