"""A second classifier watches: what it measures, what it writes, and when it is no second opinion."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from spine_plugins.classifier import new_classifier, save_classifier
from spine_plugins.training.judge import Judge, judge_generator, same_judge
from stylegan2ada.data.dataset import ImageFolderDataset
from stylegan2ada.networks.stylegan2 import Generator
from stylegan2ada.training import run_files
from tests.spine_plugins.classifier.making import NAMES, write_spots


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DNNLIB_CACHE_DIR", str(tmp_path / "cache"))


class Bright(torch.nn.Module):
    """Says abnormal where the picture is bright."""

    def __init__(self) -> None:
        super().__init__()
        self.task, self.class_names = "binary", NAMES
        self.card = {"sha256": "j", "arch": "bright", "data": {"train": {"fingerprint": "x"}}}
        self.offset = torch.nn.Parameter(torch.zeros(()))

    def forward(self, img: torch.Tensor, mapping: str = "card") -> torch.Tensor:
        return 20 * (img.mean([1, 2, 3])[:, None] + 0.5) + self.offset


def networks(classes: int = 2) -> Generator:
    torch.manual_seed(0)
    widths = {"channel_base": 64, "channel_max": 4}
    return Generator(
        z_dim=4, c_dim=classes, w_dim=4, img_resolution=16, img_channels=1, synthesis_kwargs=widths
    ).eval()


def test_the_judge_measures_accuracy_and_distance_per_class(tmp_path: Path) -> None:
    dataset = ImageFolderDataset(write_spots(tmp_path / "d.zip", 24, size=16), use_labels=True)
    G = networks()
    record = judge_generator(Bright(), G, dataset, per_class=20)
    classes = record["classes"]
    assert set(classes) == set(NAMES)
    assert record["accuracy"] == pytest.approx(
        (classes["normal"]["accuracy"] + classes["abnormal"]["accuracy"]) / 2
    )
    assert all(0 <= entry["ks"] <= 1 and entry["w1"] >= 0 for entry in classes.values())
    assert json.loads(json.dumps(record)) == record
    assert judge_generator(Bright(), G, dataset, per_class=20) == record


def test_a_judge_that_is_no_other_opinion_is_named() -> None:
    card = Bright().card
    assert same_judge(card, {"sha256": "s", "arch": "cnn13k", "data": {"train": {"fingerprint": "y"}}}) == []
    assert len(same_judge(card, card)) == 3


def test_three_classes_are_judged_by_the_logit_that_was_asked_for(tmp_path: Path) -> None:
    class Third(torch.nn.Module):
        """Always says the third of three classes."""

        task, class_names, card = "multiclass", ["a", "b"], {}

        def __init__(self) -> None:
            super().__init__()
            self.logits = torch.nn.Parameter(torch.tensor([0.0, 1.0, 5.0]))

        def forward(self, img: torch.Tensor) -> torch.Tensor:
            return self.logits.expand(len(img), 3)

    labels = np.arange(24) % 2  # no reals of the third class
    path = write_spots(tmp_path / "d.zip", 24, size=16, labels=labels, names=["a", "b", "c"])
    G = networks(3)
    found = judge_generator(Third(), G, ImageFolderDataset(path, use_labels=True), per_class=5)
    assert found["accuracy"] == pytest.approx(1 / 3)
    assert found["classes"] == {
        "a": {"accuracy": 0.0, "num_real": 5, "ks": 0.0, "w1": 0.0},
        "b": {"accuracy": 0.0, "num_real": 5, "ks": 0.0, "w1": 0.0},
        "2": {"accuracy": 1.0, "num_real": 0},
    }


@dataclass
class Run:
    """What the judge looks at."""

    run_dir: Path
    dataset: ImageFolderDataset
    G_ema: Generator
    cur_nimg: int = 1500
    device: torch.device = torch.device("cpu")


def test_a_line_per_snapshot(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "j.safetensors"
    save_classifier(new_classifier("cnn13k", "binary", NAMES), path)
    data = ImageFolderDataset(write_spots(tmp_path / "d.zip", 24, size=16), use_labels=True)
    run = Run(tmp_path, data, networks())
    judge = Judge(str(path), per_class=4)
    for kimg in (1, 2):
        run.cur_nimg = 1000 * kimg
        judge.on_snapshot(run, tmp_path / run_files.snapshot(kimg))
    lines = [json.loads(line) for line in (tmp_path / run_files.JUDGE).read_text().splitlines()]
    assert [(line["kimg"], line["snapshot"]) for line in lines] == [
        (1.0, "network-snapshot-000001.pkl"),
        (2.0, "network-snapshot-000002.pkl"),
    ]
    assert lines[0] | {"kimg": 0, "snapshot": ""} == lines[1] | {"kimg": 0, "snapshot": ""}
    assert f"Judge: {100 * lines[1]['accuracy']:.1f} % of the fakes" in capsys.readouterr().out
