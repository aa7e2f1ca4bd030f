"""One hostile input, and a kind of them."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Case:
    """Files that lie in the case's folder, and the command that is given them."""

    attack: str  # what is wrong, in words
    argv: tuple[str, ...]  # the verb first; paths are relative to the folder, where the command runs
    must_refuse: bool = False  # leaving with 0 would be nonsense
    keeps: tuple[str, ...] = ()  # files and folders that a refusal leaves as they were


Make = Callable[[random.Random, Path], Case]


@dataclass(frozen=True)
class Format:
    """A kind of input: who makes its cases, how many of a hundred or so, and how long one may take."""

    maker: Make
    share: float = 10.0
    trains: bool = False  # needs optimisers, which torch takes a second to load
    cpu_sec: float = 4.0  # of the worker; four times that by the clock, as the machine may be busy

    def make(self, name: str, seed: int, folder: Path) -> Case:
        """The case of this seed; libraries may grumble about what they are made to write."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self.maker(random.Random(f"{name} {seed}"), folder)


def case(attack: str, *argv: object, must_refuse: bool = False, keeps: tuple[str, ...] = ()) -> Case:
    """A case, its words as texts."""
    return Case(attack, tuple(str(word) for word in argv), must_refuse, keeps)
