"""The fingerprint sees every pixel, label and place in the order, and nothing else."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from stylegan2ada.data import fingerprint as module
from stylegan2ada.data.dataset import Dataset, ImageFolderDataset
from stylegan2ada.data.fingerprint import fingerprint, known_fingerprint, source_fingerprint
from stylegan2ada.data.writer import DatasetWriter


def _images() -> np.ndarray:
    return np.random.RandomState(0).randint(0, 256, size=(4, 8, 8), dtype=np.uint8)


def _write(dest: Path, images: np.ndarray, labels=None, first: int = 0) -> ImageFolderDataset:
    with DatasetWriter(dest, overwrite=True) as writer:
        for index, image in enumerate(images):
            writer.add(image, None if labels is None else labels[index], index=index + first)
    return ImageFolderDataset(dest)


def test_is_the_hash_it_says(tmp_path):
    images = _images()
    expected = hashlib.sha256(b"[8, 8, 1, 4]" + images.tobytes() + b'["<i8", [4]]' + bytes([0] * 8))
    expected.update(b"".join(value.to_bytes(8, "little") for value in (1, 2, 0)))
    assert fingerprint(_write(tmp_path / "a.zip", images, [0, 1, 2, 0])) == expected.hexdigest()


def test_depends_on_content_alone(tmp_path):
    images, labels = _images(), [0, 1, 1, 0]
    first = fingerprint(_write(tmp_path / "a.zip", images, labels))
    assert fingerprint(_write(tmp_path / "b.zip", images, labels, first=7)) == first  # other file names
    assert fingerprint(_write(tmp_path / "folder", images, labels)) == first
    with zipfile.ZipFile(tmp_path / "c.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted((tmp_path / "folder").rglob("*")):
            archive.write(path, path.relative_to(tmp_path / "folder"))
    assert fingerprint(ImageFolderDataset(tmp_path / "c.zip")) == first  # compressed
    assert fingerprint(ImageFolderDataset(tmp_path / "c.zip", use_labels=True)) == first

    pixel = images.copy()
    pixel[3, 7, 7] ^= 1
    seen = {first}
    for name, variant in {
        "pixel": (pixel, labels),
        "label": (images, [0, 1, 1, 1]),
        "swapped labels": (images, [1, 0, 1, 0]),
        "order": (images[[1, 0, 2, 3]], labels),
        "both in another order": (images[[1, 0, 2, 3]], [1, 0, 1, 0]),
        "no labels": (images, None),
        "vectors": (images, [[0.0], [1.0], [1.0], [0.0]]),
        "fewer": (images[:3], labels[:3]),
        "shape": (images.reshape(4, 4, 16), labels),
        "colour": (np.stack([images] * 3, axis=-1), labels),
    }.items():
        found = fingerprint(_write(tmp_path / f"{name}.zip", *variant))
        assert found not in seen, name
        seen.add(found)


def test_depends_on_the_view(tmp_path):
    path = _write(tmp_path / "a.zip", _images()).path
    views = [
        {},
        {"max_size": 2},
        {"max_size": 2, "random_seed": 3},
        {"xflip": True},
        {"max_size": 3, "xflip": True},
    ]
    datasets = [ImageFolderDataset(path, **view) for view in views]
    assert len({fingerprint(dataset) for dataset in datasets}) == len(views)
    assert len({source_fingerprint(dataset) for dataset in datasets}) == 1
    assert fingerprint(ImageFolderDataset(path, max_size=4)) == fingerprint(datasets[0])


def test_unusable_labels_matter_only_to_those_who_want_them(tmp_path):
    plain = fingerprint(_write(tmp_path / "plain.zip", _images()))
    folder = _write(tmp_path / "folder", _images()).path
    Path(folder, "dataset.json").write_text(json.dumps({"labels": [["x.png", 1]]}))
    assert fingerprint(ImageFolderDataset(folder)) == plain
    with pytest.raises(KeyError):
        fingerprint(ImageFolderDataset(folder, use_labels=True))


def _count_decoding(monkeypatch) -> list[int]:
    decoded: list[int] = []
    real = Dataset.raw_image
    monkeypatch.setattr(Dataset, "raw_image", lambda self, i: decoded.append(i) or real(self, i))
    return decoded


def test_a_zip_is_decoded_once(tmp_path, monkeypatch):
    decoded = _count_decoding(monkeypatch)
    dataset = _write(tmp_path / "a.zip", _images())
    first = fingerprint(dataset)
    assert decoded == [0, 1, 2, 3]
    os.rename(tmp_path / "a.zip", tmp_path / "b.zip")
    assert fingerprint(ImageFolderDataset(tmp_path / "b.zip")) == first
    assert decoded == [0, 1, 2, 3]


def test_a_zip_that_changes_in_place_is_noticed(tmp_path):
    """Same name, size and date, other pixels."""
    path = tmp_path / "a.zip"
    first = fingerprint(_write(path, _images()))
    stat = os.stat(path)
    other = _write(path, 255 - _images())
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert os.stat(path).st_size == stat.st_size
    assert os.stat(path).st_mtime_ns == stat.st_mtime_ns
    assert known_fingerprint(other) is None
    assert fingerprint(other) != first


def test_a_folder_that_changes_in_place_is_noticed(tmp_path, monkeypatch):
    decoded = _count_decoding(monkeypatch)
    dataset = _write(tmp_path / "a", _images())
    first = fingerprint(dataset)
    assert known_fingerprint(dataset) is None  # written only just now: another change could look the same
    monkeypatch.setattr(module, "_SETTLED_SEC", -60.0)
    assert fingerprint(dataset) == first
    assert len(decoded) == 8
    assert fingerprint(ImageFolderDataset(tmp_path / "a")) == first
    assert len(decoded) == 8

    changed = tmp_path / "a" / "00000" / "img00000002.png"
    stat = os.stat(changed)
    content = bytearray(changed.read_bytes())
    _write(tmp_path / "b", 255 - _images())
    changed.write_bytes((tmp_path / "b" / "00000" / "img00000002.png").read_bytes())
    os.utime(changed, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # the date is back, the change time is not
    assert len(content) == os.stat(changed).st_size
    assert fingerprint(dataset) != first
    changed.write_bytes(content)
    assert fingerprint(dataset) == first


class Inverted(ImageFolderDataset):
    def _load_raw_image(self, raw_idx):
        return 255 - super()._load_raw_image(raw_idx)


def test_a_plugin_does_not_inherit_the_key_of_what_it_changes(tmp_path):
    path = _write(tmp_path / "a.zip", _images()).path
    plain, inverted = fingerprint(ImageFolderDataset(path)), Inverted(path)
    assert module.cheap_key(inverted) is None
    assert fingerprint(inverted) == fingerprint(_write(tmp_path / "b.zip", 255 - _images())) != plain
    patched = ImageFolderDataset(path)
    patched._load_raw_image = inverted._load_raw_image
    assert fingerprint(patched) == fingerprint(inverted)


def test_a_damaged_note_is_not_believed(tmp_path, own_cache):
    dataset = _write(tmp_path / "a.zip", _images())
    first = fingerprint(dataset)
    (note,) = (own_cache / "datasets" / "fingerprints").iterdir()
    note.write_text(first[:20])
    assert fingerprint(dataset) == first
    assert note.read_text() == first


def test_works_without_a_place_for_notes(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("DNNLIB_CACHE_DIR", str(tmp_path / "file"))
    dataset = _write(tmp_path / "a.zip", _images())
    assert len(fingerprint(dataset)) == 64
