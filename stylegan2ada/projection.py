"""Find the latent whose image looks like a given one (Karras et al. 2020, section 5 and appendix D)."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional

from stylegan2ada.images import to_255
from stylegan2ada.protocols import Generator
from stylegan2ada.synthesis import precision_options

# float [N, 3, H, W] in 0..255 -> [N, d]; squared distance counts
Features = Callable[[torch.Tensor], torch.Tensor]
_W_STATISTICS_SEED = 123
_LARGEST_INPUT = 256  # feature networks see images reduced to this
_COARSEST_NOISE = 8


class ProjectionDraws:
    """The random numbers of a projection, in the order in which they are asked for; tests bring their own."""

    def noise_buffer(self, name: str, buffer: torch.Tensor) -> torch.Tensor:
        return torch.randn_like(buffer)

    def w_noise(self, step: int, w: torch.Tensor) -> torch.Tensor:
        return torch.randn_like(w)


def noise_scale(
    step: int,
    num_steps: int,
    w_std: float,
    initial_noise_factor: float = 0.05,
    noise_ramp_length: float = 0.75,
) -> float:
    """Deviation of the noise added to w: falls with a square to nothing within the ramp."""
    left = max(0.0, 1.0 - step / num_steps / noise_ramp_length)
    return w_std * initial_noise_factor * left**2


def lr(
    step: int,
    num_steps: int,
    initial_learning_rate: float = 0.1,
    lr_rampdown_length: float = 0.25,
    lr_rampup_length: float = 0.05,
) -> float:
    """Learning rate: a straight rise, a plateau, half a cosine down to nothing."""
    t = step / num_steps
    falling = 0.5 - 0.5 * math.cos(math.pi * min(1.0, (1.0 - t) / lr_rampdown_length))
    return initial_learning_rate * falling * min(1.0, t / lr_rampup_length)


@torch.no_grad()
def w_statistics(
    G: Generator, samples: int, c: torch.Tensor | None, device: torch.device | str
) -> tuple[torch.Tensor, float]:
    """Mean w [1, 1, w_dim] of random latents, and the root of their mean squared distance from it."""
    # upstream: a seed of its own, so that a network has the same mean in every projection.
    latents = np.random.RandomState(_W_STATISTICS_SEED).randn(samples, G.z_dim)
    z = torch.from_numpy(latents).to(device, torch.float32)
    # w is the same for every layer; one copy will do.
    w = G.mapping(z, None if c is None else c.to(device).expand(samples, -1))[:, :1]
    mean = w.mean(dim=0, keepdim=True)
    return mean, math.sqrt((w - mean).square().sum().item() / samples)


def noise_roughness(buffer: torch.Tensor) -> torch.Tensor:
    """How much a noise image [H, W] correlates with itself shifted by one pixel, at every scale down to 8."""
    scale = buffer[None, None]
    total = buffer.new_zeros(())
    while True:
        for axis in (3, 2):
            total = total + (scale * scale.roll(1, dims=axis)).mean().square()
        if scale.shape[2] <= _COARSEST_NOISE:
            return total
        # Noise stays without correlation when it is averaged down; a picture hidden in it does not.
        scale = functional.avg_pool2d(scale, 2)


def detector_input(img: torch.Tensor) -> torch.Tensor:
    """float [N, C, H, W] in 0..255, at most 256 pixels wide, 3 channels."""
    if img.shape[2] > _LARGEST_INPUT:
        img = functional.interpolate(img, size=(_LARGEST_INPUT, _LARGEST_INPUT), mode="area")
    return img.expand(-1, 3, -1, -1) if img.shape[1] == 1 else img


def project(
    G: Generator,
    target: torch.Tensor,  # [C, H, W], 0..255, the network's size and channels
    *,
    features: Features,  # what "looks like" means
    num_steps: int = 1000,
    w_avg_samples: int = 10000,
    initial_learning_rate: float = 0.1,
    initial_noise_factor: float = 0.05,
    lr_rampdown_length: float = 0.25,
    lr_rampup_length: float = 0.05,
    noise_ramp_length: float = 0.75,
    regularize_noise_weight: float = 1e5,
    c: torch.Tensor | None = None,  # [1, c_dim] of a conditional network
    start_w: torch.Tensor | None = None,  # [w_dim]; None starts from the mean of w
    draws: ProjectionDraws | None = None,
    on_step: Callable[[int, float, float], None] | None = None,  # step, distance, loss
    device: torch.device | str = "cpu",
) -> torch.Tensor:
    """The w of every step, [num_steps, num_ws, w_dim]; the network itself is left as it was.

    >>> import torch
    >>> from stylegan2ada import projection
    >>> from stylegan2ada.metrics.detectors import tiny_network
    >>> from stylegan2ada.networks.stylegan2 import Generator
    >>> G = Generator(z_dim=8, c_dim=0, w_dim=8, img_resolution=16, img_channels=1,
    ...               synthesis_kwargs={"channel_base": 64})
    >>> judge = tiny_network()  # a stand-in; likeness as people see it needs the vgg16 detector
    >>> path = projection.project(
    ...     G, torch.full([1, 16, 16], 127), num_steps=3, w_avg_samples=100,
    ...     features=lambda img: judge(img, resize_images=False, return_lpips=True))
    >>> path.shape == (3, G.num_ws, 8)
    True
    """
    assert tuple(target.shape) == (G.img_channels, G.img_resolution, G.img_resolution), target.shape
    draws = draws or ProjectionDraws()
    G = copy.deepcopy(G).eval().requires_grad_(False).to(device)  # its noise buffers become variables
    options = {"noise_mode": "const", **precision_options(device)}

    w_avg, w_std = w_statistics(G, w_avg_samples, c, device)
    target_features = features(detector_input(target.to(device, torch.float32)[None]))

    w = w_avg.clone() if start_w is None else start_w.to(device, torch.float32).reshape(1, 1, -1).clone()
    w.requires_grad_(True)
    noises = _noise_variables(G, draws)
    optimizer = torch.optim.Adam([w, *noises], betas=(0.9, 0.999))

    path = torch.zeros([num_steps, 1, G.w_dim], device=device)
    for step in range(num_steps):
        rate = lr(step, num_steps, initial_learning_rate, lr_rampdown_length, lr_rampup_length)
        optimizer.param_groups[0]["lr"] = rate
        spread = noise_scale(step, num_steps, w_std, initial_noise_factor, noise_ramp_length)

        # One w for all layers: one per layer could draw what the network would never make.
        ws = (w + draws.w_noise(step, w.detach()) * spread).expand(-1, G.num_ws, -1)
        img = to_255(G.synthesis(ws, **options))
        distance = (target_features - features(detector_input(img))).square().sum()
        # Without this term the noise inputs would draw the picture, and w would mean nothing.
        roughness = torch.stack([noise_roughness(buffer) for buffer in noises]).sum()
        loss = distance + regularize_noise_weight * roughness

        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        path[step] = w.detach()[0]
        _renormalise(noises)
        if on_step is not None:
            on_step(step, distance.item(), loss.item())
    return path.expand(-1, G.num_ws, -1)


def _noise_variables(G: Generator, draws: ProjectionDraws) -> list[torch.Tensor]:
    """The noise inputs of G, drawn afresh, as variables of the optimisation."""
    named = [(name, b) for name, b in G.synthesis.named_buffers() if name.endswith("noise_const")]
    for name, buffer in named:
        buffer.copy_(draws.noise_buffer(name, buffer))
    return [buffer.requires_grad_(True) for _, buffer in named]


@torch.no_grad()
def _renormalise(noises: list[torch.Tensor]) -> None:
    """Keep the noise inputs noise: mean 0, power 1."""
    for buffer in noises:
        buffer -= buffer.mean()
        buffer *= buffer.square().mean().rsqrt()
