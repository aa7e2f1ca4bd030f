"""The one search that all tests stand on: every fake against every real image, exact, tile by tile.

Fakes to real patients: for each fake the nearest image of each of its nearest patients. Real images to
fakes: for each real image its nearest fakes. Memory grows with the number of images, not with their product.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from spine_plugins.audit.features import Features

NEAREST_UNITS = 64  # patients kept per fake
NEAREST_FAKES = 16  # fakes kept per real image: planting takes some away
_TILE = 128  # fakes at a time
_FINE = 16  # fakes at a time where all fine views are held

Step = Callable[[int], None]
HALVES = ("left", "right", "top", "bottom")


@dataclass(frozen=True)
class ByFake:
    """Per fake the nearest patients, nearest first; each at the distance of its nearest image."""

    distance: np.ndarray  # float32 [m, k]
    unit: np.ndarray  # int64 [m, k]
    image: np.ndarray  # int64 [m, k], of the pooled real images

    def __len__(self) -> int:
        return len(self.distance)

    @classmethod
    def joined(cls, parts: Sequence[ByFake]) -> ByFake:
        """The fakes of the first part, then those of the next."""
        columns = ([getattr(part, field.name) for part in parts] for field in fields(cls))
        return cls(*(np.concatenate(column) for column in columns))


@dataclass(frozen=True)
class ByReal:
    """Per real image the nearest fakes, nearest first."""

    distance: np.ndarray  # float32 [n, k]
    fake: np.ndarray  # int64 [n, k]


@dataclass(frozen=True)
class Found:
    """What one search found; `halves` is empty where features have none."""

    by_fake: ByFake
    by_real: ByReal
    halves: dict[str, ByReal]


class Search:
    """Real images, ready to be compared with fakes."""

    def __init__(self, features: Features, reals: np.ndarray, unit_of: np.ndarray) -> None:
        self.features = features
        vectors: list[Tensor] = []
        halves: dict[str, list[Tensor]] = {name: [] for name in HALVES if features.is_spatial}
        for prepared in features.parts(reals):
            vectors.append(features.vector(prepared))
            if halves:
                for name, part in features.halves(prepared).items():
                    halves[name].append(part)
        self.reals = torch.cat(vectors)  # [n, d]
        self._squares = self.reals.square().sum(dim=1)
        self._halves = {name: torch.cat(parts) for name, parts in halves.items()}
        self.unit_of = unit_of
        self._members = _members(unit_of)  # [units, most], -1 where there are fewer

    def __call__(
        self,
        fakes: np.ndarray,  # uint8 [m, C, H, W]
        *,
        ignored: np.ndarray | None = None,  # int64 [m]: a real image per fake that is thought to be unknown
        step: Step | None = None,
    ) -> Found:
        """Everything about these fakes."""
        rows: list[ByFake] = []
        columns = [_Nearest(len(self.reals), NEAREST_FAKES) for _ in range(1 + len(self._halves))]
        for start in range(0, len(fakes), _TILE):
            prepared = self.features.prepared(fakes[start : start + _TILE])
            distance = self._distances(prepared)
            if ignored is not None:
                distance[torch.arange(len(prepared)), torch.from_numpy(ignored[start : start + _TILE])] = (
                    float("inf")
                )
            rows.append(self._nearest_units(prepared, distance))
            columns[0].add(distance.T, start)
            for column, part in zip(columns[1:], self._half_distances(prepared)):
                column.add(part.T, start)
            if step:
                step(len(prepared))
        found = [column.found() for column in columns]
        return Found(_joined(rows), found[0], dict(zip(self._halves, found[1:])))

    def _distances(self, prepared: Tensor) -> Tensor:
        """[fakes, reals]: of the nearest of a fake's coarse views."""
        best = None
        for view in self.features.coarse(prepared):
            squared = _squared(view, self.reals, self._squares)
            best = squared if best is None else torch.minimum(best, squared)
        assert best is not None
        return best.clamp_(min=0).sqrt_()

    def _half_distances(self, prepared: Tensor) -> list[Tensor]:
        if not self._halves:
            return []
        plain, flipped = (self.features.halves(image) for image in (prepared, prepared.flip(3)))
        found = []
        for name, reals in self._halves.items():
            squares = reals.square().sum(dim=1)
            both = [_squared(part[name], reals, squares) for part in (plain, flipped)]
            found.append(torch.minimum(*both).clamp_(min=0).sqrt_())
        return found

    def _nearest_units(self, prepared: Tensor, distance: Tensor) -> ByFake:
        """The nearest patients by the coarse views, ordered by the fine ones."""
        coarse, unit, image = _by_unit(distance.cpu().numpy(), self._members)
        fine = self._fine_distances(prepared, image)
        # A patient whose only image is thought to be unknown is nowhere.
        fine = np.where(np.isinf(coarse), np.inf, fine)
        order = np.argsort(fine, axis=1, kind="stable")
        return ByFake(*(np.take_along_axis(part, order, axis=1) for part in (fine, unit, image)))

    def _fine_distances(self, prepared: Tensor, image: np.ndarray) -> np.ndarray:
        """[m, k]: of the nearest of all fine views of a fake, to the images chosen for it."""
        chosen = torch.from_numpy(image).to(self.reals.device)
        parts = []
        for start in range(0, len(prepared), _FINE):
            part = slice(start, start + _FINE)
            views = self.features.fine(prepared[part]).transpose(0, 1)  # [m, views, d]
            there = self.reals[chosen[part]]  # [m, k, d]
            squared = (
                views.square().sum(dim=2)[:, :, None]
                + there.square().sum(dim=2)[:, None, :]
                - 2 * views @ there.transpose(1, 2)
            )
            parts.append(squared.amin(dim=1).clamp_(min=0).sqrt_())
        return torch.cat(parts).cpu().numpy()


