"""Perceptual path length (Karras et al. 2019): how far features move per small step in latent space."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import ArrayLike

from stylegan2ada import protocols
from stylegan2ada.images import to_255
from stylegan2ada.ops.recorded_images import drawn

_NOISE = re.compile(r".*noise_const$")
_DETECTOR_SIZE = 256  # larger images are box-averaged down to about this


def slerp(a: torch.Tensor, b: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """Point at fraction t of the great arc from a to b, on the unit sphere (Shoemake 1985)."""
    a, b = _unit(a), _unit(b)
    cosine = (a * b).sum(dim=-1, keepdim=True)
    angle = t * torch.acos(cosine)
    # b less its part along a points from a towards b at a right angle.
    return _unit(a * torch.cos(angle) + _unit(b - cosine * a) * torch.sin(angle))


def path_ends(
    mapping: Callable[..., torch.Tensor],
    z: torch.Tensor,  # [2N, z_dim]: all first ends, then all second ends
    c: torch.Tensor,  # [N, c_dim]
    t: torch.Tensor,  # [N], where on the path
    *,
    space: str,  # "z" | "w"
    epsilon: float,
) -> torch.Tensor:
    """ws at t and at t + epsilon of N paths: [2N, num_ws, w_dim]."""
    # Interpolation in z stays on the sphere where a Gaussian of many dimensions lives; w has no such shape.
    first, second = z.chunk(2)
    if space == "w":
        start, stop = mapping(z=z, c=torch.cat([c, c])).chunk(2)
        here = t[:, None, None]
        return torch.cat([start.lerp(stop, here), start.lerp(stop, here + epsilon)])
    here = t[:, None]
    both = torch.cat([slerp(first, second, here), slerp(first, second, here + epsilon)])
    return mapping(z=both, c=torch.cat([c, c]))


def detector_view(img: torch.Tensor, *, crop: bool, network_resolution: int) -> torch.Tensor:
    """Images in [-1, 1] as the detector wants them: face crop (legacy), box average, 3 channels, 0..255."""
    if crop:
        # The face in an aligned portrait: rows 3/8 to 7/8, columns 2/8 to 6/8.
        unit = img.shape[2] // 8
        img = img[:, :, 3 * unit : 7 * unit, 2 * unit : 6 * unit]
    factor = network_resolution // _DETECTOR_SIZE  # upstream: from the network's size, also after cropping
    if factor > 1:
        img = torch.nn.functional.avg_pool2d(img, factor)
    img = to_255(img)
    return img.expand(-1, 3, -1, -1) if img.shape[1] == 1 else img


def path_distances(
    G: protocols.Generator,
    z: torch.Tensor,
    c: torch.Tensor,
    t: torch.Tensor,
    features: Callable[[torch.Tensor], torch.Tensor],
    *,
    space: str,
    epsilon: float,
    crop: bool,
    G_kwargs: protocols.Options | None = None,
) -> torch.Tensor:
    """Squared feature distance over epsilon^2 of each of N paths, [N]; noise buffers are used as they are."""
    ws = path_ends(G.mapping, z, c, t, space=space, epsilon=epsilon)
    # In half precision a step of 1e-4 would drown in rounding.
    img = drawn(G.synthesis, ws, **{"noise_mode": "const", "force_fp32": True, **(G_kwargs or {})})
    start, stop = features(detector_view(img, crop=crop, network_resolution=G.img_resolution)).chunk(2)
    # Over epsilon squared, as the distance is quadratic (Karras et al. 2019, section 4.1).
    return (start - stop).square().sum(dim=1) / epsilon**2


def redraw_noise(G: protocols.Generator, generator: torch.Generator | None = None) -> None:
    """Fresh normal numbers in every noise_const buffer of the synthesis network, in module order."""
    for name, buffer in G.synthesis.named_buffers():
        if _NOISE.match(name):
            buffer.copy_(torch.randn(buffer.shape, generator=generator, device=buffer.device))


def trimmed_mean(distances: ArrayLike) -> float:
    """Mean of the distances between the 1st percentile (rounded down) and the 99th (rounded up)."""
    values = np.asarray(distances, dtype=np.float64)
    # Bounds are values that occur; interpolated ones would cut differently.
    low = np.percentile(values, 1, method="lower")
    high = np.percentile(values, 99, method="higher")
    return float(values[(values >= low) & (values <= high)].mean())


def _unit(x: torch.Tensor) -> torch.Tensor:
    return x / x.norm(dim=-1, keepdim=True)
