"""Data sets of ours under the recorded contract of the official reader, and sets of its kind in ours."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import PIL.Image

import stylegan2ada as sg


def read_as_recorded(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """What a reader that knows only names, pixels and `labels` makes of a zip."""
    with zipfile.ZipFile(path) as archive:
        known = PIL.Image.registered_extensions()
        names = sorted(name for name in archive.namelist() if Path(name).suffix.lower() in known)
        pixels = [np.array(PIL.Image.open(io.BytesIO(archive.read(name)))) for name in names]
        labels = dict(json.loads(archive.read("dataset.json"))["labels"])
    classes = np.array([labels[name] for name in names])
    vectors = np.eye(int(classes.max()) + 1, dtype=np.float32)[classes] if classes.ndim == 1 else classes
    return np.stack(pixels), vectors


def test_extra_keys_and_masks_of_ours_disturb_nobody(home: Path) -> None:
    pixels, labels = read_as_recorded(home / "data.zip")
    ours = sg.ImageFolderDataset(str(home / "data.zip"), use_labels=True)
    assert len(ours) == len(pixels) == 16
    for i in range(16):
        image, label = ours[i]
        assert np.array_equal(image[0], pixels[i])
        assert np.array_equal(label, labels[i])


def test_a_set_with_labels_alone_is_read_here(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 255, size=(4, 8, 8, 3), dtype=np.uint8)
    vectors = rng.random((4, 3)).astype(np.float32)
    with zipfile.ZipFile(tmp_path / "theirs.zip", "w") as archive:
        for i, image in enumerate(pixels):
            content = io.BytesIO()
            PIL.Image.fromarray(image).save(content, "png")
            archive.writestr(f"0000{i}/img{i:08d}.png", content.getvalue())
        rows = [[f"0000{i}/img{i:08d}.png", vector.tolist()] for i, vector in enumerate(vectors)]
        archive.writestr("dataset.json", json.dumps({"labels": rows}))
    read, labels = read_as_recorded(tmp_path / "theirs.zip")
    ours = sg.ImageFolderDataset(str(tmp_path / "theirs.zip"), use_labels=True)
    assert np.array_equal(np.stack([ours[i][0] for i in range(4)]).transpose(0, 2, 3, 1), read)
    assert np.array_equal(np.stack([ours[i][1] for i in range(4)]), labels.astype(np.float32))
