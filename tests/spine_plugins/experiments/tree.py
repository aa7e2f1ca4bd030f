"""A folder as `experiments run` leaves it, with made-up predictions and metrics: nothing is trained."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from stylegan2ada.data.writer import DatasetWriter
from stylegan2ada.files import sha256_file, write_csv, write_json

KINDS = ("No finding", "Disc space narrowing", "Foraminal stenosis", "Osteophytes")


@dataclass
class Tree:
    """Writes the parts of an experiment; each call adds a task."""

    folder: Path
    seed: int = 0
    patients: int = 60
    rows: list[dict[str, Any]] = field(default_factory=list)
    gans: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        sizes = self.rng.integers(1, 4, self.patients)
        self.groups = np.repeat(np.arange(self.patients), sizes)
        self.labels = (np.arange(self.patients) % 2)[self.groups]
        self.names = [f"{i // 1000:05d}/img{i:08d}.png" for i in range(len(self.labels))]
        self.sex = np.array(["f", "m"])[(np.arange(self.patients) // 2 % 2)[self.groups]]
        # What all classifiers see alike: the patient, and the image.
        self.common = self.rng.normal(size=self.patients)[self.groups] + self.rng.normal(
            size=len(self.labels)
        )

    def data(self, *, groups: bool = True) -> Tree:
        place = self.folder / "tasks" / "data-test"
        place.mkdir(parents=True, exist_ok=True)
        with DatasetWriter(place / "images.zip") as writer:
            for label in self.labels:
                writer.add(np.zeros((8, 8), dtype=np.uint8), label=int(label))
            writer.extra["label_names"] = ["normal", "abnormal"]
            if groups:
                writer.extra["groups"] = {
                    name: {"study": f"s{g}", "patient": f"p{g}"} for name, g in zip(self.names, self.groups)
                }
        write_csv(place / "images_attributes.csv", ["name", "sex"], list(zip(self.names, self.sex)))
        self.task("data-test", "data", {"set": "test", "images": len(self.labels)}, ["images.zip"])
        return self

    def row(self, name: str, shift: float, seeds: int = 3, gans: int | None = None, **more: Any) -> Tree:
        """A row and its predictions: `shift` standard deviations between the classes."""
        row = {"row": name, "title": name.replace("-", " "), "group": "paper", "paper": None}
        row |= {"against": None if name == "real" else "real", "arm": None, "images": None}
        self.rows.append(row | more)
        for seed in range(seeds):
            of_gan = None if gans is None else seed % gans
            facts = {"row": name, "arm": more.get("arm"), "gan_seed": of_gan,
                     "draw": None if gans is None else seed, "seed": seed,
                     "train_images": 400, "steps": 1000, "role": "arm"}  # fmt: skip
            self.classifier(f"{name}-{seed}", facts)
            noise = self.rng.normal(0, 0.1) * self.labels + 0.5 * self.rng.normal(size=len(self.labels))
            logits = shift * (self.labels - 0.5) + 0.8 * self.common + noise
            self.predict(f"predict-{name}-{seed}", facts | {"on": "test"}, logits)
        return self

    def classifier(self, name: str, facts: dict[str, Any]) -> None:
        place = self.folder / "tasks" / f"classifier-{name}"
        place.mkdir(parents=True, exist_ok=True)
        (place / "classifier.safetensors").write_bytes(b"weights")
        history = [{"epoch": e, "train_loss": 1 / e, "val_loss": 1.2 / e, "val_auc": 1 - 0.5 / e,
                    "val_accuracy": 1 - 0.6 / e} for e in range(1, 6)]  # fmt: skip
        write_json(place / "classifier.json", {"history": history, "chosen_epoch": 5})
        self.task(f"classifier-{name}", "classifier", facts, ["classifier.safetensors", "classifier.json"])

    def predict(self, name: str, facts: dict[str, Any], logits: np.ndarray) -> None:
        p = 1 / (1 + np.exp(-logits))
        rows = [[n, str(label), f"p{g}", f"{1 - q:.8g}", f"{q:.8g}"]
                for n, label, g, q in zip(self.names, self.labels, self.groups, p)]  # fmt: skip
        self.table(name, "predict", facts, ["normal", "abnormal"], rows)

    def table(
        self, name: str, kind: str, facts: dict[str, Any], classes: Sequence[str], rows: list[list[str]]
    ) -> None:
        place = self.folder / "tasks" / name
        place.mkdir(parents=True, exist_ok=True)
        header = ["name", "label", "group", *(f"p_{c}" for c in classes)]
        write_csv(place / "predictions.csv", header, rows)
        self.task(name, kind, facts, ["predictions.csv"])

    def consistency(self, arm: str, seed: int, right: float, n: int = 200) -> Tree:
        """Fakes of four kinds of which an independent classifier finds so many right."""
        k = len(KINDS)
        asked = np.arange(n) % k
        wrong = self.rng.random(n) > right
        seen = np.where(wrong, (asked + 1) % k, asked)
        rows = [[f"{i}.png", str(a), "", *(f"{0.7 if j == s else 0.1:.8g}" for j in range(k))]
                for i, (a, s) in enumerate(zip(asked, seen))]  # fmt: skip
        self.table(f"consistency-{arm}-{seed}", "consistency", {"arm": arm, "gan_seed": seed}, KINDS, rows)
        return self

    def gan(self, arm: str, curves: Sequence[Sequence[float]], *, kimg: int = 4, **more: Any) -> Tree:
        """Trainings whose FID goes as in `curves`, one per seed, a snapshot per value."""
        step = kimg / (len(curves[0]) - 1)
        self.gans.append({"arm": arm, "title": arm.upper(), "seeds": list(range(len(curves))), "kimg": kimg,
                          "classes": 2, "private": None} | more)  # fmt: skip
        for seed, values in enumerate(curves):
            run = self.folder / "tasks" / f"gan-{arm}-{seed}" / "run"
            run.mkdir(parents=True, exist_ok=True)
            options = {"random_seed": seed, "total_kimg": kimg, "training_set_kwargs": {"path": "train.zip"},
                       "loss_kwargs": {"class_name": arm, "cls_weight": more.get("weight")}}  # fmt: skip
            write_json(run / "training_options.json", options)
            (run / "stats.jsonl").write_text(json.dumps({"Progress/kimg": {"num": 1, "mean": kimg}}) + "\n")
            lines: dict[str, list[str]] = {}
            for i, fid in enumerate(values):
                shares = {
                    "pr50k3_full_precision": max(0.5 - fid / 400, 0.0),
                    "pr50k3_full_recall": round(max(0.2 - fid / 1000, 0.0) * 500) / 500,
                }
                results = {"fid50k_full": {"fid50k_full": fid}, "pr50k3_full": shares}
                for metric, found in results.items():
                    lines.setdefault(metric, []).append(json.dumps(record(metric, found, round(i * step))))
            for metric, texts in lines.items():
                (run / f"metric-{metric}.jsonl").write_text("\n".join(texts) + "\n")
            self.task(f"gan-{arm}-{seed}", "gan", {"arm": arm, "seed": seed, "kimg": kimg}, [])
        return self

    def quality(self, arm: str, seed: int, values: dict[str, float], *, kimg: int = 4, **of: Any) -> Tree:
        """Results with halves, as `experiments quality` writes them; another class adds to the same file."""
        place = self.folder / "tasks" / f"quality-{arm}-{seed}"
        place.mkdir(parents=True, exist_ok=True)
        path = place / "quality.json"
        before = json.loads(path.read_text())["records"] if path.exists() else []
        results = {name: {"value": v, "halves": [v * x for x in (0.9, 1.3, 1.0, 1.2)]}
                   for name, v in values.items()}  # fmt: skip
        facts = {"class": None, "unit": "patient", "num_real": 500, "num_fake": 1000, "num_features": 128}
        write_json(path, {"records": [*before, {"metric": "any", "results": results, **facts, **of}]})
        self.task(f"quality-{arm}-{seed}", "quality", {"arm": arm, "seed": seed, "kimg": kimg}, [path.name])
        return self

    def task(self, name: str, kind: str, facts: dict[str, Any], outputs: Sequence[str], **more: Any) -> None:
        place = self.folder / "tasks" / name
        place.mkdir(parents=True, exist_ok=True)
        found = {"id": name, "kind": kind, "command": ["spinegan", kind], "needs": [], "inputs": {},
                 "outputs": {o: sha256_file(place / o) for o in outputs}, "state": "done", "seconds": 1.5,
                 "why": None, "facts": facts}  # fmt: skip
        write_json(place / "task.json", found | more)

    def plan(self, **more: Any) -> Path:
        """plan.json, and with it the folder is whole."""
        found = {
            "name": "toy", "data": {"test": "tasks/data-test/images.zip"}, "resolution": 8,
            "classes": ["normal", "abnormal"], "gans": self.gans, "rows": self.rows,
            "analysis": {"level": 0.95, "resamples": 200, "margin": 0.03, "primary": "auc"},
            "tables": ["table1", "table2", "consistency", "blog", "sweep"], "figures": [], "frozen": None,
        }  # fmt: skip
        write_json(self.folder / "plan.json", found | more)
        return self.folder


def record(metric: str, results: dict[str, float], kimg: int, **more: Any) -> dict[str, Any]:
    """A line of a metric's file."""
    return {"results": results, "metric": metric, "num_fake": 1000, "num_real": 500, "detector": "tiny",
            "detector_sha256": "ab" * 32, "is_comparable": False,
            "snapshot_pkl": f"network-snapshot-{kimg:06d}.pkl"} | more  # fmt: skip


def read_csv(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))
