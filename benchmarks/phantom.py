"""Speed of the phantom: CPU per image at several sizes, and the wall time of a series by all cores.

python benchmarks/phantom.py [--n 2000] [--workers 2] [--out benchmarks/results]
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).resolve().parent.parent)  # the clone, so that this folder shadows nothing

import numpy as np
import scipy
import torch

from benchmarks import timing
from spine_plugins import phantom


def cpu_ms(size: tuple[int, int], images: int = 24) -> float:
    """CPU milliseconds per image, after a first one that fills the caches; the median of single images."""
    phantom.draw(0, size)
    took = []
    for seed in range(images):
        start = time.process_time()
        phantom.draw(seed, size)
        took.append(time.process_time() - start)
    return 1000 * float(np.median(took))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, help="Folder of the JSON. [default: benchmarks/results]")
    options = parser.parse_args()
    result: dict[str, Any] = {
        "machine": timing.machine(torch.device("cpu"))
        | {"numpy": np.__version__, "scipy": scipy.__version__},
        "draw_cpu_ms": {f"{h}x{w}": round(cpu_ms((h, w)), 1) for h, w in ((64, 64), (256, 224), (512, 448))},
    }
    print(f"CPU ms per image: {result['draw_cpu_ms']}")
    with tempfile.TemporaryDirectory() as folder:
        start = time.monotonic()
        phantom.write_dicom_tree(Path(folder, "raw"), options.n, size=(256, 224), workers=options.workers)
        wall = time.monotonic() - start
    used = resource.getrusage(resource.RUSAGE_CHILDREN)  # load of others lengthens the wall time only
    result["dicom_tree"] = {
        "n": options.n,
        "size": "256x224",
        "workers": options.workers,
        "wall_sec": round(wall, 1),
        "cpu_sec": round(used.ru_utime + used.ru_stime, 1),
    }
    print(f"A series as DICOM files: {result['dicom_tree']}")
    timing.save("phantom", result, options.out)


if __name__ == "__main__":
    main()
