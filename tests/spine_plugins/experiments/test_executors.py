"""The same tables from this process, two local workers and a Dask cluster of two, by real commands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PLAN = """\
title = "Two arms"
resolution = 32
device = "cpu"
tables = ["table1", "table2"]

[data]
train = { phantom = { n = 24, seed = 1 } }
val = { phantom = { n = 12, seed = 2 } }
test = { phantom = { n = 24, seed = 3 } }

[classifier]
arch = "cnn13k"
epochs = 1
steps = 4
seeds = [0]

[gan]
kimg = 1
flags = { batch = 64, cbase = 64, cmax = 4, aug = "noaug", tick = 1, snap = 2 }

[metrics]
names = ["fid1k_tiny"]

[arms.one]
title = "One"
[arms.other]
title = "Other"
flags = { gamma = 0.05 }

[rows.real]
train = ["real"]
[rows.one-8]
train = ["real", "one:8"]
[rows.other-8]
train = ["real", "other:8"]
"""


def tables(folder: Path, *how: str) -> dict[str, bytes]:
    folder.mkdir()
    (folder / "two.toml").write_text(PLAN)
    words = ["experiments", "run", "--plan=two.toml", "--out=out", *how]
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    # One thread: sums of another order would differ in their last digits.
    environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    ran = subprocess.run([sys.executable, "-m", "spine_plugins", *words], cwd=folder, env=environment,
                         capture_output=True, text=True)  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return {path.name: path.read_bytes() for path in sorted((folder / "out/tables").iterdir())}


@pytest.mark.proof
@pytest.mark.filterwarnings("default")
def test_the_same_tables_wherever_the_tasks_ran(tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    serial = tables(tmp_path / "serial", "--executor=serial")
    kinds = ("json", "csv", "md", "tex")
    assert set(serial) == {f"{name}.{kind}" for name in ("table1", "table2") for kind in kinds}
    assert b"fid1k_tiny" in serial["table2.json"] and b'"images": {' in serial["table2.json"]
    assert tables(tmp_path / "local", "--executor=local", "--workers=2") == serial
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        assert tables(tmp_path / "dask", f"--executor=dask:{cluster.scheduler_address}") == serial
