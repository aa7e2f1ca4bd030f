"""Look at a checkout without running it: is it the one, and what does it ask of this computer."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from stylegan2ada.errors import UserError
from stylegan2ada.protocols import JsonObject

ENTRY = "setup_training_loop_kwargs"  # what its train.py resolves the flags with
_ROOMS = ("dnnlib", "torch_utils", "training")
_LICENCES = ("LICENSE.txt", "LICENSE", "LICENSE.md")
_VERSION_LITERAL = re.compile(r"['\"](\d+)\.(\d+)\.?['\"]")


@dataclass(frozen=True)
class Checkout:
    """The official program on this computer."""

    path: Path
    concerns: tuple[str, ...]  # why it may refuse, a sentence each; only itself decides

    def record(self) -> JsonObject:
        """Where a run's weights come from."""
        licence = next((self.path / name for name in _LICENCES if (self.path / name).is_file()), None)
        return {
            "path": str(self.path),
            "commit": _commit(self.path / ".git"),
            "train_sha256": _sha256(self.path / "train.py"),
            "licence": None if licence is None else {"file": licence.name, "sha256": _sha256(licence)},
            "licence_note": "the official program's own terms hold for what it computes; read its licence",
        }


def look_at(path: str | Path) -> Checkout:
    """The checkout at a path, or a UserError that says why it is none."""
    place = Path(path).resolve()
    script = place / "train.py"
    if not script.is_file():
        raise UserError(
            f"--engine={path} holds no train.py; give the folder of a stylegan2-ada-pytorch checkout"
        )
    names = {node.name for node in _parsed(script).body if isinstance(node, ast.FunctionDef)}
    if ENTRY not in names:
        is_successor = (place / "gen_images.py").is_file() or (place / "avg_spectra.py").is_file()
        raise UserError(
            f"--engine={path}: its train.py has no {ENTRY}, so it is "
            + ("a checkout of stylegan3" if is_successor else "another program")
            + "; give one of stylegan2-ada-pytorch"
        )
    missing = [room for room in _ROOMS if not (place / room).is_dir()]
    if missing:
        raise UserError(f"--engine={path} lacks {', '.join(missing)}; check it out anew")
    return Checkout(place, tuple(_concerns(place)))


def _concerns(place: Path) -> Iterator[str]:
    if not torch.cuda.is_available():
        yield "the official program asks for a CUDA device, and this computer has none"
    if any(place.glob("torch_utils/ops/*.cu")) and shutil.which("nvcc") is None:
        yield "it compiles operations of its own with nvcc, which is not there; it then computes without them"
    here = tuple(int(part) for part in torch.__version__.split(".")[:2])
    for path in sorted(place.glob("torch_utils/**/*.py")):
        known = _versions_asked_for(path)
        if known and here not in known:
            first, last = (".".join(map(str, version)) for version in (min(known), max(known)))
            yield (
                f"{path.relative_to(place)} was written for torch {first} to {last}, and this is "
                f"{torch.__version__}; it then falls back, slower or without second gradients"
            )
    absent = sorted(name for name in _imported(place) if not _is_there(name, place))
    if absent:
        yield f"it imports {', '.join(absent)}, which are not installed here; install them with pip"


def _versions_asked_for(path: Path) -> set[tuple[int, int]]:
    """Versions of torch that a file compares the installed one with."""
    lines = path.read_text(errors="replace").splitlines()
    return {
        (int(major), int(minor))
        for line in lines
        if "torch.__version__" in line
        for major, minor in _VERSION_LITERAL.findall(line)
    }


def _imported(place: Path) -> set[str]:
    """Top-level names that the training's files import, those within `try` aside."""
    found: set[str] = set()
    for path in [place / "train.py", *(file for room in _ROOMS for file in place.glob(f"{room}/**/*.py"))]:
        tree = _parsed(path)
        guarded = {
            id(node) for block in ast.walk(tree) if isinstance(block, ast.Try) for node in ast.walk(block)
        }
        for node in ast.walk(tree):
            if id(node) in guarded:
                continue
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                found.add(node.module.partition(".")[0])
    return found


def _is_there(name: str, place: Path) -> bool:
    if name in sys.stdlib_module_names or (place / name).is_dir() or (place / f"{name}.py").is_file():
        return True
    return importlib.util.find_spec(name) is not None


def _parsed(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, RecursionError) as error:
        raise UserError(f"--engine: {path} is no Python of today ({error}); check it out anew") from error


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _commit(git: Path) -> str | None:
    """What is checked out, read from git's own files: git itself may not be installed."""
    try:
        head = (git / "HEAD").read_text().strip()
        if not head.startswith("ref: "):
            return head
        name = head.removeprefix("ref: ")
        if (git / name).is_file():
            return (git / name).read_text().strip()
        packed = (git / "packed-refs").read_text().splitlines()
        return next((line.split()[0] for line in packed if line.endswith(f" {name}")), None)
    except OSError:
        return None
