"""Images -> detector features -> statistics; real ones cached by content, generated ones drawn by number.

Items are dealt to processes in small chunks, and each chunk has its own random numbers, so that neither the
batch size nor the number of processes changes a result.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stylegan2ada import files, processes, protocols, synthesis
from stylegan2ada.data.dataset import Dataset
from stylegan2ada.data.fingerprint import fingerprint
from stylegan2ada.errors import UserError
from stylegan2ada.images import to_uint8
from stylegan2ada.metrics.chunks import images_of_chunks
from stylegan2ada.metrics.detectors import Detector
from stylegan2ada.untrusted import open_regular

_CHUNK = 4  # latents that share one random state; the unit of work
_BATCH = 64  # images per call of a detector
_SEED_STEP = 1_000_003

Step = Callable[[int], None]  # told how many more items are done
CallOptions = dict[str, bool]  # of a detector's call


@dataclass
class FeatureStats:
    """Features of up to max_items images in order; all of them, or their float64 sums, or both."""

    capture_all: bool = False
    capture_mean_cov: bool = False
    max_items: int | None = None
    num_items: int = 0
    chunks: list[np.ndarray] = field(default_factory=list)
    raw_mean: np.ndarray | None = None  # sum of features [d]
    raw_cov: np.ndarray | None = None  # sum of outer products [d, d]

    def append(self, features: np.ndarray) -> None:
        """Add [n, d]; what exceeds max_items is dropped."""
        features = np.asarray(features, dtype=np.float32)
        if self.max_items is not None:
            features = features[: self.max_items - self.num_items]
        self.num_items += len(features)
        if self.capture_all:
            self.chunks.append(features)
        if self.capture_mean_cov and len(features):
            # In float32 the sums over 50,000 images would lose digits that a covariance needs.
            wide = features.astype(np.float64)
            if self.raw_mean is None or self.raw_cov is None:
                self.raw_mean, self.raw_cov = np.zeros(wide.shape[1]), np.zeros([wide.shape[1]] * 2)
            self.raw_mean += wide.sum(axis=0)
            self.raw_cov += wide.T @ wide

    def all(self) -> np.ndarray:
        """[num_items, d] float32."""
        assert self.capture_all
        return np.concatenate(self.chunks)

    def mean_cov(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and biased covariance, float64."""
        assert self.raw_mean is not None and self.raw_cov is not None
        mean = self.raw_mean / self.num_items
        return mean, self.raw_cov / self.num_items - np.outer(mean, mean)

    def save(self, path: Path) -> None:
        values: dict[str, Any] = {
            "num_items": self.num_items,
            "raw_mean": self.raw_mean,
            "raw_cov": self.raw_cov,
            "all_features": self.all() if self.capture_all else None,
        }
        files.private_folder(path.parent)
        with files.atomic_write(path, private=True) as file:
            np.savez(file, **{key: value for key, value in values.items() if value is not None})

    @classmethod
    def load(cls, path: Path, *, capture_all: bool = False, capture_mean_cov: bool = False) -> FeatureStats:
        with open_regular(path) as file, np.load(file, allow_pickle=False) as saved:
            stats = cls(capture_all, capture_mean_cov, num_items=int(saved["num_items"]))
            if stats.capture_all:
                stats.chunks = [saved["all_features"]]
            if stats.capture_mean_cov:
                stats.raw_mean, stats.raw_cov = saved["raw_mean"], saved["raw_cov"]
        return stats

    @classmethod
    def load_if_good(cls, path: Path, **captured: bool) -> FeatureStats | None:
        """What was saved, or None if it is not there or cannot be read: then it is made again."""
        try:
            return cls.load(path, **captured)
        except Exception:  # numpy and zipfile fail in whatever way the bytes lead them
            return None


# --- data sets


def cache_tag(
    dataset_name: str,
    dataset_kwargs: protocols.Options,
    detector_url: str,
    detector_kwargs: CallOptions,
    stats_kwargs: protocols.Options,
) -> str:
    """The stem of the file that upstream would keep these statistics in."""
    facts = {
        "dataset_kwargs": dataset_kwargs,
        "detector_kwargs": detector_kwargs,
        "detector_url": detector_url,
        "stats_kwargs": stats_kwargs,
    }
    digest = hashlib.md5(repr(sorted(facts.items())).encode(), usedforsecurity=False).hexdigest()
    return f"{dataset_name}-{Path(detector_url).stem}-{digest}"


def _cache_file(
    dataset: Dataset, detector: Detector, options: CallOptions, capture: dict[str, bool], n: int
) -> Path:
    """Upstream's tag plus what it forgets: content of the data, bytes of the detector, number of items."""
    facts = {"num_items": len(dataset), "name": dataset.name}
    tag = cache_tag(dataset.name, facts, detector.url, options, capture)
    content = hashlib.sha256(json.dumps([fingerprint(dataset), detector.sha256, n]).encode()).hexdigest()
    return files.cache_dir("gan-metrics", f"{tag}-{content[:24]}.npz")


def cached_files() -> list[Path]:
    """Our statistics of real images in the cache; upstream keeps its own in the same folder."""
    folder = files.cache_dir("gan-metrics")
    try:
        return sorted(path for path in folder.iterdir() if re.fullmatch(r".+-[0-9a-f]{24}\.npz", path.name))
    except OSError:  # no cache yet
        return []


