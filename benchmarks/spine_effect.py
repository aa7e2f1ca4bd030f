"""What the class term does to small GANs on phantoms: paired seeds, a judge, mass of the hardest fifth.

    python benchmarks/spine_effect.py --seeds=10 --kimg=8 --workers=2

Each seed trains three networks that differ in the term alone: without it (gamma 0), the paper's formula
(0.01, sum) and the authors' program (0.1, mean, their input mapping). Positives of low severity are the hard
ones; a small network that was trained to read severity off other phantoms measures how many of them remain.
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.stats
import torch
from torch import nn

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from benchmarks import timing
from spine_plugins import phantom
from spine_plugins.classifier import load_classifier
from spine_plugins.training.judge import judge_generator
from stylegan2ada import synthesis
from stylegan2ada.checkpoints import load_network
from stylegan2ada.data.dataset import ImageFolderDataset
from stylegan2ada.images import to_float, to_uint8
from stylegan2ada.stats import format_time

ARMS: dict[str, list[str]] = {
    "gamma 0": ["--cls-weight=0"],
    "paper": ["--cls-weight=0.01", "--cls-reduction=sum"],
    "authors": ["--spine-compat=authors"],
}
SIDE = 32
HARD_SHARE = 0.2


class SeverityReader(nn.Module):
    """The worst severity in an image, read by a small network trained on phantoms that no GAN has seen."""

    def __init__(self) -> None:
        super().__init__()
        widths = [1, 16, 32, 64]
        layers: list[nn.Module] = []
        for before, after in zip(widths[:-1], widths[1:]):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * (SIDE // 8) ** 2, 1))

    def forward(self, img: torch.Tensor) -> torch.Tensor:
        return self.layers(img)[:, 0]


def images_and_severity(path: Path) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Images in [-1, 1], worst severity and label of a phantom data set."""
    dataset = ImageFolderDataset(path, use_labels=True)
    with open(path.with_name(path.stem + "_factors.csv"), newline="") as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    columns = [name for name in next(iter(rows.values())) if name.startswith("severity_")]
    severity = [max(float(rows[name][column]) for column in columns) for name in dataset.image_names]
    images = np.stack([dataset[i][0] for i in range(len(dataset))])
    return to_float(torch.from_numpy(images)), torch.tensor(severity), torch.from_numpy(dataset.raw_labels())


def train_reader(path: Path, epochs: int = 20) -> SeverityReader:
    torch.manual_seed(0)
    images, severity, _ = images_and_severity(path)
    reader = SeverityReader()
    opt = torch.optim.Adam(reader.parameters(), 1e-3)
    for _ in range(epochs):
        for part in torch.randperm(len(images)).split(32):
            loss = (reader(images[part]) - severity[part]).square().mean()
            opt.zero_grad()
            loss.backward()
            opt.step()
    return reader.eval().requires_grad_(False)


def spinegan(*command: object, cwd: Path, threads: int | None = None) -> None:
    """A command of the product; its output only if it fails."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "DNNLIB_CACHE_DIR": str(cwd / "cache")}
    if threads is not None:
        environment["OMP_NUM_THREADS"] = str(threads)
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(
            f"{command} ended with {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        )


@dataclass(frozen=True)
class Instruments:
    """What measures the fakes; none of it saw the images or the classifier of the training."""

    judge: Any
    reader: SeverityReader
    correlation: float  # of the reader with the truth, on phantoms of their own
    border: float  # a fifth of the real positives is read as milder than this

    def measure(self, network: Path, data: Path) -> dict[str, float]:
        """The judge's accuracy on fakes of both classes, and how many of 600 fake positives are hard ones."""
        G = synthesis.averaged_generator(load_network(str(network), log=lambda text: None), "cpu")
        judged = judge_generator(self.judge, G, ImageFolderDataset(data, use_labels=True), per_class=300)
        z = synthesis.seed_latents(range(10_000, 10_600), G.z_dim)
        positives = synthesis.images_from_z(G, z, synthesis.labels(G, len(z), class_idx=1), batch=50)
        read = torch.cat([self.reader(to_float(to_uint8(img))) for img in positives])
        return {"judge_accuracy": judged["accuracy"], "hard_mass": float((read < self.border).float().mean())}


