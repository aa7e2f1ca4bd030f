"""StyleGAN2's generator and discriminator (Karras et al. 2020, arXiv:1912.04958) for ADA training.

Portable: this text also runs from a pickle inside an official checkout, so it needs torch and the seam below.
Images are [N, C, H, W]; generated ones lie nominally in [-1, 1].
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

if __name__.startswith("stylegan2ada."):  # imported as part of this project
    from stylegan2ada.networks import persistent_class
    from stylegan2ada.ops import bias_act, conv2d_resample, upfirdn2d
else:  # running from a pickle inside an official checkout
    from torch_utils.ops import bias_act, conv2d_resample, upfirdn2d
    from torch_utils.persistence import persistent_class

_EPS = 1e-8
_Options = dict[str, Any]  # keyword arguments of inner classes
_HALF_POWER = math.sqrt(0.5)  # two branches of equal variance are added with this gain each


# --- formulas ------------------------------------------------------------------------------------------


def normalize_2nd_moment(x: Tensor, dim: int = 1, eps: float = _EPS) -> Tensor:
    """x scaled to a mean square of one along `dim`."""
    return x * (x.square().mean(dim, keepdim=True) + eps).rsqrt()


def demodulation(weight: Tensor, styles: Tensor) -> Tensor:
    """1 / norm of every output channel's modulated kernel: [O, I, k, k], [N, I] -> [N, O].

    sum_ikl (w_oikl s_ni)^2 = sum_i s_ni^2 (sum_kl w_oikl^2): one small matrix product, no per-sample kernels.
    """
    energy = getattr(conv2d_resample, "kernel_energy", None)  # not in an official checkout
    power = weight.square().sum([2, 3]) if energy is None else energy(weight)  # [O, I]
    return torch.addmm(power.new_full([], _EPS), styles.square(), power.t()).rsqrt()


def modulated_conv2d(
    x: Tensor,  # [N, I, H, W]
    weight: Tensor,  # [O, I, k, k]
    styles: Tensor,  # [N, I]
    noise: Tensor | None = None,  # broadcasts to the output, added after demodulation
    up: int = 1,
    down: int = 1,
    padding: int = 0,
    resample_filter: Tensor | None = None,
    demodulate: bool = True,
    flip_weight: bool = True,  # True: correlation, as torch convolves; False: true convolution
    fused_modconv: bool = True,  # a hint: a single sample's style may go into the kernel; same result
) -> Tensor:
    """Convolution whose input channels are scaled per sample, output channels rescaled to unit gain."""
    y, scale = _modulated(
        x, weight, styles, up, down, padding, resample_filter, demodulate, flip_weight, fused_modconv
    )
    return _rescaled(y, scale, noise)


def _modulated(
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    up: int,
    down: int,
    padding: int,
    resample_filter: Tensor | None,
    demodulate: bool,
    flip_weight: bool,
    fused_modconv: bool,
) -> tuple[Tensor, Tensor | None]:
    """The same without noise, and what its channels are still to be multiplied by, float32 [N, O]."""
    n, channels_in = styles.shape
    channels_out, _, kernel_h, kernel_w = weight.shape
    assert x.shape[:2] == styles.shape, (x.shape, styles.shape)
    assert weight.shape[1] == channels_in, (weight.shape, styles.shape)

    if demodulate and x.dtype == torch.float16:
        # Demodulation cancels any scale, so bring kernels and styles to a size that cannot overflow.
        fan_in = channels_in * kernel_h * kernel_w
        weight = weight / (weight.abs().amax([1, 2, 3], keepdim=True) * math.sqrt(fan_in))
        styles = styles / styles.abs().amax(1, keepdim=True)
    scale = demodulation(weight, styles) if demodulate else None  # [N, O], float32

    is_pointwise = kernel_h == kernel_w == up == down == 1 and padding == 0
    if is_pointwise and not demodulate:
        # ToRGB: the few output channels make N small kernels far cheaper than a scaled copy of x.
        kernels = (weight.flatten(1) * styles[:, None]).to(x.dtype)  # [N, O, I]
        return torch.matmul(kernels, x.flatten(2)).unflatten(2, x.shape[2:]), None

    # Scaling the inputs by the style and the outputs by `scale` is the same convolution as one with a kernel
    # of its own per sample, but the batch stays one call, whose derivatives torch knows.
    if fused_modconv and n == 1:
        weight = weight * styles.reshape(1, -1, 1, 1)
        if scale is not None:
            weight, scale = weight * scale.reshape(-1, 1, 1, 1), None
    else:
        x = x * styles.to(x.dtype)[:, :, None, None]
    y = conv2d_resample.conv2d_resample(
        x, weight.to(x.dtype), f=resample_filter, up=up, down=down, padding=padding, flip_weight=flip_weight
    )
    return y, scale


def _rescaled(y: Tensor, scale: Tensor | None, noise: Tensor | None) -> Tensor:
    if noise is not None:
        noise = noise.to(y.dtype)
    if scale is None:
        return y if noise is None else y + noise
    scale = scale.to(y.dtype)[:, :, None, None]
    return y * scale if noise is None else torch.addcmul(noise, y, scale)


# --- precision -----------------------------------------------------------------------------------------


class _HasModules(Protocol):
    def modules(self) -> Iterator[nn.Module]: ...


def set_precision(network: _HasModules, precision: str | None, channels_last: bool | None = None) -> None:
    """Choose in which type the blocks compute: None (float16 where built so), "float32" or "bfloat16"; and
    whether those in half precision do it channels last (None: where built so).

    It belongs to the machine that runs the network, not to the network: constructor arguments do not change.
    With "bfloat16" every block from 8x8 on computes in it; the 4x4 ones, where statistics are made, never do.
    """
    if precision not in (None, "float32", "bfloat16"):
        raise ValueError(f"precision {precision!r} is not known; use None, 'float32' or 'bfloat16'")
    for module in network.modules():
        if isinstance(module, (SynthesisBlock, DiscriminatorBlock)):
            module.precision, module.layout = precision, channels_last


def _compute_dtype(block: SynthesisBlock | DiscriminatorBlock, force_fp32: bool) -> torch.dtype:
    if force_fp32 or block.precision == "float32":
        return torch.float32
    if block.precision == "bfloat16":
        return torch.bfloat16 if block.resolution >= 8 else torch.float32
    return torch.float16 if block.use_fp16 else torch.float32


def _enter(x: Tensor, dtype: torch.dtype, block: SynthesisBlock | DiscriminatorBlock) -> Tensor:
    """x in the type (and, for a half-precision block that asks so, the memory layout) of a block."""
    is_low = dtype != torch.float32
    is_last = block.channels_last if block.layout is None else block.layout
    return x.to(dtype, memory_format=torch.channels_last if is_last and is_low else torch.preserve_format)


class _Stage(NamedTuple):
    resolution: int
    channels: int
    is_half: bool


def _stages(img_resolution: int, channel_base: int, channel_max: int, num_fp16_res: int) -> list[_Stage]:
    """Width and precision of every resolution from 4 up."""
    levels = int(img_resolution).bit_length() - 1
    if img_resolution < 4 or img_resolution != 1 << levels:
        raise ValueError(f"img_resolution={img_resolution} is not a power of two from 4 on")
    # 4x4 always computes in float32: the statistics over a batch are made there.
    first_half = max(1 << (levels + 1 - min(num_fp16_res, levels)), 8)
    sides = [1 << level for level in range(2, levels + 1)]
    return [_Stage(side, min(channel_base // side, channel_max), side >= first_half) for side in sides]


def _new_kernel(channels_out: int, channels_in: int, kernel_size: int, channels_last: bool = False) -> Tensor:
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return torch.randn([channels_out, channels_in, kernel_size, kernel_size]).to(memory_format=layout)


# --- layers --------------------------------------------------------------------------------------------


@persistent_class
class FullyConnectedLayer(nn.Module):
    """[N, in] -> [N, out] with equalised learning rate: weights are stored near N(0, 1), scaled when used."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        activation: str = "linear",
        lr_multiplier: float = 1,  # of weight and bias
        bias_init: float = 0,  # as stored; used times lr_multiplier
    ) -> None:
        super().__init__()
        self.activation = activation
        self.weight_gain = lr_multiplier / math.sqrt(in_features)
        self.bias_gain = lr_multiplier
        self.weight = nn.Parameter(torch.randn([out_features, in_features]).div_(lr_multiplier))
        self.bias = nn.Parameter(torch.full([out_features], float(bias_init))) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.to(x.dtype) * self.weight_gain
        bias = None if self.bias is None else self.bias.to(x.dtype) * self.bias_gain
        if self.activation == "linear":
            return functional.linear(x, weight, bias)
        return bias_act.bias_act(functional.linear(x, weight), bias, act=self.activation)


