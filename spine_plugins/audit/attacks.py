"""What the network itself gives away: its discriminator's opinion, and how well images are found in it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from spine_plugins.audit.evidence import Reals
from stylegan2ada import synthesis
from stylegan2ada.checkpoints import load_network
from stylegan2ada.errors import UserError
from stylegan2ada.images import to_255, to_float
from stylegan2ada.processes import pick_device
from stylegan2ada.progress import Progress
from stylegan2ada.protocols import Discriminator, Generator

_BATCH = 32
SEARCHED = 64  # images of each side that are searched for; a search takes seconds
_STEPS = 60
_STARTS = 64
_RATE = 0.05
_SIDE = 32  # images are compared at this size

Scores = dict[str, np.ndarray]


def of_network(path: str, reals: Reals, device: str, seed: int) -> Scores:
    """Per real image how much the network seems to know it, float64 [n]; NaN where it was not asked."""
    networks = load_network(path, log=lambda text: None)
    there = pick_device(device)
    found: Scores = {}
    G = synthesis.averaged_generator(networks, there)
    channels, side = reals.pixels.shape[1], reals.pixels.shape[2]
    if (G.img_channels, G.img_resolution) != (channels, side):
        raise UserError(
            f"--network draws {G.img_resolution}x{G.img_resolution} with {G.img_channels} channel(s), but "
            f"the real images are {side}x{side} with {channels}; give the network of these images"
        )
    D = networks["D"]
    if D is not None:
        found["discriminator"] = _opinions(D.to(there).eval(), reals)
    found["latent search"] = _searched(G, reals, seed)
    return found


def _labels(reals: Reals, rows: np.ndarray, c_dim: int, device: torch.device) -> Tensor:
    """[n, c_dim] of these images; zeros where the network has classes and the images have none."""
    if not c_dim or reals.labels is None:
        return torch.zeros(len(rows), c_dim, device=device)
    labels = reals.labels[rows]
    vectors = np.eye(c_dim, dtype=np.float32)[labels] if labels.ndim == 1 else labels
    return torch.from_numpy(vectors).to(device)


@torch.no_grad()
def _opinions(D: Discriminator, reals: Reals) -> np.ndarray:
    device = next(D.parameters()).device
    logits = []
    for i in range(len(reals.pixels)):
        # One by one: the spread within a minibatch must not mix what is said of different people.
        img = to_float(torch.from_numpy(reals.pixels[i : i + 1]).to(device))
        logits.append(float(D(img, _labels(reals, np.array([i]), D.c_dim, device))))
    return np.array(logits)


def _searched(G: Generator, reals: Reals, seed: int) -> np.ndarray:
    """Minus the distance at which an image is found, for some of each side; the others say nothing."""
    rng = np.random.default_rng(seed)
    n = len(reals.pixels)
    sides = (np.arange(reals.n_train), np.arange(reals.n_train, n))
    rows = np.sort(np.concatenate([rng.permutation(side)[:SEARCHED] for side in sides]))
    found = np.full(n, np.nan)
    bar = Progress(len(rows), "latent search")
    for start in range(0, len(rows), _BATCH):
        part = rows[start : start + _BATCH]
        found[part] = -_distances(G, reals, part, seed)
        bar.step(len(part))
    bar.close()
    return found


def _distances(G: Generator, reals: Reals, rows: np.ndarray, seed: int) -> np.ndarray:
    """Root mean square, in grey levels, between images and the nearest that the network can draw."""
    device = next(G.parameters()).device
    wanted = _small(to_float(torch.from_numpy(reals.pixels[rows]).to(device)))
    c = _labels(reals, rows, G.c_dim, device)
    options = synthesis.precision_options(device) | {"noise_mode": "const"}
    with torch.no_grad():
        start = [_start(G, wanted[k], c[k : k + 1], seed) for k in range(len(rows))]
    w = torch.stack(start).detach().requires_grad_(True)
    optimiser = torch.optim.Adam([w], lr=_RATE)
    best = torch.full([len(rows)], float("inf"), device=device)
    for _ in range(_STEPS):
        loss = (_small(G.synthesis(w, **options)) - wanted).square().flatten(1).mean(dim=1)
        best = torch.minimum(best, loss.detach())
        optimiser.zero_grad()
        loss.sum().backward()
        optimiser.step()
    levels = to_255(best.sqrt().double()) - to_255(torch.zeros_like(best, dtype=torch.float64))
    return levels.cpu().numpy()


def _start(G: Generator, wanted: Tensor, c: Tensor, seed: int) -> Tensor:
    """The ws [num_ws, w_dim] whose image is nearest among some draws: nearer than their mean."""
    z = synthesis.seed_latents(range(seed, seed + _STARTS), G.z_dim).to(wanted.device)
    ws = G.mapping(z, c.expand(_STARTS, -1))
    options = synthesis.precision_options(wanted.device) | {"noise_mode": "const"}
    drawn = torch.cat([_small(G.synthesis(part, **options)) for part in ws.split(_BATCH)])
    return ws[(drawn - wanted).square().flatten(1).mean(dim=1).argmin()]


def _small(img: Tensor) -> Tensor:
    return functional.interpolate(img, (_SIDE, _SIDE), mode="area") if img.shape[2] > _SIDE else img
