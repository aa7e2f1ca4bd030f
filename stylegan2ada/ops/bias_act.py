"""Bias, activation, gain and clamp in one operation: clip(gain * phi(x + b), -clamp, +clamp)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan2ada.errors import UserError
from stylegan2ada.ops import pick_impl

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
    clamp = None if clamp is None or clamp == math.inf else float(clamp)
    assert clamp is None or clamp >= 0, f"clamp={clamp} must not be negative"
    if b is not None:
        assert b.ndim == 1 and 0 <= dim < x.ndim and b.shape[0] == x.shape[dim], (x.shape, b.shape, dim)
        b = b.to(x.dtype)
    pick_impl(impl)
    return _reference(x, b, dim, act, alpha, gain, clamp)


def _along(b: Tensor, dim: int, ndim: int) -> Tensor:
    return b.reshape([-1 if axis == dim else 1 for axis in range(ndim)])


def _reference(
    x: Tensor, b: Tensor | None, dim: int, act: str, alpha: float, gain: float, clamp: float | None
) -> Tensor:
    if b is not None:
        x = x + _along(b, dim, x.ndim)
    y = activation_funcs[act].func(x, alpha) * gain
    if clamp is not None:  # not torch.clamp: its slope at the limit is 1
        y = torch.where(y.abs() < clamp, y, y.sign() * clamp)
    return y
