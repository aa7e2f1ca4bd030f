"""Detectors: what is here, for people and for programs; carrying the files to another computer."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from spine_plugins.detectors_command import detectors
from stylegan2ada import files
from stylegan2ada.metrics.detectors import KNOWN


@pytest.fixture(autouse=True)
def carried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that holds one detector, an empty cache beside it."""
    monkeypatch.setenv("DNNLIB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("SPINEGAN_DETECTORS", str(tmp_path / "carried"))
    (tmp_path / "carried").mkdir()
    (tmp_path / "carried" / KNOWN["vgg16"].file_name).write_bytes(b"a network")
    return tmp_path / "carried"


def run(*args: object) -> Result:
    return CliRunner().invoke(detectors, [str(arg) for arg in args])


def test_the_list_says_what_is_here_and_what_is_missing(carried: Path) -> None:
    result = run("list", "--json=-")
    found = {entry["name"]: entry for entry in json.loads(result.stdout)["detectors"]}
    assert list(found) == list(KNOWN)
    assert found["inception"]["file"] is found["inception"]["sha256"] is None
    assert found["vgg16"] == {
        "name": "vgg16", "file": str(carried / KNOWN["vgg16"].file_name), "url": KNOWN["vgg16"].url,
        "sha256": hashlib.sha256(b"a network").hexdigest(), "licence": KNOWN["vgg16"].licence,
    }  # fmt: skip
    plain = run("list").stdout
    assert plain == result.stderr
    assert "inception  missing" in plain
    assert f"SHA-256 {found['vgg16']['sha256'][:16]}\n" in plain


def test_a_cached_detector_is_carried_elsewhere(tmp_path: Path) -> None:
    cached = files.download_target(KNOWN["vgg16"].url)
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"the same network")
    result = run("fetch", "vgg16", f"--to={tmp_path / 'stick'}")
    assert result.stdout == f"vgg16: {tmp_path / 'stick' / KNOWN['vgg16'].file_name}\n"
    assert (tmp_path / "stick" / KNOWN["vgg16"].file_name).read_bytes() == b"the same network"
    assert run("fetch", "vgg16", f"--to={tmp_path / 'stick'}").exit_code == 0, "the same file is no other"
    wrong = run("fetch", "resnet")
    assert (wrong.exit_code, "known are inception, vgg16" in wrong.stderr) == (2, True)


def test_another_file_of_that_name_stays_unless_asked(tmp_path: Path) -> None:
    cached = files.download_target(KNOWN["vgg16"].url)
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"the network")
    other = tmp_path / KNOWN["vgg16"].file_name
    other.write_bytes(b"somebody's")
    refused = run("fetch", "vgg16", f"--to={tmp_path}")
    assert (refused.exit_code, "--overwrite" in refused.stderr) == (2, True)
    assert other.read_bytes() == b"somebody's"
    assert run("fetch", "vgg16", f"--to={tmp_path}", "--overwrite").exit_code == 0
    assert other.read_bytes() == b"the network"
