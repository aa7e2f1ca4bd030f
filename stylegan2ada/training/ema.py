"""The moving average of the generator's weights, which is the network that gets published."""

from __future__ import annotations

import torch


def half_life_nimg(cur_nimg: int, ema_kimg: float, ema_rampup: float | None) -> float:
    """Images after which an old weight counts half; shorter early on, when ema_rampup is given."""
    steady = ema_kimg * 1000
    return steady if ema_rampup is None else min(steady, cur_nimg * ema_rampup)


def decay(batch_size: int, half_life: float) -> float:
    """The share of the old average that stays after one batch: 0.5 ** (batch / half life)."""
    # With a ramp the first half life is 0: then nothing old stays.
    return 0.5 ** (batch_size / max(half_life, 1e-8))


@torch.no_grad()
def update(
    ema: torch.nn.Module,  # the average, changed in place
    net: torch.nn.Module,  # the network that trains
    batch_size: int,
    cur_nimg: int,  # images shown before this iteration
    ema_kimg: float = 10,
    ema_rampup: float | None = None,
) -> float:
    """Pull the average towards the network by one batch, copy its buffers; returns the decay used."""
    beta = decay(batch_size, half_life_nimg(cur_nimg, ema_kimg, ema_rampup))
    averages, targets = _pairs(dict(ema.named_parameters()), dict(net.named_parameters()))
    # A few kernels for all tensors instead of a launch for each.
    if averages:
        torch._foreach_lerp_(averages, targets, 1 - beta)
    kept, current = _pairs(dict(ema.named_buffers()), dict(net.named_buffers()))
    # Buffers (w_avg, noise) are no weights: the newest values count.
    if kept:
        torch._foreach_copy_(kept, current)
    return beta


def _pairs(
    mine: dict[str, torch.Tensor], other: dict[str, torch.Tensor]
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    assert mine.keys() == other.keys(), sorted(mine.keys() ^ other.keys())
    return list(mine.values()), [other[name] for name in mine]
