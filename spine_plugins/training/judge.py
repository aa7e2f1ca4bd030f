"""A second classifier watches the fakes, so that a generator that only fools the first one is seen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import scipy.stats
import torch

from spine_plugins.classifier import SpineClassifier, load_classifier
from spine_plugins.classifier.answers import is_as_wanted
from stylegan2ada import processes, synthesis
from stylegan2ada.data.dataset import Dataset
from stylegan2ada.images import to_float, to_uint8
from stylegan2ada.training.hooks import Hook

JUDGE_FILE = "judge.jsonl"
_BATCH = 50
_REALS_SEED = 0


class Judge(Hook):
    """At each snapshot: accuracy of the fakes by the judge, and how its logits on fakes and reals differ."""

    def __init__(self, path: str, per_class: int = 200) -> None:
        self.path, self.per_class = path, per_class
        self._judge: SpineClassifier | None = None
        self._real_logits: dict[int, np.ndarray] = {}

    def on_snapshot(self, run: Any, path: Path) -> None:
        if processes.rank() != 0:
            return
        if self._judge is None:
            self._judge = load_classifier(self.path).to(run.device)
        record = {"kimg": run.cur_nimg / 1000, "snapshot": path.name}
        record |= judge_generator(self._judge, run.G_ema, run.dataset, self.per_class, self._real_logits)
        with open(run.run_dir / JUDGE_FILE, "a") as file:
            file.write(json.dumps(record) + "\n")
        print(f"Judge: {100 * record['accuracy']:.1f} % of the fakes are what was asked for")


@torch.no_grad()
def judge_generator(
    judge: SpineClassifier,
    G: Any,
    dataset: Dataset,
    per_class: int,
    real_logits: dict[int, np.ndarray] | None = None,  # kept between calls
) -> dict[str, Any]:
    """Accuracy overall and per class; per class KS and W1 between the judge's logits on fakes and reals.

    The logit is that of the asked class (of the positive one for two classes).
    """
    device = next(G.parameters()).device
    kept = {} if real_logits is None else real_logits
    classes: dict[str, Any] = {}
    correct = []
    for k in range(G.c_dim):
        if k not in kept:
            kept[k] = _logits_of_reals(judge, dataset, k, per_class)
        z = synthesis.seed_latents(range(k * per_class, (k + 1) * per_class), G.z_dim)
        c = synthesis.labels(G, per_class, class_idx=k)
        logits = torch.cat([_judge(judge, to_float(to_uint8(img))) for img in
                            synthesis.images_from_z(G, z, c, device=device, batch=_BATCH)])  # fmt: skip
        is_right = is_as_wanted(logits, c, judge.task)
        correct.append(is_right)
        fake = _asked(logits, judge.task, k)
        entry: dict[str, Any] = {"accuracy": float(is_right.mean()), "num_real": len(kept[k])}
        if len(kept[k]):
            entry["ks"] = float(scipy.stats.ks_2samp(fake, kept[k]).statistic)
            entry["w1"] = float(scipy.stats.wasserstein_distance(fake, kept[k]))
        classes[_name(judge, k)] = entry
    accuracy = float(torch.cat(correct).mean())
    return {
        "accuracy": accuracy,
        "per_class": per_class,
        "classes": classes,
        "judge": judge.card.get("sha256"),
    }


def same_judge(judge: SpineClassifier, classifier_card: dict[str, Any]) -> list[str]:
    """Why a judge is not independent of the classifier in the loss; empty if it is."""
    found = []
    if judge.card.get("sha256") == classifier_card.get("sha256"):
        found.append("the judge is the very classifier of the loss")
    if judge.card.get("arch") == classifier_card.get("arch"):
        found.append(f"the judge has the same architecture, {judge.card.get('arch')}")
    trained_on = [((card.get("data") or {}).get("train") or {}).get("fingerprint")
                  for card in (judge.card, classifier_card)]  # fmt: skip
    if trained_on[0] is not None and trained_on[0] == trained_on[1]:
        found.append("the judge was trained on the same patients")
    return found


def _logits_of_reals(judge: SpineClassifier, dataset: Dataset, k: int, most: int) -> np.ndarray:
    labels = dataset.get_labels()
    members = np.flatnonzero(labels.argmax(axis=1) == k)
    rng = np.random.default_rng(_REALS_SEED)
    chosen = rng.permutation(members)[:most]
    found = []
    for part in np.array_split(chosen, max(-(-len(chosen) // _BATCH), 1)):
        if len(part):
            images = torch.from_numpy(np.stack([dataset[int(i)][0] for i in part]))
            found.append(_judge(judge, to_float(images)))
    return _asked(torch.cat(found), judge.task, k) if found else np.zeros(0)


def _judge(judge: SpineClassifier, img: torch.Tensor) -> torch.Tensor:
    device = next(judge.parameters()).device
    return judge(img.to(device)).cpu()


def _asked(logits: torch.Tensor, task: str, k: int) -> np.ndarray:
    return logits[:, 0 if task == "binary" else k].double().numpy()


def _name(judge: SpineClassifier, k: int) -> str:
    return judge.class_names[k] if k < len(judge.class_names) else str(k)
