"""Types of the values that flags take: ranges of seeds, lists of names, pairs."""

from __future__ import annotations

import math
import re

import click

from stylegan2ada.config import LAST_SEED


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
_MOST = 1_000_000  # numbers of one flag: more are a slip of the finger, and would fill the memory
SEED = click.IntRange(0, LAST_SEED)
PSI = click.FloatRange(-1e6, 1e6)  # of truncation: any that is meant, and none that overflows


def num_range(text: str) -> list[int]:
    """`3-6` -> [3, 4, 5, 6] (both ends included); `1,2,7` -> [1, 2, 7]; anything else is a ValueError."""
    ends = _RANGE.fullmatch(text)
    if ends:
        return list(range(int(ends[1]), int(ends[2]) + 1))
    return [int(part) for part in text.split(",")]


class NumRange(click.ParamType):
    """Numbers, such as layers: see num_range."""

    name = "range"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return "[A-B|A,B,C]"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> object:
        if not isinstance(value, str):
            return value
        ends = _RANGE.fullmatch(value)
        if ends and _too_many(ends):
            self.fail(f"{value} is more than {_MOST:,} numbers; give a smaller part at a time", param, ctx)
        try:
            return num_range(value)
        except ValueError:
            self.fail(f"{value!r} is neither a range like 0-9 nor a list like 1,4,7", param, ctx)


def _too_many(ends: re.Match[str]) -> bool:
    # Python itself refuses to read numbers of thousands of digits.
    return max(len(ends[1]), len(ends[2])) > 18 or int(ends[2]) - int(ends[1]) >= _MOST


class Seeds(NumRange):
    """One seed or more, each of which numpy's generators take."""

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> object:
        seeds = super().convert(value, param, ctx)
        if not isinstance(seeds, list):
            return seeds
        if not seeds:
            self.fail(f"{value} names no seed: the smaller end of a range comes first, like 1-5", param, ctx)
        odd = next((seed for seed in seeds if not 0 <= seed <= LAST_SEED), None)
        if odd is not None:
            self.fail(f"{odd} is no seed; seeds are numbers from 0 to {LAST_SEED}", param, ctx)
        return seeds


class ClassChoice(click.ParamType):
    """A class by number (int) or by name (str); which names there are, the network knows."""

    name = "class"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return "INT|NAME"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> object:
        is_number = isinstance(value, str) and re.fullmatch(r"[+-]?\d{1,18}", value, re.ASCII)
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
        if not (name and equals and rest):
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
            is_number = math.isfinite(float(weight or 0))
        except ValueError:
            is_number = False
        if not is_number:
            self.fail(f"{value!r}: the weight after the colon must be a number", param, ctx)
        return value


# What no flag of any command means, whatever its type: every option and argument asks these.


def refuse_nonsense(parameter: click.Parameter, context: click.Context, typed: object, value: object) -> None:
    """BadParameter for an empty text, a number that is none, and one that no machine word holds."""
    is_text = isinstance(parameter.type, click.types.StringParamType | click.Path)
    # The folder that we are in is written as a dot; nothing at all is a variable of a script that is not set.
    if is_text and parameter.default != "" and "" in _flat(typed):
        raise click.BadParameter("it is empty; give a value, or leave it out", context, parameter)
    for number in _flat(value):
        if isinstance(number, float) and not math.isfinite(number):
            raise click.BadParameter(f"{number} is no number to work with", context, parameter)
        if isinstance(number, int) and abs(number) > _LARGEST:
            raise click.BadParameter(
                f"a number of {len(str(abs(number)))} digits is too large", context, parameter
            )


_LARGEST = 2**63 - 1


def _flat(value: object) -> list[object]:
    return [inner for item in value for inner in _flat(item)] if isinstance(value, tuple | list) else [value]


def choice(*words: str) -> click.Choice:
    """One of these words; for rooms that declare flags without being commands."""
    return click.Choice(words)
