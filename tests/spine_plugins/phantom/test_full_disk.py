"""A disk that is full or a place that is no folder: one sentence, and no half of a series."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
from click.testing import CliRunner

from spine_plugins.phantom.command import phantom


@pytest.mark.parametrize("flag", ["--out", "--zip", "--sheet"])
def test_a_full_disk(tmp_path: Path, flag: str) -> None:
    place = tmp_path / "out" / {"--out": "raw", "--zip": "x.zip", "--sheet": "x.png"}[flag]
    place.parent.mkdir()
    flags = [f"{flag}={place}", "--n=4", "--size=64x64", "--resolution=32", "--workers=1"]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3_000, hard))  # no file can grow beyond
    try:
        result = CliRunner().invoke(phantom, flags)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert result.exit_code == 2, result.output
    assert result.stderr.splitlines()[-1].startswith(f"Error: {place} cannot be written (")
    assert list(place.parent.iterdir()) == []


@pytest.mark.parametrize("flag", ["--out", "--zip", "--sheet"])
def test_a_place_below_a_file(tmp_path: Path, flag: str) -> None:
    (tmp_path / "file").write_text("in the way")
    result = CliRunner().invoke(phantom, [f"{flag}={tmp_path}/file/x.zip", "--n=2", "--size=64x64"])
    assert result.exit_code == 2, result.output
    said = result.stderr.splitlines()[-1]
    assert str(tmp_path) in said and (
        "cannot be written" in said or "not a file in an existing folder" in said
    )
