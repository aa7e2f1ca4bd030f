"""Figure 3 on phantoms, with noise that outweighs the gradient as it did in the paper's networks.

    python benchmarks/figure3.py --seeds=4 --kimg=3 --workers=2

Noise of a given deviation grows with the square root of the values on which it falls, a clipped gradient does
not. The paper's networks have 26 million values, these a fortieth of it; so every arm's noise is multiplied
by the root of the quotient. `paper_dp.py` has the arms with the paper's own numbers.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from benchmarks import paper_dp, timing
from spine_plugins.privacy import paper
from spine_plugins.recipes.pairs import phantom_pairs
from stylegan2ada.checkpoints import load_network
from stylegan2ada.data.dataset import ImageFolderDataset
from stylegan2ada.data.writer import DatasetWriter
from stylegan2ada.metrics.kid import kid

SIZES = {"train": 1000, "val": 300, "other": 1000}  # of the sets, and their seeds
SEEDS = {"train": 100, "val": 150, "other": 200}
PAPERS_VALUES = 26_365_888  # of D at 256x256, on one channel and two classes
VALUES = {"G": 1_330_923, "D": 316_256}  # of the networks here; checked
SCALE = math.sqrt(PAPERS_VALUES / math.sqrt(VALUES["G"] * VALUES["D"]))
NOISES = {arm: change.get("dp_noise", paper.NOISE) for arm, change in paper.ARMS.items()}
# SpineGAN's batch came out best of 4 and 16, on a seed of its own.
ARMS = {"a": ["--batch=4"]} | {
    arm: [f"--dp-ablation={arm}", "--dp-mode=paper", f"--dp-noise={noise * SCALE:.4g}"]
    for arm, noise in NOISES.items()
}
SPINEGAN = [
    "--loss=spine", "--classifier=judge.safetensors", "--cfg=cifar", "--aug=noaug", "--cbase=1024",
    "--cmax=64", "--gamma=0.05",
]  # fmt: skip


def shape(images: np.ndarray) -> np.ndarray:
    """float32 [N, 64]: means of 4x4 pixels, each image's own brightness and contrast taken out."""
    means = paper_dp.features(images)
    means = means - means.mean(axis=1, keepdims=True)
    return means / (means.std(axis=1, keepdims=True) + 1e-3)


LOOKS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"kid": paper_dp.features, "kid_of_shape": shape}


def make_data(folder: Path) -> None:
    """Phantoms from the side, without a collimator's border, and the small classifier of SpineGAN's loss."""
    for name, n in SIZES.items():
        path = folder / f"{name}.zip"
        if path.exists():
            continue
        images, _, labels = phantom_pairs(
            n, SEEDS[name], resolution=paper_dp.SIDE, view="lateral", difficulty=0.6, is_open=True
        )
        with DatasetWriter(path) as writer:
            for pixels, label in zip(images, labels.tolist()):
                writer.add(pixels, label)
            writer.extra["label_names"] = ["normal", "abnormal"]
    if not (folder / "judge.safetensors").exists():
        command = [
            sys.executable, "-m", "spine_plugins", "classify", "train", "--data=train.zip", "--val=val.zip",
            "--out=judge.safetensors", "--arch=cnn13k", "--epochs=8",
        ]  # fmt: skip
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)


def check_size(snapshot: Path) -> None:
    """The noise is scaled to these networks, and to no others."""
    networks = load_network(str(snapshot), log=lambda text: None)
    parts: dict[str, nn.Module | None] = {"G": networks["G"], "D": networks["D"]}
    found = {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items() if part}
    if found != VALUES:
        raise RuntimeError(f"the networks have {found} values, the noise is scaled for {VALUES}")


def measured(snapshots: list[Path], reals: dict[str, np.ndarray]) -> dict[str, list[float]]:
    """By each look, KID of each snapshot."""
    drawn = [paper_dp.images_of(path) for path in snapshots]
    return {
        name: [kid(reals[name], look(images), subsets=20) for images in drawn] for name, look in LOOKS.items()
    }


def study(seeds: int, kimg: int, workers: int = 1, work: Path | None = None) -> Mapping[str, Any]:
    curves: list[dict[str, dict[str, list[float]]]] = []  # of every seed, arm and look
    with tempfile.TemporaryDirectory() as place, ThreadPoolExecutor(workers) as pool:
        folder = (work or Path(place)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        make_data(folder)
        other = ImageFolderDataset(str(folder / "other.zip"))
        images = np.stack([other[i][0] for i in range(len(other))])
        reals = {name: look(images) for name, look in LOOKS.items()}
        trainings = [
            {
                arm: pool.submit(paper_dp.train, folder, seed, arm, [*SPINEGAN, *flags], kimg)
                for arm, flags in ARMS.items()
            }
            for seed in range(seeds)
        ]
        for seed, jobs in enumerate(trainings):
            check_size(jobs["a"].result()[0])
            curves.append({arm: measured(job.result(), reals) for arm, job in jobs.items()})
            print(
                f"seed {seed}: " + ", ".join(f"{arm}: {v['kid'][-1]:.4f}" for arm, v in curves[-1].items()),
                flush=True,
            )
    return {
        "machine": timing.machine(torch.device("cpu")),
        "seeds": seeds,
        "kimg": kimg,
        "noise_multiplied_by": SCALE,
        "noise_over_clip": {
            "the paper's": paper.NOISE * math.sqrt(PAPERS_VALUES) / paper.CLIP,
            **{k: paper.NOISE * SCALE * math.sqrt(n) / paper.CLIP for k, n in VALUES.items()},
        },
        "curves": curves,
        "figure3_over_a": {
            look: {f"{k} kimg": over_a(curves, look, k) for k in range(1, kimg + 1)} for look in LOOKS
        },
    }


def over_a(
    curves: list[dict[str, dict[str, list[float]]]], look: str, kimg: int
) -> dict[str, dict[str, float]]:
    """Each arm's KID in units of arm a's, with its interval over seeds."""
    found = {}
    for arm in "bcde":
        logs = [[paper_dp.log_of(curve[name][look][kimg]) for name in (arm, "a")] for curve in curves]
        found[arm] = paper_dp.ratio([its - own for its, own in logs])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--kimg", type=int, default=3)
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="trainings at a time")
    parser.add_argument("--work", type=Path, help="keep data and trainings here, and go on with them")
    parser.add_argument("--out", type=Path, default=None)
    given = parser.parse_args()
    result = study(given.seeds, given.kimg, given.workers, given.work)
    print(result["figure3_over_a"])
    timing.save("figure3", result, given.out or ROOT / "benchmarks" / "proofs")


if __name__ == "__main__":
    main()
