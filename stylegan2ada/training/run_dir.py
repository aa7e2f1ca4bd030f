"""The folder of a run: its number and name, the options file in upstream's keys, what it was made with."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path

from stylegan2ada import untrusted
from stylegan2ada.config import TrainConfig, TrainOptions
from stylegan2ada.errors import UserError
from stylegan2ada.files import write_json
from stylegan2ada.protocols import JsonObject
from stylegan2ada.training import recorded, run_files

OPTIONS_FILE = run_files.OPTIONS
STATE_FILE = run_files.STATE
REQUEUE_FILE = run_files.REQUEUE
_OURS = run_files.OURS


def next_name(outdir: str | Path, desc: str) -> str:
    # Of all folders, ours or not: no number is given twice.
    """`00007-desc`: one more than the largest number that a folder in outdir begins with."""
    found = (
        [_number(entry.name) for entry in Path(outdir).iterdir() if entry.is_dir()]
        if Path(outdir).is_dir()
        else []
    )
    return f"{max(found, default=-1) + 1:05d}-{desc}"


def create(outdir: str | Path, desc: str) -> Path:
    """Make the next run folder; two runs that start together get different ones."""
    for _ in range(100):
        path = Path(outdir, next_name(outdir, desc))
        try:
            path.mkdir(parents=True)
            return path
        except FileExistsError:
            continue  # somebody was faster: the next number
        except OSError as error:
            raise UserError(
                f"--outdir={outdir}: cannot make a run folder there ({error.strerror}); choose another"
            ) from error
    raise UserError(f"--outdir={outdir}: too many runs start there at once; start them one after another")


def write_options(
    run_dir: Path, config: TrainConfig, options: TrainOptions, extra: Mapping[str, object] | None = None
) -> None:
    """training_options.json: upstream's keys first and in its order, then ours.

    Of a run that goes on, every fact stays that is not given anew, and who made its first part.
    """
    before = _our_part(run_dir)
    of_config = {field.name for field in dataclasses.fields(config)}  # left out where they are the defaults
    facts = {name: value for name, value in before.items() if name not in of_config} | dict(extra or {})
    if "provenance" in before:
        facts["earlier"] = [*before.get("earlier", []), before["provenance"]]
    ours = {"desc": config.desc, **config.ours(), **facts, "flags": options.given()}
    write_json(run_dir / OPTIONS_FILE, upstream_record(config, run_dir) | {_OURS: ours}, indent=2)


def upstream_record(config: TrainConfig, run_dir: Path | str) -> JsonObject:
    """What upstream prints and stores."""
    return config.to_upstream() | {"run_dir": str(run_dir)}


def update_extra(run_dir: Path, **values: object) -> None:
    """Add keys to our part of the options file."""
    update_record(run_dir, **{_OURS: read_record(run_dir)[_OURS] | values})


def update_record(run_dir: Path, **values: object) -> None:
    """Change upstream's keys of the options file."""
    write_json(run_dir / OPTIONS_FILE, read_record(run_dir) | values, indent=2)


def read_record(run_dir: Path) -> JsonObject:
    """training_options.json as it stands."""
    path = run_dir / OPTIONS_FILE
    if not untrusted.is_regular(path):
        raise UserError(f"--continue={run_dir}: {path} cannot be read; give the folder of a run")
    try:
        record = untrusted.read_json(path)
    except UserError as error:
        raise UserError(f"--continue={run_dir}: {error}") from error
    if not isinstance(record, dict) or _OURS not in record:
        raise UserError(
            f"--continue={run_dir}: not a run of this program; start from its networks with --resume=PKL"
        )
    return record


def read_options(run_dir: Path) -> tuple[TrainConfig, TrainOptions, JsonObject]:
    """The configuration, the flags it came from, and our extra keys."""
    record = read_record(run_dir)
    ours = record[_OURS]
    recorded.check_record(record, ours, run_dir / OPTIONS_FILE)
    return TrainConfig.from_record(record | ours), TrainOptions.from_record(ours["flags"]), ours


def runs_in(outdir: str | Path) -> list[Path]:
    """Run folders, newest number last."""
    if not Path(outdir).is_dir():
        return []
    found = [p for p in Path(outdir).iterdir() if p.is_dir() and (p / OPTIONS_FILE).is_file()]
    return sorted(found, key=lambda p: (_number(p.name), p.name))


def latest(outdir: str | Path) -> Path | None:
    """The newest run that this program started there, or None."""
    ours = [path for path in runs_in(outdir) if _our_part(path)]
    return ours[-1] if ours else None


def started_by(outdir: str | Path, launch_id: str) -> Path | None:
    """The run that this launcher has started before, or None."""
    for path in reversed(runs_in(outdir)):
        if _our_part(path).get("launch_id") == launch_id:
            return path
    return None


def _our_part(path: Path) -> JsonObject:
    """Our keys of an options file; nothing if it is foreign or unreadable."""
    try:
        record = untrusted.read_json(path / OPTIONS_FILE)
    except UserError:
        return {}
    ours = record.get(_OURS) if isinstance(record, dict) else None
    return ours if isinstance(ours, dict) else {}


def _number(name: str) -> int:
    digits = re.match(r"\d+", name)
    return int(digits[0]) if digits else -1
