"""Augmentation that the discriminator sees through, without leaking into the images (Karras et al. 2020,
"Training Generative Adversarial Networks with Limited Data", arXiv:2006.06676, appendix B).

Portable: this text also runs from a pickle inside an official checkout, so it needs torch, numpy and the seam
below. Images are [N, C, H, W], nominally in [-1, 1]. What to do is drawn by `sample`, and done by `apply`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Self, overload

import numpy as np
import torch
from torch import Tensor

if __name__.startswith("stylegan2ada."):  # imported as part of this project
    from stylegan2ada.networks import persistent_class
    from stylegan2ada.ops import grid_sample_gradfix, upfirdn2d
else:  # running from a pickle inside an official checkout
    from torch_utils.ops import grid_sample_gradfix, upfirdn2d
    from torch_utils.persistence import persistent_class

# Low-pass filters of two of Daubechies' least asymmetric wavelets
# fmt: off
SYM6 = (
     0.015404109327027373,  0.0034907120842174702, -0.11799011114819057, -0.048311742585633,
     0.4910559419267466,    0.787641141030194,      0.3379294217276218,  -0.07263752278646252,
    -0.021060292512300564,  0.04472490177066578,    0.0017677118642428036, -0.007800708325034148,
)
SYM2 = (-0.12940952255092145, 0.22414386804185735, 0.836516303737469, 0.48296291314469025)
# fmt: on
BAND_POWER = np.array([10, 1, 1, 1]) / 13  # of natural images, lowest band first

GEOMETRY = ("xflip", "rotate90", "xint", "scale", "rotate_pre", "aniso", "rotate_post", "xfrac")
COLOUR = ("brightness", "contrast", "lumaflip")
CHROMA = ("hue", "saturation")  # without effect on grey images


@persistent_class
class AugmentPipe(torch.nn.Module):
    """Random augmentation with overall probability `p`; 0 switches an operation off, 1 is the usual rate.

    >>> pipe = sg.AugmentPipe(xint=1, brightness=1)
    >>> pipe.p.copy_(torch.tensor(0.5))  # the strength is a buffer; 1 unless a trainer or you write to it
    tensor(0.5000)
    >>> pipe(torch.zeros(4, 1, 16, 16)).shape
    torch.Size([4, 1, 16, 16])
    """

    # Reflected margins around the image: "exact" reads their size back from the device, "full" is as wide as
    # reflection allows, masked to the same visible result, and never reads (needed under vmap and in CUDA
    # graphs). "auto" is exact where reading costs nothing, on the CPU outside of vmap.
    margins: str = "auto"

    # The constructor's arguments under their names, and the buffers.
    xflip: float
    rotate90: float
    xint: float
    xint_max: float
    scale: float
    rotate: float
    aniso: float
    xfrac: float
    scale_std: float
    rotate_max: float
    aniso_std: float
    xfrac_std: float
    brightness: float
    contrast: float
    lumaflip: float
    hue: float
    saturation: float
    brightness_std: float
    contrast_std: float
    hue_max: float
    saturation_std: float
    imgfilter: float
    imgfilter_std: float
    noise: float
    cutout: float
    noise_std: float
    cutout_size: float
    imgfilter_bands: list[float]
    p: Tensor  # [], written by the trainer
    Hz_geom: Tensor  # [12]
    Hz_fbank: Tensor  # [4, taps]

    def __init__(
        self,
        xflip: float = 0,  # mirror left and right
        rotate90: float = 0,  # quarter turns
        xint: float = 0,  # shift by whole pixels
        xint_max: float = 0.125,  # at most, as a share of the size
        scale: float = 0,  # zoom
        rotate: float = 0,  # any angle, before or after the squeeze
        aniso: float = 0,  # squeeze one axis, stretch the other
        xfrac: float = 0,  # shift by parts of a pixel
        scale_std: float = 0.2,  # log2
        rotate_max: float = 1,  # 1 = half a turn to either side
        aniso_std: float = 0.2,  # log2
        xfrac_std: float = 0.125,  # share of the size
        brightness: float = 0,  # add
        contrast: float = 0,  # multiply
        lumaflip: float = 0,  # swap light and dark, keep the hue
        hue: float = 0,  # turn the colour circle
        saturation: float = 0,  # multiply what is not grey
        brightness_std: float = 0.2,
        contrast_std: float = 0.5,  # log2
        hue_max: float = 1,  # 1 = half a turn to either side
        saturation_std: float = 1,  # log2
        imgfilter: float = 0,  # amplify or damp frequency bands
        imgfilter_bands: Sequence[float] = [1, 1, 1, 1],  # noqa: B006 - never changed; rate per band, lowest first
        imgfilter_std: float = 1,  # log2
        noise: float = 0,  # add white noise
        cutout: float = 0,  # grey out a square
        noise_std: float = 0.1,
        cutout_size: float = 0.5,  # share of the size
    ) -> None:
        super().__init__()
        given = dict(locals())
        for name in ("self", "__class__", "imgfilter_bands"):
            del given[name]
        for name, value in given.items():
            setattr(self, name, float(value))
        self.imgfilter_bands = list(imgfilter_bands)
        self.register_buffer("p", torch.ones([]))
        self.register_buffer("Hz_geom", upfirdn2d.setup_filter(SYM6))
        self.register_buffer("Hz_fbank", torch.as_tensor(filter_bank(SYM2), dtype=torch.float32))

    def forward(self, images: Tensor, debug_percentile: float | None = None) -> Tensor:
        """The images, augmented; debug_percentile replaces all draws but pixel noise by that quantile."""
        n, *shape = images.shape
        drawn = self.sample(n, device=images.device, debug_percentile=debug_percentile, img_shape=shape)
        return self.apply(images, drawn)

    def sample(
        self,
        n: int,
        device: torch.device | str | None = None,
        debug_percentile: float | None = None,
        img_shape: Sequence[int] | None = None,
    ) -> dict[str, Tensor]:
        """What to do with n images: {operation: [n] or [n, k]}, only enabled ones; neutral where not kept.

        With img_shape = (C, H, W) the pixel noise is drawn here too, otherwise in `apply`.
        """
        p = self.p if device is None else self.p.to(device)
        draws = _Chance(n, p) if debug_percentile is None else _Quantile(n, p, float(debug_percentile))
        drawn: dict[str, Tensor] = {}
        self._sample_geometry(draws, drawn)
        self._sample_colour(draws, drawn)
        self._sample_corruption(draws, drawn)
        if self.noise > 0 and img_shape is not None:
            drawn["noise_image"] = torch.randn([n, *img_shape], device=p.device)
        return drawn

    @overload
    def apply(self, images: Tensor, params: Mapping[str, Tensor]) -> Tensor: ...

    @overload
    def apply(self, images: Callable[[torch.nn.Module], None], params: None = None) -> Self: ...

    def apply(self, images: Any, params: Any = None) -> Any:
        """Do what `sample` drew. Differentiable in the images, any number of times."""
        if callable(images):  # torch.nn.Module.apply(function) keeps its meaning
            return super().apply(images)
        assert images.ndim == 4, images.shape
        dtype = images.dtype
        images = images.to(torch.promote_types(dtype, torch.float32))  # places need more than ten bits
        params = {name: value.to(images.dtype) for name, value in params.items()}
        if any(name in params for name in GEOMETRY):
            images = self._move(images, params)
        active = COLOUR if images.shape[1] == 1 else COLOUR + CHROMA
        if any(name in params for name in active):
            images = change_colours(images, {name: params[name] for name in active if name in params})
        if "imgfilter" in params:
            images = filter_rows_and_columns(
                images, band_gains(params["imgfilter"]) @ self.Hz_fbank.to(images)
            )
        if "noise" in params:
            white = params["noise_image"] if "noise_image" in params else torch.randn_like(images)
            images = images + white * params["noise"].reshape(-1, 1, 1, 1)
        if "cutout" in params:
            images = images * outside_of_square(images, params["cutout"], params["cutout_center"])
        return images.to(dtype)

    # --- draws -----------------------------------------------------------------------------------------

    def _sample_geometry(self, draws: _Chance, drawn: dict[str, Tensor]) -> None:
        p = draws.p
        if self.xflip > 0:
            drawn["xflip"] = draws.keep(torch.floor(draws.uniform() * 2), 0, self.xflip * p)
        if self.rotate90 > 0:
            drawn["rotate90"] = draws.keep(torch.floor(draws.uniform() * 4), 0, self.rotate90 * p)
        if self.xint > 0:
            shift = (draws.uniform(2) * 2 - 1) * self.xint_max
            drawn["xint"] = draws.keep(shift, 0, self.xint * p)
        if self.scale > 0:
            drawn["scale"] = draws.keep(torch.exp2(draws.normal() * self.scale_std), 1, self.scale * p)
        if self.rotate > 0:
            # Two chances; "at least one of them" has the wanted probability
            either = 1 - torch.sqrt((1 - self.rotate * p).clamp(0, 1))
            before, after = (draws.angle(self.rotate_max) for _ in range(2))
            drawn["rotate_pre"] = draws.keep(before, 0, either)
            drawn["rotate_post"] = draws.keep(after, 0, either) * draws.second_rotation
        if self.aniso > 0:
            drawn["aniso"] = draws.keep(torch.exp2(draws.normal() * self.aniso_std), 1, self.aniso * p)
        if self.xfrac > 0:
            drawn["xfrac"] = draws.keep(draws.normal(2) * self.xfrac_std, 0, self.xfrac * p)

    def _sample_colour(self, draws: _Chance, drawn: dict[str, Tensor]) -> None:
        p = draws.p
        if self.brightness > 0:
            drawn["brightness"] = draws.keep(draws.normal() * self.brightness_std, 0, self.brightness * p)
        if self.contrast > 0:
            factor = torch.exp2(draws.normal() * self.contrast_std)
            drawn["contrast"] = draws.keep(factor, 1, self.contrast * p)
        if self.lumaflip > 0:
            drawn["lumaflip"] = draws.keep(torch.floor(draws.uniform() * 2), 0, self.lumaflip * p)
        if self.hue > 0:
            drawn["hue"] = draws.keep(draws.angle(self.hue_max), 0, self.hue * p)
        if self.saturation > 0:
            factor = torch.exp2(draws.normal() * self.saturation_std)
            drawn["saturation"] = draws.keep(factor, 1, self.saturation * p)

    def _sample_corruption(self, draws: _Chance, drawn: dict[str, Tensor]) -> None:
        p = draws.p
        if self.imgfilter > 0:
            factors = torch.exp2(draws.normal(len(self.imgfilter_bands)) * self.imgfilter_std).unbind(1)
            kept = [
                draws.keep(factor, 1, self.imgfilter * rate * p) if rate > 0 else torch.ones_like(factor)
                for factor, rate in zip(factors, self.imgfilter_bands)
            ]
            drawn["imgfilter"] = torch.stack(kept, dim=1)
        if self.noise > 0:
            drawn["noise"] = draws.keep(draws.folded_normal() * self.noise_std, 0, self.noise * p)
        if self.cutout > 0:
            size = torch.full_like(draws.uniform(), self.cutout_size)
            drawn["cutout"] = draws.keep(size, 0, self.cutout * p)
            drawn["cutout_center"] = draws.uniform(2)

    # --- geometry --------------------------------------------------------------------------------------

    def _move(self, images: Tensor, params: Mapping[str, Tensor]) -> Tensor:
        """Images resampled at twice the resolution, against aliasing; reflected beyond their edges."""
        height, width = images.shape[2:]
        half = self.Hz_geom.shape[0] // 4  # reach of the filter in pixels of the image
        turn, shift = inverse_map(params, width, height)
        wanted = needed_margins(turn, shift, width, height, 2 * half)  # left, right, top, bottom
        exact = self._read(wanted)
        margins = exact if exact is not None else [width - 1, width - 1, height - 1, height - 1]
        left, right, top, bottom = margins
        padded = reflect(images, left, right, top, bottom)
        if exact is None:  # beyond the exact margins the sampler would find zeros, so put them there
            padded = padded * inside_margins(padded, wanted, width, height)
        big = upfirdn2d.upsample2d(padded, self.Hz_geom, up=2)

        # From a pixel of the canvas to the place in `big` that it shows, both counted from their centres.
        # The half pixels are those by which doubling moves the centre of a pixel.
        canvas_w, canvas_h = 2 * (width + 2 * half), 2 * (height + 2 * half)
        x, y = (
            torch.arange(size, device=images.device, dtype=images.dtype) + (1 - size / 2)
            for size in (canvas_w, canvas_h)
        )
        y = y.unsqueeze(1)  # [h, 1]
        spots = []
        for axis, (before, after) in enumerate([(left, right), (top, bottom)]):
            along_x, along_y = (v.reshape(-1, 1, 1) for v in turn[:, axis].unbind(1))
            start = 2 * shift[:, axis].reshape(-1, 1, 1) + (before - after - 0.5)
            spot = along_x * x + along_y * y + start
            spots.append(spot * (2 / big.shape[3 - axis]))
        grid = torch.stack(spots, dim=3)  # [N, h, w, 2]
        moved = grid_sample_gradfix.grid_sample(big, grid)
        return upfirdn2d.downsample2d(moved, self.Hz_geom, down=2, padding=-2 * half, flip_filter=True)

    def _read(self, wanted: Tensor) -> list[int] | None:
        """The exact margins as numbers, or None where the full ones serve instead."""
        if self.margins == "full" or (self.margins == "auto" and wanted.device.type != "cpu"):
            return None
        try:
            return [int(margin) for margin in wanted.tolist()]
        except RuntimeError:  # inside vmap there is not one number but one per sample
            if self.margins == "exact":
                raise
            return None


# --- draws ---------------------------------------------------------------------------------------------


class _Chance:
    """Draws for n images, all at once: many small kernels would cost more than the numbers."""

    second_rotation = 1

    def __init__(self, n: int, p: Tensor) -> None:
        self.p = p
        self._uniform = iter(torch.rand([40, n], device=p.device).unbind())
        self._normal = iter(torch.randn([16, n], device=p.device).unbind())

    def uniform(self, count: int = 1) -> Tensor:
        return self._columns(self._uniform, count)

    def normal(self, count: int = 1) -> Tensor:
        return self._columns(self._normal, count)

    def folded_normal(self) -> Tensor:
        return self.normal().abs()

    def angle(self, share: float) -> Tensor:
        return (self.uniform() * 2 - 1) * (math.pi * share)

    def keep(self, value: Tensor, neutral: float, probability: Tensor) -> Tensor:
        kept = (next(self._uniform) < probability).reshape([-1] + [1] * (value.ndim - 1))
        return torch.where(kept, value, torch.full_like(value, neutral))

    def _columns(self, numbers: Iterator[Tensor], count: int) -> Tensor:
        return next(numbers) if count == 1 else torch.stack([next(numbers) for _ in range(count)], dim=1)


class _Quantile(_Chance):
    """The same for all images: a given quantile of each draw, always kept."""

    second_rotation = 0

    def __init__(self, n: int, p: Tensor, q: float) -> None:
        self.p = p
        self._q = torch.full([n], q, device=p.device)

    def uniform(self, count: int = 1) -> Tensor:
        return self._repeated(self._q, count)

    def normal(self, count: int = 1) -> Tensor:
        # upstream: without the factor sqrt 2
        return self._repeated(torch.erfinv(2 * self._q - 1), count)

    def folded_normal(self) -> Tensor:
        return torch.erfinv(self._q)

    def keep(self, value: Tensor, neutral: float, probability: Tensor) -> Tensor:
        return value

    def _repeated(self, value: Tensor, count: int) -> Tensor:
        return value if count == 1 else torch.stack([value] * count, dim=1)


# --- geometry: affine maps from output to input, in pixels from the centre; x right, y down ------------


def rotation(angle: Tensor) -> Tensor:
    """[N] radians -> [N, 2, 2]."""
    cos, sin = torch.cos(angle), torch.sin(angle)
    return torch.stack([cos, -sin, sin, cos], dim=-1).reshape(-1, 2, 2)


def product(a: Tensor, b: Tensor) -> Tensor:
    """Small matrix products without matmul, which may be rounded to ten bits on some devices."""
    return (a.unsqueeze(-1) * b.unsqueeze(-3)).sum(-2)


def inverse_map(params: Mapping[str, Tensor], width: int, height: int) -> tuple[Tensor, Tensor]:
    """Linear part [N, 2, 2] and shift [N, 2] of the place in the input that an output pixel shows.

    input = Mirror Quarter ( Zoom Turn Squeeze Turn (output - fractional shift) - whole shift )
    """
    # Resampling asks each output pixel where it comes from, so what is composed are the inverses, the last
    # operation first. Mirror and quarter turn (`coarse`) stay apart: whole shifts come before them.
    some = next(params[name] for name in GEOMETRY if name in params)
    zero = torch.zeros_like(some.reshape(len(some), -1)[:, 0])
    one = zero + 1
    size = torch.stack([zero + width, zero + height], dim=1)

    fine = rotation(params.get("rotate_post", zero))
    squeeze = params.get("aniso", one)
    fine = torch.stack([1 / squeeze, squeeze], dim=1).unsqueeze(2) * fine
    fine = product(rotation(params.get("rotate_pre", zero)), fine)
    fine = fine / params.get("scale", one).reshape(-1, 1, 1)

    coarse = rotation(params.get("rotate90", zero) * (math.pi / 2))
    mirror = torch.stack([1 - 2 * params.get("xflip", zero), one], dim=1)
    coarse = mirror.unsqueeze(2) * coarse

    shift = zero.unsqueeze(1) * size
    if "xfrac" in params:
        shift = shift - product(fine, (params["xfrac"] * size).unsqueeze(2)).squeeze(2)
    if "xint" in params:
        shift = shift - torch.round(params["xint"] * size)
    return product(coarse, fine), product(coarse, shift.unsqueeze(2)).squeeze(2)


def needed_margins(linear: Tensor, shift: Tensor, width: int, height: int, extra: int) -> Tensor:
    """Pixels that the batch sees beyond left, right, top and bottom, [4]; at most what reflection offers."""
    # filled, not copied from a list: a copy from the host would wait for the device
    edge = torch.stack([linear.new_full([], (size - 1) / 2) for size in (width, height)])
    # A linear map of a rectangle is widest at a corner, and |M| edge is the corner's place along each axis.
    reach = (linear.abs() * edge).sum(2)  # the farthest corner along x and y, [N, 2]
    beyond = torch.stack([reach - shift, reach + shift], dim=2).amax(0)  # [x y, low high]
    beyond = (beyond + (extra - edge).unsqueeze(1)).clamp(min=0)
    return torch.minimum(beyond, 2 * edge.unsqueeze(1)).ceil().reshape(4)


def reflect(images: Tensor, left: int, right: int, top: int, bottom: int) -> Tensor:
    """Mirrored at the outermost pixels' centres; by slices and joins, so with gradients of any order."""
    for axis, before, after in ((3, left, right), (2, top, bottom)):
        size = images.shape[axis]
        parts = [
            images.narrow(axis, 1, before).flip(axis),
            images,
            images.narrow(axis, size - 1 - after, after).flip(axis),
        ]
        images = torch.cat(parts, dim=axis)
    return images


