"""Bias, activation, gain and clamp in one operation: clip(gain * phi(x + b), -clamp, +clamp)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

from stylegan2ada.errors import UserError
from stylegan2ada.ops import Context, pick_impl
from stylegan2ada.ops.compiled import functions, library

SELU_SCALE = 1.0507009873554805
SELU_ALPHA = 1.6732632423543772


@dataclass(frozen=True)
class Activation:
    """One row of the table: the function and what the layers want to know about it."""

    func: Callable[..., Tensor]  # (x, alpha) -> phi(x)
    def_alpha: float  # used by lrelu only
    def_gain: float  # keeps the variance of a unit-variance input near 1
    cuda_idx: int  # upstream's number of it; nothing here depends on it
    ref: str  # whether a formula from the output exists, and which variable it needs
    has_2nd_grad: bool  # phi has curvature


def _row(
    index: int, func: Callable[..., Tensor], alpha: float, gain: float, saved: str, curved: bool
) -> Activation:
    return Activation(func, alpha, gain, index, saved, curved)


# fmt: off
activation_funcs: dict[str, Activation] = {
    "linear":   _row(1, lambda x, alpha=0.0: x,                      0.0, 1.0,          "",  False),
    "relu":     _row(2, lambda x, alpha=0.0: F.relu(x),              0.0, math.sqrt(2), "y", False),
    "lrelu":    _row(3, lambda x, alpha=0.2: F.leaky_relu(x, alpha), 0.2, math.sqrt(2), "y", False),
    "tanh":     _row(4, lambda x, alpha=0.0: torch.tanh(x),          0.0, 1.0,          "y", True),
    "sigmoid":  _row(5, lambda x, alpha=0.0: torch.sigmoid(x),       0.0, 1.0,          "y", True),
    "elu":      _row(6, lambda x, alpha=0.0: F.elu(x),               0.0, 1.0,          "y", True),
    "selu":     _row(7, lambda x, alpha=0.0: F.selu(x),              0.0, 1.0,          "y", True),
    "softplus": _row(8, lambda x, alpha=0.0: F.softplus(x),          0.0, 1.0,          "y", True),
    "swish":    _row(9, lambda x, alpha=0.0: x * torch.sigmoid(x),   0.0, math.sqrt(2), "x", True),
}
# fmt: on


def bias_act(
    x: Tensor,  # any rank
    b: Tensor | None = None,  # [x.shape[dim]]; None = no bias
    dim: int = 1,  # the axis of x that b belongs to
    act: str = "linear",  # a key of activation_funcs
    alpha: float | None = None,  # slope of lrelu for negative input; None = the table's
    gain: float | None = None,  # factor after the activation; None = the table's
    clamp: float | None = None,  # limit after the gain; None = no limit
    impl: str = "auto",
) -> Tensor:
    """clip(gain * phi(x + b), -clamp, +clamp), in x's shape and dtype.

    The slope at a kink is that of the negative side, and 0 where the output reached the clamp.
    """
    if act not in activation_funcs:
        raise UserError(f"activation {act!r} is not known; use one of {', '.join(activation_funcs)}")
    spec = activation_funcs[act]
    alpha = spec.def_alpha if alpha is None else float(alpha)
    gain = spec.def_gain if gain is None else float(gain)
    assert clamp is None or clamp >= 0, f"clamp={clamp} must not be negative"
    if b is not None:
        assert b.shape == (x.shape[dim],), (x.shape, b.shape, dim)
    if clamp is not None:  # as x can hold it, so that a clipped output compares equal to the limit
        clamp = float(torch.tensor(clamp, dtype=x.dtype))
    how = How(dim % max(x.ndim, 1), act, alpha, gain, clamp)
    chosen = pick_impl(impl)
    if chosen == "compiled" and _has_kernel(x, how) and (how.dim == 1 or b is None):
        return functions.Epilogue.apply(x, None, None, b, _settings(how))
    b = None if b is None else b.to(x.dtype)
    if chosen != "ref" and _output_tells_slope(how):
        return _FromOutput.apply(x, b, how)
    return _reference(x, b, how)


def has_epilogue(x: Tensor) -> bool:
    """Whether `epilogue` is one kernel here; upstream's module has neither."""
    return pick_impl("auto") == "compiled" and library.knows(x)


def epilogue(
    x: Tensor,  # [N, C, H, W]; may become the result where no gradients are asked for
    scale: Tensor | None,  # [N, C]
    noise: Tensor | None,  # [H, W] or [N, 1, H, W]
    b: Tensor | None,  # [C]
    act: str,  # all that follow as in bias_act
    gain: float,
    clamp: float | None,
) -> Tensor:
    """bias_act(x * scale + noise, b, ...) where has_epilogue says so."""
    spec = activation_funcs[act]
    if clamp is not None:
        clamp = float(torch.tensor(clamp, dtype=x.dtype))
    how = How(1, act, spec.def_alpha, gain, clamp)
    if not _output_tells_slope(how):
        x = x if scale is None else x * scale.to(x.dtype)[:, :, None, None]
        return bias_act(x if noise is None else x + noise.to(x.dtype), b, act=act, gain=gain, clamp=clamp)
    noise = noise[None, None] if noise is not None and noise.ndim == 2 else noise
    return functions.consuming_epilogue(x, scale, noise, b, _settings(how))


