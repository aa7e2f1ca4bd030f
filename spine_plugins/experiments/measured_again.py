"""What `quality` tasks say of the networks of an arm: intervals of other images, of all and of each class."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from spine_plugins.experiments.halves import Resampled, bounds_of, image_interval, without_bias
from spine_plugins.experiments.results import Experiment, metric_records
from spine_plugins.runs.documents import Document, as_dict, as_list, finite, whole

_FEW = 20  # images of a class: a share moves by 5 % with each


@dataclass(frozen=True)
class OfImages:
    """One result of the networks of an arm, all against the same real images."""

    name: str
    of_networks: list[Resampled]
    reals: int
    fakes: int
    features: int
    unit: str

    @property
    def is_rank_deficient(self) -> bool:
        """A covariance of so few images knows nothing of most directions: their distance means little."""
        return self.name.startswith("fid") and min(self.reals, self.fakes) <= self.features

    def as_dict(self, level: float) -> Document:
        least, most = bounds_of(self.name)
        limit = without_bias(self.of_networks, level).as_dict() if self.name.startswith("fid") else None
        return {
            **image_interval(self.of_networks, level, least=least, most=most).as_dict(),
            "without_bias": limit,
            "num_real": self.reals,
            "num_fake": self.fakes,
            "unit": self.unit,
            "resolution": 1 / self.reals
            if self.name.endswith(("recall", "coverage")) and self.reals
            else None,
            "num_features": self.features,
            "rank_deficient": self.is_rank_deficient,
        }


def of_arm(experiment: Experiment, arm: str, kimg: float | None = None) -> dict[str, OfImages]:
    """{result: what is known} of all classes together, at this moment of the training."""
    return _by_class(experiment, arm, kimg).get("", {})


def of_classes(experiment: Experiment, arm: str) -> dict[str, dict[str, OfImages]]:
    """The same by class."""
    return {name: found for name, found in _by_class(experiment, arm, None).items() if name}


def few_images(found: dict[str, dict[str, OfImages]]) -> list[str]:
    """Sentences about classes with too few real images."""
    reals = {name: next(iter(of.values())).reals for name, of in found.items() if of}
    said = []
    if few := [f"{name} ({n})" for name, n in reals.items() if n < _FEW]:
        said.append(
            f"Fewer than {_FEW} real images, so one image moves recall by more than 5 %: {', '.join(few)}."
        )
    flat = {name: one for name, of in found.items() for one in of.values() if one.is_rank_deficient}
    if flat:
        most = max(min(one.reals, one.fakes) for one in flat.values())
        features = next(iter(flat.values())).features
        said.append(
            f"No FID is shown of {len(flat)} classes: {features} features of at most {most} images have no "
            "covariance of full rank, so a Frechet distance means little there; KID is fair to few images."
        )
    return said


def _by_class(experiment: Experiment, arm: str, kimg: float | None) -> dict[str, dict[str, OfImages]]:
    found: dict[str, dict[str, OfImages]] = {}
    for record in _records(experiment, arm, kimg):
        of_class = found.setdefault(str(record.get("class") or ""), {})
        for name, result in as_dict(record.get("results")).items():
            one = OfImages(
                name, [], whole(record.get("num_real")) or 0, whole(record.get("num_fake")) or 0,
                whole(record.get("num_features")) or 0, str(record.get("unit") or "image"),
            )  # fmt: skip
            of_class.setdefault(name, one).of_networks.append(_resampled(as_dict(result)))
    return found


def _records(experiment: Experiment, arm: str, kimg: float | None) -> Iterator[Document]:
    for task in experiment.of_kind("quality"):
        path = experiment.output(task, "quality.json")
        if path is None or task.fact("arm") != arm:
            continue
        if kimg is None or finite(task.facts.get("kimg")) == kimg:
            yield from metric_records(path)


def _resampled(result: Document) -> Resampled:
    def known(value: object) -> float:
        found = finite(value)
        return math.nan if found is None else found

    return Resampled(known(result.get("value")), np.array([known(v) for v in as_list(result.get("halves"))]))
