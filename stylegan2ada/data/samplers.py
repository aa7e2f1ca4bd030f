"""Orders in which images are drawn, open by name: `--sampler=NAME`, or an import path.

A sampler is built as `Sampler(dataset, rank=…, num_replicas=…, seed=…)`. One that draws each image by chance
(Poisson) hands out batches of varying size, empty ones included; `count` is then what it aims at.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from stylegan2ada.registry import Registry

SAMPLERS = Registry("sampler")
register_sampler = SAMPLERS.register
find_sampler = SAMPLERS.find
sampler_names = SAMPLERS.names


class Sampler(Protocol):
    """What batches ask of an order."""

    def take(self, count: int) -> np.ndarray:
        """int64: the next indices of this rank, `count` of them unless sizes vary."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """The position, the same on every rank: tensors and plain numbers."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly there."""
        ...


register_sampler("uniform", "stylegan2ada.data.sampler:InfiniteSampler")
register_sampler("balanced", "stylegan2ada.data.balanced:BalancedSampler")
