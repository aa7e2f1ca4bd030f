"""The frame of a page: one file, its own style and script, and nothing else that could ever act."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from spine_plugins.markup import Safe, join, tag, trusted
from spine_plugins.pages.look import SCRIPT, STYLE
from stylegan2ada import __version__
from stylegan2ada.errors import UserError
from stylegan2ada.files import atomic_write

Part = tuple[str, str, Safe]  # key, title, content


def document(
    title: str,
    header: Safe,  # at the top: see `heading`
    parts: Sequence[Part],
    *,
    kind: str,  # behind the title in the browser's tab
    written: str | None = None,  # when; None: now
) -> str:
    """The whole page as text."""
    links = [tag("li", tag("a", name, href=f"#{key}")) for key, name, _ in parts]
    body = tag(
        "body",
        tag("a", "Skip to the content", href="#content", class_="skip"),
        tag("header", tag("div", header, class_="frame-width"), class_="top"),
        tag("nav", tag("ul", links, class_="frame-width"), class_="parts", aria_label="Parts of this page"),
        tag("main", [_section(*part) for part in parts], id="content", class_="frame-width", tabindex="-1"),
        tag("footer", _imprint(written), class_="frame-width"),
        tag("script", trusted(SCRIPT)),
    )
    return join([trusted("<!doctype html>\n"), tag("html", _head(title, kind), body, lang="en")])


def heading(eyebrow: str, title: str, pills: Sequence[Safe] = (), *, below: str = "") -> Safe:
    """What kind of page, its title, what matters most; and the button for the theme."""
    words = tag("div", tag("p", eyebrow, class_="eyebrow"), tag("h1", title),
                below and below != title and tag("p", below, class_="slug code"))  # fmt: skip
    button = tag("button", "Theme", type="button", id="theme", hidden=True)
    return join([tag("div", words, button, class_="title-row"), tag("ul", pills, class_="pills")])


def write(text: str, target: Path) -> int:
    """Write the page and return its size in bytes."""
    written = text.encode("utf-8", "replace")
    try:
        with atomic_write(target) as file:
            file.write(written)
    except OSError as error:
        raise UserError(
            f"--out={target} cannot be written ({error.strerror}); choose another file"
        ) from error
    return len(written)


def _section(key: str, name: str, content: Safe) -> Safe:
    heading = tag("h2", name, id=f"{key}-title")
    return tag("section", heading, content, id=key, aria_labelledby=f"{key}-title")


def _imprint(written: str | None) -> str:
    when = written or f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    return f"Written by spinegan {__version__} at {when}. Nothing in this page is loaded from anywhere else."


def _head(title: str, kind: str) -> Safe:
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
        tag("title", f"{title} \u2013 {kind}"),
        tag("style", trusted(STYLE)),
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
