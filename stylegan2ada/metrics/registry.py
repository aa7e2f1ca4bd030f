"""The table of public metric names, and the function that turns a name, a generator and data into a record.

A name may end in `@DETECTOR` to use another feature network than the usual one: `fid50k_full@mynet`.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stylegan2ada import files, processes, protocols, stats
from stylegan2ada.data.dataset import Dataset
from stylegan2ada.data.fingerprint import fingerprint
from stylegan2ada.errors import UserError
from stylegan2ada.metrics import features, ppl
from stylegan2ada.metrics.detectors import Detector, Detectors
from stylegan2ada.metrics.features import CallOptions, FeatureStats
from stylegan2ada.metrics.fid import frechet_distance
from stylegan2ada.metrics.inception_score import inception_score
from stylegan2ada.metrics.kid import kid_subsets
from stylegan2ada.metrics.precision_recall import (
    DensityCoverage,
    PrecisionRecall,
    density_coverage,
    precision_recall,
)
from stylegan2ada.progress import Progress


@dataclass(frozen=True)
class Measurement:
    """Everything that one metric is computed from."""

    G: protocols.Generator | None  # None when two image sets are compared
    fakes: Dataset | None  # the generated set, when there is no network
    dataset: Dataset | None  # the real images and their labels
    detector: Detector
    G_kwargs: protocols.Options
    batch: int
    seed: int
    cache: bool
    counts: dict[str, int]  # filled in: how many images of each kind the number rests on
    progress: Callable[[int, str], Progress]

    def real(
        self,
        max_items: int | None,
        options: CallOptions,
        *,
        capture_all: bool = False,
        capture_mean_cov: bool = False,
    ) -> FeatureStats:
        assert self.dataset is not None
        n = len(self.dataset) if max_items is None else min(len(self.dataset), max_items)
        with contextlib.closing(self.progress(n, "real images")) as bar:
            found = features.dataset_features(
                self.detector, self.dataset, options=options, max_items=max_items, batch=self.batch,
                cache=self.cache, step=bar.step, capture_all=capture_all, capture_mean_cov=capture_mean_cov,
            )  # fmt: skip
        self.counts["num_real"] = n
        return found

    def fake(
        self,
        num_items: int,
        options: CallOptions,
        *,
        capture_all: bool = False,
        capture_mean_cov: bool = False,
    ) -> FeatureStats:
        n = num_items if self.fakes is None else min(num_items, len(self.fakes))
        with contextlib.closing(self.progress(n, "generated images")) as bar:
            if self.fakes is not None:
                found = features.dataset_features(
                    self.detector, self.fakes, options=options, max_items=n, batch=self.batch,
                    cache=False, step=bar.step, capture_all=capture_all, capture_mean_cov=capture_mean_cov,
                )  # fmt: skip
            else:
                found = features.generator_features(
                    self.detector, self.network(), self.dataset, num_items=n, options=options,
                    G_kwargs=self.G_kwargs, batch=self.batch, seed=self.seed, step=bar.step,
                    capture_all=capture_all, capture_mean_cov=capture_mean_cov,
                )  # fmt: skip
        self.counts["num_fake"] = n
        return found

    def network(self) -> protocols.Generator:
        assert self.G is not None  # calc_metric refuses sets of images where it takes a network
        return self.G


Compute = Callable[[Measurement], dict[str, float]]  # result keys without the metric's name


@dataclass(frozen=True)
class Metric:
    """One public name."""

    name: str
    detector: str
    compute: Compute
    needs_data: bool = True  # reads real images
    needs_network: bool = False  # cannot be measured on a set of images
    xflip: bool | None = None  # demanded of the real images; None leaves the option as the data has it


_FEATURES = {"return_features": True}


def _fid(max_real: int | None, num_fake: int) -> Compute:
    def compute(m: Measurement) -> dict[str, float]:
        real = m.real(max_real, _FEATURES, capture_mean_cov=True)
        fake = m.fake(num_fake, _FEATURES, capture_mean_cov=True)
        # All ranks make features; one is enough for the formula.
        if processes.rank() != 0:
            return {"": float("nan")}
        return {"": frechet_distance(*real.mean_cov(), *fake.mean_cov())}

    return compute


def _kid(max_real: int | None, num_fake: int, subsets: int = 100, size: int = 1000) -> Compute:
    def compute(m: Measurement) -> dict[str, float]:
        real = m.real(max_real, _FEATURES, capture_all=True)
        fake = m.fake(num_fake, _FEATURES, capture_all=True)
        if processes.rank() != 0:
            return {"": float("nan")}
        rng = np.random.RandomState(m.seed % 2**32)
        return {
            "": float(np.mean(kid_subsets(real.all(), fake.all(), subsets=subsets, max_size=size, rng=rng)))
        }

    return compute


Formula = Callable[..., PrecisionRecall | DensityCoverage]  # (real, fake, *, k)


def _neighbours(max_real: int | None, num_fake: int, k: int, formula: Formula) -> Compute:
    def compute(m: Measurement) -> dict[str, float]:
        real = m.real(max_real, _FEATURES, capture_all=True)
        fake = m.fake(num_fake, _FEATURES, capture_all=True)
        if processes.rank() != 0:
            return {f"_{part}": float("nan") for part in _PARTS[formula]}
        values = formula(real.all(), fake.all(), k=k)._asdict()
        return {f"_{part}": value for part, value in values.items()}

    return compute


_PARTS: dict[Formula, tuple[str, ...]] = {
    precision_recall: PrecisionRecall._fields,
    density_coverage: DensityCoverage._fields,
}


def _is(num_fake: int, splits: int = 10) -> Compute:
    def compute(m: Measurement) -> dict[str, float]:
        probs = m.fake(num_fake, {"no_output_bias": True}, capture_all=True)
        if processes.rank() != 0:
            return {"_mean": float("nan"), "_std": float("nan")}
        score = inception_score(probs.all(), splits=splits)
        return {"_mean": score.mean, "_std": score.std}

    return compute


def _ppl(
    num_fake: int, space: str, sampling: str, crop: bool, epsilon: float = 1e-4, batch: int = 2
) -> Compute:
    def compute(m: Measurement) -> dict[str, float]:
        distances = path_lengths(
            m, num_fake, space=space, sampling=sampling, crop=crop, epsilon=epsilon, batch=batch
        )
        m.counts["num_fake"] = num_fake
        return {"": ppl.trimmed_mean(distances) if processes.rank() == 0 else float("nan")}

    return compute


@torch.no_grad()
def path_lengths(
    m: Measurement, n: int, *, space: str, sampling: str, crop: bool, epsilon: float, batch: int
) -> np.ndarray:
    """Distances of n paths, in order, on rank 0; each batch has its own random numbers."""
    features.check_labels(m.network(), m.dataset)
    G = copy.deepcopy(m.network())  # its noise buffers are redrawn
    device, world = m.detector.device, processes.world_size()
    found: list[np.ndarray] = []
    num_batches = -(-n // batch)

    def measure(img: torch.Tensor) -> torch.Tensor:
        return m.detector(img, resize_images=False, return_lpips=True)

    with (
        torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
        contextlib.closing(m.progress(n, "paths")) as bar,
    ):
        for start in range(0, num_batches, world):
            number = start + processes.rank()
            # Both ends of a path at once; they share the labels of the first half.
            z, c = features.latents_and_labels(G, m.dataset, 2 * batch, m.seed, number)
            # "end" measures only where t is 0.
            t = torch.rand([batch]) * (1 if sampling == "full" else 0)
            ppl.redraw_noise(G)
            distances = ppl.path_distances(
                G, z.to(device), c[:batch].to(device), t.to(device), measure,
                space=space, epsilon=epsilon, crop=crop, G_kwargs=m.G_kwargs,
            )  # fmt: skip
            found += processes.all_ranks(distances.cpu().numpy())
            bar.step(batch * world)
    return np.concatenate(found)[:n]


# The newer names measure against the images as they are, never mirrored.
_ONCE: dict[str, bool] = {"xflip": False}

METRICS = {
    metric.name: metric
    for metric in [
        Metric("fid50k_full", "inception", _fid(None, 50000), **_ONCE),
        Metric("kid50k_full", "inception", _kid(1000000, 50000), **_ONCE),
        Metric("pr50k3_full", "vgg16", _neighbours(200000, 50000, 3, precision_recall), **_ONCE),
        Metric("ppl2_wend", "vgg16", _ppl(50000, "w", "end", False), needs_data=False, needs_network=True),
        Metric("is50k", "inception", _is(50000), needs_data=False, **_ONCE),
        # Legacy.
        Metric("fid50k", "inception", _fid(50000, 50000)),
        Metric("kid50k", "inception", _kid(50000, 50000)),
        Metric("pr50k3", "vgg16", _neighbours(50000, 50000, 3, precision_recall)),
        Metric("ppl_zfull", "vgg16", _ppl(50000, "z", "full", True), needs_data=False, needs_network=True),
        Metric("ppl_wfull", "vgg16", _ppl(50000, "w", "full", True), needs_data=False, needs_network=True),
        Metric("ppl_zend", "vgg16", _ppl(50000, "z", "end", True), needs_data=False, needs_network=True),
        Metric("ppl_wend", "vgg16", _ppl(50000, "w", "end", True), needs_data=False, needs_network=True),
        # Ours.
        Metric("dc50k5_full", "vgg16", _neighbours(200000, 50000, 5, density_coverage), **_ONCE),
        # Previews: fewer images, so larger FIDs; never compare them with the names above.
        Metric("fid5k_full", "inception", _fid(None, 5000), **_ONCE),
        Metric("kid5k_full", "inception", _kid(1000000, 5000), **_ONCE),
        Metric("pr5k3_full", "vgg16", _neighbours(200000, 5000, 3, precision_recall), **_ONCE),
        Metric("dc5k5_full", "vgg16", _neighbours(200000, 5000, 5, density_coverage), **_ONCE),
        # With the built-in random network: a first look without any file; comparable with nothing else.
        Metric("fid1k_tiny", "tiny", _fid(None, 1000), **_ONCE),
        Metric("kid1k_tiny", "tiny", _kid(None, 1000), **_ONCE),
        Metric("pr1k3_tiny", "tiny", _neighbours(None, 1000, 3, precision_recall), **_ONCE),
        Metric("dc1k5_tiny", "tiny", _neighbours(None, 1000, 5, density_coverage), **_ONCE),
    ]
}


def list_valid_metrics() -> list[str]:
    """All names, in the order of the table."""
    return list(METRICS)


def is_valid_metric(name: str) -> bool:
    """True for a name of the table, also with another detector behind an @."""
    return name.partition("@")[0] in METRICS


def find_metric(name: str) -> Metric:
    """The table's entry, with the detector that the name asks for."""
    plain, _, detector = name.partition("@")
    if plain not in METRICS:
        raise UserError(f"there is no metric {name!r}; choose from {', '.join(METRICS)}")
    metric = METRICS[plain]
    return dataclasses.replace(metric, name=name, detector=detector or metric.detector)