@persistent_class
class Conv2dLayer(nn.Module):
    """Convolution with equalised learning rate, optional resampling by two, bias, activation, clamp."""

    weight: Tensor
    bias: Tensor | None
    resample_filter: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        bias: bool = True,
        activation: str = "linear",
        up: int = 1,
        down: int = 1,
        resample_filter: Sequence[float] | None = [1, 3, 3, 1],  # noqa: B006 - never changed; recorded
        conv_clamp: float | None = None,  # bound of the output before `gain`, None: unbounded
        channels_last: bool = False,
        trainable: bool = True,  # False (freeze-D): weight and bias are buffers of the same names
    ) -> None:
        super().__init__()
        self.activation, self.up, self.down, self.conv_clamp = activation, up, down, conv_clamp
        self.padding = kernel_size // 2
        self.weight_gain = 1 / math.sqrt(in_channels * kernel_size**2)
        self.act_gain = bias_act.activation_funcs[activation].def_gain
        self.register_buffer("resample_filter", upfirdn2d.setup_filter(resample_filter))
        stored = {
            "weight": _new_kernel(out_channels, in_channels, kernel_size, channels_last),
            "bias": torch.zeros([out_channels]) if bias else None,
        }
        for name, value in stored.items():
            if value is None:
                setattr(self, name, None)
            elif trainable:
                self.register_parameter(name, nn.Parameter(value))
            else:
                self.register_buffer(name, value)

    def forward(self, x: Tensor, gain: float = 1) -> Tensor:
        y = conv2d_resample.conv2d_resample(
            x,
            (self.weight * self.weight_gain).to(x.dtype),
            f=self.resample_filter,
            up=self.up,
            down=self.down,
            padding=self.padding,
            flip_weight=self.up == 1,  # upstream: kernels of upsampling layers are stored flipped
        )
        return _finish(self, y, gain)


