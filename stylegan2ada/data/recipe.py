"""How a data set was made, for its dataset.json: tool, version, flags, libraries, resize filter."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Iterable, Mapping
from typing import Any

import stylegan2ada


def make_recipe(
    tool: str,
    flags: Mapping[str, Any],  # without paths: the same images made elsewhere have the same recipe
    *,
    resize_filter: str,
    packages: Iterable[str] = ("numpy", "pillow"),
) -> dict[str, Any]:
    """Plain data for `DatasetWriter.extra["recipe"]`."""
    versions = {"python": platform.python_version()}
    versions.update({package: importlib.metadata.version(package) for package in packages})
    return {
        "tool": tool,
        "version": stylegan2ada.__version__,
        "flags": dict(flags),
        "config_hash": hashlib.sha256(json.dumps(flags, sort_keys=True).encode()).hexdigest(),
        "versions": versions,
        "resize_filter": resize_filter,
    }
