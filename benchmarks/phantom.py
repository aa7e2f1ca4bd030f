"""Speed of the phantom: CPU per image at several sizes, and the wall time of a series by all cores.

python benchmarks/phantom.py [--n 2000] [--workers 2] [--out benchmarks/results]
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import resource
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import scipy

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
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    result = {
        "benchmark": "phantom",
        "date": datetime.date.today().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "scipy": scipy.__version__,
        },
        "draw_cpu_ms": {f"{h}x{w}": round(cpu_ms((h, w)), 1) for h, w in ((64, 64), (256, 224), (512, 448))},
    }
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
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"phantom-{result['date']}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(path.read_text())


if __name__ == "__main__":
    main()
