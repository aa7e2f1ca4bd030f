"""A run folder written by hand: small files of every kind that a page can be made from."""

from __future__ import annotations

import json
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from stylegan2ada.training import run_files

CELL = 8
GRID = (12, 8)
SHA = "ab" * 32


def mean(value: float, num: int = 16) -> dict[str, float]:
    return {"num": num, "mean": value, "std": 0.1}


def grid_png(path: Path, columns: int, rows: int, level: int) -> None:
    """A grid of images, each of one grey value."""
    cells = (np.arange(columns * rows).reshape(rows, columns) * 2 + level) % 256
    Image.fromarray(np.kron(cells, np.ones((CELL, CELL))).astype(np.uint8)).save(path)


def write_data_set(folder: Path) -> Path:
    """X-train.zip with what dataset_tool_dicom leaves beside it."""
    described = {
        "labels": None,
        "label_names": ["normal", "abnormal"],
        "groups": {"00000/img00000000.png": {"study": "s", "patient": "p"}},
        "recipe": {"tool": "dataset_tool_dicom", "version": "0.1.0", "resize_filter": "area"},
    }
    with zipfile.ZipFile(folder / "spine-train.zip", "w") as archive:
        archive.writestr("dataset.json", json.dumps(described))
    summary = {
        "files": 480,
        "kept": 470,
        "candidates": 475,
        "failed": 5,
        "by_label": {"normal": 250, "abnormal": 220},
        "by_split": {"train": 400, "test": 70},
        "by_reason": {"decode_failed": 5},
        "by_warnings": {"near_duplicate": 12},
        "config_hash": "8fe84fd0fbc646fe",
    }
    (folder / "spine_summary.json").write_text(json.dumps(summary))
    grid_png(folder / "spine_contact.png", 8, 4, 9)
    grid_png(folder / "spine_hist.png", 6, 3, 90)
    return folder / "spine-train.zip"


def write_classifier(folder: Path) -> Path:
    """The card only: the page never opens weights."""
    card = {
        "format": "spinegan-classifier",
        "arch": "cnn13k",
        "task": "binary",
        "sha256": SHA,
        "class_names": ["normal", "abnormal"],
        "input": {"size": 64},
        "split": "patient",
        "selected_on": "val",
        "weights": {"origin": "none"},
        "licence": "that of its training data",
        "metrics": {
            "val": {
                "n": 63,
                "auc": {"value": 0.7272, "low": 0.551, "high": 0.898},
                "auprc": None,
                "accuracy": 0.714,
                "brier": 0.2057,
                "ece": 0.09,
            },
            "test": None,
        },
    }
    (folder / "classifier.json").write_text(json.dumps(card))
    return folder / "classifier.safetensors"


def options_of(data: Path, classifier: Path) -> dict[str, Any]:
    return {
        "num_gpus": 1, "metrics": [], "random_seed": 0,
        "training_set_kwargs": {"class_name": "training.dataset.ImageFolderDataset", "path": str(data),
                                "use_labels": True, "max_size": 400, "xflip": False, "resolution": CELL},
        "loss_kwargs": {"class_name": "spine", "r1_gamma": 0.05, "classifier": str(classifier)},
        "ada_target": 0.6, "total_kimg": 200, "batch_size": 16,
        "spinegan": {
            "desc": "spine", "loss": "spine",
            "spine": {"classifier_sha256": SHA, "classifier_doubts": [], "judge_doubts": []},
            "provenance": {"version": "0.1.0", "source_sha256": "cd" * 32, "python": "3.11.7",
                           "platform": "Linux", "libraries": {"torch": "2.13.0", "numpy": "2.4.6"},
                           "command": ["/home/mueller/spine/train_spine.py", f"--data={data}", "--kimg=200"]},
            "card": {"foreign": False, "starts_from": [], "licence": None},
        },
    }  # fmt: skip


