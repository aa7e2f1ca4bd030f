"""Recorded numbers of the reference implementation, and a list of which of them a test has looked at."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

GOLDEN = Path(__file__).parent / "golden"
used: set[str] = set()  # "ops/bias_act.npz::c00/x" for arrays, "ops/bias_act.json" for whole files


class Arrays(Mapping[str, np.ndarray]):
    """The arrays of one .npz; reading one marks it as used."""

    def __init__(self, name: str) -> None:
        self.name = name
        with np.load(GOLDEN / name) as file:
            self._arrays = {key: file[key] for key in file.files}

    def __getitem__(self, key: str) -> np.ndarray:
        value = self._arrays[key]
        used.add(f"{self.name}::{key}")
        return value

    def __contains__(self, key: object) -> bool:  # asking is not using
        return key in self._arrays

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def under(self, prefix: str) -> dict[str, np.ndarray]:
        """{rest of the name: array} of all arrays below `prefix/`."""
        start = prefix.rstrip("/") + "/"
        return {key[len(start) :]: self[key] for key in self if key.startswith(start)}


@cache
def golden_arrays(name: str) -> Arrays:
    """E.g. golden_arrays("ops/bias_act.npz")."""
    return Arrays(name)


def golden_json(name: str) -> Any:
    """E.g. golden_json("ops/bias_act.json"); a fresh copy on each call."""
    used.add(name)
    return json.loads((GOLDEN / name).read_text())


def golden_path(name: str) -> Path:
    """Path of any recorded file (zip, pkl, png), marked as used."""
    used.add(name)
    return GOLDEN / name


def assert_same_pictures(pairs: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """uint8 pictures: one level of difference on at most 0.1 % of the values of all of them together.

    A recorded picture has 256 to 3072 values. One value on the border between two levels, which every CPU
    rounds in its own way, would be more than 0.1 % of a small one.
    """
    assert [a.shape for a, _ in pairs] == [b.shape for _, b in pairs]  # nothing is broadcast
    difference = np.concatenate([np.abs(a.astype(int) - b.astype(int)).ravel() for a, b in pairs])
    assert difference.max() <= 1
    assert (difference > 0).mean() <= 1e-3


def everything_recorded() -> set[str]:
    """All names that some test must use."""
    names: set[str] = set()
    for path in sorted(GOLDEN.rglob("*")):
        name = path.relative_to(GOLDEN).as_posix()
        if path.suffix == ".npz":
            with np.load(path) as file:
                names.update(f"{name}::{key}" for key in file.files)
        elif path.is_file() and name != "README.md":
            names.add(name)
    return names
