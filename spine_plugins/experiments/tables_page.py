"""The page of an experiment: what it found, how sure that is, beside the paper, and by which commands."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from spine_plugins.experiments import consistency, curves, doubts, page_rows
from spine_plugins.experiments.exports import Table, bounds, shown, signed
from spine_plugins.experiments.results import Arm, Experiment, Task
from spine_plugins.markup import Child, Safe, join, tag
from spine_plugins.pages import frame, pictures, tables
from spine_plugins.pages.curves import Line, chart, show
from spine_plugins.runs.documents import as_dict, as_list, finite

_WITH_INTERVALS = re.compile(r"(\S+) \((.+?)\)(?:; (.+))?")  # value (interval; another); the paper's
_PAPER_COLOURS = {"spine": 0, "ada": 1}  # of the style sheet
_BUDGET = 6 << 20  # bytes of all pictures
_TITLES = {
    "fig1": "Figure 1: epsilon against noise",
    "fig2": "Figure 2: metrics over training",
    "fig3": "Figure 3: what noise does",
    "fig4": "Figure 4: real and generated",
    "blog-curves": "Loss and accuracy of the blog's experiments",
    "blog-dose": "Accuracy by number of classic transforms",
}


@dataclass(frozen=True)
class Made:
    """Everything that the page tells of."""

    tables: Mapping[str, Table]
    pictures: Mapping[str, Path]
    troubles: Sequence[str]  # of pictures


def page(experiment: Experiment, made: Made, target: Path) -> str:
    """The whole page as text."""
    parts = [
        ("summary", "Summary", _summary(experiment, made)),
        *((name, _part_title(name), _table(experiment, made, name)) for name in made.tables),
        ("figures", "Figures", _figures(made, target)),
        ("tasks", "Commands and hashes", _tasks(experiment)),
    ]
    present = [(key, title, content) for key, title, content in parts if content is not None]
    title = str(experiment.plan.get("title") or experiment.name)
    header = frame.heading("SpineGAN experiments", title, _pills(experiment), below=experiment.name)
    return frame.document(title, header, present, kind="SpineGAN experiments")


def _part_title(name: str) -> str:
    known = {"table1": "Table 1", "table2": "Table 2", "blog": "Bone fractures"}
    return known.get(name, name.capitalize())


def _pills(experiment: Experiment) -> list[Safe]:
    frozen = experiment.frozen
    if frozen is None:
        said = "not frozen beforehand"
    else:
        said = f"frozen {frozen.get('time')}" + ("" if frozen.get("valid") is True else ", and changed since")
    states = [task.state for task in experiment.tasks]
    counts = ", ".join(f"{states.count(s)} {s}" for s in dict.fromkeys(states)) or "no task yet"
    return [tag("li", text, class_="pill state") for text in (said, f"tasks: {counts}")]


def _summary(experiment: Experiment, made: Made) -> Safe:
    first = made.tables.get("table1")
    best = as_dict(first.facts.get("best")) if first else {}
    seconds = sum(task.seconds or 0 for task in experiment.tasks)
    entries: dict[str, tuple[str, str]] = {}
    if first is not None and first.records:
        measured = [r for r in first.records if r["n_runs"]]
        entries["Rows measured"] = (f"{len(measured)} of {len(first.records)}", "of Table 1")
        entries["Test images"] = (
            f"{first.facts['n_images']}",
            f"of {first.facts['n_patients']} {first.facts['unit']}s",
        )
    if best:
        chance = best.get("chance_of_another")
        entries["Highest AUC"] = (str(best["title"]), f"chance that another is best: {_percent(chance)}")
    entries["Time of all tasks"] = (
        f"{seconds / 3600:.1f} h" if seconds > 5400 else f"{seconds / 60:.1f} min",
        "",
    )
    figures = [
        tag("div", tag("dt", name), tag("dd", value), more and tag("dd", more, class_="more"))
        for name, (value, more) in entries.items()
    ]
    said = [*doubts.of_experiment(experiment), *made.troubles]
    said += [f"{_part_title(name)}: {text}" for name, t in made.tables.items() for text in t.warnings]
    concerns = [_concern(text) for text in dict.fromkeys(said)]
    listed = tag("div", tag("ul", concerns, class_="concerns"), class_="counts") if concerns else None
    return join([tag("dl", figures, class_="figures"), listed])


def _concern(text: str) -> Safe:
    return tag("li", tag("span", "Caution", class_="level"), tag("p", text), class_="concern caution")


def _percent(value: object) -> str:
    return f"{100 * value:.0f} %" if isinstance(value, float) else tables.UNKNOWN


def _table(experiment: Experiment, made: Made, name: str) -> Safe | None:
    table = made.tables[name]
    if not table.records:
        return tag("p", *table.warnings, class_="card")
    inside: list[Child] = [tag("p", table.title, class_="help how"), *_body(experiment, table)]
    notes = tag("ul", [tag("li", text) for text in table.notes], class_="plain help")
    files = [
        tag("a", f"{name}.{kind}", href=f"tables/{name}.{kind}") for kind in ("csv", "json", "md", "tex")
    ]
    links = [(", " if i else "", link) for i, link in enumerate(files)]
    return join([*inside, tag("div", notes, tag("p", "As files: ", links, class_="help"), class_="card")])


def _body(experiment: Experiment, table: Table) -> list[Child]:
    if table.name in ("table1", "blog"):
        return page_rows.body(table)
    plain = tag("div", _plain(table), class_="card")
    if table.name == "table2":
        return [plain, _speeds(table), _curves(experiment)]
    if table.name == "consistency":
        return [_matrices(experiment), plain]
    return [plain]


def _plain(table: Table) -> Safe:
    rows = [tables.row(cells[0], map(_stacked, cells[1:])) for cells in table.cells]
    heads = [_stacked(head) for head in table.heads]
    return tables.numbers(table.title, heads, rows, label=f"{_part_title(table.name)}: table")


def _stacked(cell: str) -> Child:
    """A value with its intervals below it: side by side, columns would leave the screen."""
    found = _WITH_INTERVALS.fullmatch(cell)
    if found is None:
        return cell
    value, between, beside = found.groups()
    below = [*between.split("; "), *(beside or "").split("; ")]
    return join([value, *(tag("span", text, class_="help block") for text in below if text)])


def _speeds(table: Table) -> Safe | None:
    rows = [
        tables.row(
            f"{record['title']}, {speed['metric']}",
            [show(finite(speed["threshold"])), _kimgs(speed["reached"]), _kimgs(speed["against"]),
             f"{signed(as_dict(speed['difference']).get('value'), 1)} ({bounds(speed['difference'], 1)})"],
        )
        for record in table.records
        for speed in map(as_dict, as_list(record.get("speed")))
    ]  # fmt: skip
    heads = ["Arm and metric", "threshold", "its kimg, by seed", "the first arm's", "difference"]
    label = "kimg until every training had reached the threshold"
    return (
        tag("div", tag("h3", label), tables.numbers(label, heads, rows, label=label), class_="card")
        if rows
        else None
    )


def _kimgs(by_seed: object) -> str:
    return ", ".join(shown(value, 0) for value in as_dict(by_seed).values())


def _curves(experiment: Experiment) -> Safe | None:
    """Means over the trainings of an arm; Figure 2 below has their bands."""
    runs = curves.trained(experiment)
    arms = list({t.arm.name: t.arm for t in runs}.values())
    drawn = []
    for number, series in enumerate(curves.series_of(runs)):
        lines = []
        for arm in arms:
            mine = [series.points[i] for i, t in enumerate(runs) if t.arm.name == arm.name]
            means = [(x, mean) for x, mean, _, _ in curves.band(mine)]
            lines += [Line(arm.title, means, colour=_colour(arm.name, arms))] if means else []
        help_ = "Means over trainings."
        drawn.append(chart(series.yardstick.text(), lines, zero=True, key=f"g{number}", help_=help_))
    found = [figure for figure in drawn if figure is not None]
    return tag("div", found, class_="two") if found else None


def _colour(name: str, arms: Sequence[Arm]) -> int:
    """As in the paper: SpineGAN blue, StyleGAN2-ADA orange, then the others."""
    others = [arm.name for arm in arms if arm.name not in _PAPER_COLOURS]
    return _PAPER_COLOURS[name] if name in _PAPER_COLOURS else 2 + others.index(name)


def _matrices(experiment: Experiment) -> Safe:
    return tag("div", [page_rows.matrix_figure(m) for m in consistency.matrices(experiment)], class_="two")


def _figures(made: Made, target: Path) -> Safe | None:
    if not made.pictures:
        return None
    each = _BUDGET / len(made.pictures)
    return tag(
        "div",
        [_picture(name, path, each, target) for name, path in made.pictures.items()],
        class_="gallery card",
    )


def _picture(name: str, path: Path, budget: float, target: Path) -> Safe:
    title = _TITLES.get(name, name)
    found, href = pictures.thumbnail(path, budget), pictures.link(path, target)
    original = tag("a", "Original", href=href, class_="original") if href else None
    caption = tag("figcaption", tag("b", title), original)
    if found is None:
        return tag("figure", caption, tag("p", f"{path.name} cannot be read.", class_="help"), class_="shot")
    image = tag("img", src=found.data, alt=title, width=found.width, height=found.height, decoding="async")
    return tag("figure", caption, image, class_="shot")


def _tasks(experiment: Experiment) -> Safe | None:
    if not experiment.tasks:
        return None
    failed = [task for task in experiment.tasks if task.state in ("failed", "skipped")]
    trouble = tag("ul", [tag("li", f"{t.id}: {t.state}. {t.why or ''}") for t in failed], class_="plain")
    kinds = list(dict.fromkeys(task.kind for task in experiment.tasks))
    listed = [_of_kind(kind, experiment.of_kind(kind)) for kind in kinds]
    return tag("div", trouble if failed else None, listed, class_="card")


def _of_kind(kind: str, tasks: Sequence[Task]) -> Safe:
    """All tasks of a kind, folded: command, time, and the hash of every output."""
    seconds = sum(task.seconds or 0 for task in tasks)
    made = [
        tag("tr", tag("th", task.id, scope="row"),
            tag("td", tag("code", task.command),
                [tag("div", f"{name} ", tag("code", str(digest)), class_="help")
                 for name, digest in task.outputs.items()]),
            tag("td", f"{task.state}, {show(task.seconds)} s"))
        for task in tasks
    ]  # fmt: skip
    table = tag("table", tag("tbody", made), class_="facts")
    wide = tag("div", table, class_="wide", tabindex="0", role="region", aria_label=f"Tasks: {kind}")
    return tag("details", tag("summary", f"{kind}: {len(tasks)} tasks, {seconds / 60:.1f} min"), wide)