def stats_row(kimg: float, share: float) -> dict[str, Any]:
    return {
        "Loss/G/loss": mean(1.2 + share),
        "Loss/D/loss": mean(0.9 - 0.3 * share),
        "Loss/scores/real": mean(0.5 + share),
        "Loss/scores/fake": mean(-0.5 - share),
        "Loss/signs/real": mean(0.4 + 0.2 * share),
        "Loss/signs/fake": mean(-0.4 - 0.2 * share),
        "Loss/G/cls": mean(0.9 * math.exp(-3 * share)),
        "Loss/G/cls_accuracy": mean(1 - math.exp(-1 - 3 * share)),
        "Loss/r1_penalty": mean(0.1 + 0.05 * share),
        "Loss/pl_penalty": mean(10 ** (1 - 3 * share)),
        "Loss/G/mine": mean(share),
        "Progress/kimg": mean(kimg, 1),
        "Progress/augment": mean(0.3 * share, 1),
        "Timing/sec_per_kimg": mean(59, 1),
        "Timing/total_sec": mean(59 * kimg, 1),
        "timestamp": 1.79e9 + kimg,
    }


def write_run(folder: Path, data: Path, classifier: Path, *, ticks: int = 20, snapshots: int = 4) -> Path:
    """A finished run, everything in order."""
    (folder / run_files.CLASSES).mkdir(parents=True)
    (folder / run_files.OPTIONS).write_text(json.dumps(options_of(data, classifier)))
    rows = [stats_row(10.0 * (i + 1), i / max(ticks - 1, 1)) for i in range(ticks)]
    (folder / run_files.STATS).write_text("".join(json.dumps(row) + "\n" for row in rows))
    end = 10.0 * ticks
    for event, kimg in (("started", 0.0), ("saved", end), ("finished", end)):
        run_files.add_event(folder, event, kimg=kimg)
    grid_png(folder / run_files.REALS, *GRID, 0)
    metrics, judged = [], []
    for i in range(snapshots):
        kimg = round(10 * ticks * i / max(snapshots - 1, 1))
        moment = None if i == 0 else kimg
        grid_png(folder / run_files.fakes(moment), *GRID, 40 * i)
        for k, name in enumerate(("normal", "abnormal")):
            grid_png(folder / run_files.class_fakes(moment, k, name), 8, 4, 40 * i + k)
        metrics.append(
            {
                "results": {"fid50k_full": 123.4 / (i + 1)},
                "metric": "fid50k_full",
                "is_comparable": True,
                "detector": "inception",
                "detector_sha256": "x",
                "real_fingerprint": "y",
                "resize_filter": "area",
                "snapshot_pkl": run_files.snapshot(kimg),
            }
        )
        entry = {"accuracy": 0.5 + 0.1 * i, "num_real": 9, "ks": 0.5 - 0.1 * i, "w1": 2 - 0.3 * i}
        judged.append(
            {
                "kimg": kimg,
                "accuracy": 0.5 + 0.1 * i,
                "per_class": 200,
                "judge": SHA,
                "classes": {"normal": entry, "abnormal": entry | {"accuracy": 0.4 + 0.1 * i}},
            }
        )
    append(folder / run_files.metric("fid50k_full"), *metrics)
    append(folder / run_files.JUDGE, *judged)
    return folder


def warn(run: Path, code: str, text: str, *, kimg: float = 10.0) -> None:
    """What the run warned of."""
    run_files.add_event(run, "warning", kimg=kimg, code=code, text=text)


def forget_end(run: Path) -> None:
    """The run has begun, and its events say no more."""
    (run / run_files.EVENTS).unlink()
    run_files.add_event(run, "started", kimg=0)


def append(path: Path, *records: dict[str, Any]) -> None:
    with open(path, "a") as file:
        file.writelines(json.dumps(record) + "\n" for record in records)


def change_options(run: Path, **values: Any) -> None:
    """Set keys of training_options.json; `a__b` is b inside a."""
    path = run / run_files.OPTIONS
    options = json.loads(path.read_text())
    for name, value in values.items():
        *outer, last = name.split("__")
        place = options
        for key in outer:
            place = place[key]
        place[last] = value
    path.write_text(json.dumps(options))
