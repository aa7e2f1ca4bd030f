"""Convolutions under the names that code written for upstream calls.

torch's own convolutions differentiate twice and leave out gradients that nobody asked for, so nothing is
replaced here; the switches exist because scripts set them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch.nn.functional as F
from torch import Tensor

enabled = False  # set by trainers; both values compute the same
weight_gradients_disabled = False  # inside no_weight_gradients(); informative


@contextmanager
def no_weight_gradients() -> Iterator[None]:
    """For a backward pass that wants gradients of images only.

    `torch.autograd.grad(..., inputs=[img])` does not compute weight gradients in the first place, so no
    gradient can go missing in a later backward pass through the same graph.
    """
    global weight_gradients_disabled
    before, weight_gradients_disabled = weight_gradients_disabled, True
    try:
        yield
    finally:
        weight_gradients_disabled = before


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
) -> Tensor:
    """torch.nn.functional.conv2d."""
    return F.conv2d(input, weight, bias, stride, padding, dilation, groups)


def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    output_padding: int | tuple[int, int] = 0,
    groups: int = 1,
    dilation: int | tuple[int, int] = 1,
) -> Tensor:
    """torch.nn.functional.conv_transpose2d."""
    return F.conv_transpose2d(input, weight, bias, stride, padding, output_padding, groups, dilation)
