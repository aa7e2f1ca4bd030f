"""From phantoms to judged fakes by the commands a user types: ingest, classify, train, generate, judge."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stylegan2ada.data.dataset import ImageFolderDataset

ROOT = Path(__file__).parent.parent.parent


def call(folder: Path, *command: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "DNNLIB_CACHE_DIR": str(folder / "cache")}
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.mark.slow
def test_phantoms_to_judged_fakes(tmp_path: Path) -> None:
    spinegan = ("-m", "spine_plugins")
    call(
        tmp_path,
        *spinegan,
        "phantom",
        "--out=raw",
        "--n=300",
        "--size=160x144",
        "--seed=3",
        "--difficulty=0.5",
    )
    printed = call(
        tmp_path,
        str(ROOT / "dataset_tool_dicom.py"),
        "--source=raw/train_images",
        "--source=raw/test_images",
        "--annotations=raw/annotations",
        "--dest=spine.zip",
        "--resolution=32",
        "--split=0.6/0.4/0",
    )
    assert "kept 300 of 300" in printed
    for name, data, seed in (("s", "train", 0), ("judge", "val", 1)):
        call(
            tmp_path,
            *spinegan,
            "classify",
            "train",
            f"--data=spine-{data}.zip",
            f"--out={name}.safetensors",
            "--arch=cnn13k",
            "--epochs=8",
            f"--seed={seed}",
        )
    printed = call(
        tmp_path,
        str(ROOT / "train_spine.py"),
        "--outdir=runs",
        "--data=spine-train.zip",
        "--cond=1",
        "--loss=spine",
        "--classifier=s.safetensors",
        "--judge=judge.safetensors",
        "--accept-classifier=1",
        "--aug=noaug",
        "--cbase=256",
        "--cmax=16",
        "--batch=16",
        "--kimg=1",
        "--tick=0.5",
        "--snap=1",
        "--metrics=none",
    )
    assert "--judge is not independent: the judge has the same architecture" in printed
    (run,) = (tmp_path / "runs").iterdir()
    judged = [json.loads(line) for line in (run / "judge.jsonl").read_text().splitlines()]
    assert {"normal", "abnormal"} == set(judged[-1]["classes"])
    assert all(0 <= entry["ks"] <= 1 for entry in judged[-1]["classes"].values())
    stats = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
    assert stats[-1]["Loss/G/cls"]["num"] > 0
    assert 0 <= stats[-1]["Loss/G/cls_accuracy"]["mean"] <= 1
    network = sorted(run.glob("network-snapshot-*.pkl"))[-1]
    call(
        tmp_path,
        str(ROOT / "stylegan2ada" / "generate.py"),
        f"--network={network}",
        "--per-class=12",
        "--outdir=fake.zip",
    )
    fakes = ImageFolderDataset(tmp_path / "fake.zip", use_labels=True)
    assert fakes.raw_labels().tolist() == [0] * 12 + [1] * 12
    call(
        tmp_path,
        *spinegan,
        "figures",
        "fig4",
        f"--networks={network}",
        "--data=spine-train.zip",
        "--out=f.png",
    )
    call(
        tmp_path,
        str(ROOT / "stylegan2ada" / "calc_metrics.py"),
        "--data=spine-train.zip",
        "--fakes=fake.zip",
        "--metrics=fid1k_tiny",
    )
