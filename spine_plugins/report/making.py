"""How to make the same again: commands, versions, options."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from spine_plugins.markup import Safe, join, tag
from spine_plugins.pages.tables import UNKNOWN, code, comparison, facts, run_label
from spine_plugins.runs.documents import Document, as_dict, as_list, cell, number
from spine_plugins.runs.places import command_text, short_value
from spine_plugins.runs.reading import Run
from stylegan2ada.training import run_files

_MOST_OPTIONS = 400


def making(runs: list[Run], *, with_paths: bool) -> Safe:
    """Commands, versions, and every option."""
    cards = [
        _commands(run, i if len(runs) > 1 else None, with_paths=with_paths) for i, run in enumerate(runs)
    ]
    flat = [dict(_flattened(run.options, with_paths=with_paths)) for run in runs]
    names = list(dict.fromkeys(name for options in flat for name in options))[:_MOST_OPTIONS]
    rows = {name: [options.get(name, UNKNOWN) for options in flat] for name in names}
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
    parts = [as_dict(entry) for entry in [*as_list(run.ours.get("earlier")), run.ours.get("provenance")]]
    for i, part in enumerate(part for part in parts if part):
        title = "Command" if not i else f"Continued with (part {i + 1})"
        made.append(_part(title, part, with_paths=with_paths))
    if not made:
        made.append(tag("p", "The command and the versions of this run are not recorded.", class_="help"))
    elif not with_paths:
        hint = f"\u2026/ stands for folders that this page leaves out; {run_files.OPTIONS} has them."
        made.append(tag("p", hint, class_="help"))
    name = None if index is None else tag("h3", f"{run_label(run, index)[:1]}: {run.name}")
    when = [found for row in run.stats if (found := number(row.get("timestamp"))) is not None]
    times = facts({"First tick": _moment(when[0]), "Latest tick": _moment(when[-1])}) if when else None
    return tag("div", name, made, times, class_="card")


def _part(title: str, part: Document, *, with_paths: bool) -> Safe:
    """What was typed, and what ran."""
    argv = as_list(part.get("command"))
    libraries = ", ".join(f"{name} {version}" for name, version in as_dict(part.get("libraries")).items())
    versions = {
        "SpineGAN": cell(part.get("version")),
        "Source SHA-256": code(part.get("source_sha256")),
        "Python": cell(part.get("python")),
        "Libraries": libraries,
        "System": cell(part.get("platform")),
    }
    typed = bool(argv) and tag("pre", tag("code", command_text(argv, is_full=with_paths)), tabindex="0")
    return join([tag("h4", title), typed, facts(versions)])


def _moment(seconds: float) -> str | None:
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
    # A damaged file may hold any number as a time.
    except (OverflowError, ValueError, OSError):
        return None


def _flattened(value: object, prefix: str = "", *, with_paths: bool) -> list[tuple[str, str]]:
    """Every option as (dotted name, text)."""
    if isinstance(value, dict) and value:
        return [
            pair
            for key, inner in value.items()
            # Commands and versions are told above, in words.
            if not (prefix == run_files.OURS and key in ("provenance", "earlier"))
            for pair in _flattened(inner, f"{prefix}.{key}" if prefix else str(key), with_paths=with_paths)
        ]
    if not prefix:
        return []  # no options at all
    text = json.dumps(value if with_paths else _shortened(value), ensure_ascii=False)
    return [(prefix, text.strip('"'))]


def _shortened(value: object) -> object:
    if isinstance(value, list):
        return [_shortened(part) for part in value]
    if isinstance(value, dict):
        return {key: _shortened(inner) for key, inner in value.items()}
    return short_value(value) if isinstance(value, str) else value