def inside_margins(padded: Tensor, wanted: Tensor, width: int, height: int) -> Tensor:
    """1 where exact margins would reach, 0 beyond; `padded` has margins of the image's size - 1."""
    left, right, top, bottom = wanted.unbind()
    x = torch.arange(padded.shape[3], device=padded.device) - (width - 1)
    y = torch.arange(padded.shape[2], device=padded.device) - (height - 1)
    columns = (x >= -left) & (x < width + right)
    rows = (y >= -top) & (y < height + bottom)
    return (rows.unsqueeze(1) & columns).to(padded.dtype)  # [H, W]


# --- colours -------------------------------------------------------------------------------------------


def change_colours(images: Tensor, params: Mapping[str, Tensor]) -> Tensor:
    """Brightness, contrast, inverted luma, hue and saturation in one matrix per image.

    Along the grey axis v only brightness b, contrast c and inversion i count, across it only c, hue a and
    saturation s. So the whole chain is, with g = v v' x the grey part and d = x - g the rest,
        x -> c (1 - 2i) (g + b) + c s (d cos a + (v cross x) sin a).
    """
    n, channels = images.shape[:2]
    if channels not in (1, 3):
        raise ValueError(f"colour augmentation needs 1 or 3 channels, not {channels}; choose --augpipe=bg")
    value = {name: v.reshape(n, 1, 1) for name, v in params.items()}
    contrast = value.get("contrast", torch.ones([n, 1, 1], dtype=images.dtype, device=images.device))
    luma = contrast * (1 - 2 * value["lumaflip"]) if "lumaflip" in value else contrast
    offset = luma * value["brightness"] if "brightness" in value else torch.zeros_like(luma)
    if channels == 1:
        return images * luma.unsqueeze(3) + offset.unsqueeze(3)

    identity = torch.eye(3, dtype=images.dtype, device=images.device)
    grey = torch.full_like(identity, 1 / 3)  # projection on the grey axis
    across = (identity - grey).expand(n, 3, 3)
    if "hue" in value:
        cross = (identity.roll(-1, 1) - identity.roll(1, 1)) / math.sqrt(3)  # x -> v cross x
        across = torch.cos(value["hue"]) * across + torch.sin(value["hue"]) * cross
    chroma = contrast * value["saturation"] if "saturation" in value else contrast
    matrix = luma * grey + chroma * across  # [N, 3, 3]
    return (matrix @ images.flatten(2) + offset).reshape(images.shape)


