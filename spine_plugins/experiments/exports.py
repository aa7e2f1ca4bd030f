"""A table once: JSON for programs, CSV for spreadsheets, Markdown and LaTeX for papers, cells for a page."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from spine_plugins.runs.documents import Document, as_dict
from stylegan2ada import files

UNKNOWN = "\u2013"
_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{",
    "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\u2013": "--", "\u2212": "$-$",
    "\u00d7": r"$\times$", "\u03b3": r"$\gamma$", "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip
_MARKDOWN = re.compile(r"([\\`*_\[\]<>|#])")


@dataclass(frozen=True)
class Table:
    """What is known of each row, and how people read it."""

    name: str  # of its files
    title: str
    records: list[Document]  # a row each, as the JSON has them
    heads: list[str]
    cells: list[list[str]]  # the same rows for people; the first cell names the row
    facts: Document = field(default_factory=dict)  # of the whole table
    notes: list[str] = field(default_factory=list)  # how to read it
    warnings: list[str] = field(default_factory=list)  # what speaks against relying on it

    def as_json(self) -> Document:
        return {
            "table": self.name,
            "title": self.title,
            **self.facts,
            "rows": self.records,
            "notes": self.notes,
            "warnings": self.warnings,
        }


def write_table(table: Table, folder: Path) -> list[Path]:
    """NAME.json, .csv, .md and .tex."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{table.name}.{kind}" for kind in ("json", "csv", "md", "tex")]
    files.write_json(paths[0], _plain(table.as_json()))
    header, rows = flat(table.records)
    files.write_csv(paths[1], header, rows)
    for path, text in ((paths[2], markdown(table)), (paths[3], latex(table))):
        with files.atomic_write(path) as file:
            file.write(text.encode("utf-8", "backslashreplace"))
    return paths


def flat(records: Sequence[Document]) -> tuple[list[str], list[list[object]]]:
    """(header, rows): nested values as `auc.low`; lists as their values with spaces between."""
    rows = [dict(_flat(record)) for record in records]
    header = list(dict.fromkeys(key for row in rows for key in row))
    # Nothing but an empty value where another row has more inside.
    header = [key for key in header if not any(other.startswith(f"{key}.") for other in header)]
    return header, [[row.get(key) for key in header] for row in rows]


def _flat(value: Mapping[str, object], before: str = "") -> Iterator[tuple[str, object]]:
    for key, inner in value.items():
        name = f"{before}{key}"
        if isinstance(inner, Mapping):
            yield from _flat(inner, f"{name}.")
        elif isinstance(inner, list | tuple):
            yield name, " ".join(map(_word, inner))
        else:
            yield name, _finite(inner)


def _word(value: object) -> str:
    if isinstance(value, Mapping):
        return ":".join("" if v is None else f"{v:.6g}" if isinstance(v, float) else str(v)
                        for v in value.values() if not isinstance(v, Mapping | list))  # fmt: skip
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def markdown(table: Table) -> str:
    """A table that GitHub shows, notes and warnings below."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(_MARKDOWN.sub(r"\\\1", cell).replace("\n", " ") for cell in cells) + " |"

    rule = "|" + "|".join(["---", *("---:" for _ in table.heads[1:])]) + "|"
    lines = [f"## {table.title}", "", line(table.heads), rule, *map(line, table.cells), ""]
    lines += [f"- Warning: {text}" for text in table.warnings] + [f"- {text}" for text in table.notes]
    return "\n".join(lines).rstrip() + "\n"


def latex(table: Table) -> str:
    r"""A tabular in a table, for \input; needs the package booktabs and nothing else."""
    columns = "l" + "r" * (len(table.heads) - 1)
    rows = [" & ".join(map(_latex, row)) + r" \\" for row in (table.heads, *table.cells)]
    notes = " ".join([*(f"Warning: {text}" for text in table.warnings), *table.notes])
    lines = [
        r"\begin{table}", r"\centering",
        rf"\begin{{tabular}}{{{columns}}}", r"\toprule", rows[0], r"\midrule",
        *rows[1:], r"\bottomrule", r"\end{tabular}", rf"\caption{{{_latex(table.title)}. {_latex(notes)}}}",
        rf"\label{{tab:{table.name}}}", r"\end{table}", "",
    ]  # fmt: skip
    return "\n".join(lines)


def _latex(text: str) -> str:
    return "".join(_LATEX.get(c, c) for c in text)


# Numbers for people.


def shown(value: object, digits: int = 3) -> str:
    """A number, or a dash."""
    found = _finite(value)
    if isinstance(found, bool) or not isinstance(found, int | float):
        return UNKNOWN
    return f"{found:.{digits}f}".replace("-", "\u2212")


def signed(value: object, digits: int = 3) -> str:
    """A difference: its sign, always."""
    text = shown(value, digits)
    return text if text.startswith(("\u2212", UNKNOWN)) else f"+{text}"


def bounds(interval: object, digits: int = 3) -> str:
    """`0.754 – 0.866`, or a dash."""
    found = as_dict(interval)
    low, high = _finite(found.get("low")), _finite(found.get("high"))
    return UNKNOWN if low is None or high is None else f"{shown(low, digits)} \u2013 {shown(high, digits)}"


def with_bounds(interval: object, digits: int = 3) -> str:
    """`0.812 (0.754 – 0.866)`; without bounds the value alone."""
    value = shown(as_dict(interval).get("value"), digits)
    between = bounds(interval, digits)
    return value if between == UNKNOWN or value == UNKNOWN else f"{value} ({between})"


def p_text(value: object) -> str:
    """A p-value as papers print it."""
    found = _finite(value)
    if not isinstance(found, int | float):
        return UNKNOWN
    return "< 0.001" if found < 0.001 else f"{found:.3f}"


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _plain(value: object) -> object:
    """Without NaN and infinity, which JSON does not know."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return _finite(value)
