"""What the files of a run say, as plain data; anything may be missing, half written or damaged."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from spine_plugins.runs.cards import classifier_card, synthetic_cards
from spine_plugins.runs.dataset import Dataset, read_dataset
from spine_plugins.runs.documents import (
    Document,
    as_dict,
    finite,
    number,
    parsed,
    read_lines,
    read_text,
    whole,
)
from spine_plugins.runs.state import State, state_of
from stylegan2ada.errors import NothingToDoError, UserError
from stylegan2ada.training import run_files
from stylegan2ada.training.run_files import Event


@dataclass(frozen=True)
class Snapshot:
    """The pictures of one moment."""

    kimg: int | None  # None: before training
    fakes: Path | None
    classes: dict[int, Path] = field(default_factory=dict)

    @property
    def label(self) -> str:
        return "before training" if self.kimg is None else f"{self.kimg} kimg"


@dataclass(frozen=True)
class Measured:
    """One line of a metric's file."""

    kimg: float | None
    results: dict[str, float]
    record: Document


@dataclass(frozen=True)
class Run:
    """One run folder, read."""

    folder: Path
    options: Document
    stats: list[Document]
    events: list[Event]  # less those that a later `continued` took back
    is_waiting: bool  # stopped on request, not continued yet
    metrics: dict[str, list[Measured]]  # by kimg
    judge: list[Document]
    snapshots: list[Snapshot]
    class_names: dict[int, str]
    damaged: dict[str, int]  # file name: lines that could not be read
    dataset: Dataset
    classifier: Document | None
    synthetic: list[tuple[str, Document]]  # (name of the card's file, card)
    label: str = ""  # beside other runs: what is different

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def ours(self) -> Document:
        return as_dict(self.options.get(run_files.OURS))

    @property
    def reals(self) -> Path | None:
        path = self.folder / run_files.REALS
        return path if path.is_file() else None

    @property
    def resolution(self) -> int | None:
        return whole(as_dict(self.options.get("training_set_kwargs")).get("resolution"))

    @property
    def total_kimg(self) -> float | None:
        return finite(self.options.get("total_kimg"))

    @cached_property
    def kimg(self) -> float | None:
        """How far it has come."""
        return next((x for x, _ in reversed(self.series("Progress/kimg"))), None)

    @cached_property
    def state(self) -> State:
        return state_of(
            self.events,
            is_waiting=self.is_waiting,
            has_ticks=bool(self.stats),
            kimg=self.kimg,
            total_kimg=self.total_kimg,
        )

    def series(self, name: str) -> list[tuple[float, float]]:
        """(kimg, mean) of every tick that has this statistic; the mean may be NaN."""
        found = []
        for row in self.stats:
            x, entry = _mean(row.get("Progress/kimg")), as_dict(row.get(name))
            # A count of 0: nothing was reported in this tick, which is no failure.
            if x is not None and math.isfinite(x) and entry.get("num") != 0:
                y = _mean(entry)
                if y is not None:
                    found.append((x, y))
        return found

    def is_toy(self, metric: str) -> bool:
        """Whether a metric's values compare with nobody else's."""
        return any(line.record.get("is_comparable") is False for line in self.metrics.get(metric, []))

    def statistics(self) -> list[str]:
        """Names of everything that was ever reported, in order."""
        return list(dict.fromkeys(name for row in self.stats for name in row))


def read_run(
    folder: str | Path,
    synthetic: Iterable[str] = (),  # data sets made with its networks, or their cards, elsewhere
) -> Run:
    """The run in a folder; UserError if it is none, NothingToDoError if it is empty."""
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; give the folder of a run, like runs/00000-NAME")
    # `.` has no name to show, and the data is also looked for in the folders above.
    folder = folder.resolve()
    damaged: dict[str, int] = {}
    options = _options(folder, damaged)
    stats = list(read_lines(folder / run_files.STATS, damaged))
    if not options and not stats:
        _refuse(folder)
    snapshots, class_names = _snapshots(folder)
    return Run(
        folder=folder,
        options=options,
        stats=stats,
        events=_events(folder, damaged),
        is_waiting=(folder / run_files.REQUEUE).exists(),
        metrics=_metrics(folder, damaged),
        judge=list(read_lines(folder / run_files.JUDGE, damaged)),
        snapshots=snapshots,
        class_names=class_names,
        damaged=damaged,
        dataset=read_dataset(as_dict(options.get("training_set_kwargs")).get("path"), folder),
        classifier=classifier_card(as_dict(options.get("loss_kwargs")).get("classifier"), folder),
        synthetic=synthetic_cards(folder, synthetic),
    )


def _refuse(folder: Path) -> None:
    inside = sorted(path.parent.name for path in folder.glob(f"*/{run_files.OPTIONS}"))
    if inside:
        hint = f"it holds runs, give one of them: {', '.join(inside[:5])}"
    else:
        hint = "give the folder of a run"
    raise NothingToDoError(
        f"{folder} has neither {run_files.OPTIONS} nor {run_files.STATS}, so it is no run; {hint}"
    )


def _options(folder: Path, damaged: dict[str, int]) -> Document:
    text = read_text(folder / run_files.OPTIONS)
    found = parsed(text)
    # A file that is missing reads as empty text, and is no damage.
    if text and not isinstance(found, dict):
        damaged[run_files.OPTIONS] = 1
    return as_dict(found)


def _events(folder: Path, damaged: dict[str, int]) -> list[Event]:
    for _ in read_lines(folder / run_files.EVENTS, damaged):
        pass  # read_events leaves damaged lines out in silence; a page must tell of them
    return run_files.effective(run_files.read_events(folder))


def _metrics(folder: Path, damaged: dict[str, int]) -> dict[str, list[Measured]]:
    """{metric: measurements by kimg}; measured twice on one network, the later one counts."""
    found: dict[str, list[Measured]] = {}
    for name, path in run_files.metric_files(folder).items():
        by_kimg: dict[float | None, Measured] = {}
        for record in read_lines(path, damaged):
            kimg = run_files.kimg_of(str(record.get("snapshot_pkl") or ""))
            results = {key: number(value) for key, value in as_dict(record.get("results")).items()}
            usable = {key: value for key, value in results.items() if value is not None}
            by_kimg[kimg] = Measured(kimg, usable, record)
        if by_kimg:
            # A name without a number is of networks before training: to the front.
            found[name] = sorted(by_kimg.values(), key=lambda m: -1 if m.kimg is None else m.kimg)
    return found


def _snapshots(folder: Path) -> tuple[list[Snapshot], dict[int, str]]:
    """Pictures by moment, the one before training first; and the names of the classes."""
    fakes: dict[int | None, Path] = {}
    classes: dict[int | None, dict[int, Path]] = {}
    names: dict[int, str] = {}
    for grid in run_files.grids_in(folder):
        if grid.index is None:
            fakes[grid.kimg] = grid.path
        else:
            classes.setdefault(grid.kimg, {})[grid.index] = grid.path
            names[grid.index] = grid.name or f"class {grid.index}"
    moments = sorted(fakes.keys() | classes.keys(), key=lambda kimg: -1 if kimg is None else kimg)
    shown = [Snapshot(m, fakes.get(m), dict(sorted(classes.get(m, {}).items()))) for m in moments]
    return shown, dict(sorted(names.items()))


def _mean(entry: object) -> float | None:
    return number(as_dict(entry).get("mean"))
