"""Analytic shapes with soft edges; every size is in image heights, so that 64 px and 512 px look alike."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

Window = tuple[slice, slice]  # rows and columns of the canvas


class Patch(NamedTuple):
    """A shape seen through its own window of the canvas."""

    window: Window
    distance: np.ndarray  # [h, w] signed distance to the outline, negative inside, in image heights


class Canvas:
    """Line integrals of attenuation [H, W]; x is 0 in the middle, y runs from 0 (top) to 1 (bottom)."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.height, self.width = size
        self.px = 1 / self.height
        # Centres of the pixels: two sizes then sample the same shapes without a shift of half a pixel.
        self.y = (np.arange(self.height, dtype=np.float32) + 0.5) * self.px
        self.x = (np.arange(self.width, dtype=np.float32) + 0.5 - self.width / 2) * self.px
        self.sum = np.zeros(size, np.float32)

    @property
    def half_width(self) -> float:
        return self.width * self.px / 2

    # Where: windows and local coordinates.

    def window(self, x0: float, y0: float, x1: float, y1: float) -> Window:
        """Rows and columns whose pixels touch the box, with a margin of two pixels; may be empty."""
        rows = _span(y0 * self.height, y1 * self.height, self.height)
        # x counts from the middle, columns from the left.
        shift = self.width / 2
        columns = _span(x0 * self.height + shift, x1 * self.height + shift, self.width)
        return rows, columns

    def local(
        self, cx: float, cy: float, angle: float, reach_u: float, reach_v: float
    ) -> tuple[Window, np.ndarray, np.ndarray]:
        """Window around a turned box of half sizes (reach_u, reach_v) and its own coordinates there."""
        cos, sin = math.cos(angle), math.sin(angle)
        # Half sizes of the upright box around the turned one.
        reach_x = abs(cos) * reach_u + abs(sin) * reach_v
        reach_y = abs(sin) * reach_u + abs(cos) * reach_v
        window = self.window(cx - reach_x, cy - reach_y, cx + reach_x, cy + reach_y)
        dy = (self.y[window[0]] - cy)[:, None]
        dx = (self.x[window[1]] - cx)[None, :]
        return window, dx * cos + dy * sin, dy * cos - dx * sin  # u to the right, v downwards

    # Shapes.

    def ellipse(
        self, cx: float, cy: float, rx: float, ry: float, angle: float = 0.0, *, margin: float = 0.02
    ) -> Patch:
        # The true distance needs a quartic; this one is exact on the outline, where the soft edge lies.
        window, u, v = self.local(cx, cy, angle, rx + margin, ry + margin)
        return Patch(window, (np.sqrt((u / rx) ** 2 + (v / ry) ** 2) - 1) * np.float32(min(rx, ry)))

    def block(
        self, cx: float, cy: float, rx: float, ry: float, angle: float = 0.0, *, margin: float = 0.02
    ) -> Patch:
        """A box with rounded corners (superellipse of power 8)."""
        window, u, v = self.local(cx, cy, angle, rx + margin, ry + margin)
        return Patch(window, (_norm8(np.abs(u) / rx, np.abs(v) / ry) - 1) * np.float32(min(rx, ry)))

    def capsule(
        self,
        start: tuple[float, float],
        end: tuple[float, float],
        r0: float,
        r1: float | None = None,
        *,
        margin: float = 0.01,
    ) -> Patch:
        """A stroke from start to end whose radius goes from r0 to r1."""
        r1 = r0 if r1 is None else r1
        (x0, y0), (x1, y1) = start, end
        reach = max(r0, r1) + margin
        window = self.window(
            min(x0, x1) - reach, min(y0, y1) - reach, max(x0, x1) + reach, max(y0, y1) + reach
        )
        dy = (self.y[window[0]] - y0)[:, None]
        dx = (self.x[window[1]] - x0)[None, :]
        # A stroke of no length is a disc; without the floor it would be 0 / 0.
        length2 = max((x1 - x0) ** 2 + (y1 - y0) ** 2, 1e-12)
        # Nearest point of the axis as a share of it, held within the ends.
        along = np.clip((dx * (x1 - x0) + dy * (y1 - y0)) / length2, 0, 1)
        gap = np.hypot(dx - along * (x1 - x0), dy - along * (y1 - y0))
        return Patch(window, gap - (r0 + (r1 - r0) * along))

    def path(self, points: np.ndarray, radius: float, *, margin: float = 0.01) -> Patch:
        """A stroke of one radius through points [N, 2] (x, y)."""
        (x0, y0), (x1, y1) = points.min(0), points.max(0)
        reach = radius + margin
        window = self.window(x0 - reach, y0 - reach, x1 + reach, y1 + reach)
        # Squares are compared, and one root is taken at the end.
        nearest = np.full((_length(window[0]), _length(window[1])), np.inf, np.float32)
        for (ax, ay), (bx, by) in zip(points[:-1], points[1:]):
            dy, dx = (self.y[window[0]] - ay)[:, None], (self.x[window[1]] - ax)[None, :]
            length2 = max((bx - ax) ** 2 + (by - ay) ** 2, 1e-12)
            along = np.clip((dx * (bx - ax) + dy * (by - ay)) / length2, 0, 1)
            np.minimum(nearest, (dx - along * (bx - ax)) ** 2 + (dy - along * (by - ay)) ** 2, out=nearest)
        return Patch(window, np.sqrt(nearest) - np.float32(radius))

    # What a shape adds.

    def cover(self, patch: Patch, soft: float = 0.004) -> np.ndarray:
        """How much of each pixel the shape covers, 0..1; `soft` is the blur of its edge."""
        # Never sharper than a pixel, or small pictures would show stairs.
        ramp = np.clip(0.5 - patch.distance / math.hypot(soft, self.px), 0, 1)
        # Smoothstep: no crease where the edge begins and ends.
        return ramp * ramp * (3 - 2 * ramp)

    def fill(self, patch: Patch, amount: float | np.ndarray, soft: float = 0.004) -> np.ndarray:
        """Add `amount` inside the shape; returns the coverage."""
        cover = self.cover(patch, soft)
        self.sum[patch.window] += amount * cover
        return cover

    def rim(self, patch: Patch, amount: float, thickness: float, *, inset: float = 0.0) -> None:
        """Add a bright line along the outline; one thinner than a pixel gets fainter instead of thinner."""
        # The sum across the line stays the same however far pixels spread it.
        spread = math.hypot(thickness, 0.6 * self.px)
        profile = np.exp(-(((patch.distance + inset) / spread) ** 2))
        self.sum[patch.window] += (amount * thickness / spread) * profile

    def stroke_gain(self, radius: float) -> float:
        """Below one pixel of width a stroke cannot get thinner, so it gets fainter by this factor."""
        return min(1.0, 2 * radius / self.px / (0.5 + radius / self.px)) if radius < self.px / 2 else 1.0

    def mask(self, patch: Patch) -> np.ndarray:
        """Bool [H, W] of the pixels inside; a shape smaller than a pixel still marks its nearest pixel."""
        out = np.zeros(self.sum.shape, bool)
        if patch.distance.size:
            # With nothing inside, the least distance is above 0 and marks its own pixel.
            out[patch.window] = patch.distance <= max(0.0, float(patch.distance.min()))
        return out