def _finish(layer: Conv2dLayer | SynthesisLayer, y: Tensor, gain: float) -> Tensor:
    """Bias, activation, gain and clamp at the end of a convolution layer."""
    # The bound belongs to the unscaled output: a gain moves it along, so that it cuts the same values.
    bias = None if layer.bias is None else layer.bias.to(y.dtype)
    clamp = None if layer.conv_clamp is None else layer.conv_clamp * gain
    return bias_act.bias_act(y, bias, act=layer.activation, gain=layer.act_gain * gain, clamp=clamp)


@persistent_class
class SynthesisLayer(nn.Module):
    """Modulated convolution, noise, bias, activation."""

    resample_filter: Tensor
    noise_const: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        w_dim: int,
        resolution: int,  # of the output
        kernel_size: int = 3,
        up: int = 1,
        use_noise: bool = True,
        activation: str = "lrelu",
        resample_filter: Sequence[float] | None = [1, 3, 3, 1],  # noqa: B006
        conv_clamp: float | None = None,
        channels_last: bool = False,
    ) -> None:
        super().__init__()
        self.resolution, self.up, self.use_noise = resolution, up, use_noise
        self.activation, self.conv_clamp = activation, conv_clamp
        self.padding = kernel_size // 2
        self.act_gain = bias_act.activation_funcs[activation].def_gain
        self.weight = nn.Parameter(_new_kernel(out_channels, in_channels, kernel_size, channels_last))
        self.register_buffer("resample_filter", upfirdn2d.setup_filter(resample_filter))
        if use_noise:
            self.register_buffer("noise_const", torch.randn([resolution, resolution]))
            self.noise_strength = nn.Parameter(torch.zeros([]))
        self.bias = nn.Parameter(torch.zeros([out_channels]))
        self.affine = FullyConnectedLayer(w_dim, in_channels, bias_init=1)

    def _noise(self, mode: str, x: Tensor) -> Tensor | None:
        assert mode in ("random", "const", "none"), mode
        if mode == "none" or not self.use_noise:
            return None
        if mode == "const":
            return self.noise_const * self.noise_strength
        side = self.resolution
        return torch.randn([x.shape[0], 1, side, side], device=x.device) * self.noise_strength

    def forward(
        self, x: Tensor, w: Tensor, noise_mode: str = "random", fused_modconv: bool = True, gain: float = 1
    ) -> Tensor:
        styles, noise = self.affine(w), self._noise(noise_mode, x)
        y, scale = _modulated(
            x,
            self.weight,
            styles,
            up=self.up,
            down=1,
            padding=self.padding,
            resample_filter=self.resample_filter,
            demodulate=True,
            flip_weight=self.up == 1,  # upstream: as in Conv2dLayer
            fused_modconv=fused_modconv,
        )
        # One kernel for all that follows, where we have it; an official checkout has not.
        if hasattr(bias_act, "epilogue") and bias_act.has_epilogue(y):
            clamp = None if self.conv_clamp is None else self.conv_clamp * gain
            return bias_act.epilogue(
                y, scale, noise, self.bias, act=self.activation, gain=self.act_gain * gain, clamp=clamp
            )
        return _finish(self, _rescaled(y, scale, noise), gain)


