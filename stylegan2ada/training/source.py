"""Where a step's inputs come from: training images, latents and labels; and the state that continues them."""

from __future__ import annotations

import time
from typing import Protocol

import numpy as np
import torch

from stylegan2ada.data.batches import Batches
from stylegan2ada.data.dataset import Dataset
from stylegan2ada.protocols import State
from stylegan2ada.training.snapshot_grid import grid_indices

Batch = tuple[torch.Tensor, torch.Tensor]


class Source(Protocol):
    """What the loop asks for; hand in your own to fix what is random."""

    wait_sec: float  # time spent waiting for images so far

    def reals(self) -> Batch:
        """This rank's share of the next batch: uint8 [B, C, H, W] and labels [B, c_dim], on the device."""
        ...

    def latents(self, phase: str) -> Batch:
        """Latents [B, z_dim] and labels [B, c_dim] of the fakes of one phase."""
        ...

    def state_dict(self) -> State: ...

    def load_state_dict(self, state: State) -> None: ...

    def close(self) -> None: ...


class FakeLabels(Protocol):
    """Which labels fakes are asked for: as frequent as in the data, or by a prior that was declared."""

    def draw(self, count: int, rng: np.random.RandomState) -> np.ndarray:
        """float32 [count, c_dim]"""
        ...

    def for_grid(self, columns: int, rows: int) -> np.ndarray:
        """float32 [columns * rows, c_dim], row by row: the labels of the picture that a run shows."""
        ...


class DatasetLabels:
    """Labels of training images: drawn like them, and in the picture the same as of the real one."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def draw(self, count: int, rng: np.random.RandomState) -> np.ndarray:
        return self.dataset.draw_labels(count, rng)

    def for_grid(self, columns: int, rows: int) -> np.ndarray:
        return self.dataset.get_labels(np.asarray(shown_indices(self.dataset, columns, rows)))


class BalancedLabels(DatasetLabels):
    """Every class equally often, as a balanced sampler draws the images.

    D compares images and fakes given a label; both must have the same share of each class.
    """

    def __init__(self, dataset: Dataset) -> None:
        super().__init__(dataset)
        # Label vectors that occur, [classes, c_dim].
        self.classes = np.unique(dataset.get_labels(), axis=0)

    def draw(self, count: int, rng: np.random.RandomState) -> np.ndarray:
        return self.classes[rng.randint(len(self.classes), size=count)]


def shown_indices(dataset: Dataset, columns: int, rows: int) -> list[int]:
    """The training images of the snapshot picture, row by row."""
    labels = dataset.item_labels() if dataset.has_labels else None
    return grid_indices(columns, rows, len(dataset), labels)


class DatasetSource:
    """Batches of a data set in the sampler's order; latents from torch's generator of the device."""

    def __init__(
        self,
        batches: Batches,
        labels: FakeLabels,
        *,
        batch_size: int,  # fakes of this rank; images too, unless the sampler varies
        z_dim: int,
        device: torch.device,
        seed: int,  # of the labels that fakes are made for
    ) -> None:
        self.batches = batches
        self.labels = labels
        self.batch_size = batch_size
        self.z_dim = z_dim
        self.device = device
        self.wait_sec = 0.0
        self._rng = np.random.RandomState(seed)

    def reals(self) -> Batch:
        begin = time.perf_counter()
        images, labels = next(self.batches)
        self.wait_sec += time.perf_counter() - begin
        return images, labels

    def latents(self, phase: str) -> Batch:
        z = torch.randn([self.batch_size, self.z_dim], device=self.device)
        c = torch.from_numpy(self.labels.draw(self.batch_size, self._rng))
        return z, c.to(self.device, non_blocking=True)

    def state_dict(self) -> State:
        _, keys, spot, *_ = self._rng.get_state()
        # 32-bit words as int64: torch knows little of unsigned types.
        label_state = {"keys": torch.from_numpy(np.asarray(keys, dtype=np.int64)), "spot": int(spot)}
        return {"batches": self.batches.state_dict(), "labels": label_state}

    def load_state_dict(self, state: State) -> None:
        self.batches.load_state_dict(state["batches"])
        # Absent after a change of the number of ranks: this rank's own seed then stays.
        if "labels" in state:
            keys = np.asarray(state["labels"]["keys"]).astype(np.uint32)
            self._rng.set_state(("MT19937", keys, int(state["labels"]["spot"]), 0, 0.0))

    def close(self) -> None:
        self.batches.close()
