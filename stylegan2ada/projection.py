"""Find the latent whose image looks like a given one: the schedules of the optimisation."""

from __future__ import annotations

import math


def noise_scale(
    step: int,
    num_steps: int,
    w_std: float,
    initial_noise_factor: float = 0.05,
    noise_ramp_length: float = 0.75,
) -> float:
    """Deviation of the noise added to w: falls with a square to nothing within the ramp."""
    left = max(0.0, 1.0 - step / num_steps / noise_ramp_length)
    return w_std * initial_noise_factor * left**2


def lr(
    step: int,
    num_steps: int,
    initial_learning_rate: float = 0.1,
    lr_rampdown_length: float = 0.25,
    lr_rampup_length: float = 0.05,
) -> float:
    """Learning rate: a straight rise, a plateau, half a cosine down to nothing."""
    t = step / num_steps
    falling = 0.5 - 0.5 * math.cos(math.pi * min(1.0, (1.0 - t) / lr_rampdown_length))
    return initial_learning_rate * falling * min(1.0, t / lr_rampup_length)
