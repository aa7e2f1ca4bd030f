"""One buffer for all gradients of a network: one fill, one all-reduce and one repair instead of hundreds."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from stylegan2ada import processes


class FlatGradients:
    """Lends each parameter a part of one buffer as its `.grad`, at the same address in every iteration.

    A parameter that a phase does not reach stays without a gradient, as ever: Adam counts no step for it.
    """

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        self._parameters = list(parameters)
        first = self._parameters[0]
        self.buffer = torch.zeros(
            sum(p.numel() for p in self._parameters), dtype=first.dtype, device=first.device
        )
        self._places: list[Tensor] = []
        start = 0
        for parameter in self._parameters:
            self._places.append(_part(self.buffer, start, parameter))
            start += parameter.numel()
        # By phase: path lengths, say, may not reach what the main loss reaches.
        self._reached: dict[str, set[int]] = {}

    def start(self, phase: str) -> None:
        """Zeros, where this phase was seen to have gradients; before its first time nobody knows."""
        self.buffer.zero_()
        for index in self._reached.get(phase, ()):
            self._parameters[index].grad = self._places[index]

    def collect(self, phase: str) -> None:
        """Bring in the gradients that lie elsewhere: all of them at first, afterwards hardly any."""
        reached = self._reached.setdefault(phase, set())
        strays = [
            (index, parameter)
            for index, (parameter, place) in enumerate(zip(self._parameters, self._places))
            if parameter.grad is not None and parameter.grad is not place
        ]
        for index, parameter in strays:
            assert parameter.grad is not None
            self._places[index].copy_(parameter.grad)
            parameter.grad = self._places[index]
            reached.add(index)


def flat_gradients(parameters: Sequence[nn.Parameter]) -> FlatGradients | None:
    """Where they pay: on a GPU, and where several processes add up. None elsewhere, and for mixed types."""
    if len({(p.dtype, p.device) for p in parameters}) != 1:
        return None
    is_alone = not processes.is_initialized() or processes.world_size() == 1
    return None if parameters[0].device.type == "cpu" and is_alone else FlatGradients(parameters)


@torch.no_grad()
def average_and_repair(gradients: list[Tensor]) -> None:
    """In place: mean over ranks, then NaN -> 0 and +-infinity -> +-1e5 (one bad batch must not end a run)."""
    ranks = processes.world_size() if processes.is_initialized() else 1
    if len(gradients) == 1 and gradients[0].is_contiguous():
        _average(gradients[0], ranks)
        return
    if ranks == 1 and gradients[0].device.type == "cpu":
        for gradient in gradients:
            _repair(gradient)
        return
    # One flat buffer: one all-reduce and a handful of kernels instead of hundreds
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    _average(flat, ranks)
    parts = flat.split([gradient.numel() for gradient in gradients])
    torch._foreach_copy_(gradients, [part.view_as(g) for part, g in zip(parts, gradients)])


def _average(flat: Tensor, ranks: int) -> None:
    if ranks > 1:
        torch.distributed.all_reduce(flat)
        flat /= ranks
    # After the mean: one rank's NaN spoils the element for all, and all repair it alike.
    _repair(flat)


def _repair(gradient: Tensor) -> None:
    torch.nan_to_num(gradient, nan=0.0, posinf=1e5, neginf=-1e5, out=gradient)


def _part(buffer: Tensor, start: int, parameter: nn.Parameter) -> Tensor:
    """The parameter's piece, in the parameter's own memory layout, as autograd likes to add to it."""
    if parameter.ndim == 4 and parameter.is_contiguous(memory_format=torch.channels_last):
        return buffer.as_strided(parameter.size(), parameter.stride(), start)
    return buffer[start : start + parameter.numel()].view(parameter.shape)