def dataset_features(
    detector: Detector,
    dataset: Dataset,
    *,
    options: CallOptions,
    max_items: int | None = None,
    batch: int = _BATCH,
    cache: bool = True,
    step: Step | None = None,
    capture_all: bool = False,
    capture_mean_cov: bool = False,
) -> FeatureStats:
    """Statistics of the first max_items images, in order; complete on rank 0."""
    captured = {"capture_all": capture_all, "capture_mean_cov": capture_mean_cov}
    capture = {name: True for name, is_asked in captured.items() if is_asked}  # as upstream names the file
    n = len(dataset) if max_items is None else min(len(dataset), max_items)
    path = _cache_file(dataset, detector, options, capture, n) if cache else None
    # Rank 0 decides: a file that appears meanwhile must not send ranks different ways.
    known = None
    if path is not None and processes.rank() == 0:
        known = FeatureStats.load_if_good(path, capture_all=capture_all, capture_mean_cov=capture_mean_cov)
    if processes.from_rank0(known is not None):
        if step:
            step(n)
        # Only rank 0 computes numbers, so only it needs to read.
        return known or FeatureStats(capture_all, capture_mean_cov)

    def images(chunks: list[int]) -> list[torch.Tensor]:
        parts = (range(chunk * _CHUNK, min((chunk + 1) * _CHUNK, n)) for chunk in chunks)
        return [torch.from_numpy(np.stack([dataset[i][0] for i in items])) for items in parts]

    stats = FeatureStats(capture_all, capture_mean_cov, max_items=n)
    _collect(detector, images, n, options=options, batch=batch, step=step, stats=stats)
    if path is not None and processes.rank() == 0:
        stats.save(path)
    return stats


# --- generators


@torch.no_grad()
def generator_features(
    detector: Detector,
    G: protocols.Generator,
    labels: protocols.LabelSource | None,  # None: for networks that take none
    *,
    num_items: int,
    options: CallOptions,
    G_kwargs: protocols.Options | None = None,
    batch: int = _BATCH,
    seed: int = 0,
    step: Step | None = None,
    capture_all: bool = False,
    capture_mean_cov: bool = False,
) -> FeatureStats:
    """Statistics of num_items generated images, labels as frequent as in the data; complete on rank 0."""
    # Before any work is dealt: a process that waits for one that gave up would wait for ever.
    check_labels(G, labels)

    def run(z: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return to_uint8(run_generator(G, z, c, detector.device, G_kwargs))

    def inputs(chunk: int) -> tuple[torch.Tensor, torch.Tensor]:
        # Always a whole chunk, cut later: num_items has no say in what is drawn.
        return latents_and_labels(G, labels, _CHUNK, seed, chunk)

    images = partial(
        images_of_chunks, run, inputs, joins=detector.device.type == "cuda", device=detector.device
    )

    with torch.random.fork_rng(devices=_cuda_devices(detector.device)):  # measuring must not disturb training
        stats = FeatureStats(capture_all, capture_mean_cov, max_items=num_items)
        return _collect(detector, images, num_items, options=options, batch=batch, step=step, stats=stats)


def check_labels(G: protocols.Generator, labels: protocols.LabelSource | None) -> None:
    """A conditional network is measured under the labels of some data."""
    if G.c_dim and labels is None:
        raise UserError("a conditional network needs a data set to draw labels from; give --data")


def latents_and_labels(
    G: protocols.Generator, labels: protocols.LabelSource | None, n: int, seed: int, chunk: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """z [n, z_dim] and c [n, c_dim] of one chunk; also seeds the noise of the images made from them."""
    # Seeds of two runs stay apart up to a million chunks.
    torch.manual_seed(seed * _SEED_STEP + chunk)
    z = torch.randn([n, G.z_dim])
    if not G.c_dim:
        return z, torch.zeros([n, 0])
    assert labels is not None  # see check_labels
    rng = np.random.RandomState([seed % 2**32, chunk])
    return z, torch.from_numpy(labels.draw_labels(n, rng))


def run_generator(
    G: protocols.Generator,
    z: torch.Tensor,
    c: torch.Tensor,
    device: torch.device,
    G_kwargs: protocols.Options | None,
) -> torch.Tensor:
    """Images in [-1, 1]; truncation 1 and random noise unless told otherwise."""
    options = synthesis.precision_options(device) | (G_kwargs or {})
    return G(z.to(device), c.to(device), **options)


# --- common


def _collect(
    detector: Detector,
    images: Callable[[list[int]], list[torch.Tensor]],  # of chunks by number, uint8 [<=4, C, H, W] each
    n: int,
    *,
    options: CallOptions,
    batch: int,
    step: Step | None,
    stats: FeatureStats,  # to be filled
) -> FeatureStats:
    """Deal chunks to the processes, call the detector in batches, put the features in order on rank 0."""
    world, rank = processes.world_size(), processes.rank()
    num_chunks = -(-n // _CHUNK)
    per_round = max(batch // _CHUNK, 1)  # chunks that one process hands to the detector at once
    for start in range(0, num_chunks, per_round * world):
        # Dealt like cards: a rank's i-th chunk of a round comes before anybody's (i + 1)-th.
        mine = list(range(start + rank, min(start + per_round * world, num_chunks), world))
        parts = images(mine)
        # A rank without chunks has to join in below all the same.
        found = detector(torch.cat(parts), **options).cpu() if parts else None
        for features in _in_chunk_order(found, [len(part) for part in parts]):
            stats.append(features)
        if step:
            step(min(_CHUNK * per_round * world, n - start * _CHUNK))
    return stats


def _in_chunk_order(found: torch.Tensor | None, sizes: list[int]) -> Iterator[np.ndarray]:
    mine = [] if found is None else [part.numpy() for part in found.split(sizes)]
    gathered = processes.all_ranks(mine)
    # Taken up as they were dealt; in the last round some ranks hold fewer.
    for i in range(max(len(part) for part in gathered)):
        yield from (part[i] for part in gathered if i < len(part))


def _cuda_devices(device: torch.device) -> list[torch.device]:
    return [device] if device.type == "cuda" else []
