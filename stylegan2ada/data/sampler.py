"""An endless order of dataset indices, shared out over ranks, that can be saved and continued exactly."""

from __future__ import annotations

from collections.abc import Iterator, Sized

import numpy as np
import torch

from stylegan2ada.protocols import State


class InfiniteSampler:
    """Endless iterator over indices; every rank walks the same random sequence and keeps its own share.

    Instead of a new shuffle per epoch, each item is swapped with one of the `window` before it as soon as it
    was shown: no epoch borders, and an item rarely returns at once.
    """

    def __init__(
        self,
        dataset: Sized | int,  # or its number of items
        rank: int = 0,
        num_replicas: int = 1,
        shuffle: bool = True,
        seed: int = 0,
        window_size: float = 0.5,  # share of the dataset that a shown item may swap places with
    ) -> None:
        n = dataset if isinstance(dataset, int) else len(dataset)
        assert n > 0, "an empty dataset has no order"
        assert 0 <= rank < num_replicas, (rank, num_replicas)
        assert 0 <= window_size <= 1, window_size
        self.rank = rank
        self.num_replicas = num_replicas
        self.position = 0  # items shown so far, by all ranks together
        self._order = np.arange(n)
        self._rnd = np.random.RandomState(seed)
        self._window = 0
        if shuffle:
            self._rnd.shuffle(self._order)
            self._window = int(np.rint(n * window_size))

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        # Walk through everybody's item of this turn: between turns all ranks are in the same state,
        # so rank 0's saved state serves every rank.
        return [self._step() for _ in range(self.num_replicas)][self.rank]

    def take(self, count: int) -> np.ndarray:
        """The next `count` indices of this rank."""
        return np.fromiter((next(self) for _ in range(count)), dtype=np.int64, count=count)

    def state_dict(self) -> State:
        """Position, order and random state: tensors and plain numbers, the same on every rank."""
        # The generator's words and its place among them; its spare Gaussian is never drawn here.
        _, keys, spot, *_ = self._rnd.get_state()
        return {
            "position": self.position,
            "order": torch.from_numpy(self._order.copy()),
            # 32-bit words as int64: torch knows little of unsigned types.
            "random_keys": torch.from_numpy(np.asarray(keys, dtype=np.int64)),
            "random_spot": int(spot),
        }

    def load_state_dict(self, state: State) -> None:
        """Continue exactly where the saved sampler stopped, with the same number of items."""
        order = np.asarray(state["order"], dtype=np.int64)
        assert len(order) == len(self._order), (len(order), len(self._order))
        self.position = int(state["position"])
        # A copy, or swaps would reach into the state that was handed in.
        self._order = order.copy()
        keys = np.asarray(state["random_keys"]).astype(np.uint32)
        self._rnd.set_state(("MT19937", keys, int(state["random_spot"]), 0, 0.0))

    def _step(self) -> int:
        here = self.position % len(self._order)
        index = int(self._order[here])
        # upstream: a window below 2 draws nothing, which keeps the random sequence the same.
        if self._window >= 2:
            # Backwards only: a shown item waits for at least (1 - window_size) of a round.
            there = (here - self._rnd.randint(self._window)) % len(self._order)
            self._order[[here, there]] = self._order[[there, here]]
        self.position += 1
        return index
