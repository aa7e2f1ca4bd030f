"""The beginning of the page: title, key figures, warnings; and charts in a grid."""

from __future__ import annotations

import math

from spine_plugins.markup import Safe, join, tag
from spine_plugins.pages.charts import judge_name
from spine_plugins.pages.curves import show
from spine_plugins.pages.frame import heading as page_heading
from spine_plugins.pages.tables import UNKNOWN, comparison, run_label
from spine_plugins.runs.concerns import LEVELS, Concern, concerns, differences
from spine_plugins.runs.documents import as_dict, number
from spine_plugins.runs.places import short_text
from spine_plugins.runs.reading import Run
from spine_plugins.runs.state import State

_MOST_WARNINGS = 60
_FIRST_RESULTS = ("fid50k_full", "kid50k_full")


def heading(runs: list[Run], title: str) -> Safe:
    """Title, state of each run, and the button for the theme."""
    is_one = len(runs) == 1
    pills = [
        tag("li", ("" if is_one else f"{run_label(run, i)}: ") + run.state.text, class_="pill state")
        for i, run in enumerate(runs)
    ]
    first = runs[0]
    for text in (
        first.dataset.name,
        first.resolution and f"{first.resolution} \u00d7 {first.resolution} pixels",
        _loss(first) and f"{_loss(first)} loss",
    ):
        if is_one and text:
            pills.append(tag("li", text, class_="pill"))
    below = first.name if is_one else ""
    return page_heading("SpineGAN training report", title, pills, below=below)


def key_figures(runs: list[Run]) -> Safe:
    """One run: large figures. Several: a table with what differs marked."""
    if len(runs) > 1:
        columns = [_plain_figures(run) for run in runs]
        names = dict.fromkeys(name for column in columns for name in column)
        rows = {name: [column.get(name, UNKNOWN) for column in columns] for name in names}
        return tag("div", comparison(runs, rows), class_="card")
    made = []
    for name, (value, more) in _figures(runs[0]).items():
        made.append(tag("div", tag("dt", name), tag("dd", value), more and tag("dd", more, class_="more")))
    return tag("dl", made, class_="figures")


def warnings(runs: list[Run], *, with_paths: bool) -> Safe:
    """What to know before believing the numbers."""
    # A concern with all runs that share it, so that a sentence stands on the page once.
    who: dict[Concern, list[str]] = {c: [] for c in (differences(runs) if len(runs) > 1 else [])}
    for i, run in enumerate(runs):
        for concern in concerns(run):
            who.setdefault(concern, []).append(run_label(run, i))
    named = ((c, f"{', '.join(names)}: " if len(runs) > 1 and names else "") for c, names in who.items())
    found = sorted(named, key=lambda pair: LEVELS.index(pair[0].level))
    if not found:
        return tag(
            "p",
            "None: the run warned of nothing, and nothing is doubtful in the numbers that this page checks.",
            class_="card",
        )
    said = [
        tag(
            "li",
            tag("span", concern.level.capitalize(), class_="level"),
            tag("p", tag("strong", f"{names}{concern.title}. "), shown_text(concern, with_paths=with_paths)),
            class_=f"concern {concern.level}",
        )
        for concern, names in found[:_MOST_WARNINGS]
    ]
    more = len(found) - len(said)
    rest = more > 0 and tag("p", f"{more} more are left out here.", class_="help")
    return join([tag("ul", said, class_="concerns"), rest])


def shown_text(concern: Concern, *, with_paths: bool) -> str:
    """What a concern says, without the folders of people's disks unless they are asked for."""
    return concern.text if with_paths else short_text(concern.text)


def no_metrics(runs: list[Run]) -> str:
    """Why there is no chart of a metric."""
    if any(run.metrics for run in runs):
        return "Measurements exist, but none is of a snapshot with a known kimg."
    return "Nothing was measured yet. calc_metrics.py --network=SNAPSHOT measures one and adds it here."


def _figures(run: Run) -> dict[str, tuple[str, str]]:
    """{name: (value, what belongs to it)}"""
    found: dict[str, tuple[str, str]] = {}
    done, total = run.kimg, run.total_kimg
    if done is not None:
        of = f"of {total:,g}, {min(done / total, 1):.0%}" if total else ""
        found["Progress"] = (f"{show(done)} kimg", of)
    # What papers quote comes first; all metrics would bury it.
    names = sorted(run.metrics, key=lambda n: (run.is_toy(n), n not in _FIRST_RESULTS, n))
    toys: dict[str, tuple[str, str]] = {}
    for name in names[:3]:
        line = run.metrics[name][-1]
        for key, value in list(line.results.items())[:2]:
            when = "" if line.kimg is None else f"at {line.kimg:g} kimg"
            if run.is_toy(name):
                toys[key] = (show(value), f"{when}, toy detector".lstrip(", "))
            else:
                found[key] = (show(value), when)
    accepted = number(run.judge[-1].get("accuracy")) if run.judge else None
    if accepted is not None:
        who = "Judge" if judge_name([run]) == "Independent judge" else "Second classifier"
        found[f"{who} accepts"] = (f"{accepted:.1%}", "of the fakes, at the last snapshot")
    pace, spent = _last(run, "Timing/sec_per_kimg"), _last(run, "Timing/total_sec")
    if spent is not None:
        found["Time spent"] = (_duration(spent), f"{show(pace)} s per kimg" if pace else "")
    if pace and done is not None and total and done < total and run.state is not State.FINISHED:
        found["Still to go"] = (_duration((total - done) * pace), "at the latest pace")
    strength = run.series("Progress/augment")
    if any(y for _, y in strength):
        found["Augmentation p"] = (show(strength[-1][1]), f"highest {show(max(y for _, y in strength))}")
    found |= toys  # last: they compare with nothing but themselves
    return found or {"State": (run.state.text, "no numbers yet")}


def _plain_figures(run: Run) -> dict[str, str]:
    known = {
        "Run": run.name,
        "State": run.state.text,
        "Data set": run.dataset.name or UNKNOWN,
        "Loss": _loss(run) or UNKNOWN,
    }
    figures = _figures(run).items()
    return known | {name: f"{value} ({more})" if more else value for name, (value, more) in figures}


def _loss(run: Run) -> str:
    name = str(as_dict(run.options.get("loss_kwargs")).get("class_name") or "")
    return "stylegan2" if name.endswith(".StyleGAN2Loss") else name


def _last(run: Run, name: str) -> float | None:
    return next((y for _, y in reversed(run.series(name)) if math.isfinite(y)), None)


def _duration(seconds: float) -> str:
    if not math.isfinite(seconds):
        return UNKNOWN
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{seconds:.0f} s"
    if minutes < 100:
        return f"{minutes} min"
    hours = round(seconds / 3600)
    return f"{hours // 24} d {hours % 24} h" if hours >= 48 else f"{minutes // 60} h {minutes % 60} min"
