"""Files that hold pixels, hashes or names of files are their owner's alone, whatever the umask."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from stylegan2ada.data.cache import cached_images
from stylegan2ada.data.dataset import ImageFolderDataset
from stylegan2ada.data.fingerprint import fingerprint
from stylegan2ada.data.writer import DatasetWriter
from stylegan2ada.metrics.detectors import Detectors
from stylegan2ada.metrics.features import dataset_features
from tests.stylegan2ada.test_dataset_tool import run as tool

pytestmark = pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")
MEAN = {"return_features": True}


def pictures(folder: Path, count: int = 4, side: int = 16) -> Path:
    folder.mkdir()
    for i in range(count):
        pixels = np.random.RandomState(i).randint(0, 256, (side, side), np.uint8)
        PIL.Image.fromarray(pixels).save(folder / f"{i}.png")
    (folder / "bad.png").write_bytes(b"rubbish")
    return folder


def modes(*places: Path) -> dict[str, int]:
    """Of files, and of the folders that were made for them."""
    found = {}
    for place in places:
        for path in [place, *place.rglob("*")] if place.is_dir() else [place]:
            found[str(path)] = path.stat().st_mode & 0o777
    return found


@contextlib.contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_modes_of_everything_with_pixels(tmp_path, own_cache, mask):
    source = pictures(tmp_path / "in")
    detector = Detectors({"x": "tiny"}).load("x")
    during: list[int] = []
    with umask(mask):
        for dest in ("x.zip", "x"):
            flags = "--source", source, "--dest", tmp_path / dest, "--skip-bad"
            assert tool(*flags).exit_code == 0
            dataset = ImageFolderDataset(tmp_path / dest, use_labels=True)
            cached_images(dataset)
            dataset_features(detector, dataset, options=MEAN, capture_mean_cov=True)
            fingerprint(dataset)
            with DatasetWriter(tmp_path / f"half{dest}") as writer:
                writer.add(np.zeros((8, 8), np.uint8))
                during += modes(*tmp_path.glob(f".half{dest}*"), *tmp_path.glob(f"half{dest}*")).values()
    written = [tmp_path / name for name in ("x.zip", "x", "x_skipped.csv", "halfx", "halfx.zip")]
    kept = [place for place in own_cache.iterdir() if place.name in ("datasets", "gan-metrics")]
    assert len(kept) == 2
    found = modes(*written, *kept)
    kinds = {Path(name).suffix for name in found}
    assert {".zip", ".png", ".json", ".csv", ".npy", ".lock", ".npz"} <= kinds
    assert {mode for name, mode in found.items() if Path(name).is_dir()} == {0o700}
    assert {mode for name, mode in found.items() if Path(name).is_file()} == {0o600}
    assert during and set(during) <= {0o700, 0o600}


def test_what_an_older_version_left_readable_is_closed(make_dataset, own_cache):
    dataset = ImageFolderDataset(make_dataset("a.zip"))
    cached_images(dataset)
    (path,) = (own_cache / "datasets").glob("*.npy")
    path.chmod(0o644)
    path.parent.chmod(0o755)
    assert np.array_equal(cached_images(dataset)[0], dataset.raw_image(0))
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_statistics_that_were_damaged_are_made_again(make_dataset, own_cache):
    dataset, detector = ImageFolderDataset(make_dataset("a.zip")), Detectors({"x": "tiny"}).load("x")
    mean, _ = dataset_features(detector, dataset, options=MEAN, capture_mean_cov=True).mean_cov()
    (path,) = (own_cache / "gan-metrics").glob("*.npz")
    content = path.read_bytes()
    for damaged in (b"", content[:200], b"\x80" * 100):
        path.write_bytes(damaged)
        again, _ = dataset_features(detector, dataset, options=MEAN, capture_mean_cov=True).mean_cov()
        assert np.array_equal(again, mean)
    assert path.stat().st_size == len(content)


# Disks that are full or cannot be written.


@contextlib.contextmanager
def disk_of(size: int) -> Iterator[None]:
    """No file can grow beyond so many bytes; a write fails in the middle, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def left(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("dest", ["x.zip", "x", "deep/er/x.zip"])
@pytest.mark.parametrize("share", [0, 0.1, 0.2, 0.5, 0.97, 0.9999])
def test_full_disks(tmp_path, dest, share):
    """Before the first byte, within a picture, between pictures, and in what is written last."""
    source, place = pictures(tmp_path / "in", side=64), tmp_path / "out"
    place.mkdir()
    (source / "bad.png").unlink()
    assert tool("--source", source, "--dest", tmp_path / "whole.zip").exit_code == 0
    largest = 4_200 if dest == "x" else (tmp_path / "whole.zip").stat().st_size  # of a file
    with disk_of(int(share * largest)):
        result = tool("--source", source, "--dest", place / dest)
    assert result.exit_code == 1
    assert f"Error: {place / dest} cannot be written (" in result.stderr
    assert left(place) == []


def test_a_full_disk_keeps_the_older_zip(tmp_path):
    source = pictures(tmp_path / "in", side=64)
    (source / "bad.png").unlink()
    assert tool("--source", source, "--dest", tmp_path / "x.zip").exit_code == 0
    before = (tmp_path / "x.zip").read_bytes()
    with disk_of(5_000):
        assert tool("--source", source, "--dest", tmp_path / "x.zip").exit_code == 1
    assert (tmp_path / "x.zip").read_bytes() == before
    assert left(tmp_path) == ["in", *(f"in/{i}.png" for i in range(4)), "x.zip"]


def test_a_full_disk_and_the_list_of_what_was_left_out(tmp_path, monkeypatch):
    source = pictures(tmp_path / "in")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("stylegan2ada.dataset_tool.files.write_csv", full)
    result = tool("--source", source, "--dest", tmp_path / "x.zip", "--skip-bad")
    assert result.exit_code == 1
    assert "x_skipped.csv, the list of images that were left out, cannot be written" in result.stderr


def as_nobody(work: Callable[[], list[object]]) -> list[object]:
    """What a function returns that runs without root's powers, in a process of its own."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            if os.geteuid() == 0:
                os.setuid(65534)
            os.write(writing, json.dumps(work()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(pid, 0)
    return json.loads(answer)


@pytest.fixture
def everybodys() -> Iterator[Path]:
    """A folder that everybody can enter (those of pytest are ours alone)."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")  # the child starts no threads
