"""Signs that a run goes wrong: numbers that explode, augmentations that leak, fakes that all look alike."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch

from stylegan2ada.errors import UserError
from stylegan2ada.training.limits import ABSURD_SCORE, COLLAPSE_SHARE, LEAK_P


class Diverged(UserError):
    """The run cannot recover by itself."""

    exit_code = 1


def check_numbers(
    statistics: Mapping[str, Mapping[str, float]], modules: Mapping[str, torch.nn.Module]
) -> None:
    """Diverged, with the reason, if a loss or a weight is not finite or a score is absurd."""
    for name, value in statistics.items():
        # The mean of nothing is NaN, which is no fault.
        if not name.startswith("Loss/") or not value["num"]:
            continue
        if not math.isfinite(value["mean"]):
            raise Diverged(f"{name} is {value['mean']}")
        if name.startswith("Loss/scores/") and abs(value["mean"]) > ABSURD_SCORE:
            raise Diverged(f"{name} is {value['mean']:.3g}")
    for name, module in modules.items():
        bad = first_non_finite(module)
        if bad:
            raise Diverged(f"{name}.{bad} contains values that are not finite")


def first_non_finite(module: torch.nn.Module) -> str | None:
    """Name of a tensor with NaN or infinity, or None; one synchronisation for the whole module."""
    named = [
        (n, t) for n, t in [*module.named_parameters(), *module.named_buffers()] if t.is_floating_point()
    ]
    if not named:
        return None
    # A sum is NaN or infinite if any part is: far cheaper than a mask per element.
    sums = torch.stack([tensor.detach().float().sum() for _, tensor in named])
    if bool(torch.isfinite(sums).all()):
        return None
    # Finite parts can add up to infinity: look exactly before blaming one.
    exact = [name for name, tensor in named if not bool(torch.isfinite(tensor).all())]
    return exact[0] if exact else None


def leak_warning(p: float, was: float) -> str | None:
    """A sentence when p has just risen above LEAK_P."""
    if not p > LEAK_P or was > LEAK_P:
        return None
    return (
        f"augmentation strength p = {p:.3f} is above {LEAK_P}: its flips, turns and colours can leak "
        "into the fakes, because D hardly ever sees an unchanged image. Look at the fakes; more data, "
        f"--ada-max-p={LEAK_P} or --augpipe=radiograph help"
    )


def diversity(images: np.ndarray) -> float:
    """Mean distance between different images of [N, C, H, W] at a coarse size: root mean square per pixel."""
    coarse = torch.as_tensor(np.asarray(images, dtype=np.float32))
    # Coarse: likeness of whole pictures, not of their grain.
    if coarse.shape[-1] > 32:
        coarse = torch.nn.functional.adaptive_avg_pool2d(coarse, 32)
    flat = coarse.flatten(1).double()
    n, size = flat.shape
    # sum over pairs |a - b|^2 = 2 n sum |a|^2 - 2 |sum a|^2, without forming the pairs
    total = 2 * n * flat.square().sum() - 2 * flat.sum(0).square().sum()
    return math.sqrt(max(float(total), 0.0) / (n * max(n - 1, 1) * size))


def collapse_warning(fakes: np.ndarray, reals: np.ndarray) -> str | None:
    """A sentence if the fakes are nearly all the same; both in the same value range."""
    share = diversity(fakes) / max(diversity(reals), 1e-8)
    if share >= COLLAPSE_SHARE:
        return None
    return (
        f"the fakes differ from one another by only {share:.0%} of what training images do (mode collapse); "
        "the generator answers with nearly one picture. A larger --gamma or more varied data help"
    )
