"""A plan as it stands in its file: TOML, read with the line of every key, so that a refusal says where."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn, TypeVar

from stylegan2ada.errors import UserError

T = TypeVar("T")
Keys = tuple[str, ...]  # from the outermost table inwards
_HEADER = re.compile(r"\s*\[\[?\s*([^\[\]]+?)\s*\]\]?\s*(#.*)?$")
_ASSIGNED = re.compile(r'\s*([A-Za-z0-9_.-]+|"[^"]+")\s*=')
_IN_TOML = re.compile(r"\(at line (\d+)")
_MOST_BYTES = 1 << 20
_PLANS = Path(__file__).parent / "plans"  # that come with the package


def shipped() -> dict[str, Path]:
    """{name: file} of the plans that come with the package."""
    return {path.stem: path for path in sorted(_PLANS.glob("*.toml"))}


def find(name: str) -> Path:
    """The file of a plan: one of ours by its name, or a path."""
    path = Path(name)
    if path.suffix == ".toml" or path.is_file():
        return path
    if name in shipped():
        return shipped()[name]
    raise UserError(f"there is no plan {name!r}; give a .toml file, or one of {', '.join(shipped())}")


@dataclass(frozen=True)
class PlanFile:
    """The text of a plan, its values, and where each key stands."""

    path: Path
    text: str
    values: Mapping[str, object]
    lines: Mapping[Keys, int] = field(default_factory=dict)

    def refuse(self, keys: Keys, reason: str) -> NoReturn:
        """UserError with the line of the innermost of these keys that has one."""
        for length in range(len(keys), 0, -1):
            if keys[:length] in self.lines:
                raise UserError(f"{self.path}, line {self.lines[keys[:length]]}: {reason}")
        raise UserError(f"{self.path}: {reason}")

    def top(self) -> Table:
        return Table(self, (), dict(self.values))


def read(path: Path) -> PlanFile:
    """The plan in a file; UserError, with the line, for what is no TOML."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise UserError(f"{path} is too large for a plan; give a .toml file")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"the plan {path} cannot be read ({error.strerror}); give a .toml file") from error
    except UnicodeDecodeError as error:
        raise UserError(f"the plan {path} is no text in UTF-8; give a .toml file") from error
    try:
        values = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        found = _IN_TOML.search(str(error))
        where = f", line {found[1]}" if found else ""
        raise UserError(f"{path}{where}: not valid TOML ({error})") from error
    return PlanFile(path, text, values, _lines_of(text))


def _lines_of(text: str) -> dict[Keys, int]:
    """The line of every header and assignment; the parser of the standard library does not tell."""
    lines: dict[Keys, int] = {}
    table: Keys = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            table = _split(header[1])
            lines.setdefault(table, number)
        elif assigned := _ASSIGNED.match(line):
            lines.setdefault((*table, *_split(assigned[1])), number)
    return lines


def _split(dotted: str) -> Keys:
    return tuple(part.strip().strip('"') for part in dotted.split("."))


@dataclass
class Table:
    """One table, its values taken by type; whoever has taken all calls `done`."""

    file: PlanFile
    keys: Keys
    left: dict[str, object]
    asked: list[str] = field(default_factory=list)

    def text(self, key: str, default: str | None = None, *, of: tuple[str, ...] = ()) -> str:
        value = self._take(key, default, str, "a text in quotes")
        if of and value not in of:
            self.refuse(key, f"{key} = {value!r} is unknown; choose from {', '.join(of)}")
        return value

    def text_or_none(self, key: str) -> str | None:
        return self.text(key) if self._has(key) else None

    def whole(self, key: str, default: int | None = None, *, least: int = 0) -> int:
        value = self._take(key, default, int, "a whole number")
        if value < least:
            self.refuse(key, f"{key} = {value} is too small; the least is {least}")
        return value

    def whole_or_none(self, key: str, *, least: int = 1) -> int | None:
        return self.whole(key, least=least) if self._has(key) else None

    def number(self, key: str, default: float | None = None) -> float:
        return float(self._take(key, default, (int, float), "a number"))

    def number_or_none(self, key: str) -> float | None:
        return self.number(key) if self._has(key) else None

    def texts(self, key: str, default: tuple[str, ...] | None = None) -> tuple[str, ...]:
        return self._list(key, default, str, "a list of texts")

    def wholes(self, key: str, default: tuple[int, ...] | None = None) -> tuple[int, ...]:
        return self._list(key, default, int, "a list of whole numbers")

    def flags(self, key: str) -> dict[str, str]:
        """A table of flags of a command, values as words."""
        found: dict[str, object] = self._take(key, {}, dict, "a table such as { batch = 16 }")
        for name, value in found.items():
            if isinstance(value, bool) or not isinstance(value, str | int | float):
                self.refuse(key, f"{key}.{name} must be a text or a number")
        return {str(name): f"{value:g}" if isinstance(value, float) else str(value)
                for name, value in found.items()}  # fmt: skip

    def table(self, key: str) -> Table:
        """An inner table; an empty one where there is none."""
        return Table(self.file, (*self.keys, key), dict(self._take(key, {}, dict, "a table")))

    def tables(self, key: str) -> dict[str, Table]:
        """Inner tables by name, in the order of the file."""
        inner = self.table(key)
        for name, value in inner.left.items():
            if not isinstance(value, dict):
                inner.refuse(name, f"{key}.{name} must be a table: [{key}.{name}]")
        return {name: inner.table(name) for name in list(inner.left)}

    def done(self) -> None:
        """Refuse what nobody asked for: a misspelt key must not be silent."""
        for key in self.left:
            self.refuse(key, f"{key} is unknown here; known are {', '.join(self.asked)}")

    def refuse(self, key: str, reason: str) -> NoReturn:
        self.file.refuse((*self.keys, key) if key else self.keys, reason)

    def _has(self, key: str) -> bool:
        self.asked.append(key)
        return key in self.left

    def _take(self, key: str, default: T | None, kind: type | tuple[type, ...], what: str) -> T:
        self.asked.append(key)
        if key not in self.left:
            if default is None:
                self.refuse("", f"{'.'.join((*self.keys, key))} is missing; it is {what}")
            return default
        value = self.left.pop(key)
        # A bool is an int in Python, and none here.
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            self.refuse(key, f"{key} must be {what}")
        return value  # type: ignore[return-value]

    def _list(self, key: str, default: tuple[T, ...] | None, kind: type[T], what: str) -> tuple[T, ...]:
        found: object = self._take(key, default, (list, tuple), what)
        assert isinstance(found, list | tuple)
        if not all(isinstance(item, kind) and not isinstance(item, bool) for item in found):
            self.refuse(key, f"{key} must be {what}")
        return tuple(found)
