"""The frame of every page of ours: one file, nothing loaded from elsewhere, only our style and script act."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime

from spine_plugins.markup import Child, Safe, join, tag, trusted
from spine_plugins.report.look import SCRIPT, STYLE
from stylegan2ada import __version__

Section = tuple[str, str, Safe]  # id, heading, content


def document(
    title: str,
    heading: Child,
    sections: list[Section],
    *,
    of: str = "SpineGAN report",  # what the page is, behind its title
    written: str | None = None,  # when; default: now
) -> str:
    """The whole page as text."""
    links = [tag("li", tag("a", name, href=f"#{key}")) for key, name, _ in sections]
    body = tag(
        "body",
        tag("a", "Skip to the content", href="#content", class_="skip"),
        tag("header", tag("div", heading, class_="frame-width"), class_="top"),
        tag("nav", tag("ul", links, class_="frame-width"), class_="parts", aria_label="Parts of this page"),
        tag(
            "main", [_section(*part) for part in sections], id="content", class_="frame-width", tabindex="-1"
        ),
        tag("footer", _imprint(written), class_="frame-width"),
        tag("script", trusted(SCRIPT)),
    )
    head = _head(f"{title} \u2013 {of}", STYLE)
    return join([trusted("<!doctype html>\n"), tag("html", head, body, lang="en")])


def _section(key: str, name: str, content: Safe) -> Safe:
    heading = tag("h2", name, id=f"{key}-title")
    return tag("section", heading, content, id=key, aria_labelledby=f"{key}-title")


def _imprint(written: str | None) -> str:
    when = written or f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    return f"Written by spinegan {__version__} at {when}. Nothing in this page is loaded from anywhere else."


def _head(title: str, style: str) -> Safe:
    # Whatever a file name might smuggle in: only this style and this script can ever act.
    policy = (
        f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(SCRIPT)}; "
        "base-uri 'none'; form-action 'none'"
    )
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("link", rel="icon", href="data:,"),
        tag("title", title),
        tag("style", trusted(style)),
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
