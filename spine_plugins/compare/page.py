"""The page: what differs, what came of it, how it went, how it looks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from spine_plugins.compare import joined
from spine_plugins.compare.joined import Outcome, Point, Setting, Yardstick
from spine_plugins.markup import Safe, join, tag
from spine_plugins.pages import charts, frame, tables
from spine_plugins.pages.curves import Line, chart, show
from spine_plugins.pages.gallery import Album
from spine_plugins.runs import naming
from spine_plugins.runs.concerns import differences
from spine_plugins.runs.places import short_text
from spine_plugins.runs.reading import Run

_UNKNOWN = tables.UNKNOWN


def page(runs: list[Run], target: Path) -> str:
    """The whole page as text; `target` is where it will lie, for links to pictures."""
    runs = naming.by_difference(runs)
    found = joined.measurements(runs)
    outcomes = [joined.outcome(yardstick, series) for yardstick, series in found.items()]
    pictures = Album(runs, target.absolute()).galleries()
    parts = [
        ("runs", "The runs", _runs(runs)),
        ("settings", "Settings that differ", _settings(runs, joined.settings_that_differ(runs))),
        ("metrics", "Metrics", _metrics(runs, found, outcomes)),
        ("training", "Training", charts.grid(charts.statistics(runs), "No run has finished a tick yet.")),
        ("images", "Images", pictures),
    ]
    present = [(key, title, content) for key, title, content in parts if content is not None]
    pills = [tag("li", f"{tables.run_label(run, i)}: {run.state.text}", class_="pill state")
             for i, run in enumerate(runs)]  # fmt: skip
    header = frame.heading("SpineGAN: runs side by side", " against ".join(_titles(runs)), pills)
    return frame.document("Runs compared", header, present, kind="SpineGAN compare")


def _titles(runs: list[Run]) -> list[str]:
    return [run.label or run.name for run in runs] if len(runs) <= 3 else [f"{len(runs)} runs"]


def _runs(runs: list[Run]) -> Safe:
    rows = {
        "Run": [run.name for run in runs],
        "Trained by": [joined.trained_by(run) for run in runs],
        "State": [run.state.text for run in runs],
        "kimg": [show(run.kimg) for run in runs],
        "Data set": [run.dataset.name or _UNKNOWN for run in runs],
        "Seconds per kimg (median)": [show(joined.typical(run, "Timing/sec_per_kimg")) for run in runs],
        "GPU memory, GB (highest)": [
            show(joined.highest(run, "Resources/peak_gpu_mem_gb") or None) for run in runs
        ],
        "Memory, GB (highest)": [show(joined.highest(run, "Resources/cpu_mem_gb")) for run in runs],
        "Augmentation p (last)": [_last(run, "Progress/augment") for run in runs],
    }
    said = [tag("li", tag("span", c.level.capitalize(), class_="level"),
                tag("p", tag("strong", f"{c.title}. "), short_text(c.text)), class_=f"concern {c.level}")
            for c in differences(runs)]  # fmt: skip
    return join([tag("div", tables.comparison(runs, rows), class_="card"),
                 said and tag("ul", said, class_="concerns")])  # fmt: skip


def _last(run: Run, name: str) -> str:
    series = run.series(name)
    return show(series[-1][1]) if series else _UNKNOWN


def _settings(runs: list[Run], found: Sequence[Setting]) -> Safe:
    if not found:
        return tag("p", "None: the recorded options are the same.", class_="card")
    rows = {row.name: [_UNKNOWN if v is None else short_text(v) for v in row.values] for row in found}
    return tag("div", tables.comparison(runs, rows), class_="card")


def _metrics(runs: list[Run], found: dict[Yardstick, list[list[Point]]], outcomes: list[Outcome]) -> Safe:
    if not found:
        return tag("p", "No run has measured a snapshot: `spinegan metrics --network=RUN`.", class_="card")
    drawn = [
        chart(
            yardstick.text(),
            [
                Line(tables.run_label(runs[i], i), points, colour=i)
                for i, points in enumerate(series)
                if points
            ],
            zero=True,
            key=f"m{number}",
            help_=charts.better(yardstick.result),
        )
        for number, (yardstick, series) in enumerate(found.items())
    ]
    note = (
        "Values share axes and a row only if the same detector has seen as many fakes. The threshold is what "
        "every run has reached; the kimg behind it say when."
    )
    return join([
        tag("div", _outcome_table(runs, outcomes), _arms_table(runs, outcomes),
            tag("p", note, class_="help"), class_="card"),
        charts.grid([figure for figure in drawn if figure is not None]),
    ])  # fmt: skip


def _outcome_table(runs: list[Run], outcomes: list[Outcome]) -> Safe:
    heads = ["Metric", *(f"{tables.run_label(run, i)}: last" for i, run in enumerate(runs)),
             *(f"{tables.run_label(run, i)}: best" for i, run in enumerate(runs)),
             "Threshold", *(f"{tables.run_label(run, i)}: kimg" for i, run in enumerate(runs))]  # fmt: skip
    rows = [
        tables.row(
            o.yardstick.text(),
            [*map(_point, o.last), *map(_point, o.best), show(o.threshold), *map(show, o.reached)],
        )
        for o in outcomes
    ]
    return tables.numbers("Last and best values of each metric", heads, rows, label="Metrics: table")


def _arms_table(runs: list[Run], outcomes: list[Outcome]) -> Safe | None:
    rows = [
        tables.row(
            o.yardstick.text(),
            [
                _arm(runs, difference.second),
                _arm(runs, difference.first),
                difference.interval.text() or _UNKNOWN,
                str(difference.pairs),
            ],
        )
        for o in outcomes
        for difference in joined.differences_of_arms(runs, o)
    ]
    heads = ["Best value", "of", "minus", "difference", "pairs"]
    label = "Differences between settings, paired by seed"
    return tables.numbers(label, heads, rows, label=label) if rows else None


def _arm(runs: list[Run], number: int) -> str:
    return ", ".join(tables.run_label(runs[i], i)[:1] for i in joined.arms(runs)[number])


def _point(point: Point | None) -> str:
    return _UNKNOWN if point is None else f"{show(point[1])} at {show(point[0])}"