def nearest_other(search: Search) -> np.ndarray:
    """float32 [n]: per real image the distance to the nearest real image of somebody else."""
    units = torch.from_numpy(search.unit_of).to(search.reals.device)
    found = []
    for start in range(0, len(search.reals), _TILE):
        rows = slice(start, start + _TILE)
        squared = _squared(search.reals[rows], search.reals, search.reals.square().sum(dim=1))
        squared[units[rows, None] == units[None, :]] = float("inf")
        found.append(squared.amin(dim=1).clamp_(min=0).sqrt_())
    return torch.cat(found).cpu().numpy()


def by_fake(distance: np.ndarray, unit_of: np.ndarray) -> ByFake:
    """The table of nearest patients from a matrix [m, n] of distances to images of these patients."""
    nearest, unit, image = _by_unit(distance, _members(unit_of))
    order = np.argsort(nearest, axis=1, kind="stable")
    return ByFake(*(np.take_along_axis(part, order, axis=1) for part in (nearest, unit, image)))


def _by_unit(distance: np.ndarray, members: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of [m, n] distances: distance, unit and image of the nearest units, [m, k] each, in no order."""
    # Behind the last image stands one that is infinitely far: the place of images that are not there.
    padded = np.concatenate([distance, np.full((len(distance), 1), np.inf, distance.dtype)], axis=1)
    by_unit = np.stack([padded[:, column] for column in members.T])  # [most, m, units]
    nearest = by_unit.min(axis=0)
    k = min(NEAREST_UNITS, nearest.shape[1])
    unit = np.argpartition(nearest, k - 1, axis=1)[:, :k]
    which = np.take_along_axis(by_unit.argmin(axis=0), unit, axis=1)
    return np.take_along_axis(nearest, unit, axis=1), unit, members[unit, which]


def _squared(a: Tensor, b: Tensor, squares_b: Tensor) -> Tensor:
    # |a - b|^2 = |a|^2 + |b|^2 - 2 ab: one matrix product, which is what processors do best.
    return torch.addmm(squares_b[None, :] + a.square().sum(dim=1)[:, None], a, b.T, alpha=-2)


def _members(unit_of: np.ndarray) -> np.ndarray:
    """int64 [units, most images of one]: positions of the images; -1 fills up."""
    counts = np.bincount(unit_of)
    table = np.full((len(counts), counts.max()), -1, dtype=np.int64)
    order = np.argsort(unit_of, kind="stable")
    within = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    table[unit_of[order], within] = order
    return table


class _Nearest:
    """The k smallest of each row while tiles of columns come and go."""

    def __init__(self, rows: int, k: int) -> None:
        self._k = k
        self._distance = torch.empty(rows, 0)
        self._index = torch.empty(rows, 0, dtype=torch.int64)

    def add(self, distance: Tensor, first: int) -> None:
        """[rows, columns], of which the first has the number `first`."""
        value, at = distance.topk(min(self._k, distance.shape[1]), dim=1, largest=False)
        value = torch.cat([self._distance, value.cpu()], dim=1)
        index = torch.cat([self._index, at.cpu() + first], dim=1)
        self._distance, order = value.topk(min(self._k, value.shape[1]), dim=1, largest=False)
        self._index = index.gather(1, order)

    def found(self) -> ByReal:
        return ByReal(self._distance.numpy(), self._index.numpy())


def _joined(rows: list[ByFake]) -> ByFake:
    return ByFake(
        *(np.concatenate([getattr(row, name) for row in rows]) for name in ("distance", "unit", "image"))
    )
