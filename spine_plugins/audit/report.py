"""audit.html: the verdict first, then the evidence, what would have been seen, and what was not tested."""

from __future__ import annotations

import json
from pathlib import Path

from spine_plugins.markup import Safe, tag
from spine_plugins.pages import audited, frame
from spine_plugins.runs.documents import as_dict, parsed
from stylegan2ada.files import atomic_write
from stylegan2ada.protocols import JsonObject


def write_page(found: JsonObject, target: Path) -> None:
    """From audit.json's content alone: what that file may say, the page may."""
    with atomic_write(target) as file:
        file.write(page(found).encode("utf-8", "replace"))


def page(found: JsonObject) -> str:
    """The whole page as text."""
    # As a reader of the file sees it.
    audit = as_dict(parsed(json.dumps(found)))
    heading = frame.heading("SpineGAN privacy audit", "Are these images copies?")
    parts: list[tuple[str, str, Safe | None]] = [
        ("verdict", "Verdict", audited.verdict(audit)),
        ("warnings", "Warnings", audited.warnings(audit)),
        ("evidence", "Evidence", tag("div", audited.tests(audit), class_="card")),
        ("power", "What would have been seen", audited.charts(audit)),
        ("features", "Other features", audited.compared(audit)),
        ("limits", "What was not tested", tag("div", audited.not_tested(audit), class_="card")),
        ("sets", "What was compared", tag("div", audited.inputs(audit), class_="card")),
    ]
    present = [(key, name, part) for key, name, part in parts if part]
    return frame.document("Privacy audit", heading, present, kind="SpineGAN")
