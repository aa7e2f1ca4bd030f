"""config.toml: the settings of a run as a file that people read, change and start the next run from."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path

from stylegan2ada import files
from stylegan2ada.errors import UserError
from stylegan2ada.protocols import JsonObject
from stylegan2ada.training import run_files

_HEAD = """\
# What was asked for, with what files and a preset said put in; what is not here was left to its default.
# Another run like it: --config=THIS_FILE, or --from-run=RUN; flags beside them win.

"""
_MOST_BYTES = 1 << 20


def beside(network: str | Path) -> Path:
    """Where the settings lie of what is trained into one file, without a folder of its own."""
    return Path(network).with_suffix(f".{run_files.CONFIG}")


def write(path: Path, settings: Mapping[str, object]) -> None:
    """The settings by the Python names of their flags; None is a flag that was not given."""
    lines = [f"{name} = {_toml(value)}\n" for name, value in settings.items() if value is not None]
    with files.atomic_write(path) as file:
        # Paths that are no UTF-8 come back as they were.
        file.write((_HEAD + "".join(lines)).encode("utf-8", "surrogateescape"))


def read(path: str | Path) -> JsonObject:
    """The settings in a TOML file."""
    try:
        if Path(path).stat().st_size > _MOST_BYTES:
            raise UserError(f"{path} is too large for a file of settings; give a .toml file")
        text = Path(path).read_bytes().decode("utf-8", "surrogateescape")
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); give a .toml file") from error
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UserError(
            f"{path} is not valid TOML: {_cause(error)}; a line looks like kimg = 2000, texts stand in quotes"
        ) from error


def of_run(run_dir: str | Path) -> JsonObject:
    """The settings that a run was started with; of older runs as far as their options file tells.

    What was trained into a file of its own is named by that file.
    """
    folder = Path(run_dir)
    if folder.is_file():
        return read(beside(folder))
    if not folder.is_dir():
        raise UserError(f"{run_dir} is not a folder; give the folder of a run")
    if (folder / run_files.CONFIG).is_file():
        return read(folder / run_files.CONFIG)
    path = folder / run_files.OPTIONS
    try:
        record = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(
            f"{run_dir} has neither {run_files.CONFIG} nor {run_files.OPTIONS}; give the folder of a run"
        ) from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged; give its settings with --config or as flags") from error
    ours = record.get(run_files.OURS) if isinstance(record, dict) else None
    flags: JsonObject | None = ours.get("flags") if isinstance(ours, dict) else None
    if not isinstance(flags, dict):
        raise UserError(
            f"{run_dir} was made by another program, which keeps no flags; give flags, or --config"
        )
    return flags  # what a plugin's command asked beside them was not kept in those days


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml(_pair(item)) for item in value)}]"
    # JSON's escapes are TOML's, but for the one control character that JSON lets stand.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def _pair(item: object) -> object:
    """NAME=VALUE, as it is typed, for the pair that a parser makes of it."""
    return "=".join(map(str, item)) if isinstance(item, list | tuple) else item


def _cause(error: Exception) -> str:
    return str(error) if isinstance(error, tomllib.TOMLDecodeError) else "it is nested too deeply"