def prepare(folder: Path) -> Instruments:
    """Data, classifier and judge of disjoint patients, the severity reader."""
    for name, seed, n in (("train", 100, 1200), ("other", 200, 1200), ("border", 300, 600)):
        phantom.write_dataset_zip(folder / f"{name}.zip", n, seed=seed, resolution=SIDE, workers=2)
    classify = ["-m", "spine_plugins", "classify", "train"]
    small = ["--arch=cnn13k", "--epochs=15"]
    large = ["--arch=densenet121", "--weights=none", f"--size={SIDE}", "--epochs=4", "--lr=1e-3"]
    spinegan(*classify, "--data=train.zip", "--out=s.safetensors", *small, cwd=folder)
    spinegan(*classify, "--data=other.zip", "--out=judge.safetensors", *large, cwd=folder)
    reader = train_reader(folder / "other.zip")
    images, severity, label = images_and_severity(folder / "border.zip")
    read = reader(images)
    correlation = float(np.corrcoef(read.numpy(), severity.numpy())[0, 1])
    border = float(torch.quantile(read[label == 1], HARD_SHARE))
    print(
        f"severity reader: correlation {correlation:.3f} on unseen phantoms, hardest fifth below {border:.3f}"
    )
    return Instruments(load_classifier(str(folder / "judge.safetensors")), reader, correlation, border)


def train(folder: Path, seed: int, arm: str, kimg: int) -> Path:
    """The last snapshot of one GAN; trained on one thread, whatever runs beside it."""
    outdir = folder / f"runs-{seed}-{arm.replace(' ', '')}"
    data = ["--data=train.zip", "--cond=1", "--aug=noaug"]
    loss = ["--loss=spine", "--classifier=s.safetensors", "--accept-classifier=1", *ARMS[arm]]
    size = ["--cbase=256", "--cmax=32", "--batch=16", "--gamma=0.05", f"--kimg={kimg}"]
    rest = ["--tick=1", "--snap=1000", "--metrics=none", f"--seed={seed}"]
    command = [ROOT / "train_spine.py", f"--outdir={outdir}", *data, *loss, *size, *rest]
    spinegan(*command, cwd=folder, threads=1)
    (network,) = [p for p in outdir.rglob("network-snapshot-*.pkl") if not p.name.endswith("000000.pkl")]
    return network


def paired(rows: list[dict[str, dict]], arm: str, name: str) -> dict[str, float]:
    """Mean difference to gamma 0 over seeds, with its 95 % t interval."""
    differences = [row[arm][name] - row["gamma 0"][name] for row in rows]
    mean = statistics.fmean(differences)
    if len(differences) < 2:
        return {"mean": mean, "low": math.nan, "high": math.nan}
    quantile = float(scipy.stats.t.ppf(0.975, len(differences) - 1))
    half = quantile * statistics.stdev(differences) / math.sqrt(len(rows))
    return {"mean": mean, "low": mean - half, "high": mean + half}


def study(seeds: int, kimg: int, workers: int = 1) -> Mapping[str, Any]:
    rows: list[dict[str, dict]] = []
    with tempfile.TemporaryDirectory() as place, ThreadPoolExecutor(workers) as pool:
        folder = Path(place)
        instruments = prepare(folder)
        start = time.monotonic()
        jobs = [{arm: pool.submit(train, folder, seed, arm, kimg) for arm in ARMS} for seed in range(seeds)]
        for seed, job in enumerate(jobs):
            rows.append(
                {
                    arm: instruments.measure(network.result(), folder / "train.zip")
                    for arm, network in job.items()
                }
            )
            left_sec = (time.monotonic() - start) / (seed + 1) * (seeds - seed - 1)
            print(
                f"seed {seed}: "
                + ", ".join(
                    f"{arm} accuracy {v['judge_accuracy']:.3f} hard {v['hard_mass']:.3f}"
                    for arm, v in rows[-1].items()
                )
                + f", {format_time(left_sec)} left",
                flush=True,
            )
    result: dict[str, Any] = {
        "machine": timing.machine(torch.device("cpu")),
        "seeds": seeds,
        "kimg": kimg,
        "rows": rows,
        "judge_auc": instruments.judge.card["metrics"]["val"]["auc"],
        "severity_reader": {"correlation": instruments.correlation, "border": instruments.border},
    }
    for name in ("judge_accuracy", "hard_mass"):
        result[name] = {arm: statistics.fmean(row[arm][name] for row in rows) for arm in ARMS}
        result[f"{name}_minus_gamma_0"] = {arm: paired(rows, arm, name) for arm in ARMS if arm != "gamma 0"}
        print(name, result[name], result[f"{name}_minus_gamma_0"])
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--kimg", type=int, default=8)
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="trainings at a time")
    parser.add_argument("--out", type=Path, default=None)
    given = parser.parse_args()
    result = study(given.seeds, given.kimg, given.workers)
    timing.save("spine-effect", result, given.out or ROOT / "benchmarks" / "proofs")


if __name__ == "__main__":
    main()
