"""Detectors are looked for in a fixed order and must stay the files that they were."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest
import torch

from stylegan2ada import files
from stylegan2ada.errors import MissingError, UserError
from stylegan2ada.metrics import detectors
from stylegan2ada.metrics.detectors import KNOWN, Detectors


def test_flag_then_environment_then_cache(
    own_cache: Path, stand_in_file: Path, tmp_path: Path, monkeypatch
) -> None:
    cached = files.download_target(KNOWN["inception"].url)
    digest = hashlib.md5(KNOWN["inception"].url.encode()).hexdigest()
    assert cached == own_cache / "downloads" / f"{digest}_inception-2015-12-05.pt"  # upstream's own name
    assert Detectors().find("inception") is None
    cached.parent.mkdir(parents=True)
    shutil.copy(stand_in_file, cached)
    assert Detectors().find("inception") == cached

    folder = tmp_path / "usb"
    folder.mkdir()
    monkeypatch.setenv("SPINEGAN_DETECTORS", str(folder))
    assert Detectors().find("inception") == cached
    shutil.copy(stand_in_file, folder / "inception-2015-12-05.pt")
    assert Detectors().find("inception") == folder / "inception-2015-12-05.pt"

    assert Detectors({"inception": str(stand_in_file)}).find("inception") == stand_in_file
    with pytest.raises(MissingError, match="no such file"):
        Detectors({"inception": str(tmp_path / "gone.pt")}).find("inception")


def test_a_changed_file_is_refused(own_cache: Path, stand_in_file: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.pt"
    shutil.copy(stand_in_file, mine)
    Detectors({"mine": str(mine)}).load("mine")
    Detectors({"mine": str(mine)}).load("mine")
    mine.write_bytes(mine.read_bytes() + b"\0")
    with pytest.raises(UserError, match="not the file that was used before"):
        Detectors({"mine": str(mine)}).load("mine")


def test_what_is_not_there_says_how_to_get_it(own_cache: Path) -> None:
    with pytest.raises(MissingError, match="spinegan detectors fetch vgg16") as caught:
        Detectors().load("vgg16")
    assert caught.value.exit_code == 3
    with pytest.raises(MissingError, match="--detector mine=FILE"):
        Detectors().load("mine")


def test_a_broken_file_is_one_sentence(own_cache: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.pt"
    broken.write_bytes(b"not TorchScript")
    with pytest.raises(UserError, match="not a usable TorchScript file"):
        Detectors({"mine": str(broken)}).load("mine")


def test_fetch_copies_from_the_cache_without_a_network(
    own_cache: Path, stand_in_file: Path, tmp_path: Path
) -> None:
    cached = files.download_target(KNOWN["vgg16"].url)
    cached.parent.mkdir(parents=True)
    shutil.copy(stand_in_file, cached)
    target = detectors.fetch("vgg16", tmp_path / "usb")
    assert target == tmp_path / "usb" / "vgg16.pt"
    assert target.read_bytes() == stand_in_file.read_bytes()


def test_tiny_is_the_same_network_everywhere() -> None:
    detector = Detectors().load("tiny")
    grey = torch.arange(2 * 16 * 16, dtype=torch.float32).reshape(2, 1, 16, 16) % 251
    features = detector(grey.to(torch.uint8), return_features=True)
    assert features.shape == (2, 128)
    torch.testing.assert_close(
        features, detector(grey.to(torch.uint8).expand(-1, 3, -1, -1), return_features=True)
    )
    frozen = torch.tensor([0.1156976, -0.0120123, 0.3105922, 0.0554997])  # changed numbers break old records
    torch.testing.assert_close(features[0, :4], frozen, rtol=1e-4, atol=1e-6)
    assert not detector.is_comparable
    probs = detector(grey.to(torch.uint8), no_output_bias=True)
    torch.testing.assert_close(probs.sum(1), torch.ones(2))
