"""What an experiment has left in its folder, as plain data; anything may be missing, failed or changed."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from spine_plugins.runs.documents import (
    Document,
    as_dict,
    as_list,
    finite,
    parsed,
    read_json,
    read_text,
    whole,
)
from stylegan2ada.errors import NothingToDoError
from stylegan2ada.files import sha256_file

PLAN, TASKS = "plan.json", "tasks"
CONTROL, BLOG = "control", "blog"  # groups of rows


@dataclass(frozen=True)
class Row:
    """A row that the plan asks for."""

    name: str
    title: str
    group: str
    paper: float | None
    against: str | None
    arm: str | None
    images: int | None
    tags: Document  # whatever else the plan says of it

    @property
    def is_control(self) -> bool:
        return self.group == CONTROL


@dataclass(frozen=True)
class Arm:
    """Trainings of one kind of GAN."""

    name: str
    title: str
    seeds: tuple[int, ...]
    kimg: float | None
    classes: int | None
    private: str | None
    tags: Document


@dataclass(frozen=True)
class Task:
    """One command of the experiment."""

    id: str
    kind: str
    state: str
    why: str | None
    seconds: float | None
    command: str
    facts: Document
    outputs: Document  # {path in the folder: sha256}
    folder: Path

    @property
    def is_done(self) -> bool:
        return self.state == "done"

    def fact(self, name: str) -> str | None:
        value = self.facts.get(name)
        return None if value is None else str(value)


@dataclass(frozen=True)
class Analysis:
    """What the plan fixed before the numbers were there."""

    level: float = 0.95
    resamples: int = 2000
    margin: float = 0.03  # of AUC: a difference that would not matter
    primary: str = "auc"


@dataclass(frozen=True)
class Experiment:
    """An experiment's folder, read."""

    folder: Path
    name: str
    classes: tuple[str, ...]
    rows: tuple[Row, ...]
    arms: tuple[Arm, ...]
    analysis: Analysis
    tables: tuple[str, ...]
    figures: tuple[str, ...]
    frozen: Document | None
    tasks: tuple[Task, ...]
    plan: Document
    changed: list[str] = field(default_factory=list)  # outputs that are no longer what the task wrote

    def of_kind(self, kind: str) -> list[Task]:
        return [task for task in self.tasks if task.kind == kind]

    def data(self, name: str) -> Path | None:
        """Where a data set lies: absolute, or in the folder."""
        found = as_dict(self.plan.get("data")).get(name)
        return self.folder / found if isinstance(found, str) and found else None

    def output(self, task: Task, name: str) -> Path | None:
        """A file that a finished task wrote; None if it is not there, or not as it was written."""
        path = task.folder / name
        if not task.is_done or not path.is_file():
            return None
        recorded = task.outputs.get(name)
        if isinstance(recorded, str) and sha256_file(path) != recorded:
            note = f"{TASKS}/{task.id}/{name}"
            if note not in self.changed:
                self.changed.append(note)
            return None
        return path


def read_experiment(folder: str | Path) -> Experiment:
    """The experiment in a folder; a NothingToDoError if it is none."""
    folder = Path(folder)
    plan = read_json(folder / PLAN)
    if not plan:
        raise NothingToDoError(
            f"{folder} has no {PLAN}, so it holds no experiment; give the folder that "
            "`spinegan experiments run --out` wrote"
        )
    return Experiment(
        folder=folder.resolve(),
        name=str(plan.get("name") or folder.resolve().name),
        classes=tuple(map(str, as_list(plan.get("classes")))),
        rows=tuple(_rows(plan)),
        arms=tuple(_arms(plan)),
        analysis=_analysis(as_dict(plan.get("analysis"))),
        tables=tuple(map(str, as_list(plan.get("tables")))),
        figures=tuple(map(str, as_list(plan.get("figures")))),
        frozen=as_dict(plan.get("frozen")) or None,
        tasks=tuple(_tasks(folder.resolve() / TASKS)),
        plan=plan,
    )


def _rows(plan: Document) -> Iterator[Row]:
    known = {"row", "title", "group", "paper", "against", "arm", "images"}
    for entry in map(as_dict, as_list(plan.get("rows"))):
        name = _text(entry.get("row"))
        if name is not None:
            yield Row(
                name=name,
                title=_text(entry.get("title")) or name,
                group=_text(entry.get("group")) or "paper",
                paper=finite(entry.get("paper")),
                against=_text(entry.get("against")),
                arm=_text(entry.get("arm")),
                images=whole(entry.get("images")),
                tags={key: value for key, value in entry.items() if key not in known},
            )


def _arms(plan: Document) -> Iterator[Arm]:
    known = {"arm", "title", "seeds", "kimg", "classes", "private"}
    for entry in map(as_dict, as_list(plan.get("gans"))):
        name = _text(entry.get("arm"))
        if name is not None:
            yield Arm(
                name=name,
                title=_text(entry.get("title")) or name,
                seeds=tuple(seed for s in as_list(entry.get("seeds")) if (seed := whole(s)) is not None),
                kimg=finite(entry.get("kimg")),
                classes=whole(entry.get("classes")),
                private=_text(entry.get("private")),
                tags={key: value for key, value in entry.items() if key not in known},
            )


def _analysis(found: Document) -> Analysis:
    default = Analysis()
    level, margin = finite(found.get("level")), finite(found.get("margin"))
    resamples = whole(found.get("resamples"))
    return Analysis(
        level=level if level is not None and 0 < level < 1 else default.level,
        resamples=max(resamples, 100) if resamples is not None else default.resamples,
        margin=default.margin if margin is None else margin,
        primary=_text(found.get("primary")) or default.primary,
    )


def _tasks(folder: Path) -> Iterator[Task]:
    for path in sorted(folder.glob("*/task.json")):
        found = read_json(path)
        if not found:
            continue
        yield Task(
            id=_text(found.get("id")) or path.parent.name,
            kind=_text(found.get("kind")) or "",
            state=_text(found.get("state")) or "waiting",
            why=_text(found.get("why")),
            seconds=finite(found.get("seconds")),
            command=_command(as_list(found.get("command"))),
            facts=as_dict(found.get("facts")),
            outputs=as_dict(found.get("outputs")),
            folder=path.parent,
        )


def _command(words: list[object]) -> str:
    """As one would type it."""
    line = shlex.join(map(str, words))
    return line if line.startswith("spinegan") or not line else f"spinegan {line}"


def _text(value: object) -> str | None:
    return str(value) if isinstance(value, str | int | float) and str(value) else None


def missing(experiment: Experiment, row: Row) -> list[str]:
    """Why a row lacks what was planned: a sentence for each of its tasks that failed or was skipped."""
    states = ("failed", "skipped")
    return [
        f"{task.id} {task.state}{f': {task.why}' if task.why else ''}"
        for task in experiment.tasks
        if task.fact("row") == row.name and task.state in states
    ]


def metric_records(path: Path) -> list[Document]:
    """Records of a file that `spinegan metrics --json` wrote."""
    return [as_dict(record) for record in as_list(as_dict(parsed(read_text(path))).get("records"))]
