"""Resampling with FIR filters: insert zeros, pad or crop, filter, keep every n-th sample."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan2ada.ops import pick_impl

Pair = int | Sequence[int]
SEPARABLE_FROM = 8  # taps from which a 1-D filter stays 1-D

# Public functions.


def setup_filter(
    f: object,  # None (= 1), a number, 1-D taps or a 2-D filter
    device: torch.device | str = "cpu",
    normalize: bool = True,  # divide by the sum of all taps
    flip_filter: bool = False,
    gain: float = 1,  # total factor of the 2-D filter
    separable: bool | None = None,  # keep 1-D taps 1-D; None = from 8 taps on
) -> Tensor:
    """Taps for the functions below: float32, [T] if separable, else [fh, fw]."""
    taps = torch.as_tensor(1.0 if f is None else f, dtype=torch.float32)
    assert taps.ndim <= 2 and taps.numel() > 0, f"filter of shape {tuple(taps.shape)}"
    taps = torch.atleast_1d(taps)
    if separable is None:
        separable = taps.ndim == 1 and len(taps) >= SEPARABLE_FROM
    assert taps.ndim == 1 or not separable, "a 2-D filter cannot be declared separable"
    if taps.ndim == 1 and not separable:
        taps = torch.outer(taps, taps)
    if normalize:
        taps = taps / taps.sum()
    if flip_filter:
        taps = taps.flip(tuple(range(taps.ndim)))
    return (taps * gain ** (taps.ndim / 2)).to(device)


def upfirdn2d(
    x: Tensor,  # [N, C, H, W]
    f: Tensor | None,  # [T], [fh, fw] or None = identity
    up: Pair = 1,  # n or [x, y]
    down: Pair = 1,  # n or [x, y]
    padding: Pair = 0,  # n, [x, y] or [left, right, top, bottom], on the upsampled grid; negative crops
    flip_filter: bool = False,  # False = convolution, True = correlation
    gain: float = 1,
    impl: str = "auto",
) -> Tensor:
    """Per channel: up-1 zeros after each sample, padding, filter without padding of its own, every down-th."""
    assert x.ndim == 4, x.shape
    columns, rows = _axes(up, down, padding)
    taps = _taps(f, x)
    assert columns.length(x.shape[3], taps.shape[-1]) > 0, "nothing is left of the width"
    assert rows.length(x.shape[2], taps.shape[0]) > 0, "nothing is left of the height"
    pick_impl(impl)
    return _reference(x, taps if flip_filter else taps.flip(tuple(range(taps.ndim))), columns, rows, gain)


def filter2d(
    x: Tensor,
    f: Tensor | None,
    padding: Pair = 0,
    flip_filter: bool = False,
    gain: float = 1,
    impl: str = "auto",
) -> Tensor:
    """Filtered image of the same size, [N, C, H, W]; `padding` comes on top."""
    edges = [user + own for user, own in zip(_edges(padding), _centred(f, 1, 1))]
    return upfirdn2d(x, f, padding=edges, flip_filter=flip_filter, gain=gain, impl=impl)


def upsample2d(
    x: Tensor,
    f: Tensor | None,
    up: Pair = 2,
    padding: Pair = 0,
    flip_filter: bool = False,
    gain: float = 1,
    impl: str = "auto",
) -> Tensor:
    """Image enlarged by `up`, same brightness; `padding` comes on top."""
    edges = [user + own for user, own in zip(_edges(padding), _centred(f, up, 1))]
    gain = gain * _pair(up)[0] * _pair(up)[1]
    return upfirdn2d(x, f, up=up, padding=edges, flip_filter=flip_filter, gain=gain, impl=impl)


def downsample2d(
    x: Tensor,
    f: Tensor | None,
    down: Pair = 2,
    padding: Pair = 0,
    flip_filter: bool = False,
    gain: float = 1,
    impl: str = "auto",
) -> Tensor:
    """Image reduced by `down`; `padding` comes on top."""
    edges = [user + own for user, own in zip(_edges(padding), _centred(f, 1, down))]
    return upfirdn2d(x, f, down=down, padding=edges, flip_filter=flip_filter, gain=gain, impl=impl)


# Sizes and paddings.


class Axis:
    """What happens along one axis: factor up, zeros before and after (negative: crop), factor down."""

    __slots__ = ("up", "down", "before", "after")

    def __init__(self, up: int, down: int, before: int, after: int) -> None:
        assert up >= 1 and down >= 1, (up, down)
        self.up, self.down, self.before, self.after = up, down, before, after

    def length(self, size: int, taps: int) -> int:
        return (size * self.up + self.before + self.after - taps) // self.down + 1


def resampling_padding(taps: int, up: int, down: int) -> tuple[int, int]:
    """Zeros before and after that keep a filter of `taps` centred while an axis is resampled."""
    before = after = 0
    if up > 1:
        before, after = before + (taps + up - 1) // 2, after + (taps - up) // 2
    if down > 1:
        before, after = before + (taps - down + 1) // 2, after + (taps - down) // 2
    return before, after


def filter_size(f: Tensor | None) -> tuple[int, int]:
    """(width, height) of a filter."""
    return (1, 1) if f is None else (f.shape[-1], f.shape[0])


def _centred(f: Tensor | None, up: Pair, down: Pair) -> list[int]:
    out: list[int] = []
    for taps, u, d in zip(filter_size(f), _pair(up), _pair(down)):
        if u == d == 1:
            out += [taps // 2, (taps - 1) // 2]
        else:
            out += resampling_padding(taps, u, d)
    return out


def _pair(value: Pair) -> tuple[int, int]:
    if isinstance(value, int):
        return value, value
    x, y = value
    return int(x), int(y)


def _edges(padding: Pair) -> tuple[int, int, int, int]:
    """(left, right, top, bottom)."""
    if not isinstance(padding, int) and len(padding) == 4:
        left, right, top, bottom = (int(p) for p in padding)
        return left, right, top, bottom
    x, y = _pair(padding)
    return x, x, y, y


def _axes(up: Pair, down: Pair, padding: Pair) -> tuple[Axis, Axis]:
    """(columns, rows)."""
    left, right, top, bottom = _edges(padding)
    return (
        Axis(_pair(up)[0], _pair(down)[0], left, right),
        Axis(_pair(up)[1], _pair(down)[1], top, bottom),
    )


def _taps(f: Tensor | None, x: Tensor) -> Tensor:
    if f is None:
        return x.new_ones([1, 1])
    assert f.ndim in (1, 2) and not f.requires_grad, "filters are constants of one or two dimensions"
    return f.to(x)


# Reference.


def _reference(x: Tensor, taps: Tensor, columns: Axis, rows: Axis, gain: float) -> Tensor:
    x = _spread(_spread(x, columns.up, 3), rows.up, 2)
    x = F.pad(x, [columns.before, columns.after, rows.before, rows.after])  # negative crops
    if taps.ndim == 1:
        x = _correlate(_correlate(x, taps[None, :]), taps[:, None])
    else:
        x = _correlate(x, taps)
    return x[:, :, :: rows.down, :: columns.down] * gain


def _spread(x: Tensor, factor: int, axis: int) -> Tensor:
    """Every sample along the axis followed by factor - 1 zeros."""
    if factor == 1:
        return x
    gaps = [torch.zeros_like(x)] * (factor - 1)
    return torch.stack([x, *gaps], dim=axis + 1).flatten(axis, axis + 1)


def _correlate(x: Tensor, kernel: Tensor) -> Tensor:
    channels = x.shape[1]
    return F.conv2d(x, kernel.expand(channels, 1, *kernel.shape), groups=channels)