@pytest.mark.parametrize("dest", ["x.zip", "x", "deep/er/x.zip"])
def test_places_without_the_right_to_write(everybodys, dest):
    source, locked = pictures(everybodys / "in"), everybodys / "locked"
    (source / "bad.png").unlink()
    locked.mkdir(mode=0o555)

    def work() -> list[object]:
        result = tool("--source", source, "--dest", locked / dest)
        return [result.exit_code, result.stderr]

    code, said = as_nobody(work)
    assert code == 1 and f"Error: {locked / dest} cannot be written (" in str(said)
    assert left(locked) == []


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_pictures_without_the_right_to_read(everybodys):
    source = pictures(everybodys / "in")
    (source / "bad.png").unlink()
    (source / "0.png").chmod(0o000)
    (everybodys / "out").mkdir()
    (everybodys / "out").chmod(0o777)

    def work() -> list[object]:
        result = tool("--source", source, "--dest", everybodys / "out" / "x.zip")
        return [result.exit_code, result.stderr]

    code, said = as_nobody(work)
    assert code == 1 and "0.png cannot be opened (Permission denied)" in str(said)
    assert left(everybodys / "out") == []


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_what_killed_processes_left_is_swept(tmp_path):
    """A folder that a killed run had begun is not for ever "not an empty folder"."""
    pid = os.fork()
    if pid == 0:
        with DatasetWriter(tmp_path / "x") as writer:
            writer.add(np.zeros((8, 8), np.uint8))
            os._exit(0)
    os.waitpid(pid, 0)
    assert left(tmp_path / "x")
    with DatasetWriter(tmp_path / "x") as writer:
        writer.add(np.zeros((8, 8), np.uint8))
    assert left(tmp_path / "x") == ["00000", "00000/img00000000.png", "dataset.json"]
