"""Tables of rows on the page: intervals drawn on one axis, the paper beside ours, what the variance is of."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from spine_plugins.experiments import drawn
from spine_plugins.experiments.consistency import Matrix
from spine_plugins.experiments.drawn import Scale
from spine_plugins.experiments.exports import Table, bounds, p_text, shown, signed, with_bounds
from spine_plugins.markup import Child, Safe, tag
from spine_plugins.pages import tables
from spine_plugins.runs.documents import Document, as_dict, as_list, finite

_GROUPS = {
    "paper": "Rows of the paper",
    "lacking": "Rows that the paper lacks",
    "control": "Controls",
    "blog": "Experiments of the blog",
}
_PARTS = {"test": "other patients", "seed": "classifier seed", "draw": "draw", "gan": "GAN seed"}


def body(table: Table) -> list[Child]:
    """The table with its intervals drawn, then what stands behind it."""
    primary = "accuracy" if table.name == "blog" else "auc"
    return [
        tag("div", _values(table, primary), class_="card"),
        tag("div", _differences(table), class_="card"),
        _behind(table),
    ]


def _values(table: Table, primary: str) -> Safe:
    found = [as_dict(r[primary]) for r in table.records]
    papers = [finite(r["paper"]) for r in table.records]
    scale = Scale.around(found, papers)
    first = next((finite(f.get("value")) for f in found), None)
    whose = "the blog's" if table.name == "blog" else "the paper's"
    axis = f"{scale.text()}; \u25c7 {whose}" if scale else ""
    heads = [
        "Trained on",
        primary.upper() if primary == "auc" else primary,
        "interval",
        axis,
        whose,
        "verdict",
        "runs",
    ]

    def cells(record: Document) -> list[Child]:
        interval, paper = as_dict(record[primary]), finite(record["paper"])
        picture = drawn.interval(interval, scale, reference=first, paper=paper)
        verdict = record["verdict"] or tables.UNKNOWN
        return [shown(interval.get("value")), bounds(interval), picture, shown(paper),
                str(verdict), str(record["n_runs"])]  # fmt: skip

    label = "Values with their intervals"
    return tables.numbers(label, heads, _grouped(table.records, cells, len(heads)), label=label)


def _differences(table: Table) -> Safe | None:
    found = [as_dict(r["difference"]) for r in table.records]
    if not any(found):
        return None
    scale = Scale.around(found, [0.0])
    axis = scale.text() if scale else ""
    heads = ["Trained on", "difference", "interval", axis, "p", "p (Holm)", "no worse"]

    def cells(record: Document) -> list[Child]:
        difference = as_dict(record["difference"])
        picture = drawn.interval(difference, scale, reference=0.0, colour=2)
        known = difference.get("not_inferior")
        worse = tables.UNKNOWN if known is None else "yes" if known else "not shown"
        return [signed(difference.get("value")), bounds(difference), picture, p_text(difference.get("p")),
                p_text(difference.get("p_holm")), worse]  # fmt: skip

    rows = [record for record in table.records if record["difference"]]
    against = next(str(d["against"]) for d in found if d)
    label = f"Paired differences to {against}"
    return tag(
        "div", tag("h3", label), tables.numbers(label, heads, _grouped(rows, cells, len(heads)), label=label)
    )


def _grouped(records: Sequence[Document], cells: Callable[[Document], list[Child]], width: int) -> list[Safe]:
    """Rows below the name of their group."""
    made, before = [], None
    for record in records:
        if record["group"] != before and len({r["group"] for r in records}) > 1:
            name = _GROUPS.get(str(record["group"]), str(record["group"]))
            made.append(tag("tr", tag("th", name, scope="colgroup", colspan=width), class_="differs"))
        before = record["group"]
        made.append(tables.row(str(record["title"]), cells(record)))
    return made


def _behind(table: Table) -> Safe:
    """Other measures, other intervals, parts of the variance, subgroups, runs: folded."""
    measured = [r for r in table.records if r["n_runs"]]
    parts = [
        _details("Other measures: AUPRC, sensitivity, calibration", _measures(measured)),
        _details("Other intervals of the AUC", _intervals(measured)),
        _details("Where the variance comes from", _variance(measured)),
        _details("Gaps between subgroups", _subgroups(measured)),
        _details("Every classifier", _runs(measured)),
    ]
    return tag("div", parts, class_="card")


def _details(title: str, content: Safe | None) -> Safe | None:
    return None if content is None else tag("details", tag("summary", title), content)


def _measures(records: Sequence[Document]) -> Safe:
    heads = ["Trained on", "AUC", "accuracy", "AUPRC", "sensitivity at 90 % specificity", "Brier", "ECE"]
    rows = [
        tables.row(str(r["title"]), [
            with_bounds(r["auc"]), with_bounds(r["accuracy"]), with_bounds(r["auprc"]),
            with_bounds(r["sensitivity_at_90_specificity"]), shown(r["brier"]), shown(r["ece"]),
        ])
        for r in records
    ]  # fmt: skip
    return tables.numbers("Other measures", heads, rows, label="Other measures: table")


def _intervals(records: Sequence[Document]) -> Safe:
    heads = [
        "Trained on",
        "patients and trainings",
        "bootstrap of patients",
        "DeLong: images as if independent",
    ]
    rows = [
        tables.row(str(r["title"]), [bounds(r["auc"]), bounds(r["auc_bootstrap"]), bounds(r["auc_delong"])])
        for r in records
    ]
    return tables.numbers("Other intervals", heads, rows, label="Other intervals: table")


def _variance(records: Sequence[Document]) -> Safe:
    heads = ["Trained on", *(f"{name}, SD of AUC" for name in _PARTS.values())]

    def deviation(value: object) -> str:
        found = finite(value)
        return tables.UNKNOWN if found is None else f"{math.sqrt(found):.4f}"

    rows = [
        tables.row(str(r["title"]), [deviation(as_dict(r["variance"]).get(part)) for part in _PARTS])
        for r in records
    ]
    note = (
        "Of one classifier, as standard deviations. What was not drawn again by itself is part of what comes "
        "after it here: with one classifier per GAN, the GAN's part is both."
    )
    table = tables.numbers("Parts of the variance", heads, rows, label="Parts of the variance: table")
    return tag("div", tag("p", note, class_="help"), table)


def _subgroups(records: Sequence[Document]) -> Safe | None:
    rows = [
        tables.row(f"{r['title']}: {gap['attribute']}", [
            with_bounds(gap["gap"]),
            ", ".join(f"{level['level']} {shown(level['auc'])} (n = {level['n']})"
                      for level in map(as_dict, as_list(gap["auc"]))),
        ])
        for r in records
        for gap in map(as_dict, as_list(r["subgroups"]))
    ]  # fmt: skip
    heads = ["Trained on", "gap in AUC, best less worst", "subgroups"]
    return tables.numbers("Gaps between subgroups", heads, rows, label="Subgroups: table") if rows else None


def _runs(records: Sequence[Document]) -> Safe:
    heads = ["Trained on", "classifier seed", "draw", "GAN seed", "AUC", "accuracy"]

    def text(value: object) -> str:
        return tables.UNKNOWN if value is None else str(value)

    rows = [
        tables.row(str(r["title"]), [text(run["seed"]), text(run["draw"]), text(run["gan_seed"]),
                                     shown(run["auc"]), shown(run["accuracy"])])
        for r in records
        for run in map(as_dict, as_list(r["seeds"]))
    ]  # fmt: skip
    return tables.numbers("Every classifier", heads, rows, label="Every classifier: table")


def matrix_figure(found: Matrix) -> Safe:
    """The matrix of an arm."""
    title = f"{found.title}: asked for (rows) and seen (columns), per cent"
    picture = tag("div", drawn.matrix(found.shares, found.classes, title), class_="wide", tabindex="0",
                  role="region", aria_label=title)  # fmt: skip
    return tag("figure", tag("figcaption", tag("h3", title)), picture, class_="card")
