"""Networks of the recipes that work on images: the blog's DCGAN, a U-Net, a patch critic."""

from __future__ import annotations

import torch
from torch import Tensor, nn

DCGAN_LATENTS = 128
DCGAN_SIDE = 64


class DcganGenerator(nn.Module):
    """z [N, 128], c [N, c_dim] -> images [N, C, 64, 64] in [-1, 1]; 3,979,651 parameters for RGB.

    A dense layer to 8x8, three 4x4 transposed convolutions of stride 2, a 5x5 convolution; no batch norm.
    """

    def __init__(self, channels: int, c_dim: int, width: float = 1) -> None:
        super().__init__()
        widths = [round(n * width) for n in (128, 128, 256, 512)]
        self.dense = nn.Linear(DCGAN_LATENTS + c_dim, 8 * 8 * widths[0])
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(a, b, 4, stride=2, padding=1) for a, b in zip(widths, widths[1:])
        )
        self.out = nn.Conv2d(widths[-1], channels, 5, padding=2)

    def forward(self, z: Tensor, c: Tensor) -> Tensor:
        x = self.dense(torch.cat([z, c], 1)).unflatten(1, (-1, 8, 8))
        for up in self.ups:
            x = nn.functional.leaky_relu(up(x), 0.2)
        return self.out(x).tanh()


class DcganDiscriminator(nn.Module):
    """Images [N, C, 64, 64], c [N, c_dim] -> logit [N, 1]; 404,801 parameters for RGB without classes.

    Classes come in as further, constant channels.
    """

    def __init__(self, channels: int, c_dim: int, width: float = 1) -> None:
        super().__init__()
        widths = [channels + c_dim, *(round(n * width) for n in (64, 128, 128))]
        self.downs = nn.ModuleList(
            nn.Conv2d(a, b, 4, stride=2, padding=1) for a, b in zip(widths, widths[1:])
        )
        self.dropout = nn.Dropout(0.2)
        self.out = nn.Linear(8 * 8 * widths[-1], 1)

    def forward(self, img: Tensor, c: Tensor) -> Tensor:
        x = with_planes(img, c)
        for down in self.downs:
            x = nn.functional.leaky_relu(down(x), 0.2)
        return self.out(self.dropout(x.flatten(1)))


class UNet(nn.Module):
    """[N, in, H, W] -> [N, out, H, W], as the caller reads it; sides must be divisible by 2^levels."""

    def __init__(self, width_in: int, width_out: int, width: int = 12, levels: int = 4) -> None:
        super().__init__()
        widths = [width * min(2**i, 8) for i in range(levels + 1)]
        self.first = _double(width_in, widths[0])
        self.downs = nn.ModuleList(_double(a, b, stride=2) for a, b in zip(widths, widths[1:]))
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(b, a, 2, stride=2) for a, b in reversed(list(zip(widths, widths[1:])))
        )
        self.joins = nn.ModuleList(_double(2 * a, a) for a in reversed(widths[:-1]))
        self.out = nn.Conv2d(widths[0], width_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        kept = [self.first(x)]
        for down in self.downs:
            kept.append(down(kept[-1]))
        x = kept.pop()
        for up, join in zip(self.ups, self.joins):
            x = join(torch.cat([up(x), kept.pop()], 1))
        return self.out(x)


class PatchCritic(nn.Module):
    """[N, C, H, W] -> a logit per patch [N, 1, H/4, W/4]; `features` gives every layer, the input first."""

    def __init__(self, width_in: int, width: int = 24, layers: int = 2) -> None:
        super().__init__()
        widths = [width_in, *(width * 2**i for i in range(layers))]
        self.downs = nn.ModuleList(
            nn.Conv2d(a, b, 4, stride=2, padding=1) for a, b in zip(widths, widths[1:])
        )
        self.last = nn.Conv2d(widths[-1], widths[-1], 3, padding=1)
        self.out = nn.Conv2d(widths[-1], 1, 3, padding=1)

    def features(self, x: Tensor) -> list[Tensor]:
        """The input and what each convolution makes of it."""
        found = [x]
        for down in self.downs:
            found.append(nn.functional.leaky_relu(down(found[-1]), 0.2))
        return found

    def forward(self, x: Tensor) -> Tensor:
        return self.out(nn.functional.leaky_relu(self.last(self.features(x)[-1]), 0.2))


def with_planes(img: Tensor, c: Tensor) -> Tensor:
    """The image with a constant channel per entry of its label."""
    return torch.cat([img, c[:, :, None, None].expand(-1, -1, *img.shape[2:])], 1) if c.shape[1] else img


def _double(width_in: int, width_out: int, stride: int = 1) -> nn.Sequential:
    # Group norm: batches are small, and an image's answer must not depend on its neighbours.
    groups = 4 if width_out % 4 == 0 else 1
    return nn.Sequential(
        nn.Conv2d(width_in, width_out, 3, stride=stride, padding=1), nn.GroupNorm(groups, width_out),
        nn.LeakyReLU(0.2),
        nn.Conv2d(width_out, width_out, 3, padding=1), nn.GroupNorm(groups, width_out), nn.LeakyReLU(0.2),
    )  # fmt: skip
