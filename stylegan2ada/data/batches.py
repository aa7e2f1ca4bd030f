"""Endless batches for training: uint8 images and float labels on the device, in an order that can be saved.

Images come from the decoded cache, from the accelerator's own memory if they fit there, and only for data
sets too large to cache from threads that decode ahead. All three give identical batches.
"""

from __future__ import annotations

import collections
import concurrent.futures
import math
from collections.abc import Iterator

import numpy as np
import torch

from stylegan2ada.data.cache import LIMIT_BYTES, cached_images
from stylegan2ada.data.dataset import Dataset
from stylegan2ada.data.samplers import Sampler, find_sampler
from stylegan2ada.errors import UserError
from stylegan2ada.protocols import State

_DEVICE_SHARE = 0.1  # of the free accelerator memory may hold images
_AHEAD = 2  # batches being decoded while one is in use
_UPLOAD_ROWS = 1024
_Coming = concurrent.futures.Future[np.ndarray]  # uint8 [C, H, W]


class Batches:
    """Iterator of (uint8 [B, C, H, W], float32 [B, label_dim]) on the device, with a saveable position."""

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,  # of this rank
        *,
        device: torch.device | str = "cpu",
        rank: int = 0,
        num_replicas: int = 1,
        seed: int = 0,
        sampler: str = "uniform",  # registered name or import path, see samplers.py
        workers: int = 3,  # decoding threads, if the images are not cached
        limit_bytes: int = LIMIT_BYTES,  # larger data sets are not cached
    ) -> None:
        assert batch_size > 0, batch_size
        self.dataset = dataset
        self.batch_size = batch_size
        self.device = torch.device(device)
        make_sampler = find_sampler(sampler)
        self.sampler: Sampler = make_sampler(dataset, rank=rank, num_replicas=num_replicas, seed=seed)
        self._kind = sampler
        pixels = cached_images(dataset, limit_bytes=limit_bytes)
        self.source: _Mapped | _Resident | _Streamed  # for those who want to know
        if pixels is None:
            self.source = _Streamed(self, workers)
        elif _fits(pixels, self.device):
            self.source = _Resident(self, pixels)
        else:
            self.source = _Mapped(self, pixels)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        return self

    def __next__(self) -> tuple[torch.Tensor, torch.Tensor]:
        indices, images = self.source.next_batch()
        labels = torch.from_numpy(self.dataset.get_labels(indices))
        return images, self.to_device(labels)

    def state_dict(self) -> State:
        """The position after the last batch handed out; the same on every rank."""
        return {"sampler": self._kind, "state": self.source.sampler_state()}

    def load_state_dict(self, state: State) -> None:
        """Continue with the batch that would have come next."""
        if state["sampler"] != self._kind:
            raise UserError(
                f"the run was started with the {state['sampler']} sampler "
                f"and cannot continue with {self._kind}; give --sampler={state['sampler']}"
            )
        # What was decoded ahead belongs to the order that is given up.
        self.source.forget()
        self.sampler.load_state_dict(state["state"])

    def close(self) -> None:
        """End the decoding threads, if there are any."""
        self.source.close()

    def to_device(self, tensor: torch.Tensor) -> torch.Tensor:
        if self.device.type == "cuda":
            # Only from pinned memory does the copy run beside the computation.
            return tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor.to(self.device)


class _Mapped:
    """Gathers from the memory-mapped cache."""

    def __init__(self, batches: Batches, pixels: np.ndarray) -> None:
        self._batches = batches
        self._pixels = pixels

    def next_batch(self) -> tuple[np.ndarray, torch.Tensor]:
        indices = self._batches.sampler.take(self._batches.batch_size)
        return indices, self._batches.to_device(torch.from_numpy(self._gather(indices)))

    def sampler_state(self) -> State:
        return self._batches.sampler.state_dict()

    def forget(self) -> None:
        """Nothing is decoded ahead."""

    def close(self) -> None:
        """No threads."""

    def _gather(self, indices: np.ndarray) -> np.ndarray:  # uint8 [B, C, H, W]
        dataset = self._batches.dataset
        # An index array copies, so mirroring in place below never reaches the file.
        images = np.asarray(self._pixels[dataset.raw_indices[indices]])
        flips = dataset.flips[indices]
        if flips.any():
            images[flips] = images[flips, :, :, ::-1]
        return images


