"""Per-sample gradients, clipped and summed: by `torch.func.vmap` in chunks, or one sample at a time.

Each unit moves the sum by at most the clip norm, whatever it holds: huge, infinite or no gradient at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

Method = Literal["vmap", "loop"]
Parameters = Mapping[str, Tensor] | Sequence[Tensor]
SampleLoss = Callable[..., Tensor]  # (parameters as they were given, *one sample) -> scalar

_TINY = 1e-30


def clipped_sum(
    sample_loss: SampleLoss,  # called with the parameters and the tensors of one sample, unbatched
    parameters: Parameters,
    batch: Tensor | Sequence[Tensor],  # each [N, ...]
    clip: float,  # no unit's gradient is longer than this
    *,
    units: Tensor | None = None,  # int [N]: which unit a sample belongs to; None: each is its own
    method: Method = "vmap",
    chunk: int = 8,  # samples at once
) -> tuple[list[Tensor], Tensor]:
    """(sum of the units' clipped gradients, in the parameters' order; their norms before clipping), float32.

    The gradients of a unit's samples are averaged, then clipped: how many they are makes no difference. Norms
    are in the order of the units' numbers. A gradient that is not finite counts as none.
    """
    assert clip > 0 and chunk >= 1 and method in ("vmap", "loop"), (clip, chunk, method)
    samples = [batch] if isinstance(batch, Tensor) else list(batch)
    if units is not None:
        # A unit's samples side by side, so that no more than one unit is open between two chunks.
        units, order = units.sort(stable=True)
        samples = [tensor[order.to(tensor.device)] for tensor in samples]
    leaves = list(parameters.values()) if isinstance(parameters, Mapping) else list(parameters)
    total = [torch.zeros_like(leaf, dtype=torch.float32) for leaf in leaves]
    norms: list[Tensor] = []
    means = _UnitMeans()
    parts = _by_vmap(sample_loss, parameters, samples, chunk) if method == "vmap" else _by_loop(
        sample_loss, parameters, samples
    )  # fmt: skip
    start = 0
    for part in parts:
        rows, size = [tensor.float() for tensor in part], len(part[0])
        if units is not None:
            rows = means.add(rows, units[start : start + size])
        norms.append(_add_clipped(total, rows, clip))
        start += size
    if means.is_open:
        norms.append(_add_clipped(total, means.finish(), clip))
    return total, torch.cat(norms) if norms else total[0].new_zeros(0)


def _add_clipped(total: list[Tensor], rows: list[Tensor], clip: float) -> Tensor:
    """Add each row of [n, ...] gradients, clipped; the norms they had, 0 for those that were not finite."""
    norms, rows = _finite(rows)
    factors = (clip / norms.clamp(min=_TINY)).clamp(max=1)
    for into, gradient in zip(total, rows):
        into += torch.tensordot(factors, gradient, dims=1)
    return norms


def _finite(rows: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """Norms [n] over all parameters, and the rows; a row whose norm is not finite becomes zero."""
    each = [torch.linalg.vector_norm(tensor.flatten(1), dim=1) for tensor in rows]
    norms = torch.linalg.vector_norm(torch.stack(each), dim=0)
    is_finite = norms.isfinite()
    if bool(is_finite.all()):
        return norms, rows
    # Not by a factor of 0: 0 times infinity is NaN, and would be everybody's.
    cleaned = [torch.where(is_finite.reshape(-1, *[1] * (t.ndim - 1)), t, torch.zeros_like(t)) for t in rows]
    return torch.where(is_finite, norms, torch.zeros_like(norms)), cleaned


class _UnitMeans:
    """Mean gradient of each unit, from chunks in which a unit's samples stand side by side."""

    def __init__(self) -> None:
        self._unit: Tensor | None = None  # the one that may go on in the next chunk
        self._sum: list[Tensor] = []  # [1, ...] of its gradients so far
        self._count = 0.0

    @property
    def is_open(self) -> bool:
        return self._unit is not None

    def add(self, rows: list[Tensor], units: Tensor) -> list[Tensor]:
        """Gradients [n, ...] and whose they are; the means [m, ...] of the units that are now complete."""
        _, rows = _finite(rows)
        distinct, where, sizes = units.unique_consecutive(return_inverse=True, return_counts=True)
        where, counts = where.to(rows[0].device), sizes.to(rows[0].device, torch.float32)
        sums = [row.new_zeros(len(distinct), *row.shape[1:]).index_add_(0, where, row) for row in rows]
        if self._unit is not None:
            if bool(distinct[0] == self._unit):
                for summed, before in zip(sums, self._sum):
                    summed[:1] += before
                counts[0] += self._count
            else:
                sums = [torch.cat([before, summed]) for summed, before in zip(sums, self._sum)]
                counts = torch.cat([counts.new_tensor([self._count]), counts])
        self._unit, self._count = distinct[-1], float(counts[-1])
        self._sum = [summed[-1:] for summed in sums]
        return [s[:-1] / counts[:-1].reshape(-1, *[1] * (s.ndim - 1)) for s in sums]

    def finish(self) -> list[Tensor]:
        self._unit = None
        return [summed / self._count for summed in self._sum]


def _by_vmap(
    sample_loss: SampleLoss, parameters: Parameters, samples: list[Tensor], chunk: int
) -> Iterator[list[Tensor]]:
    """Gradients [n, ...] per parameter of n samples, chunk by chunk."""
    frozen = _detached(parameters)
    many = torch.func.vmap(torch.func.grad(sample_loss), in_dims=(None, *[0] * len(samples)))
    for start in range(0, len(samples[0]), chunk):
        found = many(frozen, *(tensor[start : start + chunk] for tensor in samples))
        yield list(found.values()) if isinstance(found, Mapping) else list(found)


def _by_loop(
    sample_loss: SampleLoss, parameters: Parameters, samples: list[Tensor]
) -> Iterator[list[Tensor]]:
    """The same by plain autograd, a sample at a time: the oracle, and the way that takes least memory."""
    frozen = _detached(parameters)
    leaves = list(frozen.values()) if isinstance(frozen, Mapping) else list(frozen)
    for leaf in leaves:
        leaf.requires_grad_(True)
    for one in range(len(samples[0])):
        with torch.enable_grad():
            loss = sample_loss(frozen, *(tensor[one] for tensor in samples))
            found = torch.autograd.grad(loss, leaves, allow_unused=True)
        given = [torch.zeros_like(leaf) if g is None else g for leaf, g in zip(leaves, found)]
        yield [gradient.unsqueeze(0) for gradient in given]


def _detached(parameters: Parameters) -> dict[str, Tensor] | list[Tensor]:
    """The same container of tensors that belong to no graph and share no flags with the network's."""
    if isinstance(parameters, Mapping):
        return {name: tensor.detach() for name, tensor in parameters.items()}
    return [tensor.detach() for tensor in parameters]
