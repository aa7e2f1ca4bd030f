"""What the workers find loaded: torch, every command, what libraries load late; and the valid files."""

from __future__ import annotations

import codecs
import contextlib
import importlib
import os
import pkgutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

import click

_CHARSETS = (
    "ascii", "cp437", "cp1252", "idna", "iso8859_1", "latin_1", "mbcs", "raw_unicode_escape",
    "unicode_escape", "utf_8_sig",
    *(f"utf_{width}{order}" for width in (16, 32) for order in ("", "_le", "_be")),
)  # fmt: skip


def command() -> click.Command:
    """The one that stands for all."""
    from spine_plugins.__main__ import main

    return main


def everything(names: Iterable[str]) -> None:
    """Load what there is, then make a case of each format, so that its valid files are there."""
    import PIL.Image
    import torch

    from stylegan2ada.ops import choice
    from tests.hostile import FORMATS

    torch.set_num_threads(1)
    os.environ.setdefault(choice.ENVIRONMENT, "plain")  # no training starts a compiler
    for package in ("stylegan2ada", "spine_plugins"):
        _load(package)
    _load_libraries()
    import pydicom.charset

    for charset in (*_CHARSETS, *pydicom.charset.python_encoding.values()):
        with contextlib.suppress(LookupError):  # that of another system
            codecs.lookup(charset)
    PIL.Image.init()
    for name in names:
        if FORMATS[name].trains:
            importlib.import_module("torch._dynamo")  # a second, which every worker would need again
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "case").mkdir()
            FORMATS[name].make(name, 0, Path(folder, "case"))


def _load_libraries() -> None:
    """What commands load when they are asked for it, and whose first use makes folders in the user's home."""
    for name in (
        "matplotlib.figure",
        "matplotlib.backends.backend_agg",
        "distributed",
        "importlib_metadata._adapters",
    ):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    from spine_plugins.classifier.architectures import DenseNet121
    from stylegan2ada.ops import build

    DenseNet121(1, 1, dropout=0.0)
    build.is_ready("cpu")  # asks the compiler its version, once


def _load(package: str) -> None:
    path = importlib.import_module(package).__path__
    for module in pkgutil.walk_packages(path, f"{package}."):
        if not module.name.endswith(("__main__", "as_script")):
            importlib.import_module(module.name)