def calc_metric(
    metric: str,
    G: protocols.Generator | Dataset,  # a generator in eval mode, or generated images
    dataset: Dataset | None = None,
    *,
    G_kwargs: protocols.Options | None = None,  # truncation, noise mode, ...
    detectors: Detectors | None = None,
    device: torch.device | str = "cpu",
    batch: int = 64,  # images per detector call
    seed: int = 0,  # of latents, labels and subsets
    progress: bool = False,
    cache: bool = True,
) -> dict[str, Any]:
    """The record of one measurement; every process of a group must call it, all receive the same values."""
    entry = find_metric(metric)
    fakes = G if isinstance(G, Dataset) else None
    if fakes is not None and entry.needs_network:
        raise UserError(f"{metric} follows paths between latents, so it needs --network, not a set of images")
    if entry.needs_data and dataset is None:
        raise UserError(f"{metric} compares with real images; give --data")
    if dataset is not None and entry.needs_data:
        dataset = _as_measured(dataset, entry.xflip)
    start = time.monotonic()
    measurement = Measurement(
        G=None if isinstance(G, Dataset) else G,
        fakes=fakes,
        dataset=dataset,
        detector=(detectors or Detectors(device=device)).load(entry.detector),
        G_kwargs=G_kwargs or {},
        batch=batch,
        seed=seed,
        cache=cache,
        counts={},
        progress=lambda total, label: Progress(total, f"{metric}: {label}", is_silent=not progress),
    )
    # Other ranks hold NaN up to here.
    values = processes.from_rank0(entry.compute(measurement))
    return _record(entry, measurement, values, time.monotonic() - start)


