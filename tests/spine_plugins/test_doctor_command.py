"""The doctor names what is missing and how to get it, and never crashes on a strange computer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from spine_plugins import doctor_command as room
from stylegan2ada.data.writer import DatasetWriter


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DNNLIB_CACHE_DIR", str(tmp_path / "cache"))


def run(*args: str):
    return CliRunner().invoke(room.doctor, list(args))


def test_every_missing_thing_has_a_fix(tmp_path: Path) -> None:
    for finding in room.examine(None, str(tmp_path)):
        assert finding.found
        assert finding.is_ok or finding.fix, finding
    output = run("--outdir", str(tmp_path)).output
    assert "spinegan detectors fetch inception" in output


def test_a_good_and_a_bad_data_set(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "good.zip") as writer:
        for i in range(4):
            writer.add(np.full((16, 16), i, dtype=np.uint8), label=i % 2)
    good = run("--data", str(tmp_path / "good.zip"))
    assert good.exit_code == 0
    assert "4 images, 16x16, 1 channel(s), 2 classes, no patient groups" in good.output
    (tmp_path / "bad.zip").write_bytes(b"no zip")
    bad = run("--data", str(tmp_path / "bad.zip"))
    assert bad.exit_code == 3
    assert "FAIL data" in bad.output


def test_a_missing_codec_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from spine_plugins.dicom import codecs

    monkeypatch.setattr(codecs, "decoder_table", lambda: [("JPEG-LS Lossless", "-", "pip install pyjpegls")])
    finding = room._codecs()
    assert finding.is_ok is None
    assert "JPEG-LS Lossless" in finding.found
    monkeypatch.setattr(room.importlib.util, "find_spec", lambda name: None)
    assert "spinegan[dicom]" in room._codecs().fix


def test_a_place_without_rights_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_can_write", lambda place: False)  # root may write anywhere
    assert room._rights("somewhere").is_ok is False
    assert run().exit_code == 3


def test_findings_for_programs(tmp_path: Path) -> None:
    (tmp_path / "bad.zip").write_bytes(b"no zip")
    result = run("--data", str(tmp_path / "bad.zip"), "--outdir", str(tmp_path), "--json=-")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["can_train"]) == (3, False)
    assert "FAIL data" in result.stderr
    by_name = {finding["what"]: finding for finding in found["findings"]}
    assert (by_name["data"]["is_ok"], by_name["spinegan"]["is_ok"]) == (False, True)
    assert by_name["inception"] == {
        "is_ok": None, "what": "inception", "fix": "spinegan detectors fetch inception",
        "found": "missing; metrics that need it are skipped in training",
    }  # fmt: skip


def test_an_apple_gpu_is_taken_without_being_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room.torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(room.torch.backends.mps, "is_available", lambda: True)
    assert room._device() == room.Finding(True, "device", "Apple GPU")


def test_the_cache_is_shown_and_pruned(tmp_path: Path) -> None:
    """All that came of patients' images goes; downloads, files of upstream and a build in progress stay."""
    import fcntl

    from stylegan2ada.data.cache import cached_images
    from stylegan2ada.data.dataset import ImageFolderDataset
    from stylegan2ada.metrics.detectors import Detectors
    from stylegan2ada.metrics.features import dataset_features

    with DatasetWriter(tmp_path / "x.zip") as writer:
        for i in range(4):
            writer.add(np.full((256, 256), i, dtype=np.uint8))
    dataset, cache = ImageFolderDataset(tmp_path / "x.zip"), tmp_path / "cache"
    mapped = cached_images(dataset)
    dataset_features(Detectors({"x": "tiny"}).load("x"), dataset, options={"return_features": True})
    for name in ("downloads/d_vgg16.pt", "gan-metrics/a-0.pkl", "datasets/notes.txt"):
        (cache / name).parent.mkdir(exist_ok=True)
        (cache / name).write_bytes(bytes(1000))
    building, killed = "0" * 32, "1" * 32
    for key in (building, killed):
        (cache / "datasets" / f".{key}.tmp").write_bytes(bytes(500_000))
    with (cache / "datasets" / f".{building}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        shown = run("--outdir", str(tmp_path))
        assert f"ok   cache      0.7 MB of images and statistics of data sets in {cache}" in shown.output
        result = run("--outdir", str(tmp_path), "--prune-cache", "--json=-")
    assert json.loads(result.stdout)["pruned"]["files"] == 5  # pixels, stamp, fingerprint, statistics, a rest
    assert "0.7 MB, from" in result.stderr
    left = {path.relative_to(cache).as_posix() for path in cache.rglob("*") if path.is_file()}
    assert left - {path for path in left if path.endswith(".lock")} == {
        "downloads/d_vgg16.pt", "gan-metrics/a-0.pkl", "datasets/notes.txt", f"datasets/.{building}.tmp",
    }  # fmt: skip
    assert mapped[3].max() == 3  # a run that has it open goes on
    run("--prune-cache")
    assert "cache      0.0 MB" in run("--outdir", str(tmp_path)).output
