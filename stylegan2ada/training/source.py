"""Where a step's inputs come from: training images, latents and labels; and the state that continues them."""

from __future__ import annotations

import time
from typing import Any, Protocol

import numpy as np
import torch

from stylegan2ada.data.dataset import Dataset


class Source(Protocol):
    """What the loop asks for; hand in your own to fix what is random."""

    wait_sec: float  # time spent waiting for images so far

    def reals(self) -> tuple[torch.Tensor, torch.Tensor]:
        """This rank's share of the next batch: uint8 [B, C, H, W] and labels [B, c_dim], on the device."""
        ...

    def latents(self, phase: str) -> tuple[torch.Tensor, torch.Tensor]:
        """As many latents [B, z_dim] and labels [B, c_dim] for one phase."""
        ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...

    def close(self) -> None: ...


class DatasetSource:
    """Batches of a data set in the sampler's order; latents from torch's generator of the device."""

    def __init__(
        self,
        dataset: Dataset,
        batches: Any,  # iterator of (uint8 images, labels) on the device, with a saveable position
        *,
        batch_size: int,  # of this rank
        z_dim: int,
        device: torch.device,
        seed: int,  # of the labels that fakes are made for
        is_balanced: bool = False,  # classes of fakes as even as a balanced sampler makes those of images
    ) -> None:
        self.dataset = dataset
        self.batches = batches
        self.batch_size = batch_size
        self.z_dim = z_dim
        self.device = device
        self.wait_sec = 0.0
        self._labels = np.random.RandomState(seed)
        # D compares images and fakes given a label; both must have the same share of each class.
        self._classes = np.unique(dataset.get_labels(), axis=0) if is_balanced else None

    def reals(self) -> tuple[torch.Tensor, torch.Tensor]:
        begin = time.perf_counter()
        images, labels = next(self.batches)
        self.wait_sec += time.perf_counter() - begin
        return images, labels

    def latents(self, phase: str) -> tuple[torch.Tensor, torch.Tensor]:
        z = torch.randn([self.batch_size, self.z_dim], device=self.device)
        if self._classes is None:
            labels = self.dataset.draw_labels(self.batch_size, self._labels)
        else:
            labels = self._classes[self._labels.randint(len(self._classes), size=self.batch_size)]
        return z, torch.from_numpy(labels).to(self.device, non_blocking=True)

    def state_dict(self) -> dict[str, Any]:
        _, keys, spot, *_ = self._labels.get_state()
        label_state = {"keys": torch.from_numpy(np.asarray(keys, dtype=np.int64)), "spot": int(spot)}
        return {"batches": self.batches.state_dict(), "labels": label_state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.batches.load_state_dict(state["batches"])
        if "labels" in state:
            keys = np.asarray(state["labels"]["keys"]).astype(np.uint32)
            self._labels.set_state(("MT19937", keys, int(state["labels"]["spot"]), 0, 0.0))

    def close(self) -> None:
        if hasattr(self.batches, "close"):
            self.batches.close()
