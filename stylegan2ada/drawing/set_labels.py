"""Which labels a synthetic set has: so many of every class, of one label, or a row of a table each."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from stylegan2ada import synthesis
from stylegan2ada.config import LAST_SEED
from stylegan2ada.data.label_rows import read_label_rows
from stylegan2ada.errors import UserError
from stylegan2ada.protocols import Generator

_MOST_PER_CLASS = 1_000_000

Label = int | list[float] | None  # a class, a vector for a network of classes, or neither


@dataclass(frozen=True)
class Wanted:
    """Of which labels a set is to be, as the flags say it."""

    per_class: int | None
    labels_from: str | None  # a table; instead of per_class
    class_idx: int | None
    label: str | None  # numbers between commas
    first_seed: int


@dataclass(frozen=True)
class Run:
    """Images of consecutive seeds, drawn together."""

    first_seed: int
    labels: list[Label]  # one per image

    @property
    def seeds(self) -> list[int]:
        return list(range(self.first_seed, self.first_seed + len(self.labels)))


@dataclass(frozen=True)
class Plan:
    """Everything that is to be drawn."""

    runs: list[Run]
    drawn: list[Label]  # of which there are as many each; none of these, if a table has the labels

    @property
    def count(self) -> int:
        return sum(len(run.labels) for run in self.runs)


def plan(
    G: Generator,
    wanted: Wanted,
    names: list[str] | None,  # of the classes
) -> Plan:
    """One run per class, or one for all rows of the table."""
    first = wanted.first_seed
    if wanted.labels_from is None:
        drawn = _labels_to_draw(G, wanted)
        n = wanted.per_class or 0
        planned = Plan([Run(first + k * n, [label] * n) for k, label in enumerate(drawn)], drawn)
    else:
        planned = Plan([Run(first, _labels_of_table(G, wanted.labels_from, wanted, names))], [])
    if (last := first + planned.count - 1) > LAST_SEED:
        raise UserError(f"--seeds={first} leads to the seed {last}; the last is {LAST_SEED}")
    return planned


def as_rows(G: Generator, labels: list[Label]) -> torch.Tensor:
    """[n, c_dim] of labels that are all of one kind."""
    if G.c_dim == 0:
        return torch.zeros([len(labels), 0])
    if isinstance(labels[0], int):
        return torch.nn.functional.one_hot(torch.tensor(labels), G.c_dim).float()
    return torch.tensor(labels, dtype=torch.float32)


def _labels_of_table(G: Generator, path: str, wanted: Wanted, names: list[str] | None) -> list[Label]:
    """A vector per row."""
    if G.c_dim == 0:
        raise UserError(f"--labels-from={path}: this network has no classes, so labels change nothing")
    if wanted.per_class is not None or wanted.label is not None or wanted.class_idx is not None:
        raise UserError("--labels-from says all labels; leave out --per-class, --class and --label")
    return list(read_label_rows(path, G.c_dim, names))


def _labels_to_draw(G: Generator, wanted: Wanted) -> list[Label]:
    """Every class, or the one that was asked for, or one vector, or nothing to choose from."""
    if wanted.per_class is None or wanted.per_class < 1:
        raise UserError(f"--per-class={wanted.per_class} draws nothing; give at least 1")
    if wanted.per_class > _MOST_PER_CLASS:
        raise UserError(f"--per-class={wanted.per_class} is more than {_MOST_PER_CLASS:,}; draw several sets")
    if wanted.label is not None and wanted.class_idx is not None:
        raise UserError("--class and --label exclude each other")
    if G.c_dim == 0:
        return [None]
    vector = synthesis.label_vector(wanted.label)
    if vector is None and wanted.class_idx is None:
        return list(range(G.c_dim))
    synthesis.labels(G, 1, class_idx=wanted.class_idx, vector=vector)  # refuses what does not exist
    return [wanted.class_idx if vector is None else vector]
