"""Bilinear image sampling whose image gradient can be differentiated again on every torch."""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

from stylegan2ada.ops import Context


def _native(image: Tensor, grid: Tensor) -> Tensor:
    return F.grid_sample(image, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def grid_sample(
    input: Tensor,  # [N, C, H, W]
    grid: Tensor,  # [N, h, w, 2], x then y in [-1, 1] from edge to edge
    impl: str = "auto",  # 'auto' | 'native' | 'own'
) -> Tensor:
    """The image at the grid's points, [N, C, h, w]; zero outside. Own: no gradient for the grid."""
    assert impl in ("auto", "native", "own"), impl
    if impl == "native" or (impl == "auto" and native_differentiates_twice(input.device.type)):
        return _native(input, grid)
    return _Sample.apply(input, grid)


@cache
def native_differentiates_twice(device_type: str) -> bool:
    """Whether torch's own operation has the derivative of its image gradient; tried, not looked up."""
    # Whether the kernel exists depends on torch's version, the device and the build; asking costs little.
    with torch.enable_grad():
        image = torch.ones([1, 1, 2, 2], device=device_type, requires_grad=True)
        cotangent = torch.ones([1, 1, 1, 1], device=device_type, requires_grad=True)
        value = _native(image, torch.zeros([1, 1, 1, 2], device=device_type))
        try:
            (slope,) = torch.autograd.grad(value, image, cotangent, create_graph=True)
            torch.autograd.grad(slope.sum(), cotangent)
        except RuntimeError:
            return False
    return True


class _Sample(Function):
    """image -> samples; linear in the image."""

    generate_vmap_rule = True

    @staticmethod
    def forward(image: Tensor, grid: Tensor) -> Tensor:
        return _native(image, grid)

    @staticmethod
    def setup_context(ctx: Context, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(inputs[1])
        ctx.size = tuple(inputs[0].shape[-2:])

    @staticmethod
    def backward(ctx: Context, dy: Tensor) -> tuple[Tensor, None]:
        (grid,) = ctx.saved_tensors
        return _Scatter.apply(dy, grid, ctx.size), None


class _Scatter(Function):
    """samples -> image: the adjoint of _Sample, and _Sample is its own derivative."""

    generate_vmap_rule = True

    @staticmethod
    def forward(dy: Tensor, grid: Tensor, size: tuple[int, int]) -> Tensor:
        blank = dy.new_zeros([*dy.shape[:2], *size])  # linear: any point will do
        pull_back = torch.func.vjp(lambda image: _native(image, grid), blank)[1]
        return pull_back(dy)[0]

    @staticmethod
    def setup_context(ctx: Context, inputs: tuple[Tensor, Tensor, tuple[int, int]], output: Tensor) -> None:
        ctx.save_for_backward(inputs[1])

    @staticmethod
    def backward(ctx: Context, ddx: Tensor) -> tuple[Tensor, None, None]:
        (grid,) = ctx.saved_tensors
        return _Sample.apply(ddx, grid), None, None
