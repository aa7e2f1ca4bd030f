"""How to make the same again: commands, versions, options."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from spine_plugins.markup import Child, Safe, join, tag
from spine_plugins.report import charts
from spine_plugins.report.tables import UNKNOWN, code, comparison, facts
from spine_plugins.runs.places import command_text, short_value
from spine_plugins.runs.reading import Run, as_dict, as_list, number

_MOST_OPTIONS = 400


def making(runs: list[Run], *, with_paths: bool) -> Safe:
    """Commands, versions, and every option."""
    cards = [
        _commands(run, i if len(runs) > 1 else None, with_paths=with_paths) for i, run in enumerate(runs)
    ]
    flat = [dict(_flattened(run.options, with_paths=with_paths)) for run in runs]
    names = list(dict.fromkeys(name for options in flat for name in options))[:_MOST_OPTIONS]
    rows: dict[str, list[Child]] = {name: [options.get(name, UNKNOWN) for options in flat] for name in names}
    if len(runs) > 1:
        differing = {name: row for name, row in rows.items() if len(set(map(str, row))) > 1}
        cards.append(tag("div", tag("h3", "Options that differ"), comparison(runs, differing), class_="card"))
    table = comparison(runs, rows) if len(runs) > 1 else facts({name: row[0] for name, row in rows.items()})
    cards.append(
        tag("div", tag("details", tag("summary", f"All {len(names)} options"), table), class_="card")
    )
    return join(cards)


def _commands(run: Run, index: int | None, *, with_paths: bool) -> Safe:
    made = []
    parts = [as_dict(entry) for entry in [*(as_list(run.ours.get("earlier"))), run.ours.get("provenance")]]
    for i, part in enumerate(part for part in parts if part):
        argv = part.get("command") if isinstance(part.get("command"), list) else []
        libraries = ", ".join(f"{name} {version}" for name, version in as_dict(part.get("libraries")).items())
        made.append(join([
            tag("h4", "Command" if not i else f"Continued with (part {i + 1})"),
            argv and tag("pre", tag("code", command_text(argv, is_full=with_paths)), tabindex="0"),
            facts({"SpineGAN": part.get("version"), "Source SHA-256": code(part.get("source_sha256")),
                   "Python": part.get("python"), "Libraries": libraries, "System": part.get("platform")}),
        ]))  # fmt: skip
    if not made:
        made.append(tag("p", "The command and the versions of this run are not recorded.", class_="help"))
    elif not with_paths:
        made.append(
            tag(
                "p",
                "\u2026/ stands for folders that this page leaves out; training_options.json has them.",
                class_="help",
            )
        )
    name = None if index is None else tag("h3", f"{charts.run_label(run, index)[:1]}: {run.name}")
    when = [row.get("timestamp") for row in run.stats if number(row.get("timestamp")) is not None]
    times = facts({"First tick": _moment(when[0]), "Latest tick": _moment(when[-1])}) if when else None
    return tag("div", name, made, times, class_="card")


def _moment(seconds: Any) -> str | None:
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
    except (OverflowError, ValueError, OSError):
        return None


def _flattened(value: Any, prefix: str = "", *, with_paths: bool) -> list[tuple[str, str]]:
    """Every option as (dotted name, text)."""
    if isinstance(value, dict) and value:
        return [
            pair
            for key, inner in value.items()
            if not (prefix == "spinegan" and key in ("provenance", "earlier"))
            for pair in _flattened(inner, f"{prefix}.{key}" if prefix else str(key), with_paths=with_paths)
        ]
    return (
        [(prefix, json.dumps(value if with_paths else _shortened(value), ensure_ascii=False).strip('"'))]
        if prefix
        else []
    )


def _shortened(value: Any) -> Any:
    if isinstance(value, list):
        return [_shortened(part) for part in value]
    if isinstance(value, dict):
        return {key: _shortened(inner) for key, inner in value.items()}
    return short_value(value) if isinstance(value, str) else value
