"""Poisson sampling by units: each image, study or patient takes part in a step by its own coin.

No shuffling, no fixed size, no truncation: the accounting is true of exactly this.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from spine_plugins.privacy.noise import Chance, tosses
from stylegan2ada.data.dataset import Dataset, ImageFolderDataset
from stylegan2ada.errors import UserError

Unit = Literal["image", "study", "patient"]
UNITS: tuple[Unit, ...] = get_args(Unit)


@dataclass(frozen=True)
class Drawn:
    """The images of one step."""

    items: np.ndarray  # int64 [N], images
    units: np.ndarray  # int64 [N], the unit that each belongs to


class PoissonSampler:
    """Draws units with probability q each, and with a unit all of its images."""

    def __init__(self, unit_of: np.ndarray, q: float, chance: Chance) -> None:
        assert 0 < q <= 1, q
        self.q, self.chance = q, chance
        self.unit_of = np.asarray(unit_of, dtype=np.int64)  # [images], units numbered from 0
        self.count = int(self.unit_of.max()) + 1 if len(self.unit_of) else 0

    def draw(self) -> Drawn:
        """One step; it may well be empty, and the step is taken all the same."""
        chosen = tosses(self.chance, self.q, self.count)
        items = np.flatnonzero(chosen[self.unit_of]) if self.count else np.zeros(0, dtype=np.int64)
        return Drawn(items, self.unit_of[items])


def units_of(dataset: Dataset, unit: Unit) -> np.ndarray:
    """int64 [stored images]: the number of the unit that each image belongs to."""
    count = dataset.raw_shape[0]
    if unit == "image":
        return np.arange(count)
    if dataset.groups is None or not isinstance(dataset, ImageFolderDataset):
        raise UserError(
            f"--dp-unit={unit} needs to know the {unit} of each image, and {dataset.path} has no groups; "
            "make it with dataset_tool_dicom.py, or use --dp-unit=image"
        )
    found: list[str] = []
    for name in dataset.image_names:
        mark = (dataset.groups.get(name) or {}).get(unit)
        if mark is None:
            # Not one unit each: one person's images without a name would count as several people's.
            raise UserError(
                f"--dp-unit={unit}: {dataset.path} does not know the {unit} of every image; leave those "
                "out when converting, or use --dp-unit=study or image"
            )
        found.append(mark)
    return np.unique(np.asarray(found), return_inverse=True)[1].astype(np.int64)


def shard(unit_of: np.ndarray, rank: int, ranks: int) -> np.ndarray:
    """The images of this rank: all of a unit or none, and no image on two ranks."""
    return np.flatnonzero(np.asarray(unit_of) % ranks == rank)


def histogram_weights(unit_of: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """float64 [c_dim]: the labels of all units, each unit of weight at most 1 whatever it holds."""
    units = np.asarray(unit_of)
    total = np.zeros((int(units.max()) + 1 if len(units) else 0, labels.shape[1]))
    np.add.at(total, units, labels.astype(np.float64))
    size = np.bincount(units, minlength=len(total)).clip(1)
    mean = total / size[:, None]
    length = np.linalg.norm(mean, axis=1, keepdims=True)
    return (mean / np.maximum(length, 1)).sum(0)
