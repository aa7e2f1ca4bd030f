"""An endless order of dataset indices in which every class comes equally often."""

from __future__ import annotations

import numpy as np

from stylegan2ada.data.dataset import Dataset
from stylegan2ada.errors import UserError
from stylegan2ada.protocols import State

_BLOCK = 4096  # draws that share one random generator


class BalancedSampler:
    """Each draw picks a class, then an item of it, both uniformly and with replacement.

    The draw at a position is a function of seed and position alone: they are the whole state. Classes
    without items are left out. Ranks take turns, as with InfiniteSampler.
    """

    def __init__(self, dataset: Dataset, rank: int = 0, num_replicas: int = 1, seed: int = 0) -> None:
        if not dataset.has_onehot_labels:
            raise UserError(
                f"balanced sampling needs one class number per image, which {dataset.name} does not give; "
                "use labelled data with --cond=1, or the uniform sampler"
            )
        assert 0 <= rank < num_replicas, (rank, num_replicas)
        classes = dataset.item_labels()  # [len]
        self.rank = rank
        self.num_replicas = num_replicas
        self.position = 0  # items drawn so far, by all ranks together
        # numpy's generators take no negative seed.
        self._seed = seed % 2**63
        # Items in the order of classes: class k lies at starts[k] and the counts[k] - 1 places after it.
        self._by_class = np.argsort(classes, kind="stable")
        _, self._starts, self._counts = np.unique(
            classes[self._by_class], return_index=True, return_counts=True
        )

    def take(self, count: int) -> np.ndarray:
        """The next `count` indices of this rank."""
        # Every num_replicas-th position is this rank's: together the ranks leave no gap and share nothing.
        positions = self.position + self.rank + self.num_replicas * np.arange(count)
        self.position += count * self.num_replicas
        return self.at(positions)

    def at(self, positions: np.ndarray) -> np.ndarray:
        """int64: the indices drawn at the given positions of the endless order."""
        found = np.empty(len(positions), dtype=np.int64)
        blocks = positions // _BLOCK
        # Random numbers come by the block: any position is reached without replaying all before it.
        for block in np.unique(blocks):
            is_here = blocks == block
            # [_BLOCK, 2], below 1: one number picks the class, the other the item in it.
            draws = np.random.default_rng([self._seed, int(block)]).random([_BLOCK, 2])
            which, where = draws[positions[is_here] % _BLOCK].T
            chosen = (which * len(self._counts)).astype(np.int64)
            offset = (where * self._counts[chosen]).astype(np.int64)
            found[is_here] = self._by_class[self._starts[chosen] + offset]
        return found

    def state_dict(self) -> State:
        return {"position": self.position, "seed": self._seed}

    def load_state_dict(self, state: State) -> None:
        self.position = int(state["position"])
        self._seed = int(state["seed"])