# --- frequency bands -----------------------------------------------------------------------------------


def filter_bank(low_pass: Sequence[float]) -> np.ndarray:
    """[4, taps]: filters of the bands that three octaves make, lowest first; together the identity."""
    # A wavelet's high pass is its low pass with every other tap negated. Squared (taps convolved with their
    # mirror image) the two are symmetric and sum to one: no phase shift, and nothing of the image is lost.
    low = np.asarray(low_pass)
    high = low * np.where(np.arange(len(low)) % 2, -1, 1)
    narrow, detail = (np.convolve(taps, taps[::-1]) / 2 for taps in (low, high))  # zero phase
    bank = np.eye(4)[:, :1]
    for octave in range(1, len(bank)):
        # One octave further down: every band so far is stretched to half its frequency, by zeros between the
        # taps and the low pass that removes the copy above; the freed upper half becomes the next band.
        spread = np.zeros([len(bank), 2 * bank.shape[1] - 1])
        spread[:, ::2] = bank
        bank = np.stack([np.convolve(row, narrow) for row in spread])
        middle = (bank.shape[1] - len(detail)) // 2
        bank[octave, middle : middle + len(detail)] += detail
    return bank


def band_gains(factors: Tensor) -> Tensor:
    """Each band's factor, with the expected power of the image kept after each of them: [N, 4] -> [N, 4]."""
    power = torch.stack([torch.full_like(factors[:, 0], e) for e in BAND_POWER.tolist()], dim=1)
    return factors / (1 + power * (factors.square() - 1)).prod(dim=1, keepdim=True).sqrt()


