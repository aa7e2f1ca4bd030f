"""The library of compiled operations: where it is, and when it is made.

    python -m stylegan2ada.ops.build              # for this processor, and for CUDA where nvcc is
    python -m stylegan2ada.ops.build --clean

A library is a file in the cache folder, named by its sources, flags, processor and compiler; it appears
complete or not at all. It uses nothing of torch, so one serves all versions.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from stylegan2ada import files, locks
from stylegan2ada.errors import UserError
from stylegan2ada.ops import compiling

MOST_SECONDS = 60.0  # that a training waits at its start
_BY_HAND_SECONDS = 600.0
_SEAL = hashlib.sha256().digest_size  # bytes at the end of a library: the hash of the rest
_HINT = "`spinegan doctor --build` builds them"

_loaded: dict[str, Path] = {}  # device -> library, in this process
_missing: dict[str, str] = {}  # device -> why not


class Unavailable(Exception):
    """Why there is no library, in one sentence without a full stop."""


def is_ready(device: str) -> bool:
    """Whether kernels for this device can be called. Looks once per process, never compiles."""
    if device not in _loaded and device not in _missing:
        with contextlib.suppress(Unavailable):
            ensure(device)
    return device in _loaded


def library_path(device: str) -> str:
    """Of a device that is ready, or Unavailable."""
    return str(_loaded[device] if device in _loaded else ensure(device))


def forget() -> None:
    """Look again: something was built or deleted."""
    _loaded.clear()
    _missing.clear()


def ensure(
    device: str,
    *,
    may_build: bool = False,
    seconds: float = MOST_SECONDS,  # for building, waiting for another builder included
    archs: Sequence[str] | None = None,  # of CUDA; None: of the cards that are here
    say: Callable[[str], None] = lambda line: None,
) -> Path:
    """The library for a device, built first if it is not there and that is allowed; else Unavailable."""
    if device in _loaded and archs is None:
        return _loaded[device]
    try:
        path = _ensure(device, may_build, seconds, archs, say)
    except Unavailable as reason:
        _missing[device] = str(reason)
        raise
    _loaded[device] = path
    _missing.pop(device, None)
    return path


def _ensure(
    device: str, may_build: bool, seconds: float, archs: Sequence[str] | None, say: Callable[[str], None]
) -> Path:
    if device not in ("cpu", "cuda"):
        raise Unavailable(f"there are no kernels for {device}")
    made_by = compiling.recipe(device, archs or (_present() if device == "cuda" else compiling.CUDA_ARCHS))
    folder = folder_of(device, made_by)
    found = _find(folder, made_by)
    if found is None and not may_build:
        raise Unavailable(f"kernels are not built; {_HINT}")
    return _build(device, made_by, folder, seconds, say) if found is None else found


def folder_of(device: str, made_by: compiling.Recipe) -> Path:
    return files.cache_dir("ops", f"{device}-{made_by.key}")


def _find(folder: Path, made_by: compiling.Recipe) -> Path | None:
    """The library by this compiler, else by any: without one, what there is serves."""
    exact = folder / f"{made_by.of_compiler}.so"
    try:
        candidates = [exact] if made_by.compiler else sorted(folder.glob("*.so"))
    except OSError:
        return None
    return next((path for path in candidates if _loads(path)), None)


def _loads(path: Path) -> bool:
    try:
        content = path.read_bytes()
        # A process that maps a file which was cut off dies without a word.
        if content[-_SEAL:] != hashlib.sha256(content[:-_SEAL]).digest():
            return False
        return ctypes.CDLL(str(path)).sg_version() == 1
    except (OSError, AttributeError):  # it is not there, or a library that it needs is not
        return False


def _build(
    device: str, made_by: compiling.Recipe, folder: Path, seconds: float, say: Callable[[str], None]
) -> Path:
    start = time.monotonic()
    target = folder / f"{made_by.of_compiler}.so"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        while True:
            try:
                with locks.hold(folder / "building", str(folder)):
                    if (found := _find(folder, made_by)) is not None:
                        return found  # by whoever was here before
                    _compile_to(target, made_by, seconds - (time.monotonic() - start))
                    break
            except UserError as busy:
                if (found := _find(folder, made_by)) is not None:
                    return found
                if time.monotonic() - start > seconds:
                    raise Unavailable(f"waited {seconds:.0f} s for another process ({busy})") from busy
                time.sleep(0.1)
    except OSError as error:
        raise Unavailable(f"cannot write to {folder} ({error.strerror})") from error
    except compiling.CompileError as error:
        raise Unavailable(str(error)) from error
    if not _loads(target):
        raise Unavailable(f"{target} was built, but cannot be loaded; delete it")
    say(f"Kernels for {device} built in {time.monotonic() - start:.0f} s: {target}")
    return target


def _compile_to(target: Path, made_by: compiling.Recipe, seconds: float) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".building-") as scratch:
        fresh = Path(scratch, target.name)
        compiling.compile_library(made_by, fresh, seconds)
        content = fresh.read_bytes()
        fresh.write_bytes(content + hashlib.sha256(content).digest())
        os.replace(fresh, target)


def _present() -> tuple[str, ...]:
    """The architectures of the cards that are here; those we know if there is none."""
    import torch

    if not torch.cuda.is_available():
        return compiling.CUDA_ARCHS
    found = {torch.cuda.get_device_capability(k) for k in range(torch.cuda.device_count())}
    return tuple(f"{major}{minor}" for major, minor in sorted(found))


def clean() -> int:
    """Delete all libraries; how many there were. A process that has loaded one keeps it."""
    place = files.cache_dir("ops")
    count = len(list(place.glob("*/*.so")))
    shutil.rmtree(place, ignore_errors=True)
    forget()
    return count


def build_all(archs: Sequence[str] | None, say: Callable[[str], None]) -> bool:
    """Build for this processor, and for CUDA if asked to or where nvcc is; whether all went well."""
    devices = ["cpu", *(["cuda"] if archs or shutil.which("nvcc") else [])]
    went_well = True
    for device in devices:
        try:
            of_device = archs if device == "cuda" else None
            path = ensure(device, may_build=True, seconds=_BY_HAND_SECONDS, archs=of_device)
            say(f"{device}: {path}")
        except Unavailable as reason:
            went_well = False
            say(f"{device}: {reason}")
    return went_well


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m stylegan2ada.ops.build", description="Build the kernels.")
    parser.add_argument("--cuda-arch", metavar="N,N,...", help="for these: 80,90 [default: the cards here]")
    parser.add_argument("--clean", action="store_true", help="delete all that were built")
    asked = parser.parse_args(arguments)
    if asked.clean:
        print(f"deleted {clean()} libraries from {files.cache_dir('ops')}")
        return 0
    archs = None if asked.cuda_arch is None else tuple(asked.cuda_arch.split(","))
    if archs is not None and not all(arch.isdigit() for arch in archs):
        parser.error(f"--cuda-arch={asked.cuda_arch} must be numbers such as 80,90")
    return 0 if build_all(archs, print) else 3


if __name__ == "__main__":
    raise SystemExit(main())
