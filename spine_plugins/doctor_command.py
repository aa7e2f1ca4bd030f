"""`spinegan doctor`: what this computer can do, one line each, with the fix for what it cannot."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

import stylegan2ada
from stylegan2ada import files, options
from stylegan2ada.data import cache
from stylegan2ada.data.dataset import ImageFolderDataset
from stylegan2ada.errors import MissingError, UserError
from stylegan2ada.metrics import features
from stylegan2ada.metrics.detectors import KNOWN, Detectors
from stylegan2ada.ops import build, compiling

_GB = 1 << 30
_MARKS = {True: "ok  ", None: "--  ", False: "FAIL"}  # None: works, but something optional is missing


@dataclass(frozen=True)
class Finding:
    """One line of the doctor."""

    is_ok: bool | None
    what: str
    found: str
    fix: str = ""


@dataclass(frozen=True)
class Doctor:
    """What `doctor` was asked."""

    data: str | None
    outdir: str
    prune_cache: bool
    build: bool
    json_file: str | None


@options.command("doctor", record=Doctor)
@options.group(
    "What to check",
    options.opt("--data", metavar="PATH", help="Also check this data set"),
    options.opt("--outdir", metavar="DIR", default=".",
                help="Folder that runs would write to [default: .]"),
)  # fmt: skip
@options.group(
    "What to clean",
    options.opt("--prune-cache", is_flag=True,
                help="First delete decoded images and statistics of data sets"),
)  # fmt: skip
@options.group(
    "What to build",
    options.opt("--build", is_flag=True, help="First compile our kernels, for this processor and for CUDA"),
)
@options.json_option
def doctor(asked: Doctor) -> None:
    """Check this computer: device, memory, compiler, codecs, detectors, rights, data.

    Leaves with 0 if training can start, with 3 if something that it needs is not there.
    """
    voice = options.Voice(asked.json_file)
    pruned = {"pruned": _prune(voice)} if asked.prune_cache else {}
    if asked.build:
        build.build_all(None, voice.say)
    findings = list(examine(asked.data, asked.outdir))
    for finding in findings:
        voice.say(f"{_MARKS[finding.is_ok]} {finding.what:10} {finding.found}")
        if finding.fix and finding.is_ok is not True:
            voice.say(f"{'':15} fix: {finding.fix}")
    can_train = all(finding.is_ok is not False for finding in findings)
    voice.numbers({"can_train": can_train, "findings": [asdict(finding) for finding in findings], **pruned})
    if not can_train:
        raise SystemExit(MissingError.exit_code)


def examine(data: str | None, outdir: str) -> Iterator[Finding]:
    """All findings, in the order in which a run would need the things."""
    yield Finding(True, "spinegan", f"{stylegan2ada.__version__}, Python {platform.python_version()}")
    yield _torch()
    yield _device()
    yield _memory()
    yield _compiler()
    yield _codecs()
    yield from _detectors()
    for package, use in [("monai", "classifier"), ("matplotlib", "report"), ("imageio_ffmpeg", "video")]:
        yield _extra(package, use)
    yield _rights(outdir)
    yield _cache()
    if data is not None:
        yield _data(data)


def _torch() -> Finding:
    major, minor = (int(part) for part in torch.__version__.split(".")[:2])
    is_new = (major, minor) >= (2, 6)
    return Finding(is_new, "torch", torch.__version__, "pip install 'torch>=2.6'")


def _device() -> Finding:
    if torch.cuda.is_available():
        names = {torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())}
        return Finding(True, "device", f"{torch.cuda.device_count()} x {', '.join(sorted(names))}")
    if torch.backends.mps.is_available():
        return Finding(True, "device", "Apple GPU")
    fix = "training on a CPU works and is slow; for a GPU install the CUDA build of torch"
    return Finding(None, "device", f"CPU with {os.cpu_count()} cores, no GPU", fix)


def _memory() -> Finding:
    if not hasattr(os, "sysconf"):
        return Finding(None, "memory", "unknown on this system")
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / _GB
    disk = shutil.disk_usage(".").free / _GB
    text = f"{total:.0f} GB, {disk:.0f} GB free on this disk"
    return Finding(total >= 4 and disk >= 5, "memory", text, "4 GB of memory and 5 GB of disk are the least")


def _compiler() -> Finding:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    compiler = compiling.recipe(device).compiler
    try:
        path = build.ensure(device)
    except build.Unavailable as reason:
        fix = (
            "spinegan doctor --build" if compiler else "install g++, or nvcc for CUDA; plain operations work"
        )
        return Finding(None, "kernels", f"{reason}; operations are plain torch", fix)
    return Finding(True, "kernels", f"built for {device}: {path}")


def _codecs() -> Finding:
    if importlib.util.find_spec("pydicom") is None:
        return Finding(None, "codecs", "no pydicom, so no DICOM", "pip install 'spinegan[dicom]'")
    from spine_plugins.dicom.codecs import decoder_table

    missing = [name for name, state, _ in decoder_table() if state == "-"]
    if not missing:
        return Finding(True, "codecs", "every DICOM transfer syntax we know can be read")
    fix = "pip install 'spinegan[dicom]' imagecodecs; dataset_tool_dicom.py --list-decoders says more"
    return Finding(None, "codecs", f"cannot read {', '.join(missing)}", fix)


def _detectors() -> Iterator[Finding]:
    finder = Detectors()
    for name in KNOWN:
        path = finder.find(name)
        found = str(path) if path else "missing; metrics that need it are skipped in training"
        yield Finding(bool(path) or None, name, found, f"spinegan detectors fetch {name}")


def _extra(package: str, use: str) -> Finding:
    is_there = importlib.util.find_spec(package) is not None
    found = package if is_there else f"no {package}"
    return Finding(is_there or None, use, found, f"pip install 'spinegan[{use}]'")


def _rights(outdir: str) -> Finding:
    problems = [str(place) for place in (Path(outdir), files.cache_dir()) if not _can_write(place)]
    fix = "choose another --outdir, or set DNNLIB_CACHE_DIR to a folder of yours"
    found = f"cannot write to {', '.join(problems)}" if problems else "allowed"
    return Finding(not problems, "write", found, fix)


def _can_write(place: Path) -> bool:
    existing = next(folder for folder in [place.resolve(), *place.resolve().parents] if folder.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            return True
    except OSError:
        return False


def _cache() -> Finding:
    found = _cached()
    text = f"{_size(found)} of images and statistics of data sets in {files.cache_dir()}"
    return Finding(True, "cache", text + ("; spinegan doctor --prune-cache deletes them" if found else ""))


def _cached() -> dict[Path, int]:
    """What the cache holds of data sets, with bytes; downloads are left alone."""
    found = {}
    for path in [*cache.cached_files(), *features.cached_files()]:
        with contextlib.suppress(OSError):  # another process may be removing it
            found[path] = path.stat().st_size
    return found


def _size(found: dict[Path, int]) -> str:
    total = sum(found.values())
    return f"{total / _GB:.1f} GB" if total >= _GB else f"{total / (1 << 20):.1f} MB"


def _prune(voice: options.Voice) -> dict[str, int]:
    """Delete it; a run that has images mapped keeps them (on Windows their file stays)."""
    found = _cached()
    gone = {}
    for path, size in found.items():
        try:
            path.unlink()
        except FileNotFoundError:
            continue
        except OSError as error:
            voice.say(f"{path} stays: {error.strerror}")
            continue
        gone[path] = size
    voice.say(f"deleted {len(gone)} files, {_size(gone)}, from {files.cache_dir()}")
    return {"files": len(gone), "bytes": sum(gone.values())}


def _data(path: str) -> Finding:
    try:
        dataset = ImageFolderDataset(path, use_labels=True)
        classes = dataset.label_dim if dataset.has_labels else 0
        dataset[len(dataset) - 1]
    except UserError as error:
        fix = "make it again with dataset_tool.py or dataset_tool_dicom.py"
        return Finding(False, "data", str(error), fix)
    channels, height, width = dataset.image_shape
    text = f"{len(dataset)} images, {width}x{height}, {channels} channel(s), {classes} classes"
    has_groups = dataset.groups is not None
    fix = "without patients in dataset.json, splits are by image; dataset_tool_dicom.py writes them"
    return Finding(has_groups or None, "data", text + ("" if has_groups else ", no patient groups"), fix)
