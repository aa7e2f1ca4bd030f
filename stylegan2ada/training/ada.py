"""Adaptive augmentation: p rises while D is surer of training images than the target, and falls otherwise.

Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data", section 3.1 (r_t).
"""

from __future__ import annotations

import math
import re

import numpy as np
import torch

from stylegan2ada import stats
from stylegan2ada.protocols import State


def next_p(p: float, mean_sign: float, target: float, step: float, max_p: float | None = None) -> float:
    """p moved by one step towards the target; never negative, not above max_p, unmoved without statistics."""
    if math.isnan(mean_sign):
        return p
    # p lives in a float32 buffer; the same arithmetic here keeps both in step without reading it back
    moved = np.float32(p) + np.float32(np.sign(mean_sign - target) * step)
    return float(np.clip(moved, 0, np.inf if max_p is None else np.float32(max_p)))


class AdaController:
    """Owns `augment_pipe.p` during training and adjusts it every few iterations."""

    def __init__(
        self,
        augment_pipe: torch.nn.Module,  # its buffer `p` is written
        *,
        target: float,  # wanted mean sign of D on training images
        batch_size: int,  # over all ranks
        interval: int = 4,  # iterations between adjustments
        kimg: float = 500,  # thousand images in which p can go from 0 to 1
        max_p: float | None = None,  # no limit unless given
        statistic: str = "Loss/signs/real",
        on_device: bool = False,  # p is moved where it lies, and nobody waits; for a process that is alone
    ) -> None:
        self._buffer = augment_pipe.get_buffer("p")
        self.target = target
        self.interval = interval
        self.max_p = max_p
        self.statistic = statistic
        # Fixed-size steps: kimg thousand images of them lead from 0 to 1.
        self.step = batch_size * interval / (kimg * 1000)
        self._p = float(self._buffer)
        self._signs = stats.Collector(re.escape(statistic))
        self._here = _OnDevice(self._buffer, statistic) if on_device else None

    @property
    def p(self) -> float:
        """The strength; where it is moved on the device, this waits for it."""
        return self._p if self._here is None else float(self._buffer)

    def after_iteration(self, iteration: int) -> bool:
        """Adjust p if it is time; iteration counts finished ones. A collective over ranks when it is."""
        if iteration % self.interval != 0:
            return False
        if self._here is not None:
            self._here.move(self.target, self.step, self.max_p)
            return True
        self._signs.update()
        self.write(next_p(self._p, self._signs[self.statistic], self.target, self.step, self.max_p))
        return True

    def write(self, p: float) -> None:
        """Set p here and in the pipe."""
        self._p = p
        with torch.no_grad():
            self._buffer.fill_(p)

    def state_dict(self) -> State:
        """p and the statistics of the running interval; alike, wherever they are kept."""
        signs = self._signs.state_dict() if self._here is None else self._here.state_dict()
        return {"p": self.p, "signs": signs}

    def load_state_dict(self, state: State) -> None:
        """The inverse; statistics of the run (`stats`) must be restored before."""
        if self._here is None:
            self._signs.load_state_dict(state["signs"])
        else:
            self._here.load_state_dict(state["signs"])
        self.write(float(state["p"]))


class _OnDevice:
    """`next_p` in tensors, on counters of the device: the same numbers, and no host that waits for them."""

    def __init__(self, p: torch.Tensor, statistic: str) -> None:
        self._p, self._statistic = p, statistic
        self._fresh = stats.tap(statistic, p.device)  # since the last adjustment
        self._last = torch.zeros_like(self._fresh)  # of the last interval that brought any

    @torch.no_grad()
    def move(self, target: float, step: float, max_p: float | None) -> None:
        # As a collector: an interval without news leaves the last one's numbers standing.
        torch.where(self._fresh[0] > 0, self._fresh, self._last, out=self._last)
        self._fresh.zero_()
        mean = self._last[1] / self._last[0]  # float64; NaN as long as nothing was reported
        moved = self._p + (torch.sign(mean - target) * step).to(self._p.dtype)
        self._p.copy_(torch.where(mean.isnan(), self._p, moved.clamp(min=0, max=max_p)))

    def state_dict(self) -> State:
        fresh, last = self._fresh.cpu(), self._last.cpu()
        seen = stats.counted(self._statistic) - fresh  # whole numbers: exact
        return {"seen": {self._statistic: seen}, "moments": {self._statistic: last} if last[0] else {}}

    def load_state_dict(self, signs: State) -> None:
        nothing = torch.zeros(3, dtype=torch.float64)
        self._fresh.copy_(stats.counted(self._statistic) - signs["seen"].get(self._statistic, nothing))
        self._last.copy_(signs["moments"].get(self._statistic, nothing))
