"""What a run says of privacy: the statement of its report, as it stands, and what it leaves out."""

from __future__ import annotations

from spine_plugins.markup import Safe, join, tag
from spine_plugins.pages.tables import run_label
from spine_plugins.runs.documents import Document, as_dict, as_list, number, read_json
from spine_plugins.runs.reading import Run

_FILE = "privacy/privacy_report.json"
_SHOWN = ("epsilon", "delta", "unit", "adjacency", "releases")


def privacy(runs: list[Run]) -> Safe | None:
    """A card per run that has a report; None if none has."""
    cards = []
    for i, run in enumerate(runs):
        found = read_json(run.folder / _FILE)
        if found:
            cards.append(_card(found, "" if len(runs) == 1 else run_label(run, i)))
    return join(cards) if cards else None


def _card(found: Document, name: str) -> Safe:
    facts = [(key, found.get(key)) for key in _SHOWN if found.get(key) is not None]
    rates = as_dict(found.get("risk"))
    facts += [(key, round(value, 4)) for key in rates if (value := number(rates[key])) is not None]
    return tag(
        "div",
        name and tag("h3", name),
        tag("p", tag("strong", f"guarantee: {found.get('guarantee', 'none')}")),
        tag("p", str(found.get("statement", ""))),
        tag("table", [tag("tr", tag("th", key), tag("td", str(value))) for key, value in facts]),
        tag("p", "Not covered: " + "; ".join(map(str, as_list(found.get("excluded")))), class_="help"),
        class_="card",
    )
