"""Table 1: what classifiers reach on the test images by what they were trained on, and how sure that is."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from spine_plugins import statistics as st
from spine_plugins.clustered import Replicates, replicated_difference, replicated_interval
from spine_plugins.experiments import doubts, exports, results
from spine_plugins.experiments.exports import Table, bounds, p_text, shown, signed, with_bounds
from spine_plugins.experiments.measured import Measured, best_row, measure, secondary
from spine_plugins.experiments.results import BLOG, Experiment, Row
from spine_plugins.runs.documents import Document, as_dict, finite
from stylegan2ada.progress import Progress

_HEADS = [
    "Trained on", "AUC", "95 % interval", "paper", "verdict", "difference", "its interval", "p (Holm)",
    "AUPRC", "sensitivity at 90 % specificity", "ECE", "runs",
]  # fmt: skip


def table(experiment: Experiment) -> Table:
    """The table of the paper, with the rows that it lacks and the controls."""
    rows = [row for row in experiment.rows if row.group != BLOG]
    m = measure(experiment, rows)
    title = "Table 1. Abnormality classification by what was trained on: AUC on the test images"
    if m is None:
        why = "No row could be measured: there are no predictions on a test set of two classes yet."
        return Table("table1", title, [], list(_HEADS), [], notes=[], warnings=[why])
    made = records(experiment, m)
    best = best_row(m)
    facts: Document = {
        "n_images": len(m.test.labels),
        "n_patients": m.test.n_groups,
        "unit": m.test.unit,
        "classes": list(m.test.classes),
        "level": m.analysis.level,
        "resamples": m.analysis.resamples,
        "margin": m.analysis.margin,
        "best": best,
    }
    heads = [h.replace("95 %", f"{100 * m.analysis.level:g} %") for h in _HEADS]
    said = doubts.of_rows(m.rows, {row.name: [m.runs[i] for i in m.of_row(row).runs] for row in m.rows}, made)
    warnings = [*m.troubles, *doubts.of_test_set(m.test), *said]
    return Table("table1", title, made, heads, [_cells(r) for r in made], facts, _notes(m, best), warnings)


def _cells(record: Document) -> list[str]:
    difference = as_dict(record["difference"])
    return [
        str(record["title"]),
        shown(as_dict(record["auc"])["value"]),
        bounds(record["auc"]),
        shown(record["paper"]),
        str(record["verdict"] or exports.UNKNOWN),
        signed(difference.get("value")),
        bounds(difference),
        p_text(difference.get("p_holm")),
        with_bounds(record.get("auprc")),
        with_bounds(record.get("sensitivity_at_90_specificity")),
        shown(record.get("ece")),
        str(record["n_runs"]),
    ]


def _notes(m: Measured, best: Document | None) -> list[str]:
    level = f"{100 * m.analysis.level:g} %"
    found = [
        f"{len(m.test.labels)} test images, {m.test.n_groups} {m.test.unit}s; positive: {m.test.classes[1]}.",
        f"AUC is the mean over classifiers; its {level} interval is of other {m.test.unit}s and other "
        "trainings (Obuchowski's covariance, trainings as readers). Differences are paired by "
        f"{m.test.unit} and adjusted by Holm over all rows that are no controls.",
        "Verdict: whether the paper's value, of VinDr-SpineXR, lies in our interval; on other data it is of "
        "them, too. No worse is a row whose difference surely stays above "
        f"\u2212{m.analysis.margin:g}.",
    ]
    if best is not None:
        chance = 100 * (finite(best["chance_of_another"]) or 0)
        found.append(
            f"Highest is {best['title']}; that another row is really best has a chance of {chance:.0f} %."
        )
    return found


def records(experiment: Experiment, m: Measured, primary: str = "auc") -> list[Document]:
    """A row each, in the order of the plan; those that could not be measured say why."""
    # With many classifiers the resamples take minutes.
    made = [_record(experiment, m, row, primary) for row in Progress(len(m.rows), "rows").over(m.rows)]
    for family in (False, True):  # controls are no claims, and take nothing from those that are
        tested = [as_dict(r["difference"]) for r, row in zip(made, m.rows)
                  if r["difference"] and row.is_control == family]  # fmt: skip
        tested = [d for d in tested if d["p"] is not None]
        adjusted = st.holm([finite(d["p"]) or 0.0 for d in tested])
        for difference, p in zip(tested, adjusted):
            difference["p_holm"] = float(p)
    return made


def _record(experiment: Experiment, m: Measured, row: Row, primary: str) -> Document:
    replicates = m.of_row(row)
    runs = [m.runs[i] for i in replicates.runs]
    record: Document = {
        "row": row.name,
        "title": row.title,
        "group": row.group,
        "paper": row.paper,
        "auc": st.Interval(np.nan, np.nan, np.nan, "not measured").as_dict(),
        "accuracy": None,
        "seeds": [],
        "n_images": len(m.test.labels),
        "n_patients": m.test.n_groups,
        "n_runs": len(runs),
        "difference": None,
        "train_images": _common(run.train_images for run in runs),
        "steps": _common(run.steps for run in runs),
        "verdict": None,
        "missing": results.missing(experiment, row),
    }
    if not runs:
        return record
    level = m.analysis.level
    record["auc"] = replicated_interval(m.auc, replicates, level).as_dict()
    record["accuracy"] = replicated_interval(m.accuracy, replicates, level, by="clusters").as_dict()
    record["seeds"] = [
        {"seed": run.seed, "auc": float(m.auc.values[i]), "accuracy": float(m.accuracy.values[i]),
         "draw": run.draw, "gan_seed": run.gan}
        for i, run in zip(replicates.runs, runs)
    ]  # fmt: skip
    record["difference"] = _difference(m, row, replicates, primary)
    record["verdict"] = _verdict(row.paper, as_dict(record[primary]))
    return record | secondary(m, row)


def _difference(m: Measured, row: Row, own: Replicates, primary: str) -> Document | None:
    against = next((r for r in m.rows if r.name == row.against), None)
    other = m.of_row(against) if against is not None and against.name != row.name else None
    if against is None or other is None or not other.runs:
        return None
    estimates = m.auc if primary == "auc" else m.accuracy
    found = replicated_difference(estimates, own, other, m.analysis.level)
    naive = replicated_difference(m.auc_delong, own, other, m.analysis.level, by="DeLong")
    low = _number(found.low)
    return {
        "against": against.name,
        "value": _number(found.value),
        "low": low,
        "high": _number(found.high),
        "p": _number(found.p_value),
        "p_holm": None,
        "p_delong": _number(naive.p_value) if primary == "auc" else None,
        "method": found.method,
        # Stated beforehand: how much worse would not matter.
        "not_inferior": None if low is None else low > -m.analysis.margin,
    }


def _verdict(paper: float | None, interval: Document) -> str | None:
    low, high = finite(interval.get("low")), finite(interval.get("high"))
    if paper is None or low is None or high is None:
        return None
    return "inside" if low <= paper <= high else "outside"


def _common(values: Iterable[int | None]) -> int | None:
    """The one value of all runs, or the mean where they differ."""
    known = [v for v in values if v is not None]
    return round(sum(known) / len(known)) if known else None


def _number(value: float) -> float | None:
    return finite(float(value))
