"""Precision, recall (Kynkaanniemi et al. 2019), density, coverage (Naeem et al. 2020), by tiled distances."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from numpy.typing import ArrayLike
from torch import Tensor

_TILE = 2000  # rows and columns of one distance block; 16 MB in float32


class PrecisionRecall(NamedTuple):
    precision: float  # share of fakes inside the manifold of the reals
    recall: float  # share of reals inside the manifold of the fakes


class DensityCoverage(NamedTuple):
    density: float  # how many real balls hold a fake, over k
    coverage: float  # share of reals whose own ball holds a fake


def precision_recall(
    real: ArrayLike | Tensor,
    fake: ArrayLike | Tensor,
    *,
    k: int = 3,
    dtype: str = "float16",
    tile: int = _TILE,
) -> PrecisionRecall:
    """Coverage of each set by balls that reach to the other's k-th neighbours; features are [n, d].

    dtype "float16" rounds features, distances and radii as the reference program does; "float32" does not.
    """
    reals, fakes, rounded = _prepare(real, fake, dtype)
    real_radius = neighbour_radius(reals, k, rounded, tile)
    fake_radius = neighbour_radius(fakes, k, rounded, tile)
    fake_is_covered = torch.zeros(len(fakes), dtype=torch.bool, device=fakes.device)
    real_is_covered = torch.zeros(len(reals), dtype=torch.bool, device=reals.device)
    for rows, columns, distance in _blocks(reals, fakes, rounded, tile):  # one product serves both directions
        fake_is_covered[columns] |= (distance <= real_radius[rows, None]).any(dim=0)
        real_is_covered[rows] |= (distance <= fake_radius[None, columns]).any(dim=1)
    return PrecisionRecall(fake_is_covered.double().mean().item(), real_is_covered.double().mean().item())


def density_coverage(
    real: ArrayLike | Tensor,
    fake: ArrayLike | Tensor,
    *,
    k: int = 5,
    dtype: str = "float32",
    tile: int = _TILE,
) -> DensityCoverage:
    """Density (1/kM) sum of 1[fake in ball of real], and the share of reals with a fake in their ball."""
    reals, fakes, rounded = _prepare(real, fake, dtype)
    radius = neighbour_radius(reals, k, rounded, tile)
    hits = torch.zeros((), dtype=torch.int64, device=reals.device)
    is_reached = torch.zeros(len(reals), dtype=torch.bool, device=reals.device)
    for rows, _columns, distance in _blocks(reals, fakes, rounded, tile):
        inside = distance <= radius[rows, None]
        hits += inside.sum()
        is_reached[rows] |= inside.any(dim=1)
    return DensityCoverage(hits.item() / (k * len(fakes)), is_reached.double().mean().item())


Rounding = Callable[[Tensor], Tensor]


def neighbour_radius(points: Tensor, k: int, rounded: Rounding, tile: int = _TILE) -> Tensor:
    """Distance of each point to its k-th neighbour, itself not counted: [n]."""
    if len(points) <= k:
        raise ValueError(f"{len(points)} images have no {k}-th neighbour; give at least {k + 1}")
    # 50,000 points have 2.5 billion distances: too many to keep, so each point keeps only its k + 1 nearest
    # (itself among them) while blocks of distances come and go. Half of the blocks are transposes.
    nearest = torch.full((len(points), k + 1), float("inf"), dtype=points.dtype, device=points.device)
    for rows, columns, distance in _blocks(points, points, rounded, tile, upper=True):
        if rows == columns:
            distance.fill_diagonal_(0)  # the matrix product leaves a little noise there
        else:  # the block below the diagonal is the transpose of this one
            nearest[columns] = _keep_smallest(nearest[columns], distance.T)
        nearest[rows] = _keep_smallest(nearest[rows], distance)
    return nearest[:, -1]


def _keep_smallest(nearest: Tensor, distance: Tensor) -> Tensor:
    # First within the block: sorting k + 1 old and k + 1 new ones is far cheaper than sorting a whole row.
    kept = nearest.shape[1]
    candidates = torch.cat(
        [nearest, distance.topk(min(kept, distance.shape[1]), largest=False).values], dim=1
    )
    return candidates.topk(kept, largest=False, sorted=True).values


def _blocks(
    a: Tensor, b: Tensor, rounded: Rounding, tile: int, *, upper: bool = False
) -> Iterator[tuple[slice, slice, Tensor]]:
    """(rows of a, rows of b, distances between them); with `upper` only blocks on and above the diagonal."""
    squares_a, squares_b = a.square().sum(dim=1), b.square().sum(dim=1)
    for top in range(0, len(a), tile):
        rows = slice(top, min(top + tile, len(a)))
        for left in range(top if upper else 0, len(b), tile):
            columns = slice(left, min(left + tile, len(b)))
            # |a - b|^2 = |a|^2 + |b|^2 - 2 ab: one matrix product; what rounding makes negative is zero.
            product = a[rows] @ b[columns].T
            squared = squares_a[rows, None] + squares_b[None, columns] - 2 * product
            yield rows, columns, rounded(squared.clamp_(min=0).sqrt_())


def _prepare(
    real: ArrayLike | Tensor, fake: ArrayLike | Tensor, dtype: str
) -> tuple[Tensor, Tensor, Rounding]:
    """Float32 features and the rounding of distances that belong to a dtype name."""
    if dtype not in ("float16", "float32", "float64"):
        raise ValueError(f"dtype={dtype!r} is none of float16, float32, float64")
    work = torch.float64 if dtype == "float64" else torch.float32
    reals, fakes = torch.as_tensor(real), torch.as_tensor(fake)
    if (
        dtype == "float16"
    ):  # rounded to half, computed wide: the same on devices without half-precision products
        return reals.half().to(work), fakes.half().to(work), lambda distance: distance.half().to(work)
    return reals.to(work), fakes.to(work), lambda distance: distance
