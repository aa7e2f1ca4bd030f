"""The page: what was read of the runs, in the order in which a reader asks for it."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from pathlib import Path

from spine_plugins.markup import Safe, join, tag, trusted
from spine_plugins.report import charts, making, parts, sections
from spine_plugins.report.gallery import Album
from spine_plugins.report.look import SCRIPT, STYLE
from spine_plugins.runs.reading import Run
from stylegan2ada import __version__
from stylegan2ada.errors import UserError
from stylegan2ada.files import atomic_write

_READ = "Point at a curve, or focus it and use the arrow keys, to read its values; all curves here work so."


def write_page(runs: list[Run], target: Path, *, with_paths: bool = False) -> int:
    """Write the page and return its size in bytes."""
    content = page(runs, target.absolute(), with_paths=with_paths).encode("utf-8", "replace")
    try:
        with atomic_write(target) as file:
            file.write(content)
    except OSError as error:
        raise UserError(
            f"--out={target} cannot be written ({error.strerror}); choose another file"
        ) from error
    return len(content)


def page(
    runs: list[Run],
    target: Path,  # where it will be, for links
    *,
    with_paths: bool = False,
) -> str:
    """The whole page as text."""
    album = Album(runs, target)
    blocks = [
        ("summary", "Summary", sections.key_figures(runs)),
        ("warnings", "Warnings", sections.warnings(runs, with_paths=with_paths)),
        ("images", "Images", album.galleries()),
        ("metrics", "Metrics", sections.chart_grid(charts.metrics(runs), sections.no_metrics(runs))),
        ("judge", "Independent judge", sections.chart_grid(charts.judge(runs))),
        (
            "training",
            "Training",
            sections.chart_grid(charts.statistics(runs), sections.no_curves(runs), _READ),
        ),
        ("data", "Data set", parts.data_sets(runs, album)),
        ("classifier", "Classifier", parts.classifiers(runs)),
        ("synthetic", "Synthetic data", parts.synthetic(runs)),
        ("making", "How it was made", making.making(runs, with_paths=with_paths)),
    ]
    present = [block for block in blocks if block[2]]
    title = runs[0].name if len(runs) == 1 else f"{len(runs)} runs compared"
    body = tag("body",
        tag("a", "Skip to the content", href="#content", class_="skip"),
        tag("header", tag("div", sections.heading(runs, title), class_="frame-width"), class_="top"),
        tag("nav", tag("ul", [tag("li", tag("a", name, href=f"#{key}")) for key, name, _ in present],
                       class_="frame-width"), class_="parts", aria_label="Parts of this page"),
        tag("main", [tag("section", tag("h2", name, id=f"{key}-title"), content, id=key,
                         aria_labelledby=f"{key}-title") for key, name, content in present],
            id="content", class_="frame-width", tabindex="-1"),
        tag("footer", f"Written by spinegan {__version__} at {datetime.now(UTC):%Y-%m-%d %H:%M} UTC. "
            "Nothing in this page is loaded from anywhere else.", class_="frame-width"),
        tag("script", trusted(SCRIPT)),
    )  # fmt: skip
    return join([trusted("<!doctype html>\n"), tag("html", _head(title), body, lang="en")])


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