class _Resident(_Mapped):
    """Gathers on the accelerator, which holds all images."""

    def __init__(self, batches: Batches, pixels: np.ndarray) -> None:
        super().__init__(batches, pixels)
        self._stored = torch.empty(pixels.shape, dtype=torch.uint8, device=batches.device)
        for start in range(0, len(pixels), _UPLOAD_ROWS):
            # In pieces: a copy of the whole file would have to fit into the host's memory.
            rows = np.array(pixels[start : start + _UPLOAD_ROWS])
            self._stored[start : start + len(rows)] = torch.from_numpy(rows).to(batches.device)

    def next_batch(self) -> tuple[np.ndarray, torch.Tensor]:
        batches = self._batches
        indices = batches.sampler.take(batches.batch_size)
        raw = batches.to_device(torch.from_numpy(batches.dataset.raw_indices[indices]))
        images = self._stored[raw]
        flips = batches.dataset.flips[indices]
        if flips.any():
            is_flipped = batches.to_device(torch.from_numpy(flips))[:, None, None, None]
            # A boolean index would make the host wait for the device; this does not.
            images = torch.where(is_flipped, images.flip(3), images)
        return indices, images


class _Streamed:
    """Decodes ahead in threads (Pillow lets other threads run meanwhile)."""

    def __init__(self, batches: Batches, workers: int) -> None:
        self._batches = batches
        self._pool = concurrent.futures.ThreadPoolExecutor(max(workers, 1), thread_name_prefix="decode")
        # Per batch: where the sampler was before it, its indices, its images to come.
        self._ahead: collections.deque[tuple[State, np.ndarray, list[_Coming]]] = collections.deque()

    def next_batch(self) -> tuple[np.ndarray, torch.Tensor]:
        # The one that is handed out now, and _AHEAD behind it.
        while len(self._ahead) <= _AHEAD:
            self._begin()
        _, indices, pending = self._ahead.popleft()
        images = np.empty([len(pending), *self._batches.dataset.image_shape], dtype=np.uint8)
        for row, future in enumerate(pending):
            # An error in a thread comes out here, with the batch that it belongs to.
            images[row] = future.result()
        return indices, self._batches.to_device(torch.from_numpy(images))

    def sampler_state(self) -> State:
        """The sampler has run ahead; what counts is where it was before the first batch not handed out."""
        return self._ahead[0][0] if self._ahead else self._batches.sampler.state_dict()

    def forget(self) -> None:
        while self._ahead:
            for future in self._ahead.popleft()[2]:
                future.cancel()

    def close(self) -> None:
        self.forget()
        self._pool.shutdown(cancel_futures=True)

    def _begin(self) -> None:
        sampler = self._batches.sampler
        before = sampler.state_dict()
        indices = sampler.take(self._batches.batch_size)
        pending = [self._pool.submit(self._one, int(index)) for index in indices]
        self._ahead.append((before, indices, pending))

    def _one(self, index: int) -> np.ndarray:
        dataset = self._batches.dataset
        image = dataset.raw_image(int(dataset.raw_indices[index]))
        return image[:, :, ::-1] if dataset.flips[index] else image


def _fits(pixels: np.ndarray, device: torch.device) -> bool:
    if device.type != "cuda":
        return False
    # Activations and Adam's moments have yet to come, hence the small share of what is free.
    free, _ = torch.cuda.mem_get_info(device)
    return math.prod(pixels.shape) <= _DEVICE_SHARE * free