def texture(canvas: Canvas, coarse: np.ndarray) -> np.ndarray:
    """Smooth field [H, W] from coarse noise [k, k] by cubic B-splines."""
    # 1.5 heights is the widest canvas: narrower ones show the middle of the same field.
    across = _spline_basis(canvas.width, 1.5 * canvas.height, coarse.shape[1])
    down = _spline_basis(canvas.height, canvas.height, coarse.shape[0])
    return (down @ coarse.astype(np.float32)) @ across.T


@lru_cache(maxsize=32)
def _spline_basis(pixels: int, extent: float, cells: int) -> np.ndarray:
    """[pixels, cells] cubic B-spline weights; `cells` lie over `extent` pixels around the middle."""
    # From the middle, so that other sizes stretch or cut the field but do not shift it.
    position = 0.5 + (np.arange(pixels) + 0.5 - pixels / 2) / extent
    # [pixels, cells] in cells; each point draws on four, so one lies beyond either end.
    away = np.abs(position[:, None] * (cells - 3) + 1 - np.arange(cells)[None, :])
    # The uniform cubic B-spline by distance: below 1, and from 1 to 2.
    near = 2 / 3 - away**2 + away**3 / 2
    far = np.clip(2 - away, 0, None) ** 3 / 6
    return np.where(away < 1, near, far).astype(np.float32)


def _norm8(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(a^8 + b^8)^(1/8) by squares and roots, several times faster than np.power."""
    for _ in range(3):
        a, b = a * a, b * b
    return np.sqrt(np.sqrt(np.sqrt(a + b)))


def _span(low: float, high: float, limit: int) -> slice:
    start = min(max(math.floor(low) - 2, 0), limit)
    # Beside the canvas the slice is empty; a reversed one would have a negative length.
    return slice(start, max(start, min(math.ceil(high) + 2, limit)))


def _length(span: slice) -> int:
    return span.stop - span.start
