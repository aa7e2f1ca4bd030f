"""What a conversion may write over or remove: what this tool made, never what only stands in its way."""

from __future__ import annotations

import contextlib
import errno
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

from spine_plugins.dicom import tally
from spine_plugins.dicom.job import Job
from spine_plugins.dicom.journal import check_unused
from spine_plugins.dicom.sheets import MARK
from stylegan2ada import untrusted
from stylegan2ada.data.writer import LABELS_FILE
from stylegan2ada.errors import UserError

_HEAD = 4096  # bytes in which a mark must be
_STAGE = re.compile(r"\.partial\.\d+")  # where a data set grows that is a folder
_STAGED = re.compile(rf"\d{{5}}|{re.escape(LABELS_FILE)}")
_DISK_ERRORS = {
    getattr(errno, name)
    for name in (
        "ENOSPC",
        "EDQUOT",
        "EROFS",
        "EACCES",
        "EPERM",
        "EIO",
        "EFBIG",
        "ENAMETOOLONG",
        "ENOTDIR",
        "ENOENT",
    )
    if hasattr(errno, name)
}
_SQLITE_ERRORS = ("FULL", "IOERR", "READONLY", "CANTOPEN", "CORRUPT", "NOTADB", "BUSY", "LOCKED", "PERM")


def check_places(job: Job) -> None:
    """Refuse before anything is read what would lose something at the end."""
    for source in job.sources:
        if not Path(source).is_dir() and not untrusted.is_regular(source):
            raise UserError(
                f"--source={source} does not exist, or is a pipe or device; "
                "give a folder, a zip file, a DICOM file or a list"
            )
    if job.dry_run:
        return
    work = job.side_file(".parts")
    check_unused(work, may_resume=job.resume, may_overwrite=job.overwrite)
    for target in job.targets().values():
        if target.is_dir() and target.suffix.lower() != ".zip":
            _remove_stages(target)
            if any(target.iterdir()):
                raise UserError(f"--dest: {target} is not an empty folder; empty it or choose another name")
        elif target.exists():
            if not job.overwrite and not (job.resume and work.exists()):
                raise UserError(f"--dest: {target} exists; choose another name or add --overwrite")
            # A zip of the radiographs themselves, say, with source and destination exchanged.
            _refuse_foreign(target, _is_data_set)
    for path, is_ours in _side_files(job).items():
        _refuse_foreign(path, is_ours)


def _side_files(job: Job) -> dict[Path, Callable[[Path], bool]]:
    """Every file beside the data sets, and how one of ours is known."""
    boxes = {job.side_file("_boxes.json", split): _are_boxes for split in job.targets()}
    summary = job.side_file("_summary.json")

    def is_sheet(path: Path) -> bool:
        # Those of earlier versions carry no mark, but lie beside a summary, which is one.
        return MARK.encode() in _head(path) or _is_summary(summary)

    sheets = {job.side_file(ending): is_sheet for ending in ("_contact.png", "_hist.png", "_pairs.png")}
    return {job.side_file("_report.csv"): _is_report, summary: _is_summary, **boxes, **sheets}


def _refuse_foreign(path: Path, is_ours: Callable[[Path], bool]) -> None:
    if path.exists() and not (untrusted.is_regular(path) and is_ours(path)):
        raise UserError(
            f"{path} is in the way and was not made by this tool; move it away, or choose another --dest"
        )


def _is_data_set(path: Path) -> bool:
    try:
        with untrusted.open_zip(path) as archive:
            return LABELS_FILE in archive.namelist()
    except UserError:
        return False


def _is_report(path: Path) -> bool:
    return _head(path).startswith(",".join(tally.COLUMNS[:4]).encode())


def _is_summary(path: Path) -> bool:
    return {"files", "kept"} <= _keys(path)


def _are_boxes(path: Path) -> bool:
    return {"resolution", "boxes"} <= _keys(path)


def _keys(path: Path) -> set[str]:
    try:
        value = untrusted.read_json(path)
    except UserError:
        return set()
    return set(value) if isinstance(value, dict) else set()


def _head(path: Path) -> bytes:
    with untrusted.open_regular(path) as file:
        return file.read(_HEAD)


def _remove_stages(folder: Path) -> None:
    """What a killed run had half written there."""
    for path in folder.glob(".partial.*"):
        is_named_so = _STAGE.fullmatch(path.name) and path.is_dir() and not path.is_symlink()
        if is_named_so and all(_STAGED.fullmatch(entry.name) for entry in path.iterdir()):
            shutil.rmtree(path)


@contextlib.contextmanager
def told(job: Job) -> Iterator[None]:
    """A full or read-only disk as one sentence; what is done is in the journal."""
    try:
        yield
    except UserError:
        raise
    except OSError as error:
        if error.errno not in _DISK_ERRORS:
            raise
        raise _no_room(job, error.strerror) from error
    except sqlite3.DatabaseError as error:
        name = getattr(error, "sqlite_errorname", "").removeprefix("SQLITE_")
        if not name.startswith(_SQLITE_ERRORS):
            raise
        raise _no_room(job, f"{error}; its temporary files are in TMPDIR") from error


def _no_room(job: Job, because: str | None) -> UserError:
    if job.dry_run:
        return UserError(f"the temporary folder cannot be written ({because}); set TMPDIR to one that can")
    return UserError(
        f"{job.stem.parent} cannot be written ({because}); make room, or choose another --dest. "
        "What is done is kept: run again with --resume to go on"
    )
