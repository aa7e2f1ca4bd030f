"""The paper's noise on phantoms: arms of Figure 3, and the design it lacks: batch x clipping x noise.

    python benchmarks/paper_dp.py --seeds=3 --kimg=2 --workers=2

KID between fakes and phantoms of other patients, on 8x8 means of pixels (fixed, public features): no detector
has to be fetched, and colour, shape and contrast of small images show in them.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import scipy.stats
import torch

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from benchmarks import timing
from spine_plugins import phantom
from stylegan2ada import synthesis
from stylegan2ada.checkpoints import load_network
from stylegan2ada.data.dataset import ImageFolderDataset
from stylegan2ada.metrics.kid import kid
from stylegan2ada.protocols import Generator
from stylegan2ada.training import run_files

SIDE = 32
LEAST = 1e-6  # a KID that counts as none; that of two halves of the reals
CELLS = {
    f"batch {batch}, clip {clip}, noise {noise:g}": [
        f"--batch={batch}", f"--dp-clip={1.5 if clip == 'on' else 'none'}", f"--dp-noise={noise:g}"
    ]
    for batch, clip, noise in itertools.product((1, 16), ("off", "on"), (0.0, 0.2))
}  # fmt: skip
ARMS = {  # of Figure 3; three of them are cells of the design
    "a": "batch 16, clip off, noise 0",
    "b": "batch 1, clip on, noise 0.2",
    "c": ["--dp-ablation=c"],
    "d": ["--dp-ablation=d"],
    "e": "batch 1, clip off, noise 0.2",
}
SMALL = [
    "--cfg=cifar", "--aug=noaug", "--cbase=256", "--cmax=32", "--gamma=0.05", "--dp-mode=paper"
]  # fmt: skip
FACTORS = {"batch 1": "batch 1,", "clipping": "clip on", "noise 0.2": "noise 0.2"}


def conditions() -> dict[str, list[str]]:
    """Name of each training and its flags."""
    return CELLS | {name: flags for name, flags in ARMS.items() if isinstance(flags, list)}


def train(folder: Path, seed: int, name: str, flags: Iterable[str], kimg: int) -> list[Path]:
    """The snapshots of one training, on one thread: of the untrained network, then one per kimg."""
    outdir = folder / f"runs-{seed}-{name.replace(' ', '').replace(',', '-')}"
    command = [
        sys.executable, str(ROOT / "train_spine.py"), f"--outdir={outdir}", "--data=train.zip", "--cond=1",
        f"--kimg={kimg}", "--continue=latest", "--tick=1", "--snap=1", "--metrics=none", "--device=cpu",
        "--workers=1", f"--seed={seed}", *flags,
    ]  # fmt: skip
    environment = os.environ | {
        "PYTHONPATH": str(ROOT), "DNNLIB_CACHE_DIR": str(folder / "cache"), "OMP_NUM_THREADS": "1"
    }  # fmt: skip
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{name}: {done.stdout[-1000:]}\n{done.stderr[-2000:]}")
    (run_dir,) = outdir.iterdir()
    return run_files.snapshots_in(run_dir)


def features(images: np.ndarray) -> np.ndarray:
    """float32 [N, 64]: means of 4x4 pixels, in [0, 1]."""
    n, _, height, width = images.shape
    blocks = images.reshape(n, 8, height // 8, 8, width // 8).astype(np.float32)
    return blocks.mean(axis=(2, 4)).reshape(n, 64) / 255


def fakes_of(G: Generator) -> np.ndarray:
    """Features of 1,000 fakes, classes in turn."""
    return features(drawn(G))


def drawn(G: Generator, n: int = 1000) -> np.ndarray:
    """uint8 [n, C, H, W], classes in turn."""
    z = synthesis.seed_latents(range(n), G.z_dim)
    c = torch.eye(G.c_dim)[torch.arange(n) % G.c_dim]
    made = synthesis.images_from_z(G, z, c, batch=100)
    return np.concatenate([synthesis.pixels(img).transpose(0, 3, 1, 2) for img in made])


def images_of(network: Path) -> np.ndarray:
    """1,000 images of a snapshot's averaged generator."""
    return drawn(synthesis.averaged_generator(load_network(str(network), log=lambda text: None), "cpu"))


