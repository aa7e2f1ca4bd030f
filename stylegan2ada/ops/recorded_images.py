"""Images without gradients, by recordings on CUDA where the command wants them.

Drawing a batch launches hundreds of small kernels; where images are small the card waits for the host.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from stylegan2ada.ops import choice
from stylegan2ada.ops.recording import CudaGraphs, Steps


def drawn(
    network: Callable[..., Tensor],  # in evaluation
    x: Tensor,  # all that changes from call to call, beside tensors that stay where they are
    **options: object,
) -> Tensor:
    """network(x, **options)."""
    are_plain = all(isinstance(value, bool | int | float | str | None) for value in options.values())
    may_be_recorded = choice.records_drawings() and not torch.is_grad_enabled() and are_plain
    if not may_be_recorded or not isinstance(network, nn.Module):
        return network(x, **options)
    if network not in _DRAWINGS:
        _DRAWINGS[network] = _Drawing(Steps(CudaGraphs(x.device)))
    return _DRAWINGS[network](network, x, options)


@dataclass
class _Drawing:
    """The recordings of one network: one for each number of images and each way to draw them."""

    steps: Steps
    _results: dict[str, Tensor] = field(default_factory=dict)  # where a recording writes

    def __call__(self, network: nn.Module, x: Tensor, options: dict[str, Any]) -> Tensor:
        name = ", ".join([f"drawing {len(x)} images", *(f"{key}={value}" for key, value in options.items())])
        made: list[Tensor] = []
        self.steps.run(name, (x,), lambda batch: made.append(network(*batch, **options)))
        is_new = name in self.steps.recorded and name not in self._results
        if made and not is_new:
            return made[-1]
        if is_new:
            self._results[name] = made[-1]
        return self._results[name].clone()  # the next one overwrites it


_DRAWINGS: weakref.WeakKeyDictionary[nn.Module, _Drawing] = weakref.WeakKeyDictionary()
