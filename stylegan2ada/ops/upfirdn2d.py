"""Resampling with FIR filters: insert zeros, pad or crop, filter, keep every n-th sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

from stylegan2ada.ops import Context, VmapInfo, pick_impl
from stylegan2ada.ops.compiled import functions, library
from stylegan2ada.ops.compiled.registered import wide

Pair = int | Sequence[int]
SEPARABLE_FROM = 8  # taps from which a 1-D filter stays 1-D
_FACTORED_UP_TO = 4  # taps of an axis, in the compiled kernels


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
    assert taps.ndim <= 2, f"a filter has at most two dimensions, not {taps.ndim}"
    assert taps.numel() > 0, "a filter needs at least one tap"
    taps = torch.atleast_1d(taps)
    if separable is None:
        separable = taps.ndim == 1 and len(taps) >= SEPARABLE_FROM
    if not separable and taps.ndim == 1:
        taps = torch.outer(taps, taps)
    assert taps.ndim == 1 or not separable, "a 2-D filter cannot be declared separable"
    if normalize:
        taps = taps / taps.sum()
    if flip_filter:
        taps = _reverse(taps)
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
    """Per channel: up-1 zeros after each sample, padding, filtering inside the padded image, every down-th.

    A 1-D filter is applied along x and along y. Every order of gradient exists for x, none for f.
    """
    assert x.ndim == 4, x.shape
    left, right, top, bottom = padding_edges(padding)
    columns = Axis(_pair(up)[0], _pair(down)[0], left, right)
    rows = Axis(_pair(up)[1], _pair(down)[1], top, bottom)
    chosen = pick_impl(impl)
    has_kernel = chosen == "compiled" and library.knows(x)
    kind = wide(x.dtype) if has_kernel else x.dtype
    taps = x.new_ones([1, 1], dtype=kind) if f is None else f.to(x.device, kind)
    assert taps.ndim in (1, 2), f"filter of shape {tuple(taps.shape)}"
    assert not taps.requires_grad, "filters are constants"
    columns.check(x.shape[3], taps.shape[-1], "width")
    rows.check(x.shape[2], taps.shape[0], "height")
    if not flip_filter:
        taps = _reverse(taps)
    if gain != 1:
        taps = taps * gain ** (taps.ndim / 2)
    if has_kernel:
        return _compiled(x, taps, columns, rows)
    if chosen == "ref":
        return _reference(x, taps, columns, rows)
    return _Resample.apply(x, taps, columns, rows)


def filter2d(
    x: Tensor,
    f: Tensor | None,
    padding: Pair = 0,
    flip_filter: bool = False,
    gain: float = 1,
    impl: str = "auto",
) -> Tensor:
    """Filtered image of the same size, [N, C, H, W]; `padding` comes on top."""
    edges = _centred(f, 1, 1, padding)
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
    """Image enlarged by `up`, equally bright; `padding` comes on top."""
    edges = _centred(f, up, 1, padding)
    brightness = gain * _pair(up)[0] * _pair(up)[1]
    return upfirdn2d(x, f, up=up, padding=edges, flip_filter=flip_filter, gain=brightness, impl=impl)


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
    edges = _centred(f, 1, down, padding)
    return upfirdn2d(x, f, down=down, padding=edges, flip_filter=flip_filter, gain=gain, impl=impl)


# Sizes and paddings.


@dataclass(frozen=True)
class Axis:
    """What happens along one axis."""

    up: int = 1
    down: int = 1
    before: int = 0  # zeros on the upsampled grid; negative crops
    after: int = 0

    def check(self, size: int, taps: int, name: str) -> None:
        assert min(self.up, self.down) >= 1, f"{name}: up={self.up}, down={self.down}"
        assert size * self.up + min(self.before, 0) + min(self.after, 0) > 0, f"all of the {name} is cropped"
        assert self.length(size, taps) > 0, f"{name} {size} is too small for {taps} taps"

    def length(self, size: int, taps: int) -> int:
        """Samples that come out of `size` samples."""
        return (size * self.up + self.before + self.after - taps) // self.down + 1

    def misses(self, size: int, taps: int) -> bool:
        """Whether no sample of the input touches the output: all is padding, or skipped by `down`."""
        covered = (self.length(size, taps) - 1) * self.down + taps
        return self.before >= covered or (size - 1) * self.up + self.before < 0

    def adjoint(self, size: int, taps: int) -> Axis:
        """The axis of the transposed operation: from length(size, taps) samples back to `size`."""
        # The map adds taps[t] * x[k] to y[j] wherever k * up + before = j * down + t. Read from y to x, the
        # factors change places and the taps run backwards; the equation gives the zeros before (t becomes
        # taps - 1 - t), and that `size` samples must come out gives those after.
        spare = size * self.up - self.length(size, taps) * self.down
        return Axis(self.down, self.up, taps - 1 - self.before, spare + self.before - self.up + 1)


def resampling_padding(taps: int, up: int = 1, down: int = 1) -> tuple[int, int]:
    """Zeros before and after that keep a filter of `taps` centred while an axis is resampled."""
    before = after = 0
    if up > 1:
        before, after = (taps + up - 1) // 2, (taps - up) // 2
    if down > 1:
        before, after = before + (taps - down + 1) // 2, after + (taps - down) // 2
    return before, after


def filter_size(f: Tensor | None) -> tuple[int, int]:
    """(width, height) of a filter."""
    return (1, 1) if f is None else (f.shape[-1], f.shape[0])


def padding_edges(padding: Pair) -> tuple[int, int, int, int]:
    """(left, right, top, bottom)."""
    if not isinstance(padding, int) and len(padding) == 4:
        left, right, top, bottom = (int(p) for p in padding)
        return left, right, top, bottom
    x, y = _pair(padding)
    return x, x, y, y


def _centred(f: Tensor | None, up: Pair, down: Pair, padding: Pair) -> list[int]:
    """The user's padding plus what centres the filter; both formulas agree where nothing is resampled."""
    edges: list[int] = []
    for taps, u, d in zip(filter_size(f), _pair(up), _pair(down)):
        edges += [(taps + u - d) // 2, (taps - max(u, d)) // 2]
    return [own + user for own, user in zip(edges, padding_edges(padding))]


def _pair(value: Pair) -> tuple[int, int]:
    if isinstance(value, int):
        return value, value
    x, y = value
    return int(x), int(y)


def _reverse(taps: Tensor) -> Tensor:
    return taps.flip(tuple(range(taps.ndim)))


# Reference: each step of the definition by itself. `taps` are those of a correlation from here on.


def _reference(x: Tensor, taps: Tensor, columns: Axis, rows: Axis) -> Tensor:
    x = _spread(_spread(x, columns.up, 3), rows.up, 2)
    x = F.pad(x, [columns.before, columns.after, rows.before, rows.after])  # negative crops
    for kernel in [taps] if taps.ndim == 2 else [taps[None, :], taps[:, None]]:
        x = F.conv2d(x, _per_channel(kernel, x.shape[1]), groups=x.shape[1])
    return x[:, :, :: rows.down, :: columns.down]


def _spread(x: Tensor, factor: int, axis: int) -> Tensor:
    """Every sample along the axis followed by factor - 1 zeros."""
    if factor == 1:
        return x
    gaps = [torch.zeros_like(x)] * (factor - 1)
    return torch.stack([x, *gaps], dim=axis + 1).flatten(axis, axis + 1)


def _per_channel(kernel: Tensor, channels: int) -> Tensor:
    return kernel.expand(channels, 1, *kernel.shape)  # [C, 1, kh, kw]


# Compiled: one kernel, or one for each axis of a long filter.


def _compiled(x: Tensor, taps: Tensor, columns: Axis, rows: Axis) -> Tensor:
    if taps.ndim == 1 and len(taps) <= _FACTORED_UP_TO:  # the kernel finds the factors by itself
        taps = torch.outer(taps, taps)
    if taps.ndim == 1:
        x = _kernel(x, taps[None, :], columns, Axis())
        return _kernel(x, taps[:, None], Axis(), rows)
    return _kernel(x, taps, columns, rows)


def _kernel(x: Tensor, taps: Tensor, columns: Axis, rows: Axis) -> Tensor:
    forth, back = [], []
    for axis, size, count in ((columns, x.shape[3], taps.shape[1]), (rows, x.shape[2], taps.shape[0])):
        other = axis.adjoint(size, count)
        forth.append((axis.up, axis.down, axis.before, axis.length(size, count)))
        back.append((other.up, other.down, other.before, size))
    return functions.Resample.apply(x, taps, *forth, tuple(back))


# Fast: padding and factors go into the convolution.


class _Resample(Function):
    """upfirdn2d as a linear map of x; its derivative is the same map with exchanged factors.

    torch's own second derivative of a depthwise convolution is one convolution per channel, thousands in a
    network; here every order is a few calls.
    """

    @staticmethod
    def forward(x: Tensor, taps: Tensor, columns: Axis, rows: Axis) -> Tensor:
        if taps.ndim == 2:
            return _resample(x, taps, columns, rows)
        x = _resample(x, taps[None, :], columns, Axis())
        return _resample(x, taps[:, None], Axis(), rows)

    @staticmethod
    def setup_context(ctx: Context, inputs: tuple[Tensor, Tensor, Axis, Axis], output: Tensor) -> None:
        x, taps, columns, rows = inputs
        ctx.save_for_backward(taps)
        ctx.columns = columns.adjoint(x.shape[3], taps.shape[-1])
        ctx.rows = rows.adjoint(x.shape[2], taps.shape[0])

    @staticmethod
    def backward(ctx: Context, dy: Tensor) -> tuple[Tensor, None, None, None]:
        (taps,) = ctx.saved_tensors
        return _Resample.apply(dy, _reverse(taps), ctx.columns, ctx.rows), None, None, None

    @staticmethod
    def vmap(
        info: VmapInfo, in_dims: tuple[int | None, ...], x: Tensor, taps: Tensor, columns: Axis, rows: Axis
    ) -> tuple[Tensor, int]:
        if in_dims[1] is not None:  # one filter per element
            images = x.unbind(in_dims[0]) if in_dims[0] is not None else [x] * info.batch_size
            pairs = zip(images, taps.unbind(in_dims[1]))
            return torch.stack([_Resample.apply(image, own, columns, rows) for image, own in pairs]), 0
        assert in_dims[0] is not None
        x = x.movedim(in_dims[0], 0)  # [B, N, C, H, W]
        y = _Resample.apply(x.flatten(0, 1), taps, columns, rows)
        return y.unflatten(0, x.shape[:2]), 0


def _resample(x: Tensor, kernel: Tensor, columns: Axis, rows: Axis) -> Tensor:
    """upfirdn2d with a 2-D kernel, in as few passes over the image as torch's convolutions allow."""
    (height, width), (kh, kw) = x.shape[2:], kernel.shape
    if columns.misses(width, kw) or rows.misses(height, kh):
        return x.new_zeros([*x.shape[:2], rows.length(height, kh), columns.length(width, kw)])
    if columns.up == rows.up == 1:
        return _reduce(x, kernel, columns, rows)
    if columns.down == rows.down == 1:
        return _enlarge(x, kernel, columns, rows)
    x = _spread(_spread(x, columns.up, 3), rows.up, 2)
    return _reduce(x, kernel, replace(columns, up=1), replace(rows, up=1))


def _reduce(x: Tensor, kernel: Tensor, columns: Axis, rows: Axis) -> Tensor:
    """Strided convolution. It pads both sides alike, so the unequal rest is cropped before and after."""
    pads, kept = [], []
    for dim, taps, axis in ((2, kernel.shape[0], rows), (3, kernel.shape[1], columns)):
        count = axis.length(x.shape[dim], taps)  # before x is cropped
        x = _crop(x, dim, max(-axis.before, 0), max(-axis.after, 0))
        before = max(axis.before, 0)
        pad = max(before, axis.after)
        pad += (before - pad) % axis.down  # the wanted samples stay on the stride
        pads.append(pad)
        kept.append(((pad - before) // axis.down, count))
    strides = rows.down, columns.down
    y = F.conv2d(x, _per_channel(kernel, x.shape[1]), stride=strides, padding=pads, groups=x.shape[1])
    for dim, (start, count) in zip((2, 3), kept):
        y = _crop(y, dim, start, y.shape[dim] - start - count)
    return y


def _enlarge(x: Tensor, kernel: Tensor, columns: Axis, rows: Axis) -> Tensor:
    """Transposed convolution: all samples that the image touches, of which the padding decides what stays."""
    pads, surplus = [], []
    for dim, taps, axis in ((2, kernel.shape[0], rows), (3, kernel.shape[1], columns)):
        # The full result begins taps - 1 samples before the image: `first` of them, and `last` at the other
        # end, are too many. What both ends have is never computed, the rest is cut, negative ones are zeros.
        first = taps - 1 - axis.before
        last = (x.shape[dim] - 1) * axis.up + taps - first - axis.length(x.shape[dim], taps)
        pad = max(min(first, last), 0)
        pads.append(pad)
        surplus.append((first - pad, last - pad))
    weight, strides = _per_channel(_reverse(kernel), x.shape[1]), (rows.up, columns.up)
    y = F.conv_transpose2d(x, weight, stride=strides, padding=pads, groups=x.shape[1])
    for dim, (first, last) in zip((2, 3), surplus):
        y = _crop(y, dim, max(first, 0), max(last, 0))
    missing = [max(-edge, 0) for pair in reversed(surplus) for edge in pair]
    return F.pad(y, missing) if any(missing) else y


def _crop(x: Tensor, dim: int, before: int, after: int) -> Tensor:
    return x.narrow(dim, before, x.shape[dim] - before - after) if before or after else x