@persistent_class
class ToRGBLayer(nn.Module):
    """Features to image channels: modulated, not demodulated, no noise, linear."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        w_dim: int,
        kernel_size: int = 1,
        conv_clamp: float | None = None,
        channels_last: bool = False,
    ) -> None:
        super().__init__()
        self.conv_clamp, self.padding = conv_clamp, kernel_size // 2
        self.weight_gain = 1 / math.sqrt(in_channels * kernel_size**2)
        self.weight = nn.Parameter(_new_kernel(out_channels, in_channels, kernel_size, channels_last))
        self.bias = nn.Parameter(torch.zeros([out_channels]))
        self.affine = FullyConnectedLayer(w_dim, in_channels, bias_init=1)

    def forward(self, x: Tensor, w: Tensor, fused_modconv: bool = True) -> Tensor:
        styles = self.affine(w) * self.weight_gain
        y = modulated_conv2d(
            x, self.weight, styles, padding=self.padding, demodulate=False, fused_modconv=fused_modconv
        )
        return bias_act.bias_act(y, self.bias.to(y.dtype), clamp=self.conv_clamp)


@persistent_class
class MinibatchStdLayer(nn.Module):
    """Appends maps that tell how much the samples of a group differ (ProGAN, arXiv:1710.10196 §3)."""

    def __init__(self, group_size: int | None, num_channels: int = 1) -> None:
        super().__init__()
        self.group_size, self.num_channels = group_size, num_channels

    def forward(self, x: Tensor) -> Tensor:
        n, _, height, width = x.shape
        members = n if self.group_size is None else min(self.group_size, n)
        if n % members:
            raise ValueError(f"a batch of {n} cannot be split into groups of {members} for minibatch-stddev")
        # upstream: groups are strided, group j holds samples j, j + n / members, ...
        grouped = x.reshape(members, n // members, self.num_channels, -1, height, width)
        deviation = grouped - grouped.mean(0)  # torch.var: second derivative 100 times less exact
        spread = (deviation.square().mean(0) + _EPS).sqrt()  # [n / members, F, C / F, H, W]
        maps = spread.mean([2, 3, 4]).repeat(members, 1)  # [N, F]
        return torch.cat([x, maps[:, :, None, None].expand(-1, -1, height, width)], dim=1)


# --- generator -----------------------------------------------------------------------------------------


@persistent_class
class MappingNetwork(nn.Module):
    """z and label to w, repeated for every style input; keeps the running mean of w for truncation."""

    w_avg: Tensor

    def __init__(
        self,
        z_dim: int,  # 0: no latent
        c_dim: int,  # 0: no labels
        w_dim: int,
        num_ws: int | None,  # rows of the result, None: no broadcast
        num_layers: int = 8,
        embed_features: int | None = None,  # of the label, None: w_dim
        layer_features: int | None = None,  # of the layers between, None: w_dim
        activation: str = "lrelu",
        lr_multiplier: float = 0.01,
        w_avg_beta: float | None = 0.995,  # decay of the running mean of w, None: do not track
    ) -> None:
        super().__init__()
        self.z_dim, self.c_dim, self.w_dim, self.num_ws = z_dim, c_dim, w_dim, num_ws
        self.num_layers, self.w_avg_beta = num_layers, w_avg_beta
        embedded = (w_dim if embed_features is None else embed_features) if c_dim > 0 else 0
        if c_dim > 0:
            self.embed = FullyConnectedLayer(c_dim, embedded)
        hidden = w_dim if layer_features is None else layer_features
        width = z_dim + embedded
        for index in range(num_layers):
            width_out = w_dim if index == num_layers - 1 else hidden
            layer = FullyConnectedLayer(width, width_out, activation=activation, lr_multiplier=lr_multiplier)
            self.add_module(f"fc{index}", layer)
            width = width_out
        if num_ws is not None and w_avg_beta is not None:
            self.register_buffer("w_avg", torch.zeros([w_dim]))

    def _inputs(self, z: Tensor | None, c: Tensor | None) -> Iterator[Tensor]:
        """Latent and embedded label, each normalised: otherwise the larger one would drown the other."""
        if self.z_dim > 0:
            assert z is not None and z.shape[1] == self.z_dim, (None if z is None else z.shape, self.z_dim)
            yield normalize_2nd_moment(z.to(torch.float32))
        if self.c_dim > 0:
            if c is None:
                raise ValueError(f"this network is conditional: give labels [N, {self.c_dim}]")
            assert c.shape[1] == self.c_dim, (c.shape, self.c_dim)
            yield normalize_2nd_moment(self.embed(c.to(torch.float32)))

    def forward(
        self,
        z: Tensor | None,
        c: Tensor | None,
        truncation_psi: float = 1,
        truncation_cutoff: int | None = None,
        skip_w_avg_update: bool = False,
    ) -> Tensor:
        x = torch.cat(list(self._inputs(z, c)), dim=1)
        for index in range(self.num_layers):
            x = getattr(self, f"fc{index}")(x)

        beta = None if self.num_ws is None else self.w_avg_beta
        if beta is not None and self.training and not skip_w_avg_update:
            with torch.no_grad():
                self.w_avg.lerp_(x.mean(0), 1 - beta)

        if self.num_ws is not None:
            x = x[:, None].expand(-1, self.num_ws, -1)  # [N, num_ws, w_dim]
        if truncation_psi == 1:
            return x
        assert self.num_ws is not None and beta is not None, "truncation needs the running mean of w"
        if truncation_cutoff is None:
            return torch.lerp(self.w_avg, x, truncation_psi)
        is_cut = torch.arange(self.num_ws, device=x.device)[:, None] < truncation_cutoff
        return torch.where(is_cut, torch.lerp(self.w_avg, x, truncation_psi), x)


@persistent_class
class SynthesisBlock(nn.Module):
    """All layers of one resolution; doubles that of its input, or starts from a constant."""

    precision: str | None = None  # see set_precision
    layout: bool | None = None  # likewise
    resample_filter: Tensor

    def __init__(
        self,
        in_channels: int,  # 0: the first block
        out_channels: int,
        w_dim: int,
        resolution: int,
        img_channels: int,
        is_last: bool,
        architecture: str = "skip",  # 'orig', 'skip' or 'resnet'
        resample_filter: Sequence[float] | None = [1, 3, 3, 1],  # noqa: B006
        conv_clamp: float | None = None,
        use_fp16: bool = False,
        fp16_channels_last: bool = False,
        **layer_kwargs: Any,  # of the synthesis layers
    ) -> None:
        assert architecture in ("orig", "skip", "resnet"), architecture
        super().__init__()
        self.in_channels, self.w_dim, self.resolution = in_channels, w_dim, resolution
        self.img_channels, self.is_last, self.architecture = img_channels, is_last, architecture
        self.use_fp16, self.channels_last = use_fp16, use_fp16 and fp16_channels_last
        common: _Options = {"conv_clamp": conv_clamp, "channels_last": self.channels_last}
        self.register_buffer("resample_filter", upfirdn2d.setup_filter(resample_filter))

        if in_channels == 0:
            self.const = nn.Parameter(torch.randn([out_channels, resolution, resolution]))
        else:
            doubling = {"up": 2, "resample_filter": resample_filter, **common}
            self.conv0 = SynthesisLayer(
                in_channels, out_channels, w_dim, resolution, **doubling, **layer_kwargs
            )
        self.conv1 = SynthesisLayer(out_channels, out_channels, w_dim, resolution, **common, **layer_kwargs)
        self.num_conv = 1 if in_channels == 0 else 2
        self.num_torgb = int(is_last or architecture == "skip")
        if self.num_torgb:
            self.torgb = ToRGBLayer(out_channels, img_channels, w_dim, **common)
        if in_channels != 0 and architecture == "resnet":
            self.skip = Conv2dLayer(
                in_channels,
                out_channels,
                kernel_size=1,
                bias=False,
                up=2,
                resample_filter=resample_filter,
                channels_last=self.channels_last,
            )

    def forward(
        self,
        x: Tensor | None,  # features of the block below; None: this is the first
        img: Tensor | None,  # image of the blocks below
        ws: Tensor,  # [N, layers of this block, w_dim]
        force_fp32: bool = False,
        fused_modconv: bool | None = None,
        **layer_kwargs: Any,
    ) -> tuple[Tensor, Tensor | None]:
        assert ws.shape[1:] == (self.num_conv + self.num_torgb, self.w_dim), (ws.shape, self.w_dim)
        dtype = _compute_dtype(self, force_fp32)
        n = ws.shape[0]
        if fused_modconv is None:
            fused_modconv = not self.training and (dtype == torch.float32 or n == 1)
        options = {"fused_modconv": fused_modconv, **layer_kwargs}
        rows = iter(ws.unbind(1))

        if self.in_channels == 0:
            start = self.const.expand(n, -1, -1, -1)
            x = self.conv1(_enter(start, dtype, self), next(rows), **options)
        else:
            assert x is not None
            x = _enter(x, dtype, self)
            if self.architecture == "resnet":
                straight = self.skip(x, gain=_HALF_POWER)
                bent = self.conv0(x, next(rows), **options)
                x = straight + self.conv1(bent, next(rows), gain=_HALF_POWER, **options)
            else:
                x = self.conv0(x, next(rows), **options)
                x = self.conv1(x, next(rows), **options)

        if img is not None:
            img = upfirdn2d.upsample2d(img, self.resample_filter)
        if self.num_torgb:
            # The image is summed over resolutions, so it stays in float32 whatever the block computes in.
            part = self.torgb(x, next(rows), fused_modconv=fused_modconv).to(torch.float32)
            img = part if img is None else img + part
        return x, img


@persistent_class
class SynthesisNetwork(nn.Module):
    """ws [N, num_ws, w_dim] -> image [N, C, R, R]."""

    def __init__(
        self,
        w_dim: int,
        img_resolution: int,
        img_channels: int,
        channel_base: int = 32768,  # channels(r) = min(base // r, max)
        channel_max: int = 512,
        num_fp16_res: int = 0,  # how many of the highest resolutions compute in float16
        **block_kwargs: Any,
    ) -> None:
        super().__init__()
        self.w_dim, self.img_resolution, self.img_channels = w_dim, img_resolution, img_channels
        self.block_resolutions: list[int] = []
        self.num_ws = 0
        width = 0
        for stage in _stages(img_resolution, channel_base, channel_max, num_fp16_res):
            is_last = stage.resolution == img_resolution
            block = SynthesisBlock(
                width,
                stage.channels,
                w_dim=w_dim,
                resolution=stage.resolution,
                img_channels=img_channels,
                is_last=is_last,
                use_fp16=stage.is_half,
                **block_kwargs,
            )
            self.add_module(f"b{stage.resolution}", block)
            self.block_resolutions.append(stage.resolution)
            self.num_ws += block.num_conv + (block.num_torgb if is_last else 0)
            width = stage.channels

    def forward(self, ws: Tensor, **block_kwargs: Any) -> Tensor:
        assert ws.shape[1:] == (self.num_ws, self.w_dim), (ws.shape, self.num_ws, self.w_dim)
        ws = ws.to(torch.float32)
        x: Tensor | None = None
        img: Tensor | None = None
        first = 0
        for resolution in self.block_resolutions:
            block = getattr(self, f"b{resolution}")
            # A block's ToRGB shares its row with the next block's first convolution.
            rows = ws[:, first : first + block.num_conv + block.num_torgb]
            x, img = block(x, img, rows, **block_kwargs)
            first += block.num_conv
        assert img is not None  # the last block always makes one
        return img


@persistent_class
class Generator(nn.Module):
    """z [N, z_dim], c [N, c_dim] -> image [N, C, R, R].

    >>> size = {"channel_base": 256, "channel_max": 16}
    >>> G = sg.Generator(64, 0, 64, img_resolution=16, img_channels=1, synthesis_kwargs=size)
    >>> ws = G.mapping(torch.randn(2, 64), None)
    >>> G.synthesis(ws).shape
    torch.Size([2, 1, 16, 16])
    """

    def __init__(
        self,
        z_dim: int,
        c_dim: int,
        w_dim: int,
        img_resolution: int,
        img_channels: int,
        mapping_kwargs: _Options = {},  # noqa: B006 - never changed; recorded signature
        synthesis_kwargs: _Options = {},  # noqa: B006
    ) -> None:
        super().__init__()
        self.z_dim, self.c_dim, self.w_dim = z_dim, c_dim, w_dim
        self.img_resolution, self.img_channels = img_resolution, img_channels
        self.synthesis = SynthesisNetwork(w_dim, img_resolution, img_channels, **synthesis_kwargs)
        self.num_ws = self.synthesis.num_ws
        self.mapping = MappingNetwork(z_dim, c_dim, w_dim, self.num_ws, **mapping_kwargs)

    def forward(
        self,
        z: Tensor | None,
        c: Tensor | None,
        truncation_psi: float = 1,
        truncation_cutoff: int | None = None,
        **synthesis_kwargs: Any,
    ) -> Tensor:
        return self.synthesis(self.mapping(z, c, truncation_psi, truncation_cutoff), **synthesis_kwargs)


# --- discriminator -------------------------------------------------------------------------------------


@persistent_class
class DiscriminatorBlock(nn.Module):
    """All layers of one resolution; halves it."""

    precision: str | None = None  # see set_precision
    layout: bool | None = None  # likewise
    resample_filter: Tensor
    fromrgb: Conv2dLayer  # only where the image comes in
    conv0: Conv2dLayer
    conv1: Conv2dLayer
    skip: Conv2dLayer  # only in 'resnet'

    def __init__(
        self,
        in_channels: int,  # 0: the first block
        tmp_channels: int,
        out_channels: int,
        resolution: int,
        img_channels: int,
        first_layer_idx: int,  # number of the block's first layer, for freeze-D
        architecture: str = "resnet",
        activation: str = "lrelu",
        resample_filter: Sequence[float] | None = [1, 3, 3, 1],  # noqa: B006
        conv_clamp: float | None = None,
        use_fp16: bool = False,
        fp16_channels_last: bool = False,
        freeze_layers: int = 0,  # layers with a smaller number do not learn
    ) -> None:
        assert architecture in ("orig", "skip", "resnet"), architecture
        assert in_channels in (0, tmp_channels), (in_channels, tmp_channels)
        super().__init__()
        self.in_channels, self.resolution, self.img_channels = in_channels, resolution, img_channels
        self.architecture = architecture
        self.use_fp16, self.channels_last = use_fp16, use_fp16 and fp16_channels_last
        self.register_buffer("resample_filter", upfirdn2d.setup_filter(resample_filter))
        self.num_layers = 0

        def add(name: str, width_in: int, width_out: int, kernel_size: int, **options: Any) -> None:
            is_trainable = first_layer_idx + self.num_layers >= freeze_layers
            options = {"channels_last": self.channels_last, "trainable": is_trainable, **options}
            self.add_module(name, Conv2dLayer(width_in, width_out, kernel_size, **options))
            self.num_layers += 1

        active: _Options = {"activation": activation, "conv_clamp": conv_clamp}
        halving: _Options = {"down": 2, "resample_filter": resample_filter}
        if in_channels == 0 or architecture == "skip":
            add("fromrgb", img_channels, tmp_channels, 1, **active)
        add("conv0", tmp_channels, tmp_channels, 3, **active)
        add("conv1", tmp_channels, out_channels, 3, **active, **halving)
        if architecture == "resnet":
            add("skip", tmp_channels, out_channels, 1, bias=False, **halving)

    def forward(
        self, x: Tensor | None, img: Tensor | None, force_fp32: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        dtype = _compute_dtype(self, force_fp32)
        if x is not None:
            x = _enter(x, dtype, self)
        if hasattr(self, "fromrgb"):
            assert img is not None
            img = _enter(img, dtype, self)
            seen = self.fromrgb(img)
            x = seen if x is None else x + seen
            # Only 'skip' shows the image again, at half size, to the next block.
            img = upfirdn2d.downsample2d(img, self.resample_filter) if self.architecture == "skip" else None
        if self.architecture == "resnet":
            straight = self.skip(x, gain=_HALF_POWER)
            return straight + self.conv1(self.conv0(x), gain=_HALF_POWER), img
        return self.conv1(self.conv0(x)), img


@persistent_class
class DiscriminatorEpilogue(nn.Module):
    """4x4 features to a logit, or to its inner product with the mapped label; always float32."""

    def __init__(
        self,
        in_channels: int,
        cmap_dim: int,  # 0: no labels
        resolution: int,
        img_channels: int,
        architecture: str = "resnet",
        mbstd_group_size: int | None = 4,  # None: the whole batch
        mbstd_num_channels: int = 1,  # 0: no minibatch-stddev
        activation: str = "lrelu",
        conv_clamp: float | None = None,
    ) -> None:
        assert architecture in ("orig", "skip", "resnet"), architecture
        super().__init__()
        self.in_channels, self.cmap_dim, self.resolution = in_channels, cmap_dim, resolution
        self.img_channels, self.architecture = img_channels, architecture
        if architecture == "skip":
            self.fromrgb = Conv2dLayer(img_channels, in_channels, 1, activation=activation)
        self.mbstd = (
            MinibatchStdLayer(mbstd_group_size, mbstd_num_channels) if mbstd_num_channels > 0 else None
        )
        self.conv = Conv2dLayer(
            in_channels + mbstd_num_channels, in_channels, 3, activation=activation, conv_clamp=conv_clamp
        )
        self.fc = FullyConnectedLayer(in_channels * resolution**2, in_channels, activation=activation)
        self.out = FullyConnectedLayer(in_channels, cmap_dim or 1)

    def forward(self, x: Tensor, img: Tensor | None, cmap: Tensor | None, force_fp32: bool = False) -> Tensor:
        x = x.to(torch.float32)
        if self.architecture == "skip":
            assert img is not None
            x = x + self.fromrgb(img.to(torch.float32))
        if self.mbstd is not None:
            x = self.mbstd(x)
        y = self.out(self.fc(self.conv(x).flatten(1)))
        if self.cmap_dim == 0:
            return y
        assert cmap is not None
        # Projection (Miyato & Koyama 2018, arXiv:1802.05637): how far the features point along the label.
        return (y * cmap).sum(1, keepdim=True) / math.sqrt(self.cmap_dim)


@persistent_class
class Discriminator(nn.Module):
    """Image [N, C, R, R], c [N, c_dim] -> logit [N, 1]; higher is more real.

    >>> D = sg.Discriminator(c_dim=0, img_resolution=16, img_channels=1, channel_base=256, channel_max=16)
    >>> D(torch.zeros(4, 1, 16, 16), None).shape
    torch.Size([4, 1])
    """

    def __init__(
        self,
        c_dim: int,
        img_resolution: int,
        img_channels: int,
        architecture: str = "resnet",
        channel_base: int = 32768,
        channel_max: int = 512,
        num_fp16_res: int = 0,
        conv_clamp: float | None = None,
        cmap_dim: int | None = None,  # of the mapped label, None: channels at 4x4
        block_kwargs: _Options = {},  # noqa: B006
        mapping_kwargs: _Options = {},  # noqa: B006
        epilogue_kwargs: _Options = {},  # noqa: B006
    ) -> None:
        super().__init__()
        self.c_dim, self.img_resolution, self.img_channels = c_dim, img_resolution, img_channels
        if img_resolution < 8:
            raise ValueError(
                f"img_resolution={img_resolution} is too small for a discriminator; 8 is the smallest"
            )
        last, *halved = _stages(img_resolution, channel_base, channel_max, num_fp16_res)
        narrower = {stage.resolution: stage for stage in (last, *halved)}
        if cmap_dim is None:
            cmap_dim = last.channels
        if c_dim == 0:
            cmap_dim = 0
        shared: _Options = {
            "img_channels": img_channels,
            "architecture": architecture,
            "conv_clamp": conv_clamp,
        }

        self.block_resolutions: list[int] = []
        num_layers = 0
        for stage in reversed(halved):
            block = DiscriminatorBlock(
                stage.channels if self.block_resolutions else 0,
                stage.channels,
                narrower[stage.resolution // 2].channels,
                resolution=stage.resolution,
                first_layer_idx=num_layers,
                use_fp16=stage.is_half,
                **shared,
                **block_kwargs,
            )
            self.add_module(f"b{stage.resolution}", block)
            self.block_resolutions.append(stage.resolution)
            num_layers += block.num_layers
        if c_dim > 0:
            self.mapping = MappingNetwork(0, c_dim, cmap_dim, num_ws=None, w_avg_beta=None, **mapping_kwargs)
        self.b4 = DiscriminatorEpilogue(last.channels, cmap_dim, resolution=4, **shared, **epilogue_kwargs)

    def forward(self, img: Tensor | None, c: Tensor | None, **block_kwargs: Any) -> Tensor:
        x: Tensor | None = None
        for resolution in self.block_resolutions:
            x, img = getattr(self, f"b{resolution}")(x, img, **block_kwargs)
        assert x is not None  # 8 is the smallest size, so there is a block
        cmap = self.mapping(None, c) if self.c_dim > 0 else None
        return self.b4(x, img, cmap)
