"""Gaussian noise and coin tosses that nobody can repeat: from the system's entropy, never from a seed.

A run's seed is known, and whoever knows the noise takes it off. Floating-point Gaussians leak in their last
bits (Mironov 2012); the sum of four, halved, hides them (Holohan and Braghin 2021, arXiv:2107.10138).
"""

from __future__ import annotations

import math
import os
import ssl
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

_TERMS = 4  # normal numbers per value, so their sum has a deviation of 2
_BLOCK = 1 << 20  # normal numbers at once
_FED_BYTES = 48  # what a generator of 256 bits takes


class Chance(Protocol):
    """Where randomness comes from that protects somebody."""

    is_secure: bool

    def uniform(self, count: int) -> np.ndarray:
        """float64 [count] in (0, 1]"""
        ...


class SystemChance:
    """OpenSSL's generator (AES in counter mode), fed anew by the operating system's before every draw.

    So neither a fork nor a virtual machine that is copied while it runs repeats a number; and it makes bits
    sixteen times as fast as the system itself, whose share would be an eighth of a small network's step.
    """

    is_secure = True

    def uniform(self, count: int) -> np.ndarray:
        ssl.RAND_add(os.urandom(_FED_BYTES), _FED_BYTES)
        bits = np.frombuffer(ssl.RAND_bytes(8 * count), dtype="<u8") >> np.uint64(11)
        return (bits.astype(np.float64) + 1) * 2.0**-53


class SeededChance:
    """The same from a seed, so that a test can repeat it. No protection: a report says `guarantee: none`."""

    is_secure = False

    def __init__(self, seed: int) -> None:
        self._rng = np.random.Generator(np.random.Philox(seed))

    def uniform(self, count: int) -> np.ndarray:
        return 1.0 - self._rng.random(count)


def gaussian(chance: Chance, count: int) -> Tensor:
    """float64 [count] of standard normal numbers, each the sum of four, halved."""
    found = torch.empty(count, dtype=torch.float64)
    for start in range(0, count, _BLOCK // _TERMS):
        size = min(_BLOCK // _TERMS, count - start)
        # Box and Muller 1958: two uniform numbers are a length and an angle of two normal ones.
        pairs = size * _TERMS // 2
        radius = torch.from_numpy(chance.uniform(pairs)).log_().mul_(-2).sqrt_()
        angle = torch.from_numpy(chance.uniform(pairs)).mul_(2 * math.pi)
        normal = torch.cat([radius * angle.cos(), radius * angle.sin()])
        found[start : start + size] = normal.view(_TERMS, size).sum(0) / 2
    return found


def add_noise(tensors: Sequence[Tensor], deviation: float, chance: Chance) -> None:
    """Add independent Gaussian noise to every value, in place; computed in float64."""
    if deviation == 0:
        return
    drawn = gaussian(chance, sum(tensor.numel() for tensor in tensors)) * deviation
    for tensor, noise in zip(tensors, drawn.split([tensor.numel() for tensor in tensors])):
        tensor.copy_((tensor.double().cpu() + noise.view(tensor.shape)).to(tensor.dtype))


def tosses(chance: Chance, probability: float, count: int) -> np.ndarray:
    """bool [count]: independent coins."""
    return chance.uniform(count) <= probability


def secret_seed(chance: Chance) -> int:
    """A seed for torch's generator, where only speed and no protection is at stake."""
    return int(chance.uniform(1)[0] * 2**53) - 1
