"""The kernels as operations that torch knows: with shapes for fake tensors, and a rule for vmap.

Raw pointers exist neither under FakeTensorMode nor under vmap. Every tensor of an image has samples first;
so vmap's dimension joins them. Tensors that are not wanted have no elements.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from ctypes import byref
from typing import Any

import torch
from torch import Tensor

from stylegan2ada.ops import VmapInfo
from stylegan2ada.ops.compiled.library import (
    AxisRecord,
    Backward,
    Forward,
    Image,
    Second,
    Shape,
    Sizes,
    call,
    pointer,
)

Dims = tuple[int | None, ...]


def wide(dtype: torch.dtype) -> torch.dtype:
    """The type that is computed in."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def _is_last(x: Tensor) -> bool:
    """Whether channels are innermost."""
    if x.ndim == 4 and x.shape[1] > 1 and x.is_contiguous(memory_format=torch.channels_last):
        return not x.is_contiguous()
    return x.ndim == 2


def is_dense(x: Tensor) -> bool:
    """Whether x is in one of the two layouts."""
    return x.is_contiguous() or (x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last))


def _dense(x: Tensor) -> Tensor:
    return x if is_dense(x) else x.contiguous()


def _as(x: Tensor, like: Tensor) -> Tensor:
    """x in the layout (and type) of `like`."""
    x = x.to(like.dtype)
    if x.stride() == like.stride():
        return x
    return torch.empty_like(like).copy_(x)


def _sizes(x: Tensor, shift: Tensor | None = None, noise: Tensor | None = None) -> Sizes:
    n, c = x.shape[:2]
    return Sizes(
        n, c, math.prod(x.shape[2:]), _is_last(x),
        0 if shift is None else shift.shape[0], 0 if noise is None else noise.shape[0], 0,
    )  # fmt: skip


# Not torch.library.custom_op: its calls go through torch's compiler, which takes seconds to import.
_library = torch.library.Library("stylegan2ada", "DEF")


