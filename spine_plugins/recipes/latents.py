"""A generator, an encoder into its W, and the search for the w that draws an image: of anogan and inpaint.

Both look for the image among those that a network can draw; they differ in which pixels and terms count.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, leaky_relu, softplus

from spine_plugins.recipes import skeleton
from stylegan2ada import files, synthesis
from stylegan2ada.checkpoints import load_network
from stylegan2ada.errors import UserError
from stylegan2ada.networks.stylegan2 import Discriminator, Generator, MinibatchStdLayer
from stylegan2ada.projection import w_statistics
from stylegan2ada.protocols import JsonObject

NORMAL = ("normal", "no finding")  # names of that class
NETWORK = "network"  # beside the model: the snapshot that it was made from
_WIDTH, _MOST = 64, 48  # of our own generator: z and w, channels
_CHANNEL_BASE = 768
_SEARCH_RATE = 0.05  # of Adam, in units of the deviation of w
_FARTHEST = 3.0  # deviations of w that an encoder can answer


class Encoder(nn.Module):
    """Image [N, C, R, R] -> w in deviations from the mean, [N, w_dim], within three of them."""

    def __init__(self, channels: int, side: int, w_dim: int, width: int = 16) -> None:
        super().__init__()
        layers = int(math.log2(side)) - 2
        widths = [channels, *(width * 2 ** min(i, 3) for i in range(layers))]
        self.downs = nn.ModuleList(
            nn.Conv2d(a, b, 4, stride=2, padding=1) for a, b in zip(widths, widths[1:])
        )
        self.norms = nn.ModuleList(nn.GroupNorm(4, b) for b in widths[1:])
        self.out = nn.Linear(4 * 4 * widths[-1], w_dim)

    def forward(self, img: Tensor) -> Tensor:
        x = img
        for down, norm in zip(self.downs, self.norms):
            x = leaky_relu(norm(down(x)), 0.2)
        # f-AnoGAN ends in tanh and so never leaves [-1, 1], where a third of all latents lie outside.
        return _FARTHEST * (self.out(x.flatten(1)) / _FARTHEST).tanh()


class Latents:
    """The networks at work: w [N, w_dim] to images, images to features and back."""

    def __init__(self, G: Generator, D: Discriminator, E: Encoder, c: Tensor | None) -> None:
        self.G, self.D, self.E, self.c = G, D, E, c
        self.mean, self.spread = torch.zeros(1, G.w_dim), 1.0

    def measure(self) -> None:
        """Mean and deviation of w for the class that is drawn."""
        with torch.no_grad():
            mean, spread = w_statistics(self.G, 2000, self.c, next(self.G.parameters()).device)
        self.mean, self.spread = mean[:, 0], max(spread / math.sqrt(self.G.w_dim), 1e-6)

    def draw(self, w: Tensor) -> Tensor:
        """w in deviations -> images in [-1, 1]; without the noise inputs, which belong to no image."""
        ws = (self.mean + self.spread * w)[:, None].expand(-1, self.G.num_ws, -1)
        return self.G.synthesis(ws, noise_mode="const", force_fp32=True)

    def sample(self, n: int) -> Tensor:
        """w of random latents of the class, in deviations."""
        z = torch.randn(n, self.G.z_dim, device=self.mean.device)
        c = None if self.c is None else self.c.expand(n, -1)
        return (self.G.mapping(z, c, skip_w_avg_update=True)[:, 0] - self.mean) / self.spread

    def features(self, img: Tensor) -> list[Tensor]:
        """What D makes of images at 16x16 and 8x8, before it compares them with their batch."""
        x: Tensor | None = None
        rest: Tensor | None = img
        found = []
        for resolution in self.D.block_resolutions:
            x, rest = getattr(self.D, f"b{resolution}")(x, rest, force_fp32=True)
            if resolution // 2 in (8, 16):
                found.append(x)
        return found

    def realness(self, img: Tensor) -> Tensor:
        """D's logits [N], each image judged alone."""
        return self.D(img, None if self.c is None else self.c.expand(len(img), -1), force_fp32=True)[:, 0]

    def freeze(self) -> Latents:
        """For use: nothing learns, and no image knows of its neighbours."""
        for network in (self.G, self.D, self.E):
            network.eval().requires_grad_(False)
        for layer in self.D.modules():
            if isinstance(layer, MinibatchStdLayer):
                layer.group_size = 1
        self.measure()
        return self


