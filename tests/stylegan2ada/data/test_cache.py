"""The decoded cache: right, whole, shared, and gone around where it cannot be."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from stylegan2ada.data import cache
from stylegan2ada.data.cache import cached_images
from stylegan2ada.data.dataset import ImageFolderDataset
from stylegan2ada.data.fingerprint import fingerprint
from stylegan2ada.errors import UserError


def _direct(dataset) -> np.ndarray:
    return np.stack([dataset.raw_image(i) for i in range(dataset.raw_shape[0])])


def _files(folder) -> list[str]:
    return sorted(path.name for path in (folder / "datasets").iterdir() if path.suffix in (".npy", ".tmp"))


@pytest.mark.parametrize("name", ["a.zip", "folder"])
@pytest.mark.parametrize("shape", [(8, 8), (4, 4, 3)])
def test_holds_every_image(make_dataset, own_cache, name, shape):
    dataset = ImageFolderDataset(
        make_dataset(name, shape=shape, labels=[0, 1, 2, 0, 1]), xflip=True, max_size=3
    )
    images = cached_images(dataset)
    np.testing.assert_array_equal(images, _direct(dataset))
    assert images.shape == tuple(dataset.raw_shape)  # all that is stored, whatever this reader uses
    assert not images.flags.writeable
    whole = ImageFolderDataset(dataset.path)
    assert _files(own_cache) == [f"{fingerprint(whole)}.npy"]


def test_is_built_once(make_dataset, monkeypatch):
    dataset = ImageFolderDataset(make_dataset("a.zip"))
    expected = cached_images(dataset)
    monkeypatch.setattr(cache, "_build", None)  # building again would fail
    np.testing.assert_array_equal(cached_images(ImageFolderDataset(dataset.path)), expected)


@pytest.mark.parametrize("damage", ["cut", "flip", "header", "empty", "stamp", "shape"])
def test_damage_is_repaired(make_dataset, own_cache, damage):
    dataset = ImageFolderDataset(make_dataset("a.zip"))
    expected = _direct(dataset)
    del_me = cached_images(dataset)
    del del_me
    (path,) = (own_cache / "datasets").glob("*.npy")
    content = bytearray(path.read_bytes())
    if damage == "cut":
        path.write_bytes(content[:-1])
    elif damage == "flip":
        content[-5] ^= 1
        path.write_bytes(content)
    elif damage == "header":
        path.write_bytes(b"rubbish" + content[7:])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "shape":
        np.save(path, expected[:3])
    else:
        path.with_suffix(".json").write_text("{")
    np.testing.assert_array_equal(cached_images(dataset), expected)
    assert _files(own_cache) == [path.name]


def test_an_intact_file_without_stamp_is_kept(make_dataset, own_cache, monkeypatch):
    dataset = ImageFolderDataset(make_dataset("a.zip"))
    cached_images(dataset)
    (stamp,) = (own_cache / "datasets").glob("*.json")
    stamp.unlink()
    monkeypatch.setattr(cache, "_build", None)
    assert cached_images(dataset) is not None
    assert stamp.exists()


def test_other_content_gets_another_file(make_dataset, own_cache):
    path = make_dataset("a.zip", seed=1)
    old = np.array(cached_images(ImageFolderDataset(path)))
    path.unlink()
    dataset = ImageFolderDataset(make_dataset("a.zip", seed=2))
    np.testing.assert_array_equal(cached_images(dataset), _direct(dataset))
    assert not np.array_equal(cached_images(dataset), old)
    assert len(_files(own_cache)) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")  # the children use numpy alone
def test_two_processes_at_once(make_dataset, own_cache, monkeypatch):
    """Both start before the cache exists; both see the right pixels; one builds, the other waits."""
    dataset = ImageFolderDataset(make_dataset("a.zip", n=300, shape=(32, 32)))
    expected = hashlib.sha256(_direct(dataset).tobytes()).hexdigest()
    fork = multiprocessing.get_context("fork")
    together, answers = fork.Barrier(2), fork.SimpleQueue()
    real, built = cache._build, []
    monkeypatch.setattr(cache, "_build", lambda *args: built.append(1) or real(*args))

    def child() -> None:
        together.wait(timeout=30)
        answers.put((hashlib.sha256(cached_images(dataset).tobytes()).hexdigest(), len(built)))

    children = [fork.Process(target=child) for _ in range(2)]
    for process in children:
        process.start()
    for process in children:
        process.join(timeout=60)
    assert [process.exitcode for process in children] == [0, 0]
    answered = [answers.get() for _ in children]
    assert [digest for digest, _ in answered] == [expected, expected]
    assert sum(count for _, count in answered) == 1
    assert len(_files(own_cache)) == 1


def test_without_locks_both_may_build(make_dataset, own_cache, monkeypatch):
    monkeypatch.setitem(sys.modules, "fcntl", None)  # as on Windows
    dataset = ImageFolderDataset(make_dataset("a.zip"))
    np.testing.assert_array_equal(cached_images(dataset), _direct(dataset))
    assert len(_files(own_cache)) == 1


def test_what_is_left_of_a_killed_build_is_replaced(make_dataset, own_cache):
    dataset = ImageFolderDataset(make_dataset("a.zip"))
    (own_cache / "datasets").mkdir()
    (own_cache / "datasets" / f".{cache.cheap_key(dataset)[:32]}.tmp").write_bytes(b"half")
    np.testing.assert_array_equal(cached_images(dataset), _direct(dataset))
    assert [name for name in _files(own_cache) if name.endswith(".tmp")] == []


def test_above_the_limit_there_is_none(make_dataset, own_cache):
    dataset = ImageFolderDataset(make_dataset("a.zip"))
    assert cached_images(dataset, limit_bytes=5 * 64 - 1) is None
    assert not (own_cache / "datasets").exists()
    assert cached_images(dataset, limit_bytes=5 * 64) is not None


def test_a_bad_image_is_named_and_nothing_stays(make_dataset, own_cache):
    folder = make_dataset("a")
    dataset = ImageFolderDataset(folder)
    (folder / "00000" / "img00000003.png").write_bytes(b"rubbish")
    with pytest.raises(UserError, match="img00000003.png in"):
        cached_images(dataset)
    assert _files(own_cache) == []


def test_a_place_that_cannot_be_written_is_said_once(make_dataset, tmp_path, monkeypatch, capsys):
    dataset = ImageFolderDataset(make_dataset("a.zip"))
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("DNNLIB_CACHE_DIR", str(tmp_path / "file"))
    assert cached_images(dataset) is None
    assert capsys.readouterr().err.startswith("a is read image by image: its cache in ")


def test_a_full_disk_is_said(make_dataset, own_cache, monkeypatch, capsys):
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda path: SimpleNamespace(free=9))
    assert cached_images(ImageFolderDataset(make_dataset("a.zip"))) is None
    assert "only 0 MiB are free" in capsys.readouterr().err
    assert _files(own_cache) == []
