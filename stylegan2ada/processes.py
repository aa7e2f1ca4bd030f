"""Ranks and process groups: who am I, how many are we, print once, rank 0 goes first."""

from __future__ import annotations

import os

import torch


def rank() -> int:
    """This process's number, 0 when alone."""
    return torch.distributed.get_rank() if is_initialized() else int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """How many processes train together, 1 when alone."""
    return torch.distributed.get_world_size() if is_initialized() else int(os.environ.get("WORLD_SIZE", "1"))


def is_initialized() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def print0(*args: object, **kwargs: object) -> None:
    """print() on rank 0 only."""
    if rank() == 0:
        print(*args, **kwargs)  # type: ignore[call-overload]