def search(
    latents: Latents,
    w: Tensor,  # [N, w_dim], where to start
    loss: Callable[[Tensor], Tensor],  # images -> one value each
    steps: int,
) -> Tensor:
    """The w after so many steps of Adam down `loss`, every image for itself (AnoGAN, section 2.2)."""
    w = w.detach().clone().requires_grad_(True)
    optimizer = torch.optim.Adam([w], lr=_SEARCH_RATE)
    for _ in range(steps):
        optimizer.zero_grad()
        # Far from all that the mapping makes, G draws what is no image.
        (loss(latents.draw(w)) + 1e-3 * w.square().mean(1)).sum().backward()
        optimizer.step()
    return w.detach()


def enlarged(maps: Sequence[Tensor], side: int) -> list[Tensor]:
    """[N, C, h, h] -> mean over channels at the image's size, [N, side, side]."""
    return [
        interpolate(m.mean(1, keepdim=True), (side, side), mode="bilinear", align_corners=False)[:, 0]
        for m in maps
    ]


def new_networks(channels: int, side: int) -> tuple[Generator, Discriminator]:
    """Small networks of the engine's kind, for those who bring no snapshot."""
    if side & (side - 1) or side < 16:
        raise UserError(f"images are {side} pixels wide; a network of ours needs a power of two from 16 on")
    width = {"channel_base": _CHANNEL_BASE, "channel_max": _MOST}
    G = Generator(
        z_dim=_WIDTH, c_dim=0, w_dim=_WIDTH, img_resolution=side, img_channels=channels,
        mapping_kwargs={"num_layers": 2}, synthesis_kwargs=width,
    )  # fmt: skip
    D = Discriminator(0, side, channels, channel_base=_CHANNEL_BASE, channel_max=_MOST)
    return G, D


def check_fits(model: skeleton.Model, img: Tensor) -> None:
    """UserError for images of another kind than those trained on."""
    channels, side = skeleton.number(model, "channels", 3), skeleton.number(model, "side", 4096)
    if tuple(img.shape[1:]) != (channels, side, side):
        raise UserError(
            f"{model.folder} was trained on {channels} x {side} x {side}, these images are "
            f"{' x '.join(map(str, img.shape[1:]))} (channels, height, width)"
        )


def load(model: skeleton.Model) -> Latents:
    """The networks of a trained model, frozen."""
    channels, side = skeleton.number(model, "channels", 3), skeleton.number(model, "side", 4096)
    if model.settings.get("network_sha256"):
        place = model.folder / f"{NETWORK}.pkl"
        place = place if place.is_file() else model.folder / f"{NETWORK}.safetensors"
        if not place.is_file() or files.sha256_file(place) != model.settings["network_sha256"]:
            raise UserError(f"{place} is not the snapshot that the card names; copy the folder again")
        G, D, c, _ = from_snapshot(str(place), model.settings.get("class"), channels, side)
    else:
        G, D = new_networks(channels, side)
        model.into("G", G)
        model.into("D", D)
        c = None
    E = Encoder(channels, side, G.w_dim)
    model.into("E", E)
    return Latents(G, D, E, c).freeze()


def from_snapshot(
    place: str, class_idx: object, channels: int, side: int
) -> tuple[Generator, Discriminator, Tensor | None, JsonObject]:
    """(averaged G, D, its class's label, facts for the card) of a snapshot that fits the images."""
    loaded = load_network(place, log=lambda _: None)
    G, D, card = loaded["G_ema"], loaded["D"], loaded["card"] or {}
    if G is None or D is None:
        raise UserError(f"{place} lacks a generator or a discriminator; give a snapshot of a training")
    synthesis.refuse_broken(G)
    if (G.img_channels, G.img_resolution) != (channels, side):
        raise UserError(
            f"{place} draws {G.img_resolution}x{G.img_resolution} in {G.img_channels} channels, the images "
            f"are {side}x{side} in {channels}; convert them as the network's were"
        )
    number = None
    if G.c_dim:
        choice = class_idx if isinstance(class_idx, int | str) else _normal_of(card)
        number = synthesis.class_number(choice, card)
    c = synthesis.labels(G, 1, class_idx=number) if G.c_dim else None
    return G, D, c, {"class": number, "network_sha256": str(card["sha256"])}


def _normal_of(card: JsonObject) -> int | str:
    """The class of images without a finding."""
    return normal_class(list(card.get("label_names") or ()))


def normal_class(names: Sequence[str]) -> int:
    """By its name, else the first."""
    return next((i for i, name in enumerate(names) if name.lower() in NORMAL), 0)


def prior(logits: Tensor) -> Tensor:
    """log(1 - D(x)): small where D believes (Yeh et al. 2017, arXiv:1607.07539, eq. 4)."""
    return -softplus(logits)
