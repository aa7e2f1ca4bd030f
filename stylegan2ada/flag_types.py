"""Types of the values that flags take: ranges of seeds, lists of names, pairs."""

from __future__ import annotations

import math
import re

import click

from stylegan2ada.errors import UserError

LAST_SEED = 2**32 - 1  # of numpy's generators, which recorded images rest on
MOST_NUMBERS = 1_000_000  # of one range: a list of pictures, not a way to fill the memory
_LARGEST = 2**31 - 1


def check_value(parameter: click.Parameter, value: object) -> None:
    """BadParameter for a value that no option of ours can mean: not finite, endless, or empty."""
    if isinstance(value, list) and not value:  # upstream: 5-1 is a range of nothing
        raise click.BadParameter("it holds no number; write the smaller end first.", param=parameter)
    for one in value if isinstance(value, list | tuple) else [value]:
        if isinstance(one, float) and not math.isfinite(one):
            raise click.BadParameter(f"{one} cannot be used; give a finite number.", param=parameter)
        if isinstance(one, int) and not isinstance(one, bool):
            is_seed = "seed" in (parameter.name or "")
            low, high = (0, LAST_SEED) if is_seed else (-_LARGEST, _LARGEST)
            if not low <= one <= high:
                raise click.BadParameter(f"{one} is not in the range {low} to {high}.", param=parameter)
        # An empty path would mean the current folder: mostly a variable of a script that was never set.
        # An empty pattern matches everything, and may be meant.
        if one == "" and parameter.metavar != "REGEX":
            raise click.BadParameter("it is empty; give a value, or leave the option out.", param=parameter)


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
    if not ends:
        return [int(part) for part in text.split(",")]
    first, last = int(ends[1]), int(ends[2])
    if last - first >= MOST_NUMBERS:
        raise ValueError(f"{text} are more than {MOST_NUMBERS} numbers")
    return list(range(first, last + 1))


class NumRange(click.ParamType):
    """Seeds, rows, columns or layers: see num_range."""

    name = "range"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return "[A-B|A,B,C]"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> object:
        if not isinstance(value, str):
            return value
        try:
            numbers = num_range(value)
        except ValueError:
            self.fail(
                f"{value:.60} is neither a range like 0-9, of a million at most, nor a list like 1,4,7",
                param,
                ctx,
            )
        if numbers and not 0 <= min(numbers) <= max(numbers) <= LAST_SEED:
            self.fail(f"{value:.60} holds a number that is not in the range 0 to {LAST_SEED}", param, ctx)
        return numbers


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
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = [math.nan]
    if not all(map(math.isfinite, numbers)):
        raise UserError(f"--label={text} must be numbers between commas, such as 0.2,1,0")
    return numbers
