"""The kernels with their derivatives: of the epilogue, of resampling, of the energy of kernels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd import Function

from stylegan2ada.ops import Context
from stylegan2ada.ops.compiled import registered as ops
from stylegan2ada.ops.compiled.registered import wide

# Numbers of elements.h. Linear and relu are lrelu with other slopes.
ACTS = {"linear": 0, "relu": 0, "lrelu": 0, "tanh": 1, "sigmoid": 2, "elu": 3, "selu": 4, "softplus": 5}
_SLOPES = {"linear": 1.0, "relu": 0.0}
_SELU = 1.0507009873554805, 1.0507009873554805 * 1.6732632423543772


@dataclass(frozen=True)
class Settings:
    """An activation as the kernels take it."""

    act: int
    alpha: float
    gain: float
    clamp: float  # negative: none

    @classmethod
    def of(cls, act: str, alpha: float, gain: float, clamp: float | None) -> Settings:
        return cls(ACTS[act], _SLOPES.get(act, alpha), gain, -1.0 if clamp is None else clamp)

    @property
    def numbers(self) -> tuple[int, float, float, float]:
        return self.act, self.alpha, self.gain, self.clamp

    @property
    def is_curved(self) -> bool:
        return self.act != 0


def _as_kernels_take(
    x: Tensor, scale: Tensor | None, noise: Tensor | None, bias: Tensor | None
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    kind = wide(x.dtype)
    return (
        None if scale is None else scale.to(kind),
        None if bias is None else bias.to(kind)[None],
        None if noise is None else noise.to(x.dtype),
    )


def consuming_epilogue(
    x: Tensor,  # that nobody needs any more
    scale: Tensor | None,
    noise: Tensor | None,
    bias: Tensor | None,
    how: Settings,
) -> Tensor:
    """Epilogue, in place where that is possible: without gradients, and not under vmap."""
    is_wrapped = torch._C._functorch.is_functorch_wrapped_tensor
    others = (t for t in (x, scale, noise, bias) if t is not None)
    if torch.is_grad_enabled() or any(map(is_wrapped, others)) or not ops.is_dense(x):
        return Epilogue.apply(x, scale, noise, bias, how)
    ops.epilogue_in_place(x, *_as_kernels_take(x, scale, noise, bias), *how.numbers)
    return x


class Epilogue(Function):
    """clip(gain * phi(x * scale + noise + bias)); keeps its output, and x where there is a scale."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        x: Tensor,  # [N, C, ...]
        scale: Tensor | None,  # [N, C]
        noise: Tensor | None,  # [1 or N, 1, ...]
        bias: Tensor | None,  # [C]
        how: Settings,
    ) -> Tensor:
        return ops.epilogue(x, *_as_kernels_take(x, scale, noise, bias), *how.numbers)

    @staticmethod
    def setup_context(
        ctx: Context,
        inputs: tuple[Tensor, Tensor | None, Tensor | None, Tensor | None, Settings],
        output: Tensor,
    ) -> None:
        x, scale, noise, bias, ctx.how = inputs
        ctx.save_for_backward(output, None if scale is None else x, scale)
        ctx.types = [None if t is None else t.dtype for t in (scale, noise, bias)]
        ctx.noise_is_shared = noise is not None and noise.shape[0] == 1 and x.shape[0] != 1

    @staticmethod
    def backward(ctx: Context, dy: Tensor) -> tuple[Tensor | None, ...]:
        y, x, scale = ctx.saved_tensors
        _, wants_scale, wants_noise, wants_bias, _ = ctx.needs_input_grad
        for_sum = x if wants_scale else None
        dx, sum_g, sum_gx, dnoise = EpilogueBackward.apply(
            dy, y, for_sum, scale, ctx.how, bool(wants_bias), bool(wants_noise)
        )
        kinds = ctx.types
        if wants_noise and ctx.noise_is_shared:
            dnoise = dnoise.sum(0, keepdim=True)
        return (
            dx,
            sum_gx.to(kinds[0]) if wants_scale else None,
            dnoise.to(kinds[1]) if wants_noise else None,
            sum_g.sum(0).to(kinds[2]) if wants_bias else None,
            None,
        )


