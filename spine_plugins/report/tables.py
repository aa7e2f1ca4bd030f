"""Tables of facts: of one run, and of several side by side."""

from __future__ import annotations

from typing import Any

from spine_plugins.markup import Child, Safe, tag
from spine_plugins.report import charts
from spine_plugins.runs.reading import Run, as_dict, number

UNKNOWN = "\u2013"


def facts(rows: dict[str, Child]) -> Safe:
    """A table of names and values; unknown ones are left out."""
    made = [tag("tr", tag("th", name, scope="row"), tag("td", value)) for name, value in rows.items()
            if value not in (None, "")]  # fmt: skip
    return tag("table", tag("tbody", made), class_="facts")


def comparison(runs: list[Run], rows: dict[str, list[Child]]) -> Safe:
    """A column per run; rows whose values differ are marked."""
    head = tag("tr", tag("td"), [tag("th", charts.run_label(run, i), scope="col", title=run.name)
                                 for i, run in enumerate(runs)])  # fmt: skip
    made = [
        tag("tr", tag("th", name, scope="row"), [tag("td", value) for value in row],
            class_="differs" if len(set(map(str, row))) > 1 else None)
        for name, row in rows.items()
    ]  # fmt: skip
    table = tag("table", tag("thead", head), tag("tbody", made), class_="facts compare")
    return tag("div", table, class_="wide", tabindex="0", role="region", aria_label="Runs side by side")


def code(text: Any) -> Safe | None:
    return tag("code", text) if text else None


def interval(value: Any) -> str | None:
    entry = as_dict(value)
    middle, low, high = (number(entry.get(key)) for key in ("value", "low", "high"))
    if middle is None:
        return None
    return f"{middle:.3f}" + (
        f" ({low:.3f} \u2013 {high:.3f})" if low is not None and high is not None else ""
    )
