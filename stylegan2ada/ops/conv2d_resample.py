"""Convolution of an image that is enlarged before or reduced after, padded exactly once."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from stylegan2ada.ops import pick_impl
from stylegan2ada.ops.upfirdn2d import Pair, _edges, filter_size, resampling_padding, upfirdn2d


def conv2d_resample(
    x: Tensor,  # [N, I, H, W]
    w: Tensor,  # [O, I / groups, kh, kw]
    f: Tensor | None = None,  # low-pass from setup_filter; None = none
    up: int = 1,
    down: int = 1,
    padding: Pair = 0,  # n, [x, y] or [left, right, top, bottom], on the upsampled grid
    groups: int = 1,
    flip_weight: bool = True,  # True = correlation as torch's, False = convolution
    flip_filter: bool = False,  # the same for f, with False = convolution
    impl: str = "auto",
) -> Tensor:
    """decimate(convolve(expand(x))): [N, O, ceil(H * up / down), ...] for the usual "same" padding."""
    assert x.ndim == 4 and w.ndim == 4, (x.shape, w.shape)
    assert x.shape[1] == w.shape[1] * groups, (x.shape, w.shape, groups)
    edges = _total_padding(padding, f, up, down)
    pick_impl(impl)
    return _reference(x, w, f, up, down, edges, groups, flip_weight, flip_filter)


def _total_padding(padding: Pair, f: Tensor | None, up: int, down: int) -> list[int]:
    share: list[int] = []
    for taps in filter_size(f):
        share += resampling_padding(taps, up, down)
    return [user + own for user, own in zip(_edges(padding), share)]


def _reference(
    x: Tensor,
    w: Tensor,
    f: Tensor | None,
    up: int,
    down: int,
    edges: list[int],
    groups: int,
    flip_weight: bool,
    flip_filter: bool,
) -> Tensor:
    enlarge = f if up > 1 else None
    x = upfirdn2d(x, enlarge, up=up, padding=edges, gain=up**2, flip_filter=flip_filter, impl="ref")
    x = F.conv2d(x, w if flip_weight else w.flip([2, 3]), groups=groups)
    if down > 1:
        x = upfirdn2d(x, f, down=down, flip_filter=flip_filter, impl="ref")
    return x
