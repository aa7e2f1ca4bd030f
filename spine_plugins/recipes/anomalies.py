"""How far images are from what a network of normal ones can draw: two terms, a map, and the baseline's.

Residual and feature distance are normalised on held-out normals before they are added: sums over pixels and
over features have nothing to do with each other, and fixed weights weigh whatever they happen to be.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from spine_plugins.classifier.model import SpineClassifier
from spine_plugins.recipes import latents, padim

_BLUR = 5  # pixels of a residual's mean: a finding is larger than grain
_TOP = 0.005  # of the pixels: a finding is small, and a mean over the whole image drowns it
_LEAST_SPREAD = 0.05  # of a pixel's map, whose usual value is 2
_BATCH = 64


class Normals(nn.Module):
    """What is usual, on held-out normals."""

    scale: Tensor  # [2]: residual and feature distance before any search, which weigh the two terms in it
    terms: Tensor  # [2, 2]: mean and deviation of both after it
    usual_map: Tensor  # [2, R, R]: mean and deviation
    top: Tensor  # [2]: of the score
    padim: Tensor  # [2]: mean and deviation of the baseline's score

    def __init__(self, side: int, features: int) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones(2))
        self.register_buffer("terms", torch.tensor([[0.0, 1.0], [0.0, 1.0]]))
        self.register_buffer("usual_map", torch.stack([torch.zeros(side, side), torch.ones(side, side)]))
        self.register_buffer("top", torch.tensor([0.0, 1.0]))
        self.register_buffer("padim", torch.tensor([0.0, 1.0]))
        self.gaussians = padim.Gaussians(features)


class Found(NamedTuple):
    """All about some images; scores in deviations of normal ones."""

    score: Tensor  # [N]
    residual: Tensor
    feature: Tensor
    map: Tensor  # [N, R, R]
    padim: Tensor  # [N]
    padim_map: Tensor  # [N, R, R]
    normal: Tensor  # the nearest normal images, [N, C, R, R]


@dataclass
class Detector:
    """Networks, what is usual, how many steps to search, and whose features the baseline sees."""

    net: latents.Latents
    usual: Normals
    search: int
    judge: SpineClassifier | None

    def fit(self, img: Tensor, held: Tensor) -> None:
        """The baseline's Gaussians from the normals trained on, all else from held-out ones."""
        usual = self.usual
        usual.gaussians.fit(self._grid(img))
        with torch.no_grad():
            drawn = self.net.draw(self.net.E(held))
            usual.scale.copy_(torch.stack([term.mean() for term in self._distances(held, drawn)[:2]]))
        found = self(held)
        usual.terms.copy_(torch.stack([torch.stack([t.mean(), t.std()]) for t in found[1:3]]))
        usual.usual_map.copy_(torch.stack([found.map.mean(0), found.map.std(0).clamp_min(_LEAST_SPREAD)]))
        top = _top((found.map - usual.usual_map[0]) / usual.usual_map[1])
        usual.top.copy_(torch.stack([top.mean(), top.std()]))
        usual.padim.copy_(torch.stack([found.padim.mean(), found.padim.std()]))

    def __call__(self, img: Tensor) -> Found:
        """Scores and maps of images [N, C, R, R]."""
        parts = [self._of_batch(part) for part in img.split(_BATCH)]
        return Found(*(torch.cat(values) for values in zip(*parts)))

    def _of_batch(self, img: Tensor) -> Found:
        usual, side = self.usual, img.shape[2]
        with torch.no_grad():
            truth, start = self.net.features(img), self.net.E(img)

        def loss(drawn: Tensor) -> Tensor:
            near, deep, _ = self._distances(img, drawn, truth)
            return near / usual.scale[0] + deep / usual.scale[1]

        drawn = self.net.draw(latents.search(self.net, start, loss, self.search)).detach()
        with torch.no_grad():
            near, deep, maps = self._distances(img, drawn, truth)
            z = [(t - m) / s.clamp_min(1e-6) for t, (m, s) in zip((near, deep), usual.terms)]
            far = usual.gaussians(self._grid(img))
            top = (far.flatten(1).amax(1) - usual.padim[0]) / usual.padim[1].clamp_min(1e-6)
            (large,) = latents.enlarged([far[:, None]], side)
            maps = (maps - usual.usual_map[0]) / usual.usual_map[1]
            score = (_top(maps) - usual.top[0]) / usual.top[1].clamp_min(1e-6)
        return Found(score, z[0], z[1], maps, top, large, drawn)

    def _distances(
        self, img: Tensor, drawn: Tensor, truth: list[Tensor] | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(mean residual [N], mean feature distance [N], both per pixel in their scales [N, R, R])."""
        apart = (img - drawn).abs()
        deep = [
            (a - b).abs() for a, b in zip(truth or self.net.features(img), self.net.features(drawn))
        ]  # fmt: skip
        scale = self.usual.scale
        smooth = avg_pool2d(apart.mean(1, keepdim=True), _BLUR, 1, _BLUR // 2, count_include_pad=False)[:, 0]
        maps = smooth / scale[0] + torch.stack(latents.enlarged(deep, img.shape[2])).mean(0) / scale[1]
        means = torch.stack([d.mean((1, 2, 3)) for d in deep]).mean(0)
        return apart.mean((1, 2, 3)), means, maps

    def _grid(self, img: Tensor) -> Tensor:
        with torch.no_grad():
            return padim.on_grid(
                self.net.features(img) if self.judge is None else padim.of_classifier(self.judge, img)
            )


def _top(maps: Tensor) -> Tensor:
    """The mean of the strangest pixels of each map, [N]."""
    flat = maps.flatten(1)
    return flat.topk(max(1, round(_TOP * flat.shape[1])), 1).values.mean(1)
