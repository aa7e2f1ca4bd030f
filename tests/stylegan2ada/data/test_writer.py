"""The writer: names, bytes, labels, and that nothing half-written is ever seen."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from stylegan2ada.data.writer import DatasetWriter, DestinationError, archive_name, encode_png
from stylegan2ada.errors import NothingToDoError, UserError


def _images(n: int = 3, shape: tuple[int, ...] = (8, 8)) -> np.ndarray:
    return np.random.RandomState(0).randint(0, 256, size=(n, *shape), dtype=np.uint8)


def _pixels(png: bytes) -> np.ndarray:
    return np.asarray(PIL.Image.open(io.BytesIO(png)))


def _write_and_fail(dest: Path, failure: type[BaseException], *, overwrite: bool = False) -> None:
    with DatasetWriter(dest, overwrite=overwrite) as writer:
        writer.add(_images()[0])
        raise failure


def _write_something_indescribable(dest: Path) -> None:
    with DatasetWriter(dest) as writer:
        writer.add(_images()[0])
        writer.extra["recipe"] = object()  # not JSON: fails when all images are written


def test_names():
    assert archive_name(0) == "00000/img00000000.png"
    assert archive_name(1234) == "00001/img00001234.png"
    assert archive_name(12345678) == "12345/img12345678.png"


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 1), (8, 8, 3), (4, 8, 3)])
def test_png_keeps_every_pixel(shape):
    image = _images(1, shape)[0]
    picture = PIL.Image.open(io.BytesIO(encode_png(image)))
    assert picture.mode == ("RGB" if shape[-1] == 3 else "L")
    np.testing.assert_array_equal(np.asarray(picture).reshape(shape), image)
    assert len(encode_png(image)) >= image.size  # level 0: stored, not compressed
    assert len(encode_png(np.zeros((64, 64), np.uint8), compress_level=9)) < 64 * 64


def test_zip_members(tmp_path):
    dest = tmp_path / "new" / "set.zip"
    images = _images()
    with DatasetWriter(dest) as writer:
        writer.extra["label_names"] = ["a", "b"]
        assert writer.add(images[0], 1) == "00000/img00000000.png"
        assert writer.add(images[1], np.int64(0)) == "00000/img00000001.png"
        assert writer.add_encoded(encode_png(images[2]), 1, index=7) == "00000/img00000007.png"
        assert not dest.exists()  # nothing under the name before it is complete
    assert [path.name for path in dest.parent.iterdir()] == ["set.zip"]
    with zipfile.ZipFile(dest) as archive:
        members = archive.infolist()
        assert [m.filename for m in members][-1] == "dataset.json"
        assert {m.compress_type for m in members} == {zipfile.ZIP_STORED}
        assert {m.date_time for m in members} == {(1980, 1, 1, 0, 0, 0)}
        assert {m.external_attr >> 16 for m in members} == {0o100644}
        for member, image in zip(members, images):
            np.testing.assert_array_equal(_pixels(archive.read(member)), image)
        assert json.loads(archive.read("dataset.json")) == {
            "labels": [
                ["00000/img00000000.png", 1],
                ["00000/img00000001.png", 0],
                ["00000/img00000007.png", 1],
            ],
            "label_names": ["a", "b"],
        }


def test_folder_holds_the_same_files_as_the_zip(tmp_path):
    for dest in (tmp_path / "a.zip", tmp_path / "deep" / "folder"):
        with DatasetWriter(dest) as writer:
            for image in _images(shape=(8, 8, 3)):
                writer.add(image, [0.5, 1])
    folder = tmp_path / "deep" / "folder"
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
        assert files == {name: archive.read(name) for name in archive.namelist()}


def test_same_bytes_twice(tmp_path):
    for name in ("a.zip", "b.zip"):
        with DatasetWriter(tmp_path / name) as writer:
            for index, image in enumerate(_images()):
                writer.add(image, index)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([0, 1, None], None),
        ([None, None, None], None),
        ([np.array([1, 0]), (0, 1), [True, True]], [[1, 0], [0, 1], [1, 1]]),
        ([np.float32(0.5), 1.0, True], [0.5, 1.0, 1]),
    ],
)
def test_labels(tmp_path, labels, expected):
    with DatasetWriter(tmp_path / "set") as writer:
        for image, label in zip(_images(), labels):
            writer.add(image, label)
    stored = json.loads((tmp_path / "set" / "dataset.json").read_text())["labels"]
    assert (stored and [label for _, label in stored]) == expected


@pytest.mark.parametrize("label", ["one", [1, None], [[1, 2]], [[1], [2, 3]], float("nan"), {"a": 1}])
def test_labels_that_are_not_numbers_are_refused(tmp_path, label):
    with pytest.raises(UserError, match="neither a number"), DatasetWriter(tmp_path / "set.zip") as writer:
        writer.add(_images()[0], label)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["set.zip", "set", "x/y/set.zip", "x/y/set"])
@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
def test_an_error_leaves_nothing_behind(tmp_path, name, failure):
    with pytest.raises(failure):
        _write_and_fail(tmp_path / name, failure)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["set.zip", "set"])
def test_an_empty_data_set_is_refused(tmp_path, name):
    with pytest.raises(NothingToDoError, match="no image"), DatasetWriter(tmp_path / name):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["set.zip", "set"])
def test_what_cannot_be_described_leaves_nothing_behind(tmp_path, name):
    with pytest.raises(TypeError):
        _write_something_indescribable(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_existing_destinations(tmp_path):
    existing = tmp_path / "set.zip"
    existing.write_bytes(b"precious")
    with pytest.raises(DestinationError, match="exists already"):
        DatasetWriter(existing)
    with pytest.raises(RuntimeError):
        _write_and_fail(existing, RuntimeError, overwrite=True)
    assert existing.read_bytes() == b"precious"  # only a complete data set replaces an older one
    with DatasetWriter(existing, overwrite=True) as writer:
        writer.add(_images()[0])
    assert zipfile.is_zipfile(existing)

    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "note.txt").write_text("mine")
    with pytest.raises(DestinationError, match="not an empty folder"):
        DatasetWriter(folder, overwrite=True)
    (folder / "note.txt").unlink()
    with DatasetWriter(folder) as writer:
        writer.add(_images()[0])
    assert sorted(path.name for path in folder.iterdir()) == ["00000", "dataset.json"]


@pytest.mark.parametrize("dest", ["", "set.tar", "set.tar.gz", "folder.zip"])
def test_useless_destinations(tmp_path, monkeypatch, dest):
    monkeypatch.chdir(tmp_path)
    Path("folder.zip").mkdir()
    with pytest.raises(DestinationError):
        DatasetWriter(dest)


@pytest.mark.parametrize("name", ["file/set.zip", "file/set", "file/deeper/set.zip"])
def test_places_that_cannot_be_written(tmp_path, name):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DestinationError, match="cannot be written"), DatasetWriter(tmp_path / name):
        pass
    assert (tmp_path / "file").read_text() == "in the way"


@pytest.mark.parametrize("name", ["set.zip", "set"])
def test_a_full_disk_is_a_sentence(tmp_path, monkeypatch, name):
    def full(*args):
        raise OSError(28, "No space left on device")

    with DatasetWriter(tmp_path / name) as writer:
        writer.add(_images()[0])
        with monkeypatch.context() as patch:
            patch.setattr(zipfile.ZipFile, "writestr", full)
            patch.setattr("stylegan2ada.data.writer.private_file", full)
            with pytest.raises(DestinationError, match="No space left"):
                writer.add(_images()[1])
        assert len(writer) == 1


def test_images_must_be_alike_and_numbers_unique(tmp_path):
    with DatasetWriter(tmp_path / "set.zip") as writer:
        writer.add(_images()[0], index=3)
        with pytest.raises(UserError, match="4x8 grey of 8 bits, but .* are 8x8 grey"):
            writer.add(np.zeros((8, 4), np.uint8))
        with pytest.raises(UserError, match="8x8 RGB"):
            writer.add(np.zeros((8, 8, 3), np.uint8))
        with pytest.raises(UserError, match="number 3 .* before"):
            writer.add(_images()[1], index=3)
        with pytest.raises(UserError, match="not a PNG"):
            writer.add_encoded(b"GIF89a")
        assert len(writer) == 1