def filter_rows_and_columns(images: Tensor, taps: Tensor) -> Tensor:
    """Each image filtered along x and y with its own symmetric taps [N, T], reflected beyond its edges.

    As two products with banded matrices: quick on every device, gradients of any order, and vmap.
    """
    reach = taps.shape[1] // 2
    height, width = images.shape[2:]
    if min(height, width) <= reach:
        raise ValueError(
            f"imgfilter needs images of at least {reach + 1} pixels, not {width}x{height}; "
            "choose --augpipe=bgc, or larger images"
        )
    padded = reflect(images, reach, reach, reach, reach)
    along_y = band_matrix(taps, height).transpose(1, 2).unsqueeze(1)  # [N, 1, H, H + T - 1]
    return along_y @ (padded @ band_matrix(taps, width).unsqueeze(1))


def band_matrix(taps: Tensor, size: int) -> Tensor:
    """[N, size + T - 1, size] with the taps down each column, beginning at the diagonal."""
    count = taps.shape[1]
    # Indexing instead of filling: one gather, which vmap and every order of gradient go through.
    fenced = torch.nn.functional.pad(taps, [1, 1])  # zeros for everything off the band
    row = torch.arange(size + count - 1, device=taps.device).unsqueeze(1)
    column = torch.arange(size, device=taps.device)
    return fenced[:, (row - column + 1).clamp(0, count + 1)]


# --- corruptions ---------------------------------------------------------------------------------------


def outside_of_square(images: Tensor, size: Tensor, center: Tensor) -> Tensor:
    """1 outside and 0 inside a square per image; size [N] and center [N, 2] as shares of the picture."""
    far = []
    for axis, length in enumerate((images.shape[3], images.shape[2])):
        place = (torch.arange(length, device=images.device) + 0.5) / length
        far.append((place - center[:, axis].unsqueeze(1)).abs() >= size.unsqueeze(1) / 2)
    columns, rows = far
    return (columns[:, None, None, :] | rows[:, None, :, None]).to(images.dtype)  # [N, 1, H, W]
