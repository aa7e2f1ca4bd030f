"""The options that commands share, and what a command says: groups, words and numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from stylegan2ada import files, flag_files
from stylegan2ada.config import PRESETS, TRANSFER_SOURCES, augmentation_presets
from stylegan2ada.declaring import (
    HABITS,
    HELP_COLUMNS,
    Argument,
    Command,
    Declared,
    Decorator,
    Option,
    Settings,
    command,
    group,
    opt,
    record_of,
    stack,
)
from stylegan2ada.errors import UserError
from stylegan2ada.flag_types import SEED, ClassChoice, CommaList, NamedValue, WeightedName
from stylegan2ada.training import run_files

# Commands find all that they are declared with on this page.
__all__ = [
    "DEVICE", "HABITS", "HELP_COLUMNS", "OVERWRITE", "Argument", "Command", "Declared", "Decorator", "Option",
    "Settings", "Voice", "cfg_epilog", "check_writable", "command", "group", "image_options", "json_option",
    "label_options", "network_option", "network_place", "opt", "performance_options", "record_of",
    "settings_options", "speed_options", "stack", "train_options",
]  # fmt: skip


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


# Upstream's commands replace what is there; ours do so only if they are told to.

OVERWRITE = opt("--overwrite", is_flag=True, help="Replace an earlier result")


def check_writable(flag: str, path: str | Path, *, overwrite: bool) -> None:
    """UserError if no new file can be written there: before the work rather than after it."""
    path = Path(path)
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise UserError(f"{flag}={path} is not a file in an existing folder; give one")
    if path.exists() and not overwrite:
        raise UserError(f"{flag}={path} exists already; choose another name, or give --overwrite")


# The groups of commands that use a trained network.

DEVICE = opt("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, mps [default: auto]")


def network_place(context: click.Context, parameter: click.Parameter, value: str) -> str:
    """Callback of an option that names a network: the file that is meant by a run folder."""
    try:
        return run_files.network_in(value)
    except UserError as error:
        raise click.BadParameter(str(error), context, parameter) from error


def _start(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    # A folder that happens to be called like a known network is not meant.
    is_known = value is None or value == "noresume" or value in TRANSFER_SOURCES
    return value if is_known else network_place(context, parameter, str(value))


network_option = group(
    "Network",
    opt("--network", required=True, metavar="FILE|RUN|URL", callback=network_place,
        help="Network pickle or .safetensors; a run folder: its newest, also RUN/best:METRIC"),
    DEVICE,
)  # fmt: skip
# How any of them computes. No click default: whether something was asked decides what happens without it.
_OPS = opt("--ops", type=click.Choice(["auto", "plain", "compiled"]),
           help="plain: operations of torch; compiled: our kernels [default: auto, kernels if built]"
)  # fmt: skip
_GRAPHS = opt("--graphs", type=click.Choice(["auto", "off"]),
              help="Replay captured steps on CUDA [default: auto, where that works]")  # fmt: skip
speed_options = group("Speed", _OPS, _GRAPHS)
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
    opt("--seed", type=SEED, metavar="INT", help="Start of all random numbers [default: 0]"),
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
    opt("--cfg", type=click.Choice(["auto", *PRESETS]), metavar="NAME",
        help="Preset that all flags below start from; the last lines here say which [default: auto]"),
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
    opt("--augpipe", type=click.Choice(list(augmentation_presets())), metavar="NAME",
        help=f"Kinds of augmentation: {', '.join(augmentation_presets())} [default: bgc]"),
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
    _OPS,
    _GRAPHS,
)  # fmt: skip
run_control_options = group(
    "Run control",
    opt("--continue", "continue_run", metavar="DIR|latest",
        help="Go on with a run exactly where its saved state ends, in its folder; latest = the newest run in "
        "--outdir, or a new one if there is none"),
    opt("--trust-run", is_flag=True,
        help="With --continue: import the modules that the options in its folder name (a loss of your own)"),
    opt("--state-minutes", **_float, help="Minutes between saved states [default: only with snapshots]"),
    opt("--keep-snapshots", **_int, help="Keep only this many newest network snapshots [default: all]"),
    opt("--detector", type=NamedValue(), multiple=True, metavar="NAME=PATH",
        help="File of a feature network for the metrics: inception, vgg16, ... (repeatable)"),
    opt("--log", type=click.Choice(["wandb", "mlflow"]), multiple=True,
        help="Also send curves, settings and pictures of fakes to this service (repeatable)"),
)  # fmt: skip
settings_options = group(
    "Settings from a file (flags win over --config, and that over --from-run)",
    opt("--config", metavar="FILE.toml", is_eager=True, expose_value=False, callback=flag_files.from_config,
        help="Lines such as kimg = 2000; each run writes its own, config.toml"),
    opt("--from-run", metavar="RUN", is_eager=True, expose_value=False, callback=flag_files.from_run,
        help="Train anew with the settings of this one"),
)  # fmt: skip
train_options = stack(
    settings_options,
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


# What their authors used the configurations for.
_MADE_FOR = {
    "stylegan2": "faces, 1024x1024",
    "paper256": "faces or cats, 256x256",
    "paper512": "animals, slides, 512x512",
    "paper1024": "paintings, 1024x1024",
    "cifar": "CIFAR-10, 32x32",
}


def cfg_epilog() -> str:
    """The presets of --cfg as the last lines of a help page."""
    rows = [f"{'auto':<10} by size and devices, for any data: gamma 0.0002 side^2 / batch"]
    rows += [
        f"{name:<10} --kimg={p.kimg} --batch={p.batch} --gamma={p.gamma:g}: {_MADE_FOR[name]}"
        for name, p in PRESETS.items()
    ]
    return "\b\n" + "\n".join(["Presets of --cfg:", *(f"  {row}" for row in rows)])
