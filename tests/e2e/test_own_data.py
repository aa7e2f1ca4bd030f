"""The whole path on three kinds of data that people have, by the command `spinegan` alone."""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from spine_plugins import phantom
from spine_plugins.__main__ import main
from stylegan2ada.data.dataset import ImageFolderDataset

MANY = 96


def spinegan(line: str) -> None:
    """A command line as it is typed; anything but success is an exception."""
    main(line.split(), standalone_mode=False)


def class_folders(folder: Path) -> None:
    """scans/normal/*.png and scans/abnormal/*.png, 8 bits, not square."""
    images, labels, _ = phantom.draw_phantoms(MANY, seed=5, resolution=48, difficulty=0.5)
    for number, (image, label) in enumerate(zip(images, labels)):
        place = folder / "scans" / ("normal", "abnormal")[label]
        place.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(image[:, 4:-4]).save(place / f"{number:03}.png")
    spinegan("dataset --source=scans --dest=set.zip --labels=folders --width=32 --height=32 "
             "--transform=center-crop --split=0.5/0.25/0.25")  # fmt: skip


def deep_with_table(folder: Path) -> None:
    """deep/*.png of 16 bits, table.csv with image, finding and patient."""
    images, labels, rows = phantom.draw_phantoms(MANY, seed=6, resolution=32, difficulty=0.5)
    (folder / "deep").mkdir()
    with (folder / "table.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "finding", "patient"])
        for number, (image, label, row) in enumerate(zip(images, labels, rows)):
            name = f"{number:03}.png"
            PIL.Image.fromarray(image.astype(np.uint16) * 12 + 700).save(folder / "deep" / name)
            table.writerow([name, ("normal", "abnormal")[label], row["patient"]])
    spinegan("dataset --source=deep --dest=set.zip --labels=table.csv:finding --groups=table.csv:patient "
             "--window=700,3760 --split=0.5/0.25/0.25")  # fmt: skip


def dicom(folder: Path) -> None:
    """raw/ like VinDr-SpineXR."""
    spinegan(f"phantom --out=raw --n={MANY} --size=160x144 --seed=7 --difficulty=0.5 --workers=1 --no-masks")
    spinegan("convert --source=raw/train_images --source=raw/test_images --annotations=raw/annotations "
             "--dest=set.zip --resolution=32 --split=0.5/0.5/0 --workers=1")  # fmt: skip


def patients(path: Path) -> set[str]:
    with zipfile.ZipFile(path) as archive:
        groups = json.loads(archive.read("dataset.json")).get("groups") or {}
    return {group["patient"] for group in groups.values()}


@pytest.mark.slow
@pytest.mark.parametrize("make", [class_folders, deep_with_table, dicom])
def test_from_own_images_to_a_page(
    make: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make(tmp_path)
    parts = sorted(Path().glob("set-*.zip"))
    assert sum(len(ImageFolderDataset(part)) for part in parts) == MANY
    if make is not class_folders:  # which know of no patients
        known = [patients(part) for part in parts]
        assert all(known)
        assert len(set().union(*known)) == sum(map(len, known)), "a patient is in two parts"
    spinegan("classify train --data=set-train.zip --val=set-val.zip --out=s.safetensors "
             "--arch=cnn13k --epochs=1")  # fmt: skip
    spinegan("train --outdir=runs --data=set-train.zip --cond=1 --loss=spine --classifier=s.safetensors "
             "--accept-classifier=1 --aug=noaug --cbase=64 --cmax=4 --batch=64 --kimg=1 --snap=1 "
             "--metrics=none")  # fmt: skip
    (run,) = Path("runs").iterdir()
    spinegan(f"metrics --network={run}/network-snapshot-000001.pkl --metrics=fid1k_tiny --data=set-train.zip")
    spinegan(f"generate --network={run} --per-class=4 --outdir=fakes.zip")
    spinegan(f"generate --network={run} --class=abnormal --seeds=0-1 --outdir=some")
    spinegan(
        "classify eval --classifier=s.safetensors --data=fakes.zip --outdir=judged --no-plots --resamples=100"
    )
    spinegan(f"card --network={run}")
    spinegan(f"report {run} --synthetic=fakes.zip --out=page.html")
    fakes = ImageFolderDataset("fakes.zip", use_labels=True)
    assert fakes.raw_labels().tolist() == [0] * 4 + [1] * 4
    page = Path("page.html").read_text()
    assert "abnormal" in page
    assert "unfinished" not in page
    names = fakes.label_names  # names of folders and in tables are numbered by the alphabet
    assert sorted(names or ()) == ["abnormal", "normal"]
    for card in (run / "README.md", Path("fakes_README.md")):
        assert f"| Classes | {', '.join(names or ())} |" in card.read_text()
