"""What the verbs of every recipe are asked; a recipe that is asked more derives from these."""

from __future__ import annotations

from dataclasses import dataclass

Numbers = dict[str, object]  # what a verb has found: the one JSON object


@dataclass(frozen=True, kw_only=True)
class Train:
    """What every `recipe NAME train` is asked."""

    out: str
    steps: int
    seed: int
    continue_run: bool
    device: str
    json_file: str | None


@dataclass(frozen=True, kw_only=True)
class TrainOnData(Train):
    """The same of a recipe that learns from somebody's data."""

    data: str
    val: str | None


@dataclass(frozen=True, kw_only=True)
class Apply:
    """What every `recipe NAME apply` is asked."""

    model: str
    out: str
    data: str | None
    n: int
    seed: int
    overwrite: bool
    device: str
    json_file: str | None


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """What every `recipe NAME evaluate` is asked."""

    model: str
    data: str | None
    seed: int
    device: str
    json_file: str | None


@dataclass(frozen=True, kw_only=True)
class Demo:
    """What every `recipe NAME demo` is asked."""

    out: str
    seed: int
    json_file: str | None
