"""Metrics of one network with their halves, of all its images and of each class: features are drawn once."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from spine_plugins.experiments.halves import (
    RESAMPLES,
    Resampled,
    bounds_of,
    image_interval,
    measure_again,
    without_bias,
)
from stylegan2ada.data.dataset import ImageFolderDataset
from stylegan2ada.errors import UserError
from stylegan2ada.metrics import features, registry
from stylegan2ada.metrics.detectors import Detector, Detectors
from stylegan2ada.metrics.features import CallOptions, FeatureStats
from stylegan2ada.metrics.registry import Measurement, Metric
from stylegan2ada.progress import Progress
from stylegan2ada.protocols import Generator, JsonObject, LabelSource

_FEATURES = {"return_features": True}
_DIGITS = 8  # of the halves that are kept
_LEVEL = 0.95  # of what is told here; tables compute theirs from the halves


@dataclass(frozen=True)
class Question:
    """What to measure."""

    network: Generator
    data: ImageFolderDataset  # with its labels
    metrics: tuple[str, ...]
    fakes: int  # of all classes together
    by_class: bool
    resamples: int = RESAMPLES
    seed: int = 0
    batch: int = 64


@dataclass(frozen=True)
class _OneClass:
    """Labels that ask for one class alone."""

    of_class: int
    classes: int

    def draw_labels(
        self, count: int, rng: np.random.RandomState | np.random.Generator | None = None
    ) -> np.ndarray:
        del rng  # there is no choice
        return np.eye(self.classes, dtype=np.float32)[np.full(count, self.of_class)]


def measure(question: Question, detectors: Detectors) -> Iterator[JsonObject]:
    """A record for each metric and class, as soon as it is known; all classes together come first."""
    for detector, metrics in _by_detector(question.metrics).items():
        yield from _with_detector(question, detectors.load(detector), metrics)


def _by_detector(names: Sequence[str]) -> dict[str, list[Metric]]:
    found: dict[str, list[Metric]] = {}
    for name in names:
        metric = registry.find_metric(name)
        if metric.needs_network or not metric.needs_data:
            raise UserError(
                f"{name} does not compare two sets of images, so halves of them do not apply; leave it out"
            )
        found.setdefault(metric.detector, []).append(metric)
    return found


def _with_detector(question: Question, detector: Detector, metrics: Sequence[Metric]) -> Iterator[JsonObject]:
    data = question.data
    real = features.dataset_features(
        detector, data, options=_FEATURES, batch=question.batch, capture_all=True
    ).all()
    groups, unit = _groups(data)

    def drawn(labels: LabelSource, count: int) -> np.ndarray:
        return features.generator_features(
            detector, question.network, labels, num_items=count, options=_FEATURES,
            batch=question.batch, seed=question.seed, capture_all=True,
        ).all()  # fmt: skip

    parts: list[_Part] = [(None, np.arange(len(real)), data, question.fakes)]
    if question.by_class:
        parts += _classes(data, question.fakes)
    for name, chosen, labels, count in parts:
        fake = drawn(labels, count)
        mine = None if groups is None else [groups[i] for i in chosen]
        facts = {"class": name, "unit": unit, "detector": detector.name,
                 "detector_sha256": detector.sha256, "is_comparable": detector.is_comparable,
                 "num_real": len(chosen), "num_fake": len(fake), "num_features": real.shape[1]}  # fmt: skip
        for metric in metrics:
            formula = _Formula(metric, detector, question.seed)
            found = measure_again(formula, real[chosen], fake, mine, resamples=question.resamples)
            yield {"metric": metric.name, "results": {k: told(k, v) for k, v in found.items()}, **facts}


_Part = tuple[str | None, np.ndarray, LabelSource, int]  # class, its real images, labels of fakes, how many


def _classes(data: ImageFolderDataset, fakes: int) -> list[_Part]:
    labels, k = data.item_labels(), data.label_dim
    if labels.dtype != np.int64 or k < 2:
        raise UserError(f"{data.path} has no classes to measure one by one; leave --per-class out")
    names = data.label_names or [str(i) for i in range(k)]
    return [(names[i], np.flatnonzero(labels == i), _OneClass(i, k), max(fakes // k, 1)) for i in range(k)]


def _groups(data: ImageFolderDataset) -> tuple[list[str] | None, str]:
    """Whose images they are, as far as the data set knows: patients, or else studies."""
    known = data.groups
    if not known:
        return None, "image"
    entries = [known.get(data.image_names[i]) or {} for i in data.raw_indices]
    unit = "patient" if all(entry.get("patient") for entry in entries) else "study"
    if not all(entry.get(unit) for entry in entries):
        return None, "image"
    return [str(entry[unit]) for entry in entries], unit


class _Formula:
    """A metric of the registry on features that are there already."""

    def __init__(self, metric: Metric, detector: Detector, seed: int) -> None:
        self.metric, self.detector, self.seed = metric, detector, seed

    def __call__(self, real: np.ndarray, fake: np.ndarray) -> Mapping[str, float]:
        name = self.metric.name
        measurement = _Given(
            G=None, fakes=None, dataset=None, detector=self.detector, G_kwargs={}, batch=1, seed=self.seed,
            cache=False, counts={}, progress=lambda n, label: Progress(n, label, is_silent=True),
            reals=real, drawn=fake,
        )  # fmt: skip
        if min(len(real), len(fake)) < 2:
            return dict.fromkeys(self._keys(), math.nan)
        try:
            return {name + end: value for end, value in self.metric.compute(measurement).items()}
        except ValueError:  # fewer images than neighbours are looked for
            return dict.fromkeys(self._keys(), math.nan)

    def _keys(self) -> list[str]:
        # Of a set that is large enough for every metric.
        some = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
        return list(self(some, some))


@dataclass(frozen=True)
class _Given(Measurement):
    """Features that have been drawn already."""

    reals: np.ndarray
    drawn: np.ndarray

    def real(
        self,
        max_items: int | None,
        options: CallOptions,
        *,
        capture_all: bool = False,
        capture_mean_cov: bool = False,
    ) -> FeatureStats:
        del options
        return _stats(self.reals, max_items, capture_all, capture_mean_cov)

    def fake(
        self,
        num_items: int,
        options: CallOptions,
        *,
        capture_all: bool = False,
        capture_mean_cov: bool = False,
    ) -> FeatureStats:
        del options
        return _stats(self.drawn, num_items, capture_all, capture_mean_cov)


def _stats(rows: np.ndarray, most: int | None, capture_all: bool, capture_mean_cov: bool) -> FeatureStats:
    found = FeatureStats(capture_all, capture_mean_cov, max_items=most)
    found.append(rows)
    return found


def told(name: str, found: Resampled) -> JsonObject:
    """The value, its interval, and the halves from which tables compute theirs."""
    least, most = bounds_of(name)
    halves = [float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None for value in found.halves]
    limit = without_bias([found], _LEVEL).as_dict() if name.startswith("fid") else None
    interval = image_interval([found], _LEVEL, least=least, most=most)
    return {**interval.as_dict(), "without_bias": limit, "halves": halves}


def check(question: Question) -> None:
    """UserError where network and data do not fit."""
    G, data = question.network, question.data
    if data.num_channels != G.img_channels or data.resolution != G.img_resolution:
        raise UserError(
            f"{data.path} has images of {data.resolution} pixels and {data.num_channels} channels, the "
            f"network draws {G.img_resolution} and {G.img_channels}; give the data set that it was trained on"
        )
    if G.c_dim and data.label_dim != G.c_dim:
        raise UserError(
            f"{data.path} has {data.label_dim} classes, the network {G.c_dim}; give the data set that it was "
            "trained on"
        )
