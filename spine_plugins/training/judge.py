"""A second classifier watches the fakes, so that a generator that only fools the first one is seen."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypedDict

import numpy as np
import scipy.stats
import torch
from torch import Tensor

from spine_plugins.classifier.answers import asked_logit, is_as_wanted
from spine_plugins.classifier.cards import Card
from spine_plugins.classifier.model import SpineClassifier, load_classifier
from stylegan2ada import files, processes, synthesis
from stylegan2ada.checkpoints import load_network
from stylegan2ada.data.dataset import Dataset
from stylegan2ada.errors import UserError
from stylegan2ada.images import to_float, to_uint8
from stylegan2ada.networks import stylegan2
from stylegan2ada.protocols import Generator
from stylegan2ada.training import run_files
from stylegan2ada.training.hooks import AtSnapshot, Hook

_BATCH = 50
_REALS_SEED = 0


class Judged(AtSnapshot, Protocol):
    """As much of a run as the judge looks at."""

    @property
    def dataset(self) -> Dataset: ...


class ClassVerdict(TypedDict, total=False):
    """Of the fakes of one class; the distances are missing where there are no reals."""

    accuracy: float
    num_real: int
    ks: float  # Kolmogorov-Smirnov statistic, 0 to 1
    w1: float  # Wasserstein distance, in logits


class Verdict(TypedDict):
    """What a judge says of a generator."""

    accuracy: float
    per_class: int  # fakes of each class
    classes: dict[str, ClassVerdict]
    judge: str | None  # SHA-256


class Judge(Hook):
    """At each snapshot: accuracy of the fakes by the judge, and how its logits on fakes and reals differ."""

    def __init__(self, path: str, per_class: int = 200) -> None:
        self.path, self.per_class = path, per_class
        self._judge: SpineClassifier | None = None
        self._real_logits: dict[int, np.ndarray] = {}

    def on_snapshot(self, run: Judged, path: Path) -> None:
        # Every rank has the same G_ema, so one verdict is enough.
        if processes.rank() != 0:
            return
        if self._judge is None:
            self._judge = load_classifier(self.path).to(run.device)
        verdict = judge_generator(self._judge, run.G_ema, run.dataset, self.per_class, self._real_logits)
        record = {"kimg": run.cur_nimg / 1000, "snapshot": path.name, **verdict}
        # Appended line by line: a run that is killed keeps what was judged before.
        files.append_line(run.run_dir / run_files.JUDGE, json.dumps(record))
        print(f"Judge: {100 * verdict['accuracy']:.1f} % of the fakes are what was asked for")


@dataclass(frozen=True)
class _Snapshot:
    """A network file as the judge wants to see a run."""

    run_dir: Path
    device: torch.device
    G_ema: stylegan2.Generator
    dataset: Dataset
    cur_nimg: int


class SnapshotJudge:
    """The same on network files of a run that another program trains."""

    def __init__(self, judge: Judge, dataset: Dataset) -> None:
        self.judge, self.dataset = judge, dataset

    def __call__(self, path: Path) -> None:
        """Judge one file; what cannot be read is said, and the training goes on."""
        try:
            G_ema = load_network(path)["G_ema"]
        except UserError as error:
            print(f"Judge: {error}")
            return
        if G_ema is None:
            print(f"Judge: {path.name} holds no G_ema")
            return
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        nimg = round(1000 * (run_files.kimg_of(path.name) or 0))
        self.judge.on_snapshot(
            _Snapshot(path.parent, device, G_ema.to(device).eval(), self.dataset, nimg), path
        )


@torch.no_grad()
def judge_generator(
    judge: SpineClassifier,
    G: Generator,
    dataset: Dataset,
    per_class: int,
    real_logits: dict[int, np.ndarray] | None = None,  # kept between calls
) -> Verdict:
    """Accuracy overall and per class; per class KS and W1 between the judge's logits on fakes and reals.

    The logit is that of the asked class (of the positive one for two classes).
    """
    kept = {} if real_logits is None else real_logits
    classes: dict[str, ClassVerdict] = {}
    correct = []
    # As many fakes of each class, not in the data's proportions: rare classes would be judged by a handful.
    for k in range(G.c_dim):
        if k not in kept:
            kept[k] = _logits_of_reals(judge, dataset, k, per_class)
        logits, c = _logits_of_fakes(judge, G, k, per_class)
        is_right = is_as_wanted(logits, c, judge.task)
        correct.append(is_right)
        name = judge.class_names[k] if k < len(judge.class_names) else str(k)
        classes[name] = {"accuracy": float(is_right.mean()), "num_real": len(kept[k])}
        if len(kept[k]):
            fake = asked_logit(logits, k, judge.task).double().numpy()
            classes[name]["ks"] = float(scipy.stats.ks_2samp(fake, kept[k]).statistic)
            classes[name]["w1"] = float(scipy.stats.wasserstein_distance(fake, kept[k]))
    return {
        "accuracy": float(torch.cat(correct).mean()),
        "per_class": per_class,
        "classes": classes,
        "judge": judge.card.get("sha256"),
    }


def same_judge(judge_card: Card, classifier_card: Card) -> list[str]:
    """Why a judge is not independent of the classifier in the loss; empty if it is."""
    found = []
    if judge_card.get("sha256") == classifier_card.get("sha256"):
        found.append("the judge is the very classifier of the loss")
    # Networks of one architecture share weak spots: what fools one often fools the other.
    if judge_card.get("arch") == classifier_card.get("arch"):
        found.append(f"the judge has the same architecture, {judge_card.get('arch')}")
    trained_on = [(card.get("data") or {}).get("train") for card in (judge_card, classifier_card)]
    prints = [facts and facts.get("fingerprint") for facts in trained_on]
    if prints[0] is not None and prints[0] == prints[1]:
        found.append("the judge was trained on the same patients")
    return found


def _logits_of_fakes(judge: SpineClassifier, G: Generator, k: int, n: int) -> tuple[Tensor, Tensor]:
    """Of n fakes of class k, whose seeds are those of no other class; and the labels they were asked by."""
    z = synthesis.seed_latents(range(k * n, (k + 1) * n), G.z_dim)
    c = synthesis.labels(G, n, class_idx=k)
    device = next(G.parameters()).device
    images = synthesis.images_from_z(G, z, c, device=device, batch=_BATCH)
    # Through 8 bits, as everybody else will see them.
    return torch.cat([_logits(judge, to_float(to_uint8(img))) for img in images]), c


def _logits_of_reals(judge: SpineClassifier, dataset: Dataset, k: int, most: int) -> np.ndarray:
    """float64 [n] of up to `most` real images of class k; the same ones at every call."""
    members = np.flatnonzero(dataset.get_labels().argmax(axis=1) == k)
    # Always the same reals: the curve over snapshots shall move with the generator alone.
    chosen = np.random.default_rng(_REALS_SEED).permutation(members)[:most]
    found = []
    # Rounded up; array_split refuses the 0 parts that a class without reals would ask for.
    for part in np.array_split(chosen, max(-(-len(chosen) // _BATCH), 1)):
        if len(part):
            images = torch.from_numpy(np.stack([dataset[int(i)][0] for i in part]))
            found.append(asked_logit(_logits(judge, to_float(images)), k, judge.task))
    return torch.cat(found).double().numpy() if found else np.zeros(0)


def _logits(judge: SpineClassifier, img: Tensor) -> Tensor:
    device = next(judge.parameters()).device
    return judge(img.to(device)).cpu()
