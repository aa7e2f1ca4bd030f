"""What made a file: tool, flags, versions, the hash of our own source; one shape of recipe. No torch."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import stylegan2ada

PACKAGES = ("numpy", "pillow")  # what turns pixels into pixels everywhere


def recipe(
    tool: str,
    flags: Mapping[str, Any],  # without paths: the same images made elsewhere have the same recipe
    *,
    resize_filter: str | None,  # numbers of FID and its kin depend on it; None: nothing was resized
    packages: Iterable[str] = PACKAGES,
    **more: Any,  # facts of one tool
) -> dict[str, Any]:
    """How a data set was made, for `DatasetWriter.extra["recipe"]` and for cards."""
    return {
        "tool": tool,
        "version": stylegan2ada.__version__,
        "flags": dict(flags),
        "config_hash": hashlib.sha256(json.dumps(flags, sort_keys=True).encode()).hexdigest(),
        "versions": {"python": platform.python_version(), **versions(packages)},
        "resize_filter": resize_filter,
        **more,
    }


def versions(packages: Iterable[str]) -> dict[str, str]:
    """{package: version}; what is not installed is left out."""
    found = {}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def of_this_program() -> dict[str, Any]:
    """Versions, the hash of our source and the command: what made the numbers of a run."""
    return {
        "version": stylegan2ada.__version__,
        "source_sha256": source_sha256(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "libraries": versions(("numpy", "pillow", "scipy", "torch")),
        "command": sys.argv,
    }


@cache
def source_sha256() -> str:
    """One hash over the text of all Python files of the packages that are loaded from this source tree."""
    root = Path(stylegan2ada.__file__).parent.parent
    digest = hashlib.sha256()
    for package in ("stylegan2ada", "spine_plugins"):
        for path in sorted((root / package).rglob("*.py")):
            digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
