"""Convolution of an image that is enlarged before or reduced after, padded exactly once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

from stylegan2ada.ops import Context, VmapInfo, pick_impl
from stylegan2ada.ops.compiled import functions, library
from stylegan2ada.ops.upfirdn2d import Pair, filter_size, padding_edges, resampling_padding, upfirdn2d

# Channels. Measured on CPUs: narrower layers are faster with channels last, wider ones are not.
NHWC_UP_TO = 64


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
    """decimate(convolve(expand(x))): [N, O, H * up / down, W * up / down] for the usual "same" padding.

    The image is padded once, before anything else, by `padding` plus what centres the low-pass.
    """
    assert x.ndim == 4, x.shape
    assert w.ndim == 4, w.shape
    assert x.shape[1] == w.shape[1] * groups, (x.shape, w.shape, groups)
    low_pass = LowPass(f, flip_filter)
    edges = low_pass.total_padding(padding, up, down)
    chosen = pick_impl(impl)
    if chosen == "ref":
        return _reference(x, w, low_pass, up, down, edges, groups, flip_weight)
    if x.device.type == "cpu":
        x = _Layout.apply(x, x.shape[1] <= NHWC_UP_TO or _may_be_last(x, chosen))
    return _fast(x, w, low_pass, up, down, edges, groups, flip_weight, chosen)


def _may_be_last(x: Tensor, impl: str) -> bool:
    """Whether wide layers, too, are faster with channels last: their filters must be as fast there, and the
    gradients of their weights, which in float32 are not.
    """
    return impl == "compiled" and (x.dtype != torch.float32 or not torch.is_grad_enabled())


def kernel_energy(w: Tensor, impl: str = "auto") -> Tensor:
    """Sum of squares of every [kh, kw] kernel: [O, I, kh, kw] -> [O, I]. upstream's module has none."""
    if pick_impl(impl) == "compiled" and library.knows(w):
        return functions.Energy.apply(w.flatten(2))
    return w.square().sum([2, 3])


@dataclass(frozen=True)
class LowPass:
    """The filter that goes with every change of size."""

    f: Tensor | None
    flip: bool

    def total_padding(self, padding: Pair, up: int, down: int) -> list[int]:
        """The user's padding plus what resampling needs: [left, right, top, bottom]."""
        width, height = filter_size(self.f)
        share = resampling_padding(width, up, down) + resampling_padding(height, up, down)
        return [user + own for user, own in zip(padding_edges(padding), share)]

    def enlarge(self, x: Tensor, up: int, edges: list[int], impl: str) -> Tensor:
        f = self.f if up > 1 else None  # without a factor it only pads or crops
        return upfirdn2d(x, f, up=up, padding=edges, gain=up**2, flip_filter=self.flip, impl=impl)

    def reduce(self, x: Tensor, down: int, edges: list[int] | int, impl: str) -> Tensor:
        return upfirdn2d(x, self.f, down=down, padding=edges, flip_filter=self.flip, impl=impl)


def _reference(
    x: Tensor,
    w: Tensor,
    low_pass: LowPass,
    up: int,
    down: int,
    edges: list[int],
    groups: int,
    flip_weight: bool,
) -> Tensor:
    x = low_pass.enlarge(x, up, edges, "ref")
    x = F.conv2d(x, w if flip_weight else w.flip([2, 3]), groups=groups)
    return low_pass.reduce(x, down, 0, "ref") if down > 1 else x


def _fast(
    x: Tensor,
    w: Tensor,
    low_pass: LowPass,
    up: int,
    down: int,
    edges: list[int],
    groups: int,
    flip_weight: bool,
    impl: str,  # of the filters: 'fast' or 'compiled'
) -> Tensor:
    """The same by what commutes: filters with convolutions, and both with decimation by stride."""
    # A kernel of one pixel commutes with any filter: it goes to the side with fewer pixels. A larger one does
    # so on the fine grid only, hence stride after a full-size low-pass, and the transposed form for `up`.
    kh, kw = w.shape[2:]
    as_correlation = w if flip_weight or kh == kw == 1 else w.flip([2, 3])
    if up == down == 1:
        return _convolve(x, as_correlation, edges, groups)
    if up > 1 and down > 1:
        x = F.conv2d(low_pass.enlarge(x, up, edges, impl), as_correlation, groups=groups)
        return low_pass.reduce(x, down, 0, impl)
    if kh == kw == 1 and up > 1:  # the cheap side of the enlargement
        return low_pass.enlarge(F.conv2d(x, w, groups=groups), up, edges, impl)
    if kh == kw == 1:
        return F.conv2d(low_pass.reduce(x, down, edges, impl), w, groups=groups)
    if down > 1:
        x = low_pass.reduce(x, 1, edges, impl)
        return F.conv2d(x, as_correlation, stride=down, groups=groups)
    return _convolve_enlarged(x, w.flip([2, 3]) if flip_weight else w, low_pass, up, edges, groups, impl)


def _convolve(x: Tensor, w: Tensor, edges: list[int], groups: int) -> Tensor:
    left, right, top, bottom = edges
    if left == right and top == bottom and min(left, top) >= 0:
        return F.conv2d(x, w, padding=(top, left), groups=groups)
    return F.conv2d(F.pad(x, edges), w, groups=groups)


def _convolve_enlarged(
    x: Tensor, w: Tensor, low_pass: LowPass, up: int, edges: list[int], groups: int, impl: str
) -> Tensor:
    """A transposed convolution writes kh - 1 rows too many before the image and kh - up after it, and columns
    alike; the filter's padding gets that much less, and what would be negative is not computed at all.
    """
    # On the enlarged grid the low-pass and the kernel are both convolutions, so either may come first. Kernel
    # first meets an image that is mostly zeros, and a transposed convolution never multiplies with those.
    kh, kw = w.shape[2:]
    left, right, top, bottom = edges
    rest = [left - (kw - 1), right - (kw - up), top - (kh - 1), bottom - (kh - up)]
    # Only where both sides have too many: the convolution's own padding cuts the two alike.
    skip_x, skip_y = (max(-max(pair), 0) for pair in (rest[:2], rest[2:]))
    rest = [edge + skip for edge, skip in zip(rest, (skip_x, skip_x, skip_y, skip_y))]
    transposed = w.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)  # [I, O / groups, kh, kw]
    x = F.conv_transpose2d(x, transposed, stride=up, padding=(skip_y, skip_x), groups=groups)
    return upfirdn2d(x, low_pass.f, padding=rest, gain=up**2, flip_filter=low_pass.flip, impl=impl)


class _Layout(Function):
    """x in the memory layout that its convolution prefers. A Function because vmap knows no layouts."""

    @staticmethod
    def forward(x: Tensor, channels_last: bool) -> Tensor:
        return x.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)

    @staticmethod
    def setup_context(ctx: Context, inputs: tuple[Tensor, bool], output: Tensor) -> None:
        pass  # a copy is its own derivative

    @staticmethod
    def backward(ctx: Context, dy: Tensor) -> tuple[Tensor, None]:
        return dy, None

    @staticmethod
    def vmap(
        info: VmapInfo, in_dims: tuple[int | None, ...], x: Tensor, channels_last: bool
    ) -> tuple[Tensor, int | None]:
        return x.clone(), in_dims[0]
