"""The experiments of the bone-fracture blog: accuracy and AUC with intervals, and what more transforms do."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from spine_plugins.clustered import replicated_contrast
from spine_plugins.experiments import doubts, exports, predictions
from spine_plugins.experiments.exports import Table, bounds, p_text, shown, signed, with_bounds
from spine_plugins.experiments.measured import Measured, measure
from spine_plugins.experiments.results import BLOG, Experiment, Row
from spine_plugins.experiments.table1 import records
from spine_plugins.runs.documents import Document, as_dict, finite

_AUGMENT = re.compile(r"--augment=(\S+)")
_HEADS = [
    "Trained on", "accuracy", "its interval", "blog", "verdict", "AUC", "difference in accuracy",
    "its interval", "p (Holm)", "transforms", "runs",
]  # fmt: skip


def table(experiment: Experiment) -> Table:
    """The blog's numbers are accuracies of one training each; here are several, on the same images."""
    title = "Bone fractures: accuracy and AUC by what was trained on"
    rows = rows_of(experiment)
    m = measure(experiment, rows)
    if m is None:
        return Table("blog", title, [], _HEADS, [], warnings=["None of its rows could be measured yet."])
    made = records(experiment, m, "accuracy")
    for record, row in zip(made, rows):
        record["transforms"] = transforms(m, row)
    dose = dose_response(m)
    warnings = [
        *m.troubles,
        *doubts.of_test_set(m.test),
        *doubts.of_rows(rows, {row.name: [m.runs[i] for i in m.of_row(row).runs] for row in rows}, made),
    ]
    facts: Document = {"n_images": len(m.test.labels), "n_patients": m.test.n_groups, "dose_response": dose}
    return Table("blog", title, made, _HEADS, [_cells(r) for r in made], facts, _notes(m, dose), warnings)


def rows_of(experiment: Experiment) -> list[Row]:
    """Those of its group; all rows, controls and those that it lacks too, of a plan without Table 1."""
    has_first = "table1" in experiment.tables
    return [row for row in experiment.rows if row.group == BLOG or not has_first]


def _cells(record: Document) -> list[str]:
    difference = as_dict(record["difference"])
    dose = record["transforms"]
    return [
        str(record["title"]),
        shown(as_dict(record["accuracy"]).get("value")),
        bounds(record["accuracy"]),
        shown(record["paper"], 2),
        str(record["verdict"] or exports.UNKNOWN),
        with_bounds(record["auc"]),
        signed(difference.get("value")),
        bounds(difference),
        p_text(difference.get("p_holm")),
        exports.UNKNOWN if dose is None else str(dose),
        str(record["n_runs"]),
    ]


def transforms(m: Measured, row: Row) -> int | None:
    """How many classic transforms its classifiers saw; None where others than flip, rotate, zoom."""
    for i in m.of_row(row).runs:
        run = m.runs[i]
        found = _AUGMENT.search(run.classifier_command)
        if found is not None:
            words = [] if found[1] == "none" else found[1].split("-")
            return len(words) if set(words) <= {"flip", "rotate", "zoom"} else None
    return None


def dose_response(m: Measured) -> Document | None:
    """Accuracy against the number of transforms, of real images alone: slope, interval, test."""
    doses = {row.name: d for row in m.rows if (d := transforms(m, row)) is not None and _is_of_dose(row)}
    # The first of a dose counts: later ones may have been trained for longer.
    by_dose = {dose: row for row in reversed(m.rows) if (dose := doses.get(row.name)) is not None}
    if len(by_dose) < 3:
        return None
    x = np.array(sorted(by_dose), dtype=np.float64)
    weights = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
    terms = [(float(w), m.of_row(by_dose[int(d)])) for w, d in zip(weights, x)]
    slope = replicated_contrast(m.accuracy, terms, m.analysis.level, by="clusters")
    points = [
        {"transforms": int(d), "row": by_dose[int(d)].name,
         "accuracy": float(np.mean(m.accuracy.values[list(m.of_row(by_dose[int(d)]).runs)]))}
        for d in x
    ]  # fmt: skip
    told = {"value": slope.value, "low": slope.low, "high": slope.high, "p": slope.p_value}
    return {"points": points, "slope_per_transform": told, "method": slope.method}


def _is_of_dose(row: Row) -> bool:
    """Real images alone and no warm start, by what the plan says of its sources."""
    train, pretrain = row.tags.get("train"), row.tags.get("pretrain")
    return row.arm is None and not pretrain and train in (None, ["real"])


def _notes(m: Measured, dose: Document | None) -> list[str]:
    found = [
        "The blog has one training of each, tested on about 500 images: its own interval is about \u00b12.4 "
        "points, so 92 and 93 % do not differ. A warm start also trains longer; the control with as many "
        "steps shows what that alone brings.",
        f"{len(m.test.labels)} test images, {m.test.n_groups} {m.test.unit}s; intervals as in Table 1.",
    ]
    if dose is not None:
        slope = as_dict(dose["slope_per_transform"])
        found.append(
            f"Each further classic transform changes accuracy by {signed(slope['value'], 4)} "
            f"({bounds(slope, 4)}; p {p_text(slope['p'])})."
        )
    return found


def histories(experiment: Experiment) -> dict[str, list[list[Document]]]:
    """{title of a row: what each of its classifiers reported by epoch}."""
    rows = rows_of(experiment)
    found = {row.title: predictions.history(experiment, row.name) for row in rows}
    return {title: runs for title, runs in found.items() if runs}


def curve(
    runs: Sequence[Sequence[Document]], ending: str
) -> tuple[list[float], list[float], list[float]] | None:
    """(mean, lowest, highest) by epoch of the statistic whose name ends so; None if nobody reported it."""
    values = []
    for epochs in runs:
        key = next((k for k in (epochs[-1] if epochs else {}) if k.endswith(ending)), None)
        if key is not None:
            values.append([finite(epoch.get(key)) for epoch in epochs])
    if not values:
        return None
    length = min(map(len, values))
    columns = [[v[e] for v in values if v[e] is not None] for e in range(length)]
    usable = [[x for x in column if x is not None] for column in columns]
    if not all(usable):
        return None
    return [float(np.mean(c)) for c in usable], [min(c) for c in usable], [max(c) for c in usable]
