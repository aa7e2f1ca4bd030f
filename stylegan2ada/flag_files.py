"""Flags from files: what --config FILE.toml and --from-run DIR say holds where nothing is typed.

Their values are put where click looks for defaults, as the words that one would type: they pass the same
checks, and the command cannot tell them from flags.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import click

from stylegan2ada import from_python
from stylegan2ada.errors import UserError
from stylegan2ada.flag_types import CommaList
from stylegan2ada.protocols import JsonObject
from stylegan2ada.training import config_file

# Settings that may name code to import. A run folder can be a stranger's: it starts none that is not typed.
_IMPORTED = ("loss", "term", "sampler")


def from_config(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    """Callback of --config: wins over --from-run, whichever of them stands first."""
    if value is not None:
        context.default_map = {
            **(context.default_map or {}),
            **_read(context, parameter, value, config_file.read),
        }


def from_run(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    """Callback of --from-run: holds where neither a flag nor --config says anything."""
    if value is not None:
        found = _read(context, parameter, value, config_file.of_run)
        for name in _IMPORTED:
            if path := _import_path(found.get(name, ())):
                found[name] = _Refused(context, parameter, f"--{name}={path}")
        context.default_map = {**found, **(context.default_map or {})}


def _read(
    context: click.Context,
    parameter: click.Parameter,
    place: str,
    read: Callable[[str], JsonObject],
) -> dict[str, object]:
    """The values for click, by the names of the parameters."""
    try:
        return dict(_checked(context, read(place)))
    except UserError as error:
        raise click.BadParameter(str(error), context, parameter) from error


def _checked(context: click.Context, settings: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    known = _names(context.command)
    for name, value in settings.items():
        parameter = known.get(name.replace("-", "_"))
        if parameter is None:
            nearest = difflib.get_close_matches(name, known, n=1, cutoff=0)[0]
            raise UserError(
                f"{name} is no setting of {context.info_name}; the nearest is {nearest}, --help lists all"
            )
        yield str(parameter.name), _as_typed(context, parameter, name, value)


def _names(command: click.Command) -> dict[str, click.Parameter]:
    """What a setting may be called: the flag without its dashes, or its Python name."""
    return {
        name.lstrip("-").replace("-", "_"): parameter
        for parameter in command.params
        if parameter.expose_value  # not the two flags that files are named by
        for name in (*parameter.opts, str(parameter.name))
        if len(name.lstrip("-")) > 1
    }


def _as_typed(context: click.Context, parameter: click.Parameter, name: str, value: object) -> object:
    """The value as click takes it; refused here, where it is known who says so."""
    takes_several = parameter.multiple or isinstance(parameter.type, CommaList)
    if isinstance(value, list | Mapping) and not takes_several:
        raise UserError(f"{name} takes one value, not {value!r}")
    words = from_python.words(parameter, value)
    given = words if parameter.multiple else words[0]
    try:
        parameter.type_cast_value(context, given)
    except click.BadParameter as error:
        raise UserError(f"{name}: {error.message}") from error
    return given


def _import_path(value: object) -> str | None:
    """What among the words of a setting is an import path: a name has neither point nor colon."""
    words = value if isinstance(value, list | tuple) else [value]
    return next((str(word) for word in words if set(".:") & set(_without_weight(str(word)))), None)


def _without_weight(word: str) -> str:
    name, colon, weight = word.rpartition(":")
    return name if colon and weight.replace(".", "").isdigit() else word


@dataclass(frozen=True)
class _Refused:
    """A default that click asks for only if nothing else was given; then it is an error."""

    context: click.Context
    parameter: click.Parameter
    flag: str

    def __call__(self) -> None:
        raise click.BadParameter(
            f"the run was made with {self.flag}, which is code to import, and a folder is no reason to trust "
            f"it; if you do, say {self.flag} yourself",
            self.context,
            self.parameter,
        )