def measure(network: Path, reals: np.ndarray) -> float:
    return kid(reals, features(images_of(network)), subsets=20)


def interval(values: list[float]) -> dict[str, float]:
    """Mean with its 95 % t interval over seeds."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return {"mean": mean, "low": math.nan, "high": math.nan}
    half = (
        float(scipy.stats.t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))
    )
    return {"mean": mean, "low": mean - half, "high": mean + half}


def ratio(logs: list[float]) -> dict[str, float]:
    """The same of logarithms, as a factor: KID scatters in proportion to its size."""
    return {name: math.exp(value) for name, value in interval(logs).items()}


def effects(rows: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Of each factor and pair: by what KID is multiplied over the other cells, with intervals over seeds."""
    found = {}
    for size in (1, 2):
        for names in itertools.combinations(FACTORS, size):
            per_seed = []
            for row in rows:
                signs = {c: math.prod(1 if FACTORS[n] in f"{c}," else -1 for n in names) for c in CELLS}
                signed = sum(sign * log_of(row[cell]) for cell, sign in signs.items())
                per_seed.append(signed / (len(CELLS) / 2))
            found[" x ".join(names)] = ratio(per_seed)
    return found


def log_of(value: float) -> float:
    """Of a KID, whose estimate may fall to 0 and below where it is next to nothing."""
    return math.log(max(value, LEAST))


def summary(curves: list[dict[str, list[float]]]) -> dict[str, Any]:
    """Of all trainings: KID at the end, each arm's in units of arm a's after each kimg, and the effects."""
    rows = [{name: values[-1] for name, values in curve.items()} for curve in curves]
    named = {arm: where if isinstance(where, str) else arm for arm, where in ARMS.items()}
    return {
        "kid": {name: interval([row[name] for row in rows]) for name in conditions()},
        "figure3_over_a": {
            f"{kimg} kimg": {
                arm: ratio([log_of(curve[name][kimg]) - log_of(curve[named["a"]][kimg]) for curve in curves])
                for arm, name in named.items()
                if arm != "a"
            }
            for kimg in range(1, len(curves[0][named["a"]]))
        },
        "effects": effects(rows),
    }


def study(seeds: int, kimg: int, workers: int = 1, work: Path | None = None) -> Mapping[str, Any]:
    curves: list[dict[str, list[float]]] = []  # of every training the KID of each snapshot
    with tempfile.TemporaryDirectory() as place, ThreadPoolExecutor(workers) as pool:
        folder = (work or Path(place)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        for name, seed in (("train", 100), ("other", 200)):
            if not (folder / f"{name}.zip").exists():
                phantom.write_dataset_zip(
                    folder / f"{name}.zip", 1000, seed=seed, resolution=SIDE, workers=workers
                )
        other = ImageFolderDataset(str(folder / "other.zip"))
        reals = features(np.stack([other[i][0] for i in range(len(other))]))
        own = ImageFolderDataset(str(folder / "train.zip"))
        floor = kid(reals, features(np.stack([own[i][0] for i in range(len(own))])), subsets=20)
        for seed in range(seeds):
            jobs = {
                name: pool.submit(train, folder, seed, name, [*SMALL, *flags], kimg)
                for name, flags in conditions().items()
            }
            curves.append({n: [measure(path, reals) for path in job.result()] for n, job in jobs.items()})
            print(
                f"seed {seed}: " + ", ".join(f"{n}: {v[-1]:.4f}" for n, v in curves[-1].items()), flush=True
            )
    result = {
        "machine": timing.machine(torch.device("cpu")),
        "seeds": seeds,
        "kimg": kimg,
        "kid_between_real_halves": floor,
        "curves": curves,
        **summary(curves),
    }
    for name in ("figure3_over_a", "effects"):
        print(name, result[name])
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--kimg", type=int, default=2)
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="trainings at a time")
    parser.add_argument("--work", type=Path, help="keep data and trainings here, and go on with them")
    parser.add_argument("--out", type=Path, default=None)
    given = parser.parse_args()
    result = study(given.seeds, given.kimg, given.workers, given.work)
    timing.save("paper-dp", result, given.out or ROOT / "benchmarks" / "proofs")


if __name__ == "__main__":
    main()