def _operation(
    name: str,
    changes: tuple[str, ...] = (),  # arguments that are written to
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make torch know a function by its annotations."""

    def declare(function: Callable[..., Any]) -> Callable[..., Any]:
        _library.define(name + torch.library.infer_schema(function, mutates_args=changes))
        _library.impl(name, function, "CompositeExplicitAutograd")
        known: Callable[..., Any] = getattr(torch.ops.stylegan2ada, name).default
        return known

    return declare


def _shapes_of(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """What comes out of an operation when there are no numbers."""
    return torch.library.register_fake(f"stylegan2ada::{name}", lib=_library)


def _under_vmap(name: str, rule: Callable[..., Any]) -> None:
    torch.library.register_vmap(f"stylegan2ada::{name}", rule, lib=_library)


@_operation("epilogue")
def epilogue(
    x: Tensor,  # [N, C, ...]
    scale: Tensor | None,  # [N, C], wide
    shift: Tensor | None,  # [1 or N, C], wide
    noise: Tensor | None,  # [1 or N, 1, ...], as x
    act: int,
    alpha: float,
    gain: float,
    clamp: float,  # negative: none
) -> Tensor:
    x = _dense(x)
    y = torch.empty_like(x)
    _run_epilogue(x, y, scale, shift, noise, Shape(act, alpha, gain, clamp))
    return y


@_operation("epilogue_in_place", changes=("x",))
def epilogue_in_place(
    x: Tensor,  # [N, C, ...], dense; becomes the result
    scale: Tensor | None,
    shift: Tensor | None,
    noise: Tensor | None,
    act: int,
    alpha: float,
    gain: float,
    clamp: float,
) -> None:
    """Where nobody needs x again: a fresh image of some size costs more than the arithmetic on it."""
    _run_epilogue(x, x, scale, shift, noise, Shape(act, alpha, gain, clamp))


def _run_epilogue(
    x: Tensor, y: Tensor, scale: Tensor | None, shift: Tensor | None, noise: Tensor | None, shape: Shape
) -> None:
    if x.numel():
        kept = [None if t is None else t.contiguous() for t in (scale, shift, noise)]
        record = Forward(x.data_ptr(), *(pointer(t) for t in kept), y.data_ptr())
        sizes = _sizes(x, shift, noise)
        call("sg_epilogue_forward", x, byref(record), byref(sizes), byref(shape))


@_operation("epilogue_backward")
def epilogue_backward(
    dy: Tensor,  # as y
    y: Tensor,  # [N, C, ...]
    x: Tensor | None,  # as y; None: no sum with it
    scale: Tensor | None,  # [N, C], wide
    wants_sum: bool,
    wants_noise: bool,
    act: int,
    alpha: float,
    gain: float,
    clamp: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """dx, and sums of g [N, C], of g * x [N, C], of g over channels [N, 1, ...]."""
    y = _dense(y)
    dy = _as(dy, y)
    dx = torch.empty_like(y)
    flat = [y.shape[0], 1, *y.shape[2:]]
    sum_g = y.new_zeros(y.shape[:2] if wants_sum else [0], dtype=wide(y.dtype))
    sum_gx = y.new_zeros(y.shape[:2] if x is not None else [0], dtype=wide(y.dtype))
    dnoise = y.new_zeros(flat if wants_noise else [0], dtype=wide(y.dtype))
    if y.numel():
        x = None if x is None else _as(x, y)
        scale = None if scale is None else scale.contiguous()
        record = Backward(*map(pointer, (dy, y, x, scale, dx, sum_g, sum_gx, dnoise)))
        sizes, shape = _sizes(y), Shape(act, alpha, gain, clamp)
        call("sg_epilogue_backward", y, byref(record), byref(sizes), byref(shape))
    return dx, sum_g, sum_gx, dnoise


@_operation("epilogue_second")
def epilogue_second(
    dy: Tensor,
    y: Tensor,  # [N, C, ...]
    x: Tensor | None,
    scale: Tensor | None,  # [N, C], wide
    a: Tensor | None,  # cotangents: of dx, as y
    b: Tensor | None,  # of the sum with x, [N, C], wide
    e: Tensor | None,  # of dnoise, [N, 1, ...], wide
    f: Tensor | None,  # of the sum, [N, C], wide
    wants_y: bool,
    act: int,
    alpha: float,
    gain: float,
    clamp: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients by dy, x, scale [N, C] and y."""
    y = _dense(y)
    dy, a = _as(dy, y), None if a is None else _as(a, y)
    x = None if x is None or b is None else _as(x, y)
    ddy = torch.empty_like(y)
    x2 = torch.empty_like(y) if x is not None else y.new_empty(0)
    has_sum = scale is not None and a is not None
    sum_ga = torch.zeros(y.shape[:2] if has_sum else [0], dtype=wide(y.dtype), device=y.device)
    y2 = torch.empty_like(y) if wants_y else y.new_empty(0)
    if y.numel():
        scale, b, e, f = (None if t is None else t.contiguous() for t in (scale, b, e, f))
        record = Second(*map(pointer, (dy, y, x, scale, a, b, e, f, ddy, x2, sum_ga, y2)))
        sizes, shape = _sizes(y), Shape(act, alpha, gain, clamp)
        call("sg_epilogue_second", y, byref(record), byref(sizes), byref(shape))
    return ddy, x2, sum_ga, y2


@_operation("resample")
def resample(
    x: Tensor,  # [N, C, H, W]
    taps: Tensor,  # [kh, kw], of a correlation, wide
    columns: Sequence[int],  # up, down, before, samples that come out
    rows: Sequence[int],
) -> Tensor:
    x, taps = _dense(x), taps.contiguous()
    is_last = _is_last(x)
    layout = torch.channels_last if is_last else torch.contiguous_format
    y = torch.empty([*x.shape[:2], rows[3], columns[3]], dtype=x.dtype, device=x.device, memory_format=layout)
    if y.numel():
        n, c, height, width = x.shape
        image = Image(n if is_last else n * c, height, width, c if is_last else 1, rows[3], columns[3])
        kh, kw = taps.shape
        call("sg_resample", x, x.data_ptr(), taps.data_ptr(), y.data_ptr(), kh, kw, byref(image),
             byref(AxisRecord(*columns[:3])), byref(AxisRecord(*rows[:3])))  # fmt: skip
    return y


@_operation("energy")
def energy(w: Tensor) -> Tensor:
    """Sum of squares over the last axis, wide."""
    w = w.contiguous()
    out = torch.zeros(w.shape[:-1], dtype=wide(w.dtype), device=w.device)
    if w.numel():
        call("sg_energy", w, w.data_ptr(), out.data_ptr(), out.numel(), w.shape[-1])
    return out


@_operation("energy_times")
def energy_times(w: Tensor, g: Tensor) -> Tensor:
    """2 w g, with g of energy's shape."""
    w, g = w.contiguous(), g.contiguous()
    out = torch.empty_like(w)
    if w.numel():
        call("sg_energy_times", w, w.data_ptr(), g.data_ptr(), out.data_ptr(), g.numel(), w.shape[-1])
    return out


# Shapes without numbers.


def _like(y: Tensor, wanted: bool) -> Tensor:
    return torch.empty_like(y) if wanted else y.new_empty(0)


def _sum_like(y: Tensor, wanted: bool) -> Tensor:
    return y.new_empty(y.shape[:2] if wanted else [0], dtype=wide(y.dtype))


@_shapes_of("epilogue")
def _(x, scale, shift, noise, act, alpha, gain, clamp):  # type: ignore[no-untyped-def]
    return torch.empty_like(x)


@_shapes_of("epilogue_in_place")
def _(x, scale, shift, noise, act, alpha, gain, clamp):  # type: ignore[no-untyped-def]
    return None


@_shapes_of("epilogue_backward")
def _(dy, y, x, scale, wants_sum, wants_noise, act, alpha, gain, clamp):  # type: ignore[no-untyped-def]
    noise = y.new_empty([y.shape[0], 1, *y.shape[2:]] if wants_noise else [0], dtype=wide(y.dtype))
    return torch.empty_like(y), _sum_like(y, wants_sum), _sum_like(y, x is not None), noise


@_shapes_of("epilogue_second")
def _(dy, y, x, scale, a, b, e, f, wants_y, act, alpha, gain, clamp):  # type: ignore[no-untyped-def]
    has_x, has_sum = x is not None and b is not None, scale is not None and a is not None
    return torch.empty_like(y), _like(y, has_x), _sum_like(y, has_sum), _like(y, wants_y)


@_shapes_of("resample")
def _(x, taps, columns, rows):  # type: ignore[no-untyped-def]
    y = x.new_empty([*x.shape[:2], rows[3], columns[3]])
    return y.contiguous(memory_format=torch.channels_last) if _is_last(x) else y


@_shapes_of("energy")
def _(w):  # type: ignore[no-untyped-def]
    return w.new_empty(w.shape[:-1], dtype=wide(w.dtype))


@_shapes_of("energy_times")
def _(w, g):  # type: ignore[no-untyped-def]
    return torch.empty_like(w)


# vmap: its dimension becomes samples.


def _joined(value: object, dim: int | None, size: int, samples: int) -> object:
    """[B, n, ...] as [B * samples, ...]; what is one for all stays so."""
    if not isinstance(value, Tensor):
        return value
    if dim is None:
        if value.shape[0] == 1 and samples != 1:
            return value
        return value.expand(size, *value.shape).flatten(0, 1)
    value = value.movedim(dim, 0)
    if value.shape[1] != samples:
        value = value.expand(size, samples, *value.shape[2:])
    return value.flatten(0, 1)


def _by_samples(op: Callable[..., object], main: int) -> Callable[..., object]:
    """The rule of an operation whose tensors all have samples first; argument `main` has all of them."""

    def rule(info: VmapInfo, in_dims: Dims, *arguments: object) -> object:
        image = arguments[main]
        assert isinstance(image, Tensor)
        dim = in_dims[main]
        samples = image.movedim(dim, 0).shape[1] if dim is not None else image.shape[0]
        joined = [_joined(value, at, info.batch_size, samples) for value, at in zip(arguments, in_dims)]
        found = op(*joined)
        if isinstance(found, Tensor):
            return found.unflatten(0, (info.batch_size, samples)), 0
        assert isinstance(found, tuple)
        parts = [
            part.unflatten(0, (info.batch_size, samples))
            if part.ndim > 1
            else part.expand(info.batch_size, 0)
            for part in found
        ]
        return tuple(parts), (0,) * len(parts)

    return rule


_under_vmap("epilogue", _by_samples(epilogue, 0))
_under_vmap("epilogue_backward", _by_samples(epilogue_backward, 1))
_under_vmap("epilogue_second", _by_samples(epilogue_second, 1))


def _resample_by_element(info, in_dims, x, taps, columns, rows):  # type: ignore[no-untyped-def]
    if in_dims[1] is not None:  # one filter per element
        images = x.unbind(in_dims[0]) if in_dims[0] is not None else [x] * info.batch_size
        return torch.stack(
            [resample(*pair, columns, rows) for pair in zip(images, taps.unbind(in_dims[1]))]
        ), 0
    x = x.movedim(in_dims[0], 0)
    return resample(x.flatten(0, 1), taps, columns, rows).unflatten(0, x.shape[:2]), 0


def _energy_by_element(info, in_dims, w):  # type: ignore[no-untyped-def]
    return energy(w.movedim(in_dims[0], 0)), 0


def _energy_times_by_element(info, in_dims, w, g):  # type: ignore[no-untyped-def]
    both = [
        t.expand(info.batch_size, *t.shape) if d is None else t.movedim(d, 0) for t, d in zip((w, g), in_dims)
    ]
    return energy_times(*both), 0


_under_vmap("resample", _resample_by_element)
_under_vmap("energy", _energy_by_element)
_under_vmap("energy_times", _energy_times_by_element)