class EpilogueBackward(Function):
    """The gradient of Epilogue, as a map of dy, y, x and scale."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        dy: Tensor,
        y: Tensor,
        x: Tensor | None,  # None: the sum with it is not wanted
        scale: Tensor | None,
        how: Settings,
        wants_sum: bool,
        wants_noise: bool,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        scale = None if scale is None else scale.to(wide(y.dtype))
        return ops.epilogue_backward(dy, y, x, scale, wants_sum, wants_noise, *how.numbers)

    @staticmethod
    def setup_context(ctx: Context, inputs: tuple, output: tuple[Tensor, ...]) -> None:
        dy, y, x, scale, ctx.how, ctx.wants_sum, ctx.wants_noise = inputs
        ctx.save_for_backward(dy, y, x, scale)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(
        ctx: Context, a: Tensor | None, f: Tensor | None, b: Tensor | None, e: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        dy, y, x, scale = ctx.saved_tensors
        f, b, e = f if ctx.wants_sum else None, b if x is not None else None, e if ctx.wants_noise else None
        if a is None and f is None and b is None and e is None:
            return (None,) * 7
        by_dy, by_y, by_x, by_scale = (
            # A graph of this pass is for third derivatives, which plain operations have.
            _second_plain if torch.is_grad_enabled() else _second
        )(dy, y, x, scale, (a, b, e, f), ctx.how)
        return by_dy, by_y, by_x, None if by_scale is None else by_scale.to(scale.dtype), None, None, None


_Cotangents = tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]


def _second(
    dy: Tensor, y: Tensor, x: Tensor | None, scale: Tensor | None, cotangents: _Cotangents, how: Settings
) -> tuple[Tensor | None, ...]:
    a, b, e, f = cotangents
    kind = wide(y.dtype)
    found = ops.epilogue_second(
        dy, y, x, None if scale is None else scale.to(kind), a,
        *(None if t is None else t.to(kind) for t in (b, e, f)), how.is_curved, *how.numbers,
    )  # fmt: skip
    ddy, x2, sum_ga, y2 = found
    has_sum = scale is not None and a is not None
    return ddy, y2 if how.is_curved else None, x2 if b is not None else None, sum_ga if has_sum else None


def _second_plain(
    dy: Tensor, y: Tensor, x: Tensor | None, scale: Tensor | None, cotangents: _Cotangents, how: Settings
) -> tuple[Tensor | None, ...]:
    """The same by operations of torch."""
    a, b, e, f = cotangents

    def on_channels(t: Tensor) -> Tensor:
        return t.to(y.dtype).reshape(*t.shape, *[1] * (y.ndim - 2))

    slope, bend = slopes(y if how.is_curved else y.detach(), how)
    total = torch.zeros_like(y)
    if a is not None:
        total = total + (a if scale is None else a * on_channels(scale))
    if b is not None and x is not None:
        total = total + on_channels(b) * x
    if e is not None:
        total = total + e.to(y.dtype)
    if f is not None:
        total = total + on_channels(f)
    g = dy * slope
    by_scale = None
    if scale is not None and a is not None:
        by_scale = g * a if y.ndim == 2 else (g * a).flatten(2).sum(2)
    return (
        total * slope,
        dy * bend * total if bend is not None else None,
        g * on_channels(b) if b is not None else None,
        by_scale,
    )


def slopes(y: Tensor, how: Settings) -> tuple[Tensor, Tensor | None]:
    """(d y / d u, its derivative by y or None), as elements.h has them."""
    v = y / how.gain
    bend: Tensor | None
    if how.act == 0:
        slope, bend = torch.where(y > 0, how.gain, how.alpha * how.gain).to(y.dtype), None
    elif how.act == 1:
        slope, bend = (1 - v * v) * how.gain, -2 * v
    elif how.act == 2:
        slope, bend = v * (1 - v) * how.gain, 1 - 2 * v
    elif how.act == 5:
        slope, bend = -torch.expm1(-v) * how.gain, torch.exp(-v)
    else:
        scale, both = (1.0, 1.0) if how.act == 3 else _SELU
        slope = torch.where(v < 0, v + both, scale) * how.gain
        bend = torch.where(v < 0, 1.0, 0.0).to(y.dtype)
    if how.clamp >= 0:
        inside = (y.detach().abs() < how.clamp).to(y.dtype)
        slope, bend = slope * inside, None if bend is None else bend * inside
    return slope, bend


class Resample(Function):
    """upfirdn2d with a 2-D kernel; its derivative is the same with exchanged factors."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        x: Tensor,
        taps: Tensor,  # [kh, kw], of a correlation
        columns: tuple[int, int, int, int],  # up, down, before, samples that come out
        rows: tuple[int, int, int, int],
        back: tuple[tuple[int, int, int, int], tuple[int, int, int, int]],  # both axes of the adjoint
    ) -> Tensor:
        return ops.resample(x, taps, columns, rows)

    @staticmethod
    def setup_context(ctx: Context, inputs: tuple, output: Tensor) -> None:
        _, taps, ctx.columns, ctx.rows, ctx.back = inputs
        ctx.save_for_backward(taps)

    @staticmethod
    def backward(ctx: Context, dy: Tensor) -> tuple[Tensor | None, ...]:
        (taps,) = ctx.saved_tensors
        back = ctx.columns, ctx.rows
        return Resample.apply(dy, taps.flip([0, 1]), *ctx.back, back), None, None, None, None


class Energy(Function):
    """Sum of squares over the last axis."""

    generate_vmap_rule = True

    @staticmethod
    def forward(w: Tensor) -> Tensor:
        return ops.energy(w)

    @staticmethod
    def setup_context(ctx: Context, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0])

    @staticmethod
    def backward(ctx: Context, g: Tensor) -> Tensor:
        (w,) = ctx.saved_tensors
        return EnergyTimes.apply(w, g)


class EnergyTimes(Function):
    """2 w g; linear in both."""

    generate_vmap_rule = True

    @staticmethod
    def forward(w: Tensor, g: Tensor) -> Tensor:
        return ops.energy_times(w, g)

    @staticmethod
    def setup_context(ctx: Context, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Context, a: Tensor) -> tuple[Tensor, Tensor]:
        w, g = ctx.saved_tensors
        return EnergyTimes.apply(a, g), 2 * (a * w).sum(-1).to(g.dtype)
