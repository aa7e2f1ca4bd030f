"""How a command is declared and what it says: option groups, one record per command, words and numbers."""

from __future__ import annotations

import errno
import functools
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import IO, Any, Protocol, TypeVar

import click
from click.core import ParameterSource

from stylegan2ada import files
from stylegan2ada.config import TRANSFER_SOURCES, augmentation_presets
from stylegan2ada.errors import StoppedOnRequest, UserError, one_line
from stylegan2ada.flag_types import ClassChoice, CommaList, NamedValue, WeightedName, check_value
from stylegan2ada.training import run_files

HELP_COLUMNS = 100
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

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            left = super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            hint = HABITS.get(error.option_name.lstrip("-").replace("_", "-"))
            if hint is None:
                raise
            raise click.UsageError(f"No such option {error.option_name!r}: {hint}.", ctx) from error
        for parameter in self.params:
            if ctx.get_parameter_source(str(parameter.name)) is ParameterSource.COMMANDLINE:
                check_value(parameter, ctx.params.get(str(parameter.name)))
        return left

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except UserError as error:
            raise _Refused(error) from error
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            # Even to ask whether such a file exists is an error, wherever it is asked first.
            raise _Refused(UserError(f"{error.filename} is longer than names of files can be")) from error


class _Refused(click.ClickException):
    """What click prints and which code it leaves with, for one of our errors."""

    def __init__(self, error: UserError) -> None:
        super().__init__(one_line(str(error)))
        self.exit_code = error.exit_code  # type: ignore[misc]  # click has one per class
        self.is_failure = not isinstance(error, StoppedOnRequest)

    def show(self, file: IO[Any] | None = None) -> None:
        if self.is_failure:
            super().show(file)
        else:
            click.echo(self.format_message(), file=file, err=file is None)


