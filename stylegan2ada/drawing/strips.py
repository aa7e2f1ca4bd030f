"""Pictures of latent arithmetic: a sum beside what it is made of, and seeds moved from class to class."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from stylegan2ada import files
from stylegan2ada.drawing.arithmetic import Arithmetic
from stylegan2ada.drawing.renderer import Renderer
from stylegan2ada.errors import UserError
from stylegan2ada.images import captioned_tiles, save_png

_MOST_AMOUNTS = 101
_WHOLE = re.compile(r"(-?\d{1,6})\.\.(-?\d{1,6})", re.ASCII)


@dataclass(frozen=True)
class DrawnSum:
    """A sum, as written."""

    files: list[Path]  # the last one shows all
    parts: list[str]
    sum_of_weights: float


@dataclass(frozen=True)
class DrawnDirection:
    """Seeds moved along a direction, as written."""

    files: list[Path]  # the last one shows all
    seeds: list[int]
    amounts: list[float]
    length: float  # of the direction, in w


def write_expression(arithmetic: Arithmetic, text: str, folder: Path, noise_mode: str) -> DrawnSum:
    """expr.png, its w as expr.npz (for --projected-w), and strip.png: the parts, then the sum."""
    found = arithmetic.evaluate(text)
    ws = torch.stack([*found.parts.values(), found.result.w])
    images = _pixels(arithmetic, ws, noise_mode)
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / name for name in ("expr.png", "expr.npz", "strip.png")]
    save_png(images[-1], written[0])
    with files.atomic_write(written[1]) as file:
        np.savez(file, w=found.result.w[None].cpu().numpy())
    captions = [*found.parts, text if len(text) <= 24 else "sum"]
    captioned_tiles(list(images), captions, len(images)).save(written[2], format="PNG")
    return DrawnSum(written, list(found.parts), found.result.total)


def write_direction(
    arithmetic: Arithmetic,
    seeds: list[int],
    direction: str,  # A:B
    amount: str,
    folder: Path,
    noise_mode: str,
) -> DrawnDirection:
    """A strip per seed, and all of them in direction.png: from A (amount 0) to B (1), and beyond."""
    start, colon, end = direction.partition(":")
    if not (start and colon and end) or start == end:
        raise UserError(f"--direction={direction} must be two classes, like normal:abnormal or 0:1")
    amounts = read_amounts(amount)
    along = arithmetic.direction(start, end)
    base = arithmetic.of_seeds(seeds, arithmetic.label_of(int(start) if start.isdigit() else start))
    # [seeds, amounts, num_ws, w_dim]
    ws = base[:, None] + torch.tensor(amounts, device=base.device)[None, :, None, None] * along
    images = _pixels(arithmetic, ws.flatten(0, 1), noise_mode)
    folder.mkdir(parents=True, exist_ok=True)
    captions = [f"seed {seed}\n{a:+g}" for seed in seeds for a in amounts]
    written = []
    for i, seed in enumerate(seeds):
        row = slice(i * len(amounts), (i + 1) * len(amounts))
        written.append(folder / f"seed{seed:04d}-strip.png")
        captioned_tiles(list(images[row]), captions[row], len(amounts)).save(written[-1], format="PNG")
    written.append(folder / "direction.png")
    captioned_tiles(list(images), captions, len(amounts)).save(written[-1], format="PNG")
    length = float((along[0].square().sum()).sqrt())
    return DrawnDirection(written, seeds, amounts, length)


def read_amounts(text: str) -> list[float]:
    """`-2..2` -> -2, -1, 0, 1, 2; `-1,0,0.5` -> these."""
    if ends := _WHOLE.fullmatch(text):
        first, last = int(ends[1]), int(ends[2])
        numbers = [float(n) for n in range(first, min(last, first + _MOST_AMOUNTS) + 1)]
    else:
        try:
            numbers = [float(part) for part in text.split(",")]
        except ValueError:
            numbers = []
    if not 0 < len(numbers) <= _MOST_AMOUNTS or not np.isfinite(numbers).all():
        raise UserError(
            f"--amount={text} is no range of whole numbers like -2..2, nor a list like -1,0,0.5 "
            f"(up to {_MOST_AMOUNTS} numbers)"
        )
    return numbers


def _pixels(arithmetic: Arithmetic, ws: torch.Tensor, noise_mode: str) -> np.ndarray:
    """uint8 [N, H, W, C]."""
    if not bool(torch.isfinite(ws).all()):
        raise UserError("the latents became infinite; use smaller numbers")
    return np.stack(list(Renderer(arithmetic.G, noise_mode=noise_mode).of_w(ws)))
