"""Types of the values that flags take: ranges of seeds, lists of names, pairs."""

from __future__ import annotations

import re

import click

from stylegan2ada.errors import UserError


class CommaList(click.ParamType):
    """`a,b,c` -> ("a", "b", "c"); `none` or nothing -> ()."""

    name = "list"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return "[NAME|A,B,C|none]"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> object:
        return tuple(split_list(value)) if isinstance(value, str) else value


def split_list(text: str) -> list[str]:
    """The parts between commas, untrimmed; an empty text or `none` in any case is the empty list."""
    return [] if text == "" or text.lower() == "none" else text.split(",")


_RANGE = re.compile(r"(\d+)-(\d+)", re.ASCII)


def num_range(text: str) -> list[int]:
    """`3-6` -> [3, 4, 5, 6] (both ends included); `1,2,7` -> [1, 2, 7]; anything else is a ValueError."""
    ends = _RANGE.fullmatch(text)
    if ends:
        return list(range(int(ends[1]), int(ends[2]) + 1))
    return [int(part) for part in text.split(",")]


class NumRange(click.ParamType):
    """Seeds, rows, columns or layers: see num_range."""

    name = "range"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return "[A-B|A,B,C]"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> object:
        if not isinstance(value, str):
            return value
        try:
            return num_range(value)
        except ValueError:
            self.fail(f"{value!r} is neither a range like 0-9 nor a list like 1,4,7", param, ctx)


class ClassChoice(click.ParamType):
    """A class by number (int) or by name (str); which names there are, the network knows."""

    name = "class"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return "INT|NAME"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> object:
        is_number = isinstance(value, str) and re.fullmatch(r"[+-]?\d+", value, re.ASCII)
        return int(str(value)) if is_number else value


class NamedValue(click.ParamType):
    """`NAME=VALUE` -> (name, value)."""

    name = "named"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return "NAME=VALUE"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> object:
        if not isinstance(value, str):
            return value
        name, equals, rest = value.partition("=")
        if not (name and equals):
            self.fail(f"{value!r} must look like NAME=VALUE", param, ctx)
        return name, rest


class WeightedName(click.ParamType):
    """`NAME[:WEIGHT]`, as it is; the weight must be a number."""

    name = "weighted"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return "NAME[:WEIGHT]"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> object:
        weight = str(value).partition(":")[2]
        try:
            float(weight or 0)
        except ValueError:
            self.fail(f"{value!r}: the weight after the colon must be a number", param, ctx)
        return value


def label_vector(text: str | None) -> list[float] | None:
    """`0.2,1,0` -> [0.2, 1.0, 0.0]: the value of --label."""
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f"--label={text} must be numbers between commas, such as 0.2,1,0") from None


def choice(*words: str) -> click.Choice:
    """One of these words; for rooms that declare flags without being commands."""
    return click.Choice(words)