def _record(entry: Metric, m: Measurement, values: dict[str, float], seconds: float) -> dict[str, Any]:
    """The numbers under the metric's name, and what they rest on."""
    return {
        "results": {entry.name + suffix: value for suffix, value in values.items()},
        "metric": entry.name,
        "total_time": seconds,
        "total_time_str": stats.format_time(seconds),
        "num_gpus": processes.world_size(),
        **m.counts,
        "detector": m.detector.name,
        "detector_sha256": m.detector.sha256,
        "is_comparable": m.detector.is_comparable,
        "real_fingerprint": fingerprint(m.dataset) if m.dataset is not None and entry.needs_data else None,
        "fake_fingerprint": fingerprint(m.fakes) if m.fakes is not None else None,
        "resize_filter": _resize_filter(m.dataset),
    }


def report_metric(
    record: dict[str, Any], run_dir: str | Path | None = None, snapshot_pkl: str | Path | None = None
) -> str:
    """The JSON line of a record; appended to metric-<name>.jsonl of a run folder, if there is one."""
    if run_dir is not None and snapshot_pkl is not None:
        # Relative, so that the run folder can be moved.
        snapshot_pkl = os.path.relpath(snapshot_pkl, run_dir)
    place = None if snapshot_pkl is None else Path(snapshot_pkl).as_posix()
    line = json.dumps({**record, "snapshot_pkl": place, "timestamp": time.time()})
    processes.print0(line)
    if run_dir is not None and processes.rank() == 0:
        files.append_line(Path(run_dir, f"metric-{record['metric']}.jsonl"), line)
    return line


def _as_measured(dataset: Dataset, xflip: bool | None) -> Dataset:
    """All stored images, whatever subset was trained on; mirrored copies only if the metric leaves them."""
    stored = np.arange(dataset.raw_shape[0], dtype=np.int64)
    is_mirrored = bool(dataset.flips.any()) if xflip is None else xflip
    indices = np.tile(stored, 2) if is_mirrored else stored
    return dataset.view(indices, np.arange(len(indices)) >= len(stored))


def _resize_filter(dataset: Dataset | None) -> str:
    recipe = (dataset.recipe if dataset is not None else None) or {}
    return str(recipe.get("resize_filter") or "unknown")