class Option(click.Option):
    """A click option that knows the heading it is printed under."""

    def __init__(self, *args: Any, group: str | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.group = group


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


# What a command says: numbers for programs, words for people.

json_option = group(
    "For programs",
    opt("--json", "json_file", metavar="FILE|-",
        help="Also write the printed numbers as one JSON object; - prints it, and words go to stderr"),
)  # fmt: skip


@dataclass(frozen=True)
class Voice:
    """Where a command's words and numbers go, by its --json."""

    json_file: str | None

    @property
    def is_for_programs(self) -> bool:
        """Whether standard output belongs to the JSON object."""
        return self.json_file == "-"

    def say(self, text: str = "") -> None:
        """One line for people."""
        click.echo(text, err=self.is_for_programs)

    def numbers(self, values: Mapping[str, object]) -> None:
        """The one JSON object, if it was asked for; NaN and infinity are null."""
        if self.json_file is None:
            return
        plain = _plain(values)
        if self.is_for_programs:
            click.echo(json.dumps(plain, indent=1))  # in ASCII: nobody knows the encoding of a pipe
            return
        try:
            files.write_json(self.json_file, plain)
        except OSError as error:
            raise UserError(
                f"--json={self.json_file} cannot be written ({error.strerror}); give another file, or -"
            ) from error


def _plain(value: Any) -> object:
    """The same nesting as JSON knows it: paths as text, tuples as lists, numpy numbers as numbers."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


# The groups of commands that use a trained network.

DEVICE = opt("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, mps [default: auto]")


def _network(context: click.Context, parameter: click.Parameter, value: str) -> str:
    try:
        return run_files.network_in(value)
    except UserError as error:
        raise click.BadParameter(str(error), context, parameter) from error


def _start(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    # A folder that happens to be called like a known network is not meant.
    is_known = value is None or value == "noresume" or value in TRANSFER_SOURCES
    return value if is_known else _network(context, parameter, str(value))


network_option = group(
    "Network",
    opt("--network", required=True, metavar="FILE|RUN|URL", callback=_network,
        help="Network pickle or .safetensors; a run folder: its newest, also RUN/best:METRIC"),
    DEVICE,
)  # fmt: skip
label_options = group(
    "Label of a conditional network",
    opt("--class", "class_idx", type=ClassChoice(), help="A class by its number, from 0, or its name"),
    opt("--label", metavar="N,N,...", help="Label vector, one number per class: 0.2,1,0"),
)
image_options = group(
    "Image",
    opt("--trunc", type=float, default=1, metavar="PSI", help="Truncation psi [default: 1, none]"),
    opt("--noise-mode", type=click.Choice(["const", "random", "none"]), default="const",
        help="Noise inputs [default: const]"),
)  # fmt: skip


# The groups of the training commands. Units stand in the help; nothing has a click default, so that the
# configuration can tell what was asked for from what it chose itself.

_int: Settings = {"type": int, "metavar": "INT"}
_float: Settings = {"type": float, "metavar": "FLOAT"}
_bool: Settings = {"type": bool, "metavar": "BOOL"}

required_options = group(
    "Where from, where to",
    opt("--outdir", metavar="DIR",
        help="Folder that holds the run folders (required, unless --continue=DIR)"),
    opt("--data", metavar="PATH", help="Training images: a zip or a folder made by dataset_tool (required)"),
)  # fmt: skip
general_options = group(
    "General",
    opt("--gpus", **_int, help="Processes that train together, one device each [default: 1]"),
    opt("--snap", **_int, help="Ticks between snapshots of images and networks [default: 50]"),
    opt("--metrics", type=CommaList(), help="Measured at each network snapshot [default: fid50k_full]"),
    opt("--seed", **_int, help="Start of all random numbers [default: 0]"),
    opt("-n", "--dry-run", is_flag=True, help="Print what would be done, create nothing"),
)
dataset_options = group(
    "Data set",
    opt("--cond", **_bool, help="Train on the labels of the data set [default: false]"),
    opt("--subset", **_int, help="Train on this many images only [default: all]"),
    opt("--mirror", **_bool, help="Add a left-right mirrored copy of every image [default: false]"),
    opt("--sampler", metavar="NAME|PKG.CLASS",
        help="uniform, balanced (every class equally often), or an import path [default: uniform]"),
)  # fmt: skip
base_config_options = group(
    "Base configuration",
    opt("--cfg", type=click.Choice(["auto", "stylegan2", "paper256", "paper512", "paper1024", "cifar"]),
        help="Preset that all flags below start from [default: auto]"),
    opt("--gamma", **_float, help="Weight of the R1 penalty [default: by preset]"),
    opt("--kimg", **_int, help="Length in thousands of images shown to D [default: by preset, 25000]"),
    opt("--batch", **_int, help="Images per iteration, over all devices [default: by preset]"),
    opt("--batch-gpu", **_int, help="Images per device at once, rest is accumulated [default: by preset]"),
    opt("--cbase", **_int, help="Channels times resolution [default: by preset, 16384 or 32768]"),
    opt("--cmax", **_int, help="Most channels of a layer [default: 512]"),
    opt("--tick", **_float, help="Thousands of images per tick [default: 4]"),
)  # fmt: skip
loss_options = group(
    "Loss",
    opt("--loss", metavar="NAME|PKG.CLASS", help="Registered name or import path [default: stylegan2]"),
    opt("--loss-opt", type=NamedValue(), multiple=True, help="An argument of the loss (repeatable)"),
    opt("--term", type=WeightedName(), multiple=True, help="Add a term to the generator's loss (repeatable)"),
)
augmentation_options = group(
    "Discriminator augmentation",
    opt("--aug", type=click.Choice(["noaug", "ada", "fixed"]), help="Who sets the strength [default: ada]"),
    opt("--p", **_float, help="Strength for --aug=fixed, 0 to 1"),
    opt("--target", **_float, help="Target of ADA's overfitting measure, 0 to 1 [default: 0.6]"),
    opt("--augpipe", type=click.Choice(list(augmentation_presets())),
        help="Kinds of augmentation [default: bgc]"),
    opt("--ada-max-p", **_float, help="Upper bound of ADA's strength, 0 to 1 [default: none]"),
)  # fmt: skip
transfer_options = group(
    "Transfer learning",
    opt("--resume", metavar="PKL|RUN", callback=_start,
        help="Start from these networks: ffhq256, ffhq512, ffhq1024, celebahq256, lsundog256, a file, a run "
        "folder (its newest) or a URL [default: noresume]"),
    opt("--freezed", **_int, help="Freeze the first layers of D [default: 0]"),
)  # fmt: skip
performance_options = group(
    "Performance",
    opt("--device", metavar="NAME", help="auto, cpu, cuda, mps [default: auto, the fastest there is]"),
    opt("--precision", type=click.Choice(["auto", "fp32", "fp16", "bf16"]),
        help="Of the highest resolutions [default: auto, fp16 on CUDA, else fp32]"),
    opt("--fp32", **_bool, help="Build networks without half precision [default: false]"),
    opt("--nhwc", **_bool, help="Channels-last memory for half precision [default: false]"),
    opt("--nobench", **_bool, help="No search for the fastest convolutions at the start [default: false]"),
    opt("--allow-tf32", **_bool, help="Let CUDA compute float32 in TF32 [default: false]"),
    opt("--workers", **_int, help="Threads that prepare images, per process [default: 3]"),
)  # fmt: skip
run_control_options = group(
    "Run control",
    opt("--continue", "continue_run", metavar="DIR|latest",
        help="Go on with a run exactly where its saved state ends, in its folder; latest = the newest run in "
        "--outdir, or a new one if there is none"),
    opt("--state-minutes", **_float, help="Minutes between saved states [default: only with snapshots]"),
    opt("--keep-snapshots", **_int, help="Keep only this many newest network snapshots [default: all]"),
    opt("--detector", type=NamedValue(), multiple=True, metavar="NAME=PATH",
        help="File of a feature network for the metrics: inception, vgg16, ... (repeatable)"),
)  # fmt: skip
train_options = stack(
    required_options,
    general_options,
    dataset_options,
    base_config_options,
    loss_options,
    augmentation_options,
    transfer_options,
    performance_options,
    run_control_options,
)
