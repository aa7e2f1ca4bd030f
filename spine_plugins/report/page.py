"""The page: what was read of the runs, in the order in which a reader asks for it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from spine_plugins.markup import Safe, join, tag, trusted
from spine_plugins.report import charts, making, parts, privacy, sections
from spine_plugins.report.gallery import Album
from spine_plugins.report.look import SCRIPT, STYLE
from spine_plugins.runs.reading import Run
from stylegan2ada import __version__
from stylegan2ada.errors import UserError
from stylegan2ada.files import atomic_write

_READ = "Point at a curve, or focus it and use the arrow keys, to read its values; all curves here work so."
_NO_CURVES = "No tick is finished yet; make this page again later."


@dataclass(frozen=True)
class Content:
    """What the parts of a page are made from."""

    runs: list[Run]  # a part that needs a file of its own finds it by `run.folder`
    album: Album  # makes small pictures within the page's budget
    with_paths: bool  # show folders, not only names of files


def _metrics(content: Content) -> Safe | None:
    return sections.chart_grid(charts.metrics(content.runs), sections.no_metrics(content.runs))


def _training(content: Content) -> Safe | None:
    return sections.chart_grid(charts.statistics(content.runs), _NO_CURVES, _READ)


# The parts in the order in which a reader asks for them: (key, title, function). A part that answers None is
# not on the page, so what only some runs have needs no switch. A new one is a file beside this one with a
# function that reads a file of the run folder (by its name in `run_files`, through `runs.documents`, never
# the room that wrote it) and makes markup of it; and one line here.
Part = tuple[str, str, Callable[[Content], Safe | None]]
PARTS: list[Part] = [
    ("summary", "Summary", lambda c: sections.key_figures(c.runs)),
    ("warnings", "Warnings", lambda c: sections.warnings(c.runs, with_paths=c.with_paths)),
    ("images", "Images", lambda c: c.album.galleries()),
    ("metrics", "Metrics", _metrics),
    ("judge", "Independent judge", lambda c: sections.chart_grid(charts.judge(c.runs))),
    ("training", "Training", _training),
    ("privacy", "Privacy", lambda c: privacy.privacy(c.runs)),
    ("data", "Data set", lambda c: parts.data_sets(c.runs, c.album)),
    ("classifier", "Classifier", lambda c: parts.classifiers(c.runs)),
    ("synthetic", "Synthetic data", lambda c: parts.synthetic(c.runs)),
    ("making", "How it was made", lambda c: making.making(c.runs, with_paths=c.with_paths)),
]


def write_page(runs: list[Run], target: Path, *, with_paths: bool = False) -> int:
    """Write the page and return its size in bytes."""
    # Absolute, because links lead from the page's folder to files that may lie in another.
    written = page(runs, target.absolute(), with_paths=with_paths).encode("utf-8", "replace")
    try:
        with atomic_write(target) as file:
            file.write(written)
    except OSError as error:
        raise UserError(
            f"--out={target} cannot be written ({error.strerror}); choose another file"
        ) from error
    return len(written)


def page(
    runs: list[Run],
    target: Path,  # where it will be, for links
    *,
    with_paths: bool = False,
) -> str:
    """The whole page as text."""
    content = Content(runs, Album(runs, target), with_paths)
    made = [(key, name, function(content)) for key, name, function in PARTS]
    present = [(key, name, part) for key, name, part in made if part]
    title = runs[0].name if len(runs) == 1 else f"{len(runs)} runs compared"
    links = [tag("li", tag("a", name, href=f"#{key}")) for key, name, _ in present]
    body = tag(
        "body",
        tag("a", "Skip to the content", href="#content", class_="skip"),
        tag("header", tag("div", sections.heading(runs, title), class_="frame-width"), class_="top"),
        tag("nav", tag("ul", links, class_="frame-width"), class_="parts", aria_label="Parts of this page"),
        tag("main", [_section(*part) for part in present], id="content", class_="frame-width", tabindex="-1"),
        tag("footer", _imprint(), class_="frame-width"),
        tag("script", trusted(SCRIPT)),
    )
    return join([trusted("<!doctype html>\n"), tag("html", _head(title), body, lang="en")])


def _section(key: str, name: str, content: Safe) -> Safe:
    heading = tag("h2", name, id=f"{key}-title")
    return tag("section", heading, content, id=key, aria_labelledby=f"{key}-title")


def _imprint() -> str:
    return (
        f"Written by spinegan {__version__} at {datetime.now(UTC):%Y-%m-%d %H:%M} UTC. "
        "Nothing in this page is loaded from anywhere else."
    )


def _head(title: str) -> Safe:
    # Whatever a file name might smuggle in: only this style and this script can ever act.
    policy = (
        f"default-src 'none'; img-src data:; style-src {_hash(STYLE)}; script-src {_hash(SCRIPT)}; "
        "base-uri 'none'; form-action 'none'"
    )
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("link", rel="icon", href="data:,"),
        tag("title", f"{title} \u2013 SpineGAN report"),
        tag("style", trusted(STYLE)),
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
