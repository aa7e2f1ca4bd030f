"""Seeds -> z -> w -> images: the one way in which commands, snapshots and metrics run a generator."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from stylegan2ada.errors import UserError
from stylegan2ada.images import to_uint8

NOISE_MODES = ("const", "random", "none")


def seed_latents(seeds: Sequence[int], z_dim: int) -> torch.Tensor:
    """One latent per seed, each from its own numpy generator: float64 [n, z_dim]."""
    # upstream: float64, the mapping network casts. A seed's image does not depend on its neighbours.
    rows = [np.random.RandomState(seed).randn(z_dim) for seed in seeds]
    return torch.from_numpy(np.stack(rows)) if rows else torch.zeros([0, z_dim], dtype=torch.float64)


def labels(
    G: Any, n: int, *, class_idx: int | None = None, vector: Sequence[float] | None = None
) -> torch.Tensor:
    """n equal labels, [n, c_dim]: one class, one vector, or empty for a network without labels."""
    if G.c_dim == 0:
        return torch.zeros([n, 0])
    if vector is not None:
        if len(vector) != G.c_dim:
            raise UserError(
                f"--label has {len(vector)} numbers, but this network takes {G.c_dim}; give one per class"
            )
        return torch.tensor(list(vector), dtype=torch.float32).expand(n, -1)
    if class_idx is None:
        raise UserError(
            f"this network is conditional; choose with --class=0..{G.c_dim - 1}, or give --label numbers"
        )
    if not 0 <= class_idx < G.c_dim:
        raise UserError(
            f"--class={class_idx} does not exist; this network knows the classes 0 to {G.c_dim - 1}"
        )
    one_hot = torch.zeros([n, G.c_dim])
    one_hot[:, class_idx] = 1
    return one_hot


def precision_options(device: torch.device | str) -> dict[str, Any]:
    """Half precision is for accelerators; elsewhere every layer computes in float32."""
    return {} if torch.device(device).type == "cuda" else {"force_fp32": True}


@torch.no_grad()
def images_from_z(
    G: Any,
    z: torch.Tensor,  # [n, z_dim]
    c: torch.Tensor,  # [n, c_dim]
    *,
    device: torch.device | str = "cpu",
    psi: float = 1,
    cutoff: int | None = None,
    noise_mode: str = "const",
    batch: int = 16,
    **synthesis_kwargs: Any,
) -> Iterator[torch.Tensor]:
    """Images in [-1, 1], float [b, C, H, W], in batches."""
    options = precision_options(device) | synthesis_kwargs
    for z_part, c_part in zip(z.split(batch), c.split(batch)):
        ws = G.mapping(z_part.to(device), c_part.to(device), truncation_psi=psi, truncation_cutoff=cutoff)
        yield G.synthesis(ws, noise_mode=noise_mode, **options)


@torch.no_grad()
def images_from_w(
    G: Any,
    ws: torch.Tensor,  # [n, num_ws, w_dim]
    *,
    device: torch.device | str = "cpu",
    noise_mode: str = "const",
    batch: int = 16,
    **synthesis_kwargs: Any,
) -> Iterator[torch.Tensor]:
    """Images in [-1, 1], float [b, C, H, W], in batches."""
    options = precision_options(device) | synthesis_kwargs
    for part in ws.split(batch):
        yield G.synthesis(part.to(device), noise_mode=noise_mode, **options)


def pixels(img: torch.Tensor) -> np.ndarray:
    """float [b, C, H, W] in [-1, 1] -> uint8 [b, H, W, C]."""
    return to_uint8(img).permute(0, 2, 3, 1).cpu().numpy()


@torch.no_grad()
def mixed_styles(
    G: Any,
    rows: Sequence[int],
    columns: Sequence[int],
    styles: Sequence[int],
    c: torch.Tensor,  # [1, c_dim]
    *,
    device: torch.device | str = "cpu",
    psi: float = 1,
    noise_mode: str = "const",
    batch: int = 16,
) -> dict[tuple[int, int], np.ndarray]:
    """{(row seed, column seed): uint8 [H, W, C]}; equal seeds are the plain images, the rest mix.

    A mixed image is the row's, with the column's w in the layers listed in `styles`.
    """
    if any(not 0 <= layer < G.num_ws for layer in styles):
        raise UserError(
            f"--styles names layers up to {max(styles)}, but this network has 0 to {G.num_ws - 1}"
        )
    seeds = list(dict.fromkeys([*rows, *columns]))
    z = seed_latents(seeds, G.z_dim).to(device)
    all_ws = G.mapping(z, c.to(device).expand(len(seeds), -1))
    all_ws = G.mapping.w_avg + (all_ws - G.mapping.w_avg) * psi
    w_of = dict(zip(seeds, all_ws))

    pairs = [(seed, seed) for seed in seeds]
    pairs += [(row, column) for row in rows for column in columns if row != column]
    is_taken_from_column = torch.zeros(G.num_ws, 1, dtype=torch.bool, device=device)
    is_taken_from_column[list(styles)] = True
    ws = torch.stack([torch.where(is_taken_from_column, w_of[column], w_of[row]) for row, column in pairs])
    batches = images_from_w(G, ws, device=device, noise_mode=noise_mode, batch=batch)
    return dict(zip(pairs, np.concatenate([pixels(img) for img in batches])))
