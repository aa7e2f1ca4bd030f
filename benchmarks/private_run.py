"""A rigorous private run on 20,000 phantoms against the same without noise worth the name; a proof.

    python benchmarks/private_run.py --images=20000 --steps=1000 --batch=256 --epsilon=10

Poor pictures are to be expected; a claim that does not verify is a failure.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import binomtest

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from benchmarks import paper_dp, timing
from spine_plugins import phantom
from spine_plugins.classifier import load_classifier
from spine_plugins.privacy import verification
from spine_plugins.training.judge import judge_generator
from stylegan2ada import synthesis
from stylegan2ada.checkpoints import load_network
from stylegan2ada.data.dataset import ImageFolderDataset
from stylegan2ada.metrics.kid import kid_subsets
from stylegan2ada.training import run_files

SIDE = 32


def spinegan(folder: Path, *command: object) -> None:
    environment = os.environ | {
        "PYTHONPATH": str(ROOT), "DNNLIB_CACHE_DIR": str(folder / "cache"), "OMP_NUM_THREADS": "1"
    }  # fmt: skip
    subprocess.run([sys.executable, *map(str, command)], cwd=folder, env=environment, check=True)


def measure(run_dir: Path, folder: Path, reals: np.ndarray) -> dict[str, Any]:
    """KID with the interval of its subsets, and the judge's accuracy with Wilson's."""
    loaded = load_network(str(run_files.snapshots_in(run_dir)[-1]), log=lambda text: None)
    G = synthesis.averaged_generator(loaded, "cpu")
    values = kid_subsets(reals, paper_dp.fakes_of(G), subsets=50, max_size=500)
    low, high = np.quantile(values, [0.025, 0.975])
    other = ImageFolderDataset(str(folder / "other.zip"), use_labels=True)
    judged = judge_generator(load_classifier(str(folder / "judge.safetensors")), G, other, per_class=300)
    n = 300 * G.c_dim
    bounds = binomtest(round(judged["accuracy"] * n), n).proportion_ci(method="wilson")
    return {
        "kid": {"value": float(values.mean()), "low": float(low), "high": float(high)},
        "judge_accuracy": {"value": judged["accuracy"], "low": bounds.low, "high": bounds.high},
    }


def study(images: int, steps: int, batch: int, epsilon: float) -> Mapping[str, Any]:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name, seed, n in (("train", 100, images), ("other", 200, 2000)):
            path, workers = folder / f"{name}.zip", os.cpu_count() or 1
            phantom.write_dataset_zip(path, n, seed=seed, resolution=SIDE, workers=workers)
        spinegan(folder, "-m", "spine_plugins", "classify", "train", "--data=other.zip",
                 "--out=judge.safetensors", "--arch=cnn13k", "--epochs=10")  # fmt: skip
        other = ImageFolderDataset(str(folder / "other.zip"))
        reals = paper_dp.features(np.stack([other[i][0] for i in range(1000)]))
        shared = [
            ROOT / "train_spine.py", "--data=train.zip", "--cond=1", "--cbase=256", "--cmax=32",
            "--device=cpu", "--snap=10", "--dp-mode=sgd", f"--dp-batch={batch}", f"--dp-steps={steps}",
            f"--dp-n-public={images}", "--dp-chunk=32", "--dp-d-steps=5",
        ]  # fmt: skip
        noises = {"private": f"--dp-target-epsilon={epsilon}", "infinite": "--dp-noise-multiplier=0.01"}
        with ThreadPoolExecutor(len(noises)) as pool:  # side by side, a core each
            jobs = [
                pool.submit(spinegan, folder, *shared, noise, f"--outdir={name}")
                for name, noise in noises.items()
            ]
        found: dict[str, Any] = {}
        for name, job in zip(noises, jobs):
            job.result()
            (run_dir,) = (folder / name).iterdir()
            claimed = verification.verify(run_dir)
            found[name] = measure(run_dir, folder, reals) | {
                "epsilon": claimed["epsilon"], "noise_multiplier": claimed["noise_multiplier"],
                "risk": claimed["risk"], "releases": claimed["releases"],
            }  # fmt: skip
            print(name, json.dumps(found[name]), flush=True)
        return {"machine": timing.machine(torch.device("cpu")), "images": images, "batch": batch, **found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--epsilon", type=float, default=10.0)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "proofs")
    given = parser.parse_args()
    timing.save("private-run", study(given.images, given.steps, given.batch, given.epsilon), given.out)


if __name__ == "__main__":
    main()
