"""What the workers find loaded: torch, every command, what libraries load late; and the valid files."""

from __future__ import annotations

import importlib
import pkgutil
import random
import tempfile
from collections.abc import Iterable
from pathlib import Path

import click

# Optional parts of libraries that a command asks for while it runs.
_LATE = ("encodings.utf_16", "encodings.utf_32", "encodings.idna", "encodings.cp437", "encodings.utf_8_sig", "lmdb")


def command() -> click.Command:
    """The one that stands for all."""
    from spine_plugins.__main__ import main

    return main


def everything(names: Iterable[str]) -> None:
    """Load what there is, then make a case of each format, so that its valid files are there."""
    import PIL.Image
    import torch

    from tests.hostile import FORMATS

    torch.set_num_threads(1)
    for package in ("stylegan2ada", "spine_plugins"):
        _load(package)
    for module in _LATE:
        importlib.import_module(module)
    PIL.Image.init()
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "case").mkdir()
            FORMATS[name].make(random.Random(0), Path(folder, "case"))


def _load(package: str) -> None:
    path = importlib.import_module(package).__path__
    for module in pkgutil.walk_packages(path, f"{package}."):
        if not module.name.endswith(("__main__", "as_script")):
            importlib.import_module(module.name)
