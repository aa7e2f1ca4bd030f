"""`experiments quality`: the values of `metrics`, with halves, each class as if it were a set of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spine_plugins.experiments.quality import Question, check, measure
from stylegan2ada.data.dataset import ImageFolderDataset
from stylegan2ada.data.writer import DatasetWriter
from stylegan2ada.errors import UserError
from stylegan2ada.metrics import registry
from stylegan2ada.metrics.detectors import Detectors
from stylegan2ada.metrics.precision_recall import precision_recall
from stylegan2ada.networks.stylegan2 import Generator

CLASSES = [0] * 16 + [1] * 8
NAMES = ("fid1k_tiny", "pr1k3_tiny")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DNNLIB_CACHE_DIR", str(tmp_path / "cache"))


def write_set(path: Path, chosen: Sequence[int]) -> ImageFolderDataset:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, size=(len(CLASSES), 8, 8), dtype=np.uint8)
    with DatasetWriter(path) as writer:
        names = [writer.add(images[i], label=CLASSES[i]) for i in chosen]
        writer.extra["label_names"] = ["thin", "thick"]
        writer.extra["groups"] = {name: {"study": f"s{i}", "patient": f"p{i // 2}"}
                                  for name, i in zip(names, chosen)}  # fmt: skip
    return ImageFolderDataset(path, use_labels=True)


def network(classes: int = 2, side: int = 8) -> Generator:
    widths = {"channel_base": 64, "channel_max": 4}
    shape = {"img_resolution": side, "img_channels": 1}
    G = Generator(z_dim=4, c_dim=classes, w_dim=4, synthesis_kwargs=widths, **shape)
    return G.eval().requires_grad_(False)


def by_metrics(
    monkeypatch: pytest.MonkeyPatch, G: Generator, data: ImageFolderDataset, fakes: int
) -> dict[str, float]:
    """What `spinegan metrics` says of so few fakes."""
    few = {"fid1k_tiny": registry._fid(None, fakes),
           "pr1k3_tiny": registry._neighbours(None, fakes, 3, precision_recall)}  # fmt: skip
    found: dict[str, float] = {}
    with monkeypatch.context() as patch:
        for name, compute in few.items():
            entry = dataclasses.replace(registry.METRICS[name], compute=compute)
            patch.setitem(registry.METRICS, name, entry)
            found |= registry.calc_metric(name, G, data)["results"]
    return found


@pytest.mark.slow
def test_values_are_those_of_metrics_and_of_sets_of_one_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    G, data = network(), write_set(tmp_path / "all.zip", range(len(CLASSES)))
    question = Question(G, data, NAMES, fakes=32, by_class=True, resamples=4)
    check(question)
    records: list[Any] = list(measure(question, Detectors()))
    assert [(r["class"], r["metric"]) for r in records] == [
        (of, name) for of in (None, "thin", "thick") for name in NAMES
    ]
    alone = {None: (data, 32)}
    for k, name in enumerate(("thin", "thick")):
        own = [i for i, label in enumerate(CLASSES) if label == k]
        alone[name] = (write_set(tmp_path / f"{name}.zip", own), 16)
    for of, (reals, fakes) in alone.items():
        if of == "thin":
            continue  # labels of a set of class 0 alone have no width of two
        mine = [r for r in records if r["class"] == of]
        assert {(r["num_real"], r["num_fake"], r["unit"]) for r in mine} == {(len(reals), fakes, "patient")}
        told = {name: found["value"] for r in mine for name, found in r["results"].items()}
        assert told == pytest.approx(by_metrics(monkeypatch, G, reals, fakes), rel=1e-6, abs=1e-9)
    halves = records[0]["results"]["fid1k_tiny"]["halves"]
    assert len(halves) == 4 and min(halves) > 0


def test_too_few_images_have_no_value(tmp_path: Path) -> None:
    data = write_set(tmp_path / "few.zip", [0, 1, 16])
    question = Question(network(), data, NAMES, fakes=16, by_class=True, resamples=2)
    records: list[Any] = list(measure(question, Detectors()))
    one = [r for r in records if r["class"] == "thick"]
    assert one[0]["num_real"] == 1 and one[0]["results"]["fid1k_tiny"]["value"] is None
    recall = one[1]["results"]["pr1k3_tiny_recall"]
    assert recall["value"] is None and recall["halves"] == [None, None]


def test_what_cannot_be_measured_is_refused(tmp_path: Path) -> None:
    data = write_set(tmp_path / "all.zip", range(len(CLASSES)))
    with pytest.raises(UserError, match="has 2 classes, the network 3"):
        check(Question(network(3), data, NAMES, 8, by_class=False))
    with pytest.raises(UserError, match="images of 8 pixels and 1 channels, the network draws 16 and 1"):
        check(Question(network(side=16), data, NAMES, 8, by_class=False))
    with pytest.raises(UserError, match="ppl2_wend does not compare two sets of images"):
        list(measure(Question(network(), data, ("ppl2_wend",), 8, by_class=False), Detectors()))
