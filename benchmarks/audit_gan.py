"""A real GAN on 40 phantoms and on 4,000: does it copy, and does the audit tell them apart?

    python benchmarks/audit_gan.py --kimg=200 --every=25 --work=audit-work

Both trainings are the command `train`, without augmentation, so that 40 images can be learnt by heart; they
go on where they were stopped. After every part the newest snapshot is audited against phantoms of other
patients. A generator that does not copy within the budget is reported as found: `audit_overfit.py` is the
positive control that always does.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from benchmarks import timing
from stylegan2ada.training import run_files

FEW, MANY, HELD_OUT, FAKES = 40, 4000, 400, 2000
PATIENTS_SEED = {"few": 41, "many": 41, "held-out": 42}
NETWORK = [
    "--cfg=cifar",
    "--batch=16",
    "--gamma=0.05",
    "--cbase=1024",
    "--cmax=64",
    "--aug=noaug",
    "--metrics=none",
]


def call(folder: Path, *words: object, fine: tuple[int, ...] = (0,)) -> int:
    """A command of ours, from a folder; its exit code, which must be one of those."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    line = [sys.executable, "-m", "spine_plugins", *map(str, words)]
    code = subprocess.run(line, cwd=folder, env=environment, stdout=subprocess.DEVNULL).returncode
    if code not in fine:
        raise SystemExit(f"{' '.join(line[2:])} ended with {code}")
    return code


def draw(folder: Path, name: str, n: int) -> None:
    target = folder / f"{name}.zip"
    if not target.exists():
        call(folder, "phantom", f"--zip={target.name}", f"--n={n}", f"--seed={PATIENTS_SEED[name]}",
             "--resolution=32", "--workers=1")  # fmt: skip


def train(folder: Path, name: str, kimg: int) -> Path:
    """The run folder, trained so far."""
    runs = folder / f"runs-{name}"
    if runs.exists():
        (run_dir,) = runs.iterdir()
        call(folder, "train", f"--continue={run_dir}", f"--kimg={kimg}")
    else:
        call(folder, "train", f"--outdir={runs.name}", f"--data={name}.zip", f"--kimg={kimg}", "--snap=50",
             "--cond=1", "--device=cpu", "--workers=1", "--metrics=none", *NETWORK)  # fmt: skip
        (run_dir,) = runs.iterdir()
    return run_dir


def audited(folder: Path, name: str, kimg: int) -> dict[str, Any]:
    """What the audit says of a training's snapshot after so many kimg; it is made once."""
    fakes, out = f"fakes-{name}-{kimg}.zip", folder / f"audit-{name}-{kimg}"
    if not (out / "audit.json").exists():
        network = run_files.snapshots_in(train(folder, name, kimg))[-1]
        (folder / fakes).unlink(missing_ok=True)
        call(folder, "generate", f"--network={network}", f"--per-class={FAKES // 2}", f"--outdir={fakes}")
        call(folder, "audit", f"--train={name}.zip", "--holdout=held-out.zip", f"--fakes={fakes}",
             f"--out={out}", fine=(0, 6, 7))  # fmt: skip
    found = json.loads((out / "audit.json").read_text())
    tests = {test: {key: told.get(key) for key in ("p_value", "p_holm", "estimate", "low", "high", "verdict")}
             for test, told in found["tests"].items()}  # fmt: skip
    with (out / "private" / "patients-pixels.csv").open() as file:
        worst = next(csv.DictReader(file))  # the one whom most fakes copy
    copies = int(worst["fakes_that_copy_it"])
    named = {"is_training_patient": worst["is_train"] == "True", "fakes": copies} if copies else None
    return {"kimg": kimg, "verdict": found["verdict"], "worst_patient": named, "tests": tests}


def measure(folder: Path, kimg: int, every: int) -> dict[str, Any]:
    """Few images until the audit sees copies, or the budget is used up; then as long on many."""
    for name, n in (("few", FEW), ("many", MANY), ("held-out", HELD_OUT)):
        draw(folder, name, n)
    record: dict[str, Any] = {"few": [], "many": []}
    reached = every
    for reached in range(every, kimg + 1, every):
        record["few"].append(audited(folder, "few", reached))
        print(json.dumps(record["few"][-1]), file=sys.stderr)
        if record["few"][-1]["tests"]["copies"]["verdict"] == "FAIL":
            break
    record["many"].append(audited(folder, "many", reached))
    return record | {"images": {"few": FEW, "many": MANY, "held-out": HELD_OUT, "fakes": FAKES}}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kimg", type=int, default=200)
    parser.add_argument("--every", type=int, default=25)
    parser.add_argument("--work", type=Path, help="keep data, runs and audits here, and go on with them")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        work = (asked.work or Path(scratch)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        facts = timing.machine(torch.device("cpu"))
        print(json.dumps(facts | measure(work, asked.kimg, asked.every), indent=1))
