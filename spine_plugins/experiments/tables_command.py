"""`spinegan experiments tables`: tables, figures and the page of an experiment, from what its tasks left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import click

from spine_plugins.experiments import blog, consistency, exports, pictures, results, sweep, table1, table2
from spine_plugins.experiments.exports import Table
from spine_plugins.experiments.results import Experiment
from spine_plugins.runs.documents import Document
from stylegan2ada import options
from stylegan2ada.errors import UserError

PAGE = "index.html"
_MAKERS: dict[str, Callable[[Experiment], Table]] = {
    "table1": table1.table,
    "table2": table2.table,
    "consistency": consistency.table,
    "blog": blog.table,
}
NAMES = (*_MAKERS, "sweep")


@dataclass(frozen=True)
class Tables:
    """What `experiments tables` was asked."""

    folder: str
    no_figures: bool
    json_file: str | None


@options.command("tables", record=Tables)
@click.argument("folder", cls=options.Argument, metavar="DIR")
@options.group(
    "What to make",
    options.opt("--no-figures", is_flag=True, help="Tables and page alone: figures of networks take longer"),
)
@options.json_option
def tables(asked: Tables) -> None:
    """Make tables, figures and page of an experiment again, from the files of its tasks.

    Writes DIR/tables/NAME.json, .csv, .md, .tex, DIR/figures and DIR/index.html. What is missing or failed is
    said there; nothing is trained.
    """
    # Pillow and the style sheet are loaded only when a page is made, not for --help.
    from spine_plugins.experiments.tables_page import Made, page
    from spine_plugins.pages.frame import write

    voice = options.Voice(asked.json_file)
    experiment = results.read_experiment(asked.folder)
    made = make(experiment)
    for table in made.values():
        exports.write_table(table, experiment.folder / "tables")
        voice.say(
            f"{table.name}: {len(table.records)} rows"
            + (f", {_many(len(table.warnings))}" if table.warnings else "")
        )
    found: dict[str, Path] = {}
    troubles: list[str] = []
    if not asked.no_figures:
        facts: Document = made["blog"].facts if "blog" in made else {}
        found, troubles = pictures.make(experiment, facts)
    for trouble in troubles:
        click.echo(f"Note: {trouble}", err=True)
    target = experiment.folder / PAGE
    size = write(page(experiment, Made(made, found, troubles), target), target)
    voice.say(f"{target}: {size / 1e6:.1f} MB")
    voice.numbers({
        "page": target,
        "tables": {name: table.as_json() for name, table in made.items()},
        "figures": found,
        "troubles": troubles,
    })  # fmt: skip


def make(experiment: Experiment) -> dict[str, Table]:
    """The tables that the plan asks for, in its order."""
    unknown = [name for name in experiment.tables if name not in NAMES]
    if unknown:
        raise UserError(f"the plan asks for the tables {', '.join(unknown)}; known are {', '.join(NAMES)}")
    made: dict[str, Table] = {}
    for name in experiment.tables:
        if name in _MAKERS:
            made[name] = _MAKERS[name](experiment)
    if "sweep" in experiment.tables:
        first = made.get("table1") or table1.table(experiment)
        made["sweep"] = sweep.table(experiment, first, made.get("table2") or table2.table(experiment))
    return {name: _stamped(made[name], experiment) for name in experiment.tables}


def _stamped(table: Table, experiment: Experiment) -> Table:
    """A table that is copied alone says, too, of which plan it is and whether that was frozen."""
    frozen = experiment.frozen
    since = f"frozen {frozen.get('time')}" if frozen and frozen.get("valid") is True else "not frozen"
    note = f"Plan {experiment.name}, {since} before the test set was opened."
    facts = {"plan": experiment.name, "frozen": frozen, **table.facts}
    return replace(table, facts=facts, notes=[*table.notes, note])


def _many(n: int) -> str:
    return f"{n} warning{'' if n == 1 else 's'}"
