"""How anogan and inpaint train: a GAN of our own, unless there is a snapshot, then an encoder into its W."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from spine_plugins.recipes import asked, skeleton
from spine_plugins.recipes.latents import NETWORK, Encoder, Latents, from_snapshot, new_networks
from spine_plugins.resumable import seeded, step_seed
from stylegan2ada import files
from stylegan2ada.errors import UserError
from stylegan2ada.losses.objectives import find_objective, r1_penalty

_GAN_BATCH, _ENCODER_BATCH = 16, 16
_R1_EVERY = 8


@dataclass(frozen=True, kw_only=True)
class Train(asked.TrainOnData):
    """What the trainings of both recipes are asked."""

    network: str | None
    class_idx: int | str | None
    gan_steps: int
    search: int


class Workshop:
    """The parts and steps of such a training."""

    def __init__(self, given: Train, images: Tensor, *, has_holes: bool) -> None:
        channels, side = images.shape[1], images.shape[2]
        if side != images.shape[3]:
            raise UserError(f"the images of {given.data} are not square; convert them with a square --resize")
        self.has_holes, self.before = has_holes, 0 if given.network else given.gan_steps
        self.images, self.is_ready = images, False
        if given.network:
            G, D, c, self.about = from_snapshot(given.network, given.class_idx, channels, side)
        else:
            with seeded(step_seed(given.seed, 1 << 30)):
                G, D = new_networks(channels, side)
            c, self.about = None, {"class": None, "network_sha256": None}
        with seeded(step_seed(given.seed, 1 << 31)):
            E = Encoder(channels, side, G.w_dim)
        self.G = G
        optimizers: dict[str, torch.optim.Optimizer] = {"E": torch.optim.Adam(E.parameters(), lr=1e-3)}
        networks: dict[str, nn.Module] = {"E": E}
        if self.before:
            networks |= {"G": G, "D": D}
            optimizers["G"] = torch.optim.Adam(G.parameters(), lr=2e-3, betas=(0.0, 0.99))
            optimizers["D"] = torch.optim.Adam(D.parameters(), lr=2e-3, betas=(0.0, 0.99))
        self.parts = skeleton.Parts(networks, optimizers, ("G", "E") if self.before else ("E",), keep=0.98)
        self.latents = Latents(self.parts.averages.get("G", G), D, E, c)  # type: ignore[arg-type]

    def step(self, number: int) -> None:
        """One of the GAN, or of the encoder once that is trained."""
        if number < self.before:
            self._gan_step(number)
            return
        if number == self.before and self.before:
            # From here on the network is its average, so that averaging on changes nothing.
            self.G.load_state_dict(self.latents.G.state_dict())
        if not self.is_ready:  # also the first step after a continuation
            self.latents.freeze()
            self.latents.E.train().requires_grad_(True)
            self.is_ready = True
        self._encoder_step()

    def to(self, device: torch.device) -> None:
        """Also what no optimiser knows."""
        L = self.latents
        self.images = self.images.to(device)
        for network in (L.G, L.D, L.E):
            network.to(device)
        L.c = None if L.c is None else L.c.to(device)

    def finished(self) -> Latents:
        """With the averaged encoder."""
        average = self.parts.averages["E"]
        assert isinstance(average, Encoder)
        return Latents(self.latents.G, self.latents.D, average, self.latents.c).freeze()

    def _gan_step(self, number: int) -> None:
        G, D = self.parts.networks["G"], self.parts.networks["D"]
        objective = find_objective("ns")
        z = torch.randn(_GAN_BATCH, self.G.z_dim, device=self.images.device)
        real = self._batch(_GAN_BATCH)
        with torch.no_grad():
            fake = G(z, None)
        loss = objective.d(D(real, None), D(fake, None)).mean()
        if number % _R1_EVERY == 0:
            real.requires_grad_(True)
            gamma = 0.0002 * real.shape[2] ** 2 / _GAN_BATCH  # the engine's rule
            loss = loss + _R1_EVERY * gamma / 2 * r1_penalty(D(real, None), real).mean()
        skeleton.descend(self.parts.optimizers["D"], loss)
        skeleton.descend(self.parts.optimizers["G"], objective.g(D(G(z, None), None)).mean())

    def _encoder_step(self) -> None:
        """f-AnoGAN's izi_f with k = 1 on real images; on drawn ones, whose w is known, that w, too."""
        L, half = self.latents, _ENCODER_BATCH // 2
        with torch.no_grad():
            w = L.sample(half)
            img = torch.cat([self._batch(half), L.draw(w)])
            truth = L.features(img)
        said = L.E(with_holes(img) if self.has_holes else img)
        drawn = L.draw(said)
        loss = (drawn - img).square().mean()
        loss = loss + torch.stack([(a - b).square().mean() for a, b in zip(truth, L.features(drawn))]).mean()
        skeleton.descend(self.parts.optimizers["E"], loss + 0.1 * (said[half:] - w).square().mean())

    def _batch(self, n: int) -> Tensor:
        return self.images[torch.randint(len(self.images), [n], device=self.images.device)]


def keep_snapshot(given: Train) -> None:
    """A copy beside the model, which is of no use without it."""
    if given.network:
        ending = ".safetensors" if given.network.endswith(".safetensors") else ".pkl"
        with files.open_path_or_url(given.network) as source:
            with files.atomic_write(Path(given.out) / (NETWORK + ending)) as file:
                file.write(source.read())


def with_holes(img: Tensor) -> Tensor:
    """Grey rectangles of a quarter to a half of the side, one per image."""
    n, _, side, _ = img.shape
    holes = random_holes(n, side).to(img.device)
    return torch.where(holes[:, None], torch.zeros_like(img), img)


def random_holes(n: int, side: int) -> Tensor:
    """bool [n, side, side], from the global generator."""
    size = torch.randint(side // 4, side // 2 + 1, [n, 2])
    corner = (torch.rand(n, 2) * (side - size + 1)).long()
    at = torch.arange(side)
    inside = (at[None, None] >= corner[..., None]) & (at[None, None] < (corner + size)[..., None])
    return inside[:, 0, :, None] & inside[:, 1, None, :]
