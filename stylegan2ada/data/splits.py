"""Train, validation and test: whole groups, every class in its share."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from stylegan2ada.errors import UserError

SPLITS = ("train", "val", "test")
NO_CLASS = -1  # an image without any; such images are spread like those of a class
GroupTable = Mapping[str, Mapping[str, str | None]]  # "groups" of a dataset.json


def parse_split(text: str) -> tuple[float, ...]:
    """`0.8/0.1/0.1` -> shares of train, val, test, which sum to 1; two numbers leave test out."""
    try:
        shares = tuple(float(part) for part in text.split("/"))
    except ValueError:
        shares = ()
    if len(shares) not in (2, 3) or not min(shares) >= 0 or not abs(sum(shares) - 1) <= 1e-6:
        raise UserError(f"--split={text} is not two or three shares that sum to 1; for example 0.8/0.1/0.1")
    return shares


def split_groups(
    groups: Sequence[str],  # of each image: who belongs together
    classes: Sequence[Iterable[int]],  # of each image: its classes; several findings, or none, may be there
    shares: Sequence[float],  # of each split, which sum to 1
    seed: int = 0,
) -> np.ndarray:
    """int64 [N]: the number of the split that each image goes to.

    Iterative stratification (Sechidis et al. 2011) over groups: of the class with the fewest groups, the
    largest group goes where most images of that class are lacking; and so on. A class with at least as many
    groups as there are splits is in all of them, as far as its groups are its own. The answer depends on
    groups, classes and seed alone, not on the order of the images.
    """
    dealer = _Dealer(groups, classes, shares, seed)
    if len(dealer.content) < len(dealer.open):
        raise UserError(
            f"{len(dealer.content)} group(s) cannot be dealt to {len(dealer.open)} splits; gather more, or "
            "leave out --split"
        )
    holders: dict[int, list[str]] = {}
    for group, counts in dealer.content.items():
        for kind in counts:
            holders.setdefault(kind, []).append(group)
    for kind in sorted(holders, key=lambda kind: (len(holders[kind]), kind)):
        dealer.deal(kind, holders[kind])
    return np.array([dealer.chosen[group] for group in groups], dtype=np.int64)


class _Dealer:
    """What each split still lacks while groups are dealt out."""

    def __init__(
        self, groups: Sequence[str], classes: Sequence[Iterable[int]], shares: Sequence[float], seed: int
    ) -> None:
        self.content: dict[str, Counter[int]] = {}  # group: images per class
        self.size: Counter[str] = Counter(groups)
        for group, found in zip(groups, classes, strict=True):
            self.content.setdefault(group, Counter()).update(set(found) or {NO_CLASS})
        total: Counter[int] = Counter()
        for counts in self.content.values():
            total.update(counts)
        self.open = [split for split, share in enumerate(shares) if share > 0]
        # Images that a split lacks, per class and in all; negative once it has more than its share.
        self.lacking = {kind: [share * count for share in shares] for kind, count in total.items()}
        self.room = [share * len(groups) for share in shares]
        self.has: set[tuple[int, int]] = set()  # (class, split)
        # Decides among equals; hashed with the seed, so that each seed deals others.
        self.chance = {
            g: hashlib.sha256(f"{seed}:{g}".encode("utf-8", "backslashreplace")).digest()
            for g in self.content
        }
        self.chosen: dict[str, int] = {}

    def deal(self, kind: int, holders: list[str]) -> None:
        """All groups of a class that are left, large ones first: small ones then even things out."""
        ranked = [(-self.content[g][kind], -self.size[g], self.chance[g], g) for g in holders]
        left = [group for *_, group in sorted(ranked) if group not in self.chosen]
        for position, group in enumerate(left):
            without = [split for split in self.open if (kind, split) not in self.has]
            # As many groups as splits without the class: from here on each goes to one of those.
            is_scarce = 0 < len(without) >= len(left) - position
            self._give(group, self._neediest(kind, without if is_scarce else self.open))

    def _neediest(self, kind: int, splits: list[int]) -> int:
        return max((self.lacking[kind][split], self.room[split], -split, split) for split in splits)[-1]

    def _give(self, group: str, split: int) -> None:
        self.chosen[group] = split
        self.room[split] -= self.size[group]
        for kind, count in self.content[group].items():
            self.lacking[kind][split] -= count
            self.has.add((kind, split))


def class_numbers(labels: Sequence[object]) -> list[list[int]]:
    """Per image its classes: of a class number that one, of a list of 0 and 1 the places of the ones.

    Images without a label, and labels that are measurements, have none.
    """
    is_findings = all(isinstance(label, list) and all(value in (0, 1) for value in label) for label in labels)
    found = []
    for label in labels:
        if isinstance(label, list):
            found.append([place for place, value in enumerate(label) if value] if is_findings else [])
        else:
            found.append([int(label)] if isinstance(label, int | float) and math.isfinite(label) else [])
    return found


def groups_in_table(table: GroupTable, names: Sequence[str]) -> tuple[list[str], str]:
    """Per image the patient or else the study, and which of both it is; an unknown image is alone.

    A study counts to the patient that any image names.
    """
    entries = [table.get(name) or {} for name in names]
    # An image that lacks its patient may share a study with one that has it.
    patient_of = {e["study"]: e["patient"] for e in entries if e.get("study") and e.get("patient")}
    # An image that nobody knows is a group of its own: one empty name would tie strangers together.
    found = [
        e.get("patient") or patient_of.get(e.get("study")) or e.get("study") or f"alone: {name}"
        for e, name in zip(entries, names, strict=True)
    ]
    return [str(group) for group in found], "patient" if patient_of else "study"


def split_table(
    counts: Mapping[str, Mapping[str, int]],  # row -> split -> number
    splits: Sequence[str],
) -> list[str]:
    """Lines: a row per class, a column per split, right-aligned."""
    wide = max(map(len, counts), default=0)
    lines = ["  ".join([" " * wide, *(f"{split:>7}" for split in splits)])]
    for row, cells in counts.items():
        lines.append("  ".join([f"{row:<{wide}}", *(f"{cells.get(split, 0):>7}" for split in splits)]))
    return lines
