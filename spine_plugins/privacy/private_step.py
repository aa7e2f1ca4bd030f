"""The private step of D: per-sample gradients, clipped, summed, noised once, divided by a public number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad

from spine_plugins.privacy.clipping import Method, clipped_sum
from spine_plugins.privacy.noise import Chance, add_noise, secret_seed
from stylegan2ada import processes
from stylegan2ada.errors import UserError
from stylegan2ada.losses.objectives import find_objective
from stylegan2ada.networks.augment import AugmentPipe

R1 = Literal["off", "fake", "real"]
_BATCH_NORM = nn.modules.batchnorm._BatchNorm


@dataclass(frozen=True)
class Reals:
    """What one step draws of the private data."""

    images: Tensor  # [N, C, H, W] in [-1, 1]
    labels: Tensor  # [N, c_dim]
    units: Tensor  # int64 [N]


class PrivateImages(Protocol):
    """The one door to the private data."""

    def draw(self) -> Reals:
        """The units of one step, each by its own coin; maybe none."""
        ...


@dataclass(frozen=True)
class StepSettings:
    """What a private step computes; all of it public."""

    clip: float
    noise_multiplier: float
    batch: float  # expected units per step over all ranks: the divisor, whatever was drawn
    r1: R1 = "off"
    r1_gamma: float = 10.0
    method: Method = "vmap"
    chunk: int = 8
    aug_mult: int = 1  # augmented copies of each real image, averaged before clipping
    clips_fakes: bool = True  # on one scale with the reals; fakes touch no private data either way
    objective: str = "stylegan2"


class PrivateStep:
    """Gradients of D that may be published. Nothing else that it computes leaves it."""

    def __init__(
        self,
        D: nn.Module,
        names: list[str],  # of the parameters that learn, in the order of the answer
        settings: StepSettings,
        chance: Chance,
        augment_pipe: AugmentPipe | None = None,
    ) -> None:
        refuse_mixing(D)
        self.D, self.names, self.settings, self.chance = D, names, settings, chance
        self.augment_pipe = augment_pipe
        self.objective = find_objective(settings.objective)
        self.last_norms = torch.zeros(0)  # private: of the reals of the last step

    def gradients(self, reals: Reals, fakes: Tensor, fake_labels: Tensor) -> list[Tensor]:
        """(clipped sum over the drawn reals and the fakes + noise) / batch, the same on every rank."""
        total = self.real_sum(reals)
        for into, more in zip(total, self.fake_sum(fakes, fake_labels)):
            into += more
        flat = torch.cat([tensor.reshape(-1) for tensor in total])
        if processes.is_initialized() and processes.world_size() > 1:
            # A sum, never a mean: each rank looked at units of its own.
            torch.distributed.all_reduce(flat)
        # Once for all ranks: W draws would add up to more noise than is counted, equal ones to none.
        if processes.rank() == 0:
            add_noise([flat], self.settings.noise_multiplier * self.settings.clip, self.chance)
        if processes.is_initialized() and processes.world_size() > 1:
            torch.distributed.broadcast(flat, src=0)
        flat /= self.settings.batch
        parts = flat.split([tensor.numel() for tensor in total])
        return [part.view_as(tensor) for part, tensor in zip(parts, total)]

    def real_sum(self, reals: Reals) -> list[Tensor]:
        """Each drawn unit's gradient of at most the clip norm, added up."""
        copies = self.settings.aug_mult
        images, labels, units = (
            tensor.repeat_interleave(copies, dim=0) for tensor in (reals.images, reals.labels, reals.units)
        )
        drawn = self._augmentation(images)
        r1 = self.settings.r1_gamma if self.settings.r1 == "real" else 0.0
        loss = self._sample_loss(self.objective.on_real, list(drawn), r1)
        # A unit that is one image needs no averaging.
        is_alone = copies == 1 and len(units.unique()) == len(units)
        total, self.last_norms = clipped_sum(
            loss, self._parameters(), [images, labels, *drawn.values()], self.settings.clip,
            units=None if is_alone else units, method=self.settings.method, chunk=self.settings.chunk,
        )  # fmt: skip
        return total

    def fake_sum(self, fakes: Tensor, labels: Tensor) -> list[Tensor]:
        """The fakes' side: post-processing of what was published before."""
        r1 = self.settings.r1_gamma if self.settings.r1 == "fake" else 0.0
        drawn = {} if self.augment_pipe is None else self.augment_pipe.sample(
            len(fakes), device=fakes.device, img_shape=fakes.shape[1:]
        )  # fmt: skip
        loss = self._sample_loss(self.objective.on_fake, list(drawn), r1)
        batch = [fakes, labels, *drawn.values()]
        clip = self.settings.clip if self.settings.clips_fakes else float("inf")
        return clipped_sum(loss, self._parameters(), batch, clip, method=self.settings.method,
                           chunk=self.settings.chunk)[0]  # fmt: skip

    def _parameters(self) -> dict[str, Tensor]:
        of = dict(self.D.named_parameters())
        return {name: of[name] for name in self.names}

    def _sample_loss(
        self, formula: Callable[[Tensor], Tensor], drawn: list[str], r1_gamma: float
    ) -> Callable[..., Tensor]:
        """Loss of one sample as clipped_sum wants it: the whole step, R1 included, under one clip."""
        pipe = self.augment_pipe

        def loss(parameters: dict[str, Tensor], img: Tensor, c: Tensor, *aug: Tensor) -> Tensor:
            def logit(x: Tensor) -> Tensor:
                seen = x.unsqueeze(0)
                if pipe is not None:
                    seen = pipe.apply(seen, {name: value.unsqueeze(0) for name, value in zip(drawn, aug)})
                return functional_call(self.D, parameters, (seen, c.unsqueeze(0))).squeeze()

            value = formula(logit(img))
            # Before augmentation, as in the usual step (Mescheder et al., arXiv:1801.04406).
            return value + r1_gamma / 2 * grad(logit)(img).square().sum() if r1_gamma else value

        return loss

    def _augmentation(self, images: Tensor) -> dict[str, Tensor]:
        """What to do with the reals, from a stream of its own: how many there are moves no public draw."""
        if self.augment_pipe is None:
            return {}
        devices = [images.device] if images.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(secret_seed(self.chance))
            return self.augment_pipe.sample(len(images), device=images.device, img_shape=images.shape[1:])


@torch.no_grad()
def refuse_mixing(D: nn.Module) -> None:
    """UserError if a sample's logit depends on the samples beside it: no clip would bound a record then."""
    c_dim, side, channels = (int(getattr(D, name)) for name in ("c_dim", "img_resolution", "img_channels"))
    device = next(D.parameters()).device
    generator = torch.Generator().manual_seed(0)
    img = torch.randn([4, channels, side, side], generator=generator).to(device)
    c = torch.randn([4, c_dim], generator=generator).to(device)  # zeros would make a projected logit 0
    other = img.clone()
    other[3] = -3 * other[3]
    mixes = not torch.equal(D(img, c)[:3], D(other, c)[:3])
    # By name as well: weights that happen to be zero hide a layer from the trial.
    is_named = any(isinstance(m, _BATCH_NORM) or "MinibatchStd" in type(m).__name__ for m in D.modules())
    if mixes or is_named:
        raise UserError(
            "--dp-mode=sgd: this discriminator compares samples of a batch (minibatch-stddev, batch norm), "
            "so one record would move other records' gradients; build it without such layers"
        )
