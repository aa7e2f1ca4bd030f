"""A CUDA graph's stand-in on a CPU: notes down operations with their tensors, and does them again.

Like a graph it knows no Python, works at the addresses it saw, and keeps the host's numbers as they were.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


class Tape(TorchDispatchMode):
    """A recorder as `training.capture` wants it."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, Any]] = []
        self.replays = 0

    def ordinarily(self, work: Callable[[], None]) -> None:
        work()

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        self.calls = []
        with self:
            work()
        calls = self.calls

        def replay() -> None:
            self.replays += 1
            with torch.no_grad():
                for func, args, kwargs, made in calls:
                    _overwrite(func, made, func(*args, **kwargs))

        return replay

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        made = func(*args, **kwargs)
        if func.namespace != "profiler":  # its notes are no work
            self.calls.append((func, args, kwargs, made))
        return made


def _overwrite(func: Any, old: Any, new: Any) -> None:
    """What an operation made anew goes where it was made at first; views and changes in place are there."""
    olds, news = (value if isinstance(value, tuple | list) else [value] for value in (old, new))
    returns = func._schema.returns
    for index, (place, value) in enumerate(zip(olds, news)):
        if not isinstance(place, Tensor) or place is value:
            continue
        if returns[index if len(returns) == len(olds) else 0].alias_info is None:
            place.copy_(value)