@dataclass(frozen=True)
class How:
    """The settled arguments of one call."""

    dim: int
    act: str
    alpha: float
    gain: float
    clamp: float | None


def _along(b: Tensor, dim: int, ndim: int) -> Tensor:
    return b.reshape([-1 if axis == dim else 1 for axis in range(ndim)])


def _reference(x: Tensor, b: Tensor | None, how: How) -> Tensor:
    if b is not None:
        x = x + _along(b, how.dim, x.ndim)
    y = activation_funcs[how.act].func(x, how.alpha) * how.gain
    if how.clamp is not None:  # not torch.clamp: its slope at the limit is 1
        y = torch.where(y.abs() < how.clamp, y, y.sign() * how.clamp)
    return y


# Fast: one output, which is all that the gradients need.


def _output_tells_slope(how: How) -> bool:
    """Whether phi' follows from the output alone."""
    # swish falls before it rises: one output, two inputs. A negative gain or slope would hide the sign of x.
    return how.act != "swish" and how.gain > 0 and (how.act != "lrelu" or how.alpha > 0)


# Compiled: the same from the output, every pass one kernel.


def _has_kernel(x: Tensor, how: How) -> bool:
    return x.ndim >= 2 and _output_tells_slope(how) and library.knows(x)


def _settings(how: How) -> functions.Settings:
    return functions.Settings.of(how.act, how.alpha, how.gain, how.clamp)


class _FromOutput(Function):
    """bias_act that saves its output only. Backward is built of differentiable operations of it, so that
    second and higher orders follow by themselves.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, b: Tensor | None, how: How) -> Tensor:
        y = x.clone() if b is None else x + _along(b, how.dim, x.ndim)
        y = _IN_PLACE[how.act](y, how.alpha)
        if how.gain != 1:
            y.mul_(how.gain)
        return y if how.clamp is None else F.hardtanh_(y, -how.clamp, how.clamp)

    @staticmethod
    def setup_context(ctx: Context, inputs: tuple[Tensor, Tensor | None, How], output: Tensor) -> None:
        ctx.save_for_backward(output)
        ctx.has_bias, ctx.how = inputs[1] is not None, inputs[2]

    @staticmethod
    def backward(ctx: Context, dy: Tensor) -> tuple[Tensor, Tensor | None, None]:
        (y,) = ctx.saved_tensors
        how = ctx.how
        if how.clamp is not None:  # zero where the limit was reached
            dy = torch.ops.aten.hardtanh_backward(dy, y.detach(), -how.clamp, how.clamp)
        dx = _times_slope(dy, y, how)
        if not (ctx.has_bias and ctx.needs_input_grad[1]):
            return dx, None, None
        return dx, dx.sum([axis for axis in range(dx.ndim) if axis != how.dim]), None


_IN_PLACE: dict[str, Callable[[Tensor, float], Tensor]] = {
    "linear": lambda x, alpha: x,
    "relu": lambda x, alpha: x.relu_(),
    "lrelu": lambda x, alpha: F.leaky_relu_(x, alpha),
    "tanh": lambda x, alpha: x.tanh_(),
    "sigmoid": lambda x, alpha: x.sigmoid_(),
    "elu": lambda x, alpha: F.elu_(x),
    "selu": lambda x, alpha: F.selu_(x),
    "softplus": lambda x, alpha: F.softplus(x),
}


def _times_slope(dy: Tensor, y: Tensor, how: How) -> Tensor:
    """dy * gain * phi', with phi' from u = phi = y / gain."""
    gain = how.gain
    if how.act == "linear":
        return dy * gain if gain != 1 else dy
    if how.act in ("relu", "lrelu"):  # the sign of y decides; one pass instead of compare, select, multiply
        slope = how.alpha if how.act == "lrelu" else 0.0
        return torch.ops.aten.leaky_relu_backward(dy, y.detach(), slope, True) * gain
    # Each derivative in terms of the function's own value u: tanh' = 1 - u^2, sigmoid' = u (1 - u),
    # softplus' = 1 - e^-u, elu' and selu' = u + scale * alpha below zero. The input need not be kept.
    u = y / gain
    if how.act == "tanh":
        return dy * ((1 - u * u) * gain)
    if how.act == "sigmoid":
        return dy * (u * (1 - u) * gain)
    if how.act == "softplus":
        return dy * (-torch.expm1(-u) * gain)
    scale, alpha = (SELU_SCALE, SELU_ALPHA) if how.act == "selu" else (1.0, 1.0)
    return dy * (torch.where(u < 0, u + scale * alpha, scale) * gain)  # elu and selu
