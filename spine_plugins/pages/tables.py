"""Tables of facts: of one run, and of several side by side; and tables of numbers that scroll."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from spine_plugins.markup import Child, Safe, tag
from spine_plugins.runs.documents import as_dict, cell
from spine_plugins.runs.reading import Run
from spine_plugins.statistics import interval_text

UNKNOWN = "\u2013"


def facts(rows: Mapping[str, Child]) -> Safe:
    """A table of names and values; unknown ones are left out."""
    made = [
        tag("tr", tag("th", name, scope="row"), tag("td", value))
        for name, value in rows.items()
        if value not in (None, "")
    ]
    return tag("table", tag("tbody", made), class_="facts")


def comparison(runs: list[Run], rows: Mapping[str, Sequence[Child]]) -> Safe:
    """A column per run; rows whose values differ are marked."""
    names = [tag("th", run_label(run, i), scope="col", title=run.name) for i, run in enumerate(runs)]
    made = [
        tag(
            "tr",
            tag("th", name, scope="row"),
            [tag("td", value) for value in row],
            class_="differs" if len(set(map(str, row))) > 1 else None,
        )
        for name, row in rows.items()
    ]
    head = tag("thead", tag("tr", tag("td"), names))
    return _scrolling(tag("table", head, tag("tbody", made), class_="facts compare"), "Runs side by side")


def numbers(
    caption: str,  # for those who hear the page
    heads: Sequence[Child],
    rows: Sequence[Safe],
    *,
    label: str,  # of the region that scrolls
) -> Safe:
    """A table of numbers below column heads; wide ones scroll by themselves."""
    table = tag(
        "table",
        tag("caption", caption, class_="hidden-text"),
        tag("thead", tag("tr", [tag("th", text, scope="col") for text in heads])),
        tag("tbody", rows),
        class_="numbers",
    )
    return _scrolling(table, label)


def row(name: str, cells: Iterable[Child]) -> Safe:
    """A row of such a table."""
    return tag("tr", tag("th", name, scope="row"), [tag("td", cell) for cell in cells])


def run_label(run: Run, index: int) -> str:
    """Short, and different for each run: its letter in front."""
    digits = run.name.split("-", 1)[0]
    name = run.label or (digits if digits.isdigit() else run.name[:24])
    return f"{chr(65 + index % 26)} {name}"


def code(value: object) -> Safe | None:
    """A hash or the like, as a machine writes it."""
    found = cell(value)
    return tag("code", found) if found else None


def interval(value: object) -> str | None:
    """An estimate with its bounds, as cards have it."""
    return interval_text(as_dict(value), of="", between=" \u2013 ")


def _scrolling(table: Safe, label: str) -> Safe:
    return tag("div", table, class_="wide", tabindex="0", role="region", aria_label=label)
