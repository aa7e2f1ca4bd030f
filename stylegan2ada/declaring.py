"""How a command is declared: option groups, one record per command, and mistakes as one sentence."""

from __future__ import annotations

import contextlib
import errno
import functools
import io
import os
import sys
from collections.abc import Callable, Iterator
from typing import IO, Any, Protocol, TypeVar

import click

from stylegan2ada import interrupts
from stylegan2ada.errors import Interrupted, StoppedOnRequest, UserError, one_line
from stylegan2ada.flag_types import refuse_nonsense

HELP_COLUMNS = 80
# Flags of other programs, and what says the same here.
HABITS = {
    "epochs": "length is given in thousands of images, --kimg",
    "lr": "learning rates come with the preset, --cfg",
    "n": "say which images, --seeds=0-15",
    "num": "say which images, --seeds=0-15",
    "num-images": "say which images, --seeds=0-15",
    "truncation": "psi is given by --trunc",
    "psi": "psi is given by --trunc",
    "classes": "one class is given by --class",
}
F = TypeVar("F", bound=Callable[..., object])
Settings = dict[str, Any]  # keyword arguments of click
Declared = tuple[tuple[str, ...], Settings]  # one option: its names, and click.option's settings


class Decorator(Protocol):
    """What adds options to a function, and leaves its type as it was."""

    def __call__(self, function: F, /) -> F: ...


class Command(click.Command):
    """Help in groups, `--like_this` read as `--like-this`, and a UserError shown as one sentence."""

    def __init__(self, name: str | None, **settings: Any) -> None:
        context: Settings = {
            "max_content_width": HELP_COLUMNS,
            "help_option_names": ["-h", "--help"],
            "token_normalize_func": _dashed,
        }
        settings["context_settings"] = context | (settings.get("context_settings") or {})
        super().__init__(name, **settings)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            row = parameter.get_help_record(ctx)
            if row is not None:
                title = getattr(parameter, "group", None) or "Other options"
                groups.setdefault(title, []).append(row)
        for title, rows in groups.items():
            with formatter.section(title):
                formatter.write_dl(rows, col_max=34)

    def main(self, *args: Any, **settings: Any) -> Any:
        with interrupts.running():
            return super().main(*args, **settings)

    def make_context(self, *args: Any, **settings: Any) -> click.Context:
        with quiet_interrupts():
            return super().make_context(*args, **settings)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            hint = HABITS.get(error.option_name.lstrip("-").replace("_", "-"))
            if hint is None:
                raise
            raise click.UsageError(f"No such option {error.option_name!r}: {hint}.", ctx) from error
        except OSError as error:  # of an option that looks at its file at once
            if error.errno not in _OF_THE_DISK:
                raise
            raise _Refused(_disk_error(error)) from error

    def invoke(self, ctx: click.Context) -> object:
        _print_anything()
        try:
            with quiet_interrupts():
                return super().invoke(ctx)
        except UserError as error:
            raise _Refused(error) from error
        except OSError as error:
            if error.errno not in _OF_THE_DISK:
                raise
            raise _Refused(_disk_error(error)) from error


def _print_anything() -> None:
    """Names of files need not be text; what is told of them is printed all the same, with escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def quiet_interrupts() -> Iterator[None]:
    """An interrupt of a command is its end, without more words."""
    try:
        yield
    except KeyboardInterrupt:
        raise click.exceptions.Exit(interrupts.EXIT_CODE) from None


# Reasons of the system that the user can do something about, whatever was read or written.
_OF_THE_DISK = (
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT, errno.EEXIST,
    errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EIO,
)  # fmt: skip


def _disk_error(error: OSError) -> UserError:
    """What the system says, with the file, if it names one."""
    place = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
    is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    advice = "make room, and run it again" if is_full else "check that path and your rights to it"
    return UserError(f"{place}{error.strerror}; {advice}")


class _Refused(click.ClickException):
    """What click prints and which code it leaves with, for one of our errors."""

    def __init__(self, error: UserError) -> None:
        super().__init__(one_line(str(error)))
        self.exit_code = error.exit_code  # type: ignore[misc]  # click has one per class
        self.is_failure = not isinstance(error, StoppedOnRequest | Interrupted)

    def show(self, file: IO[Any] | None = None) -> None:
        if self.is_failure:
            super().show(file)
        else:
            click.echo(self.format_message(), file=file, err=file is None)


class Option(click.Option):
    """A click option that knows the heading it is printed under, and refuses what no option means."""

    def __init__(self, *args: Any, group: str | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.group = group

    def type_cast_value(self, ctx: click.Context, value: Any) -> Any:
        found = super().type_cast_value(ctx, value)
        refuse_nonsense(self, ctx, value, found)
        return found


class Argument(click.Argument):
    """A click argument that refuses the same."""

    def type_cast_value(self, ctx: click.Context, value: Any) -> Any:
        found = super().type_cast_value(ctx, value)
        refuse_nonsense(self, ctx, value, found)
        return found


def command(
    name: str | None = None,
    *,
    record: type | None = None,  # frozen dataclass with a field per option; the function receives one
    parent: click.Group | None = None,  # a group that the command becomes a verb of
    **settings: Any,  # click.command's
) -> Callable[[Callable[..., object]], click.Command]:
    """click.command with our Command class; below it stand the groups, then the function."""
    register = click.command if parent is None else parent.command

    def decorate(function: Callable[..., object]) -> click.Command:
        callback = function if record is None else _given_as(record, function)
        return register(name, cls=Command, **settings)(callback)

    return decorate


def _given_as(record: type, function: Callable[..., object]) -> Callable[..., object]:
    """The function, called with the parsed options in one record."""

    @functools.wraps(function)  # click keeps the options in an attribute of the function
    def call(**values: object) -> object:
        return function(record(**values))

    vars(call)["record"] = record
    return call


def record_of(asked: click.Command) -> type | None:
    """The record that a command's function receives; None for one that takes its options singly."""
    return getattr(asked.callback, "record", None)


def group(title: str, *options: Declared) -> Decorator:
    """A decorator that adds these options (made by `opt`) below one heading, in this order."""

    def decorate(function: F) -> F:
        for names, settings in reversed(options):  # click lists first what was added last
            function = click.option(*names, cls=Option, group=title, **settings)(function)
        return function

    return decorate


def opt(*names: str, **settings: Any) -> Declared:
    """One option of a group; the arguments are click.option's."""
    return names, settings


def stack(*groups: Decorator) -> Decorator:
    """Several groups as one decorator, first group first."""

    def decorate(function: F) -> F:
        for add in reversed(groups):
            function = add(function)
        return function

    return decorate


def _dashed(token: str) -> str:
    return token.replace("_", "-")
