"""From our sources to one shared library: which compiler, with which flags, in how much time."""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SOURCES = Path(__file__).parent / "compiled"
CUDA_ARCHS = ("80", "86", "89", "90")
_CPU_COMPILERS = ("g++", "c++", "clang++")
_COMMON = ("-std=c++17", "-O3")
# Floating point as written, but for flags and traps that nobody reads; without them loops stay scalar.
_CPU_FLAGS = ("-march=native", "-fopenmp", "-fPIC", "-fno-math-errno", "-fno-trapping-math")


class CompileError(Exception):
    """Why no library came out, in one line."""


@dataclass(frozen=True)
class Recipe:
    """All that decides what comes out."""

    compiler: str
    files: tuple[Path, ...]  # that are compiled; headers lie beside them
    flags: tuple[str, ...]
    machine: str  # what "native" means

    @property
    def key(self) -> str:
        """Of everything but the compiler, so that a library is also found where there is none."""
        digest = hashlib.sha256()
        headers = sorted(SOURCES.glob("*.h"))
        for path in (*self.files, *headers):
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
        digest.update("\0".join((*self.flags, self.machine)).encode())
        return digest.hexdigest()[:16]

    @property
    def of_compiler(self) -> str:
        return hashlib.sha256(_version(self.compiler).encode()).hexdigest()[:12]


def recipe(device: str, archs: Sequence[str] = CUDA_ARCHS) -> Recipe:
    """What a library for a device is made by."""
    if device == "cuda":
        codes = [f"-gencode=arch=compute_{arch},code=sm_{arch}" for arch in archs]
        newest = max(archs, key=int)
        codes.append(f"-gencode=arch=compute_{newest},code=compute_{newest}")  # PTX, for cards to come
        flags = (*_COMMON, *codes, "-Xcompiler=-fPIC", "-lineinfo")
        return Recipe(shutil.which("nvcc") or "", tuple(sorted(SOURCES.glob("*.cu"))), flags, "")
    named = os.environ.get("CXX")
    found = [shutil.which(name) for name in ((named,) if named else _CPU_COMPILERS)]
    compiler = next((path for path in found if path), "")
    return Recipe(compiler, tuple(sorted(SOURCES.glob("*.cpp"))), (*_COMMON, *_CPU_FLAGS), _cpu())


def compile_library(made_by: Recipe, target: Path, seconds: float) -> None:
    """Write the library to `target`; CompileError with the compiler's first complaint."""
    if not made_by.compiler:
        raise CompileError("there is no compiler (c++, or nvcc for CUDA)")
    end = time.monotonic() + seconds
    folder = target.parent
    objects = [folder / f"{path.stem}.o" for path in made_by.files]
    steps = [
        [made_by.compiler, *made_by.flags, "-c", str(path), "-o", str(into)]
        for path, into in zip(made_by.files, objects)
    ]
    ninja = shutil.which("ninja")
    if ninja:
        _by_ninja(ninja, made_by, steps, objects, folder, end)
    else:
        _side_by_side(steps, end)
    openmp = [flag for flag in made_by.flags if flag == "-fopenmp"]
    _side_by_side([[made_by.compiler, "-shared", *openmp, *map(str, objects), "-o", str(target)]], end)


def _by_ninja(
    ninja: str, made_by: Recipe, steps: list[list[str]], objects: list[Path], folder: Path, end: float
) -> None:
    lines = ["rule compile", "  command = $line"]
    for path, into, step in zip(made_by.files, objects, steps):
        quoted = shlex.join(step).replace("$", "$$")
        lines += [f"build {_escaped(into)}: compile {_escaped(path)}", f"  line = {quoted}"]
    (folder / "build.ninja").write_text("\n".join(lines) + "\n")
    _side_by_side([[ninja, "-C", str(folder), "-f", "build.ninja"]], end)


def _escaped(path: Path) -> str:
    return str(path).replace("$", "$$").replace(" ", "$ ").replace(":", "$:")


def _side_by_side(commands: list[list[str]], end: float) -> None:
    """Run them at the same time until all are done, or none goes on."""
    started: list[subprocess.Popen[str]] = []
    try:
        for command in commands:
            started.append(
                subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                    text=True, errors="replace",
                )
            )  # fmt: skip
        for process in started:
            said, _ = process.communicate(timeout=max(end - time.monotonic(), 0.1))
            if process.returncode:
                raise CompileError(f"{Path(commands[0][0]).name} failed: {_complaint(said)}")
    except subprocess.TimeoutExpired:
        raise CompileError("compiling took too long") from None
    except OSError as error:
        raise CompileError(f"{commands[0][0]} cannot be started ({error.strerror})") from error
    finally:
        for process in started:
            if process.poll() is None:
                process.kill()
                process.communicate()


def _complaint(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return (errors or lines or ["it says nothing"])[0][:200]


@cache
def _version(compiler: str) -> str:
    try:
        done = subprocess.run([compiler, "--version"], capture_output=True, text=True, timeout=20)
        return done.stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


@cache
def _cpu() -> str:
    """What this processor can do: a home folder may be shared by several kinds."""
    try:
        for row in Path("/proc/cpuinfo").read_text().splitlines():
            if row.startswith(("flags", "Features")):
                return platform.machine() + row
    except OSError:
        pass
    return platform.machine() + platform.processor()
