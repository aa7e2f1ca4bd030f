"""Python values for the options of a command, walked through its own parser: its checks are the only ones."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import click

from stylegan2ada.errors import UserError
from stylegan2ada.flag_types import CommaList


def parsed(
    command: Callable[..., Any],  # made by options.command
    given: Mapping[str, object],  # by parameter name; None is an option that was not given
) -> dict[str, Any]:
    """The options of a command from Python values, each walked as text through its parser."""
    assert isinstance(command, click.Command), command
    by_name = {str(parameter.name): parameter for parameter in command.params}
    line: list[str] = []
    for name, value in given.items():
        if name not in by_name:
            nearest = difflib.get_close_matches(name, by_name, n=1, cutoff=0)[0]
            raise UserError(
                f"{name} is not an option of {command.name}; the nearest name is {nearest}, --help lists all"
            )
        line += _as_words(by_name[name], value)
    try:
        with command.make_context(command.name or "", line) as context:
            return context.params
    except click.UsageError as error:
        raise UserError(error.format_message()) from error


def _as_words(parameter: click.Parameter, value: object) -> list[str]:
    """What one would type: one word per value, its flag before it."""
    flag = max(parameter.opts, key=len)
    if value is None or value is False and getattr(parameter, "is_flag", False):
        return []
    if getattr(parameter, "is_flag", False):
        return [flag]
    return [f"{flag}={word}" for word in words(parameter, value)]


def words(parameter: click.Parameter, value: object) -> list[str]:
    """A value as it is typed behind its flag; several of a flag that may be repeated."""
    if parameter.multiple:
        return _several(value)
    if isinstance(parameter.type, CommaList) and not isinstance(value, str):
        return [",".join(_several(value)) or "none"]
    return [_word(value)]


def _several(value: object) -> list[str]:
    """`"a"`, `["a", "b"]`, `{"name": value}` or `[("name", value)]` as a list of words."""
    if isinstance(value, Mapping):
        value = list(value.items())
    if isinstance(value, str | os.PathLike) or not isinstance(value, Iterable):
        return [_word(value)]
    return ["=".join(map(_word, item)) if isinstance(item, tuple | list) else _word(item) for item in value]


def _word(value: object) -> str:
    return os.fspath(value) if isinstance(value, os.PathLike) else str(value)
