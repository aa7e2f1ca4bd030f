"""A strong simple baseline for anomalies: Gaussians of features per place (as PaDiM, arXiv:2011.08785)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from spine_plugins.classifier.model import SpineClassifier

GRID = 16
MOST = 48  # features per place; more are drawn at random, as the paper does
_RIDGE = 0.01  # added to the variances, in units of their mean

Features = Callable[[Tensor], Sequence[Tensor]]


class Gaussians(nn.Module):
    """Per place of a 16x16 grid the mean and the whitening matrix of normal images' features."""

    mean: Tensor
    whiten: Tensor
    chosen: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        width = min(width, MOST)
        self.register_buffer("mean", torch.zeros(GRID * GRID, width))
        self.register_buffer("whiten", torch.zeros(GRID * GRID, width, width))
        self.register_buffer("chosen", torch.zeros(width, dtype=torch.int64))

    def fit(self, found: Tensor) -> None:
        """From features [N, K, 16, 16] of normal images; with few of them the variances are shrunk."""
        order = torch.randperm(found.shape[1], generator=torch.Generator().manual_seed(0))
        self.chosen.copy_(order[: len(self.chosen)].sort().values)
        values = self._places(found)  # [P, N, K]
        self.mean.copy_(values.mean(1))
        centred = values - self.mean[:, None]
        cov = centred.transpose(1, 2) @ centred / max(values.shape[1] - 1, 1)
        ridge = _RIDGE * cov.diagonal(dim1=1, dim2=2).mean().clamp_min(1e-12)
        cov = cov + ridge * torch.eye(cov.shape[1])
        self.whiten.copy_(torch.linalg.cholesky(torch.linalg.inv(cov)))

    def forward(self, found: Tensor) -> Tensor:
        """Mahalanobis distances [N, 16, 16]."""
        centred = self._places(found) - self.mean[:, None]
        return (centred @ self.whiten).square().sum(2).sqrt().t().unflatten(1, (GRID, GRID))

    def _places(self, found: Tensor) -> Tensor:
        return found[:, self.chosen].flatten(2).permute(2, 0, 1)


def on_grid(maps: Sequence[Tensor]) -> Tensor:
    """Feature maps of several sizes as one, [N, K, 16, 16]."""
    return torch.cat(
        [interpolate(m, (GRID, GRID), mode="bilinear", align_corners=False) for m in maps], 1
    )  # fmt: skip


def of_classifier(classifier: SpineClassifier, img: Tensor) -> list[Tensor]:
    """What its convolutions make of images, where the maps have between 4 and 64 places a side."""
    found: list[Tensor] = []

    def keep(module: nn.Module, inputs: object, output: Tensor) -> None:
        if 4 <= output.shape[-1] <= 64:
            found.append(output)

    hooks = [
        layer.register_forward_hook(keep)
        for layer in classifier.network.modules()
        if isinstance(layer, nn.Conv2d)
    ]
    try:
        with torch.no_grad():
            classifier(img)
    finally:
        for hook in hooks:
            hook.remove()
    return found
