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
    ) -> None:
        self._buffer = augment_pipe.get_buffer("p")
        self.target = target
        self.interval = interval
        self.max_p = max_p
        self.statistic = statistic
        # Fixed-size steps: kimg thousand images of them lead from 0 to 1.
        self.step = batch_size * interval / (kimg * 1000)
        self.p = float(self._buffer)  # the only time that the device is asked
        self._signs = stats.Collector(re.escape(statistic))

    def after_iteration(self, iteration: int) -> bool:
        """Adjust p if it is time; iteration counts finished ones. A collective over ranks when it is."""
        if iteration % self.interval != 0:
            return False
        self._signs.update()
        self.write(next_p(self.p, self._signs[self.statistic], self.target, self.step, self.max_p))
        return True

    def write(self, p: float) -> None:
        """Set p here and in the pipe."""
        self.p = p
        with torch.no_grad():
            self._buffer.fill_(p)

    def state_dict(self) -> State:
        """p and the statistics of the running interval."""
        return {"p": self.p, "signs": self._signs.state_dict()}

    def load_state_dict(self, state: State) -> None:
        self._signs.load_state_dict(state["signs"])
        self.write(float(state["p"]))
