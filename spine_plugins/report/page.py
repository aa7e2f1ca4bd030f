"""The page: what was read of the runs, in the order in which a reader asks for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from spine_plugins.markup import Safe
from spine_plugins.pages import audited, charts, frame
from spine_plugins.pages.gallery import Album
from spine_plugins.report import making, parts, privacy, sections
from spine_plugins.runs import naming
from spine_plugins.runs.reading import Run

_READ = "Point at a curve, or focus it and use the arrow keys, to read its values; all curves here work so."
_NO_CURVES = "No tick is finished yet; make this page again later."


@dataclass(frozen=True)
class Content:
    """What the parts of a page are made from."""

    runs: list[Run]  # a part that needs a file of its own finds it by `run.folder`
    album: Album  # makes small pictures within the page's budget
    with_paths: bool  # show folders, not only names of files


def _metrics(content: Content) -> Safe | None:
    return charts.grid(charts.metrics(content.runs), sections.no_metrics(content.runs))


def _training(content: Content) -> Safe | None:
    return charts.grid(charts.statistics(content.runs), _NO_CURVES, _READ)


def _judge(content: Content) -> Safe | None:
    return charts.grid(charts.judge(content.runs))


# The parts in the order in which a reader asks for them: (key, title, function). A part that answers None is
# not on the page, so what only some runs have needs no switch. A new one is a file beside this one with a
# function that reads a file of the run folder (by its name in `run_files`, through `runs.documents`, never
# the room that wrote it) and makes markup of it; and one line here.
# The title may depend on the runs.
Part = tuple[str, str | Callable[[Content], str], Callable[[Content], Safe | None]]
PARTS: list[Part] = [
    ("summary", "Summary", lambda c: sections.key_figures(c.runs)),
    ("warnings", "Warnings", lambda c: sections.warnings(c.runs, with_paths=c.with_paths)),
    ("images", "Images", lambda c: c.album.galleries()),
    ("metrics", "Metrics", _metrics),
    ("judge", lambda c: charts.judge_name(c.runs), _judge),
    ("training", "Training", _training),
    ("privacy", "Privacy", lambda c: privacy.privacy(c.runs)),
    ("audit", "Privacy audit", lambda c: audited.of_runs([(run.name, run.folder) for run in c.runs])),
    ("data", "Data set", lambda c: parts.data_sets(c.runs, c.album)),
    ("classifier", "Classifier", lambda c: parts.classifiers(c.runs)),
    ("synthetic", "Synthetic data", lambda c: parts.synthetic(c.runs)),
    ("making", "How it was made", lambda c: making.making(c.runs, with_paths=c.with_paths)),
]


def write_page(runs: list[Run], target: Path, *, with_paths: bool = False) -> int:
    """Write the page and return its size in bytes."""
    # Absolute, because links lead from the page's folder to files that may lie in another.
    return frame.write(page(runs, target.absolute(), with_paths=with_paths), target)


def page(
    runs: list[Run],
    target: Path,  # where it will be, for links
    *,
    with_paths: bool = False,
) -> str:
    """The whole page as text."""
    runs = naming.by_difference(runs)
    content = Content(runs, Album(runs, target), with_paths)
    made = [
        (key, name if isinstance(name, str) else name(content), function(content))
        for key, name, function in PARTS
    ]
    present = [(key, name, part) for key, name, part in made if part]
    title = naming.title(runs[0]) if len(runs) == 1 else f"{len(runs)} runs compared"
    return frame.document(title, sections.heading(runs, title), present, kind="SpineGAN report")
