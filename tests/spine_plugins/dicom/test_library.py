"""What a notebook calls: one radiograph as pixels, a whole conversion as a function."""

from __future__ import annotations

import doctest
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from spine_plugins.dicom import codecs, library
from spine_plugins.dicom.library import convert_dicom, read_radiograph
from stylegan2ada.errors import MissingError, UserError
from tests.spine_plugins.dicom import making
from tests.spine_plugins.dicom.making import radiograph, report_rows, write


def test_examples_run():
    assert doctest.testmod(library) == (0, 10)


def test_a_radiograph_is_the_pixels_of_the_data_set(tree: Path, converted: Path):
    kept = [row for row in report_rows(converted) if row["status"] == "ok"][:3]
    with zipfile.ZipFile(converted) as archive:
        for row in kept:
            stored = np.asarray(PIL.Image.open(io.BytesIO(archive.read(row["out_name"]))))
            assert (read_radiograph(tree / row["path"], resolution=64) == stored).all()
    paper = read_radiograph(tree / kept[0]["path"], resolution=64, preset="paper", min_size=32)
    assert paper.shape == (64, 64, 3)
    windows = {read_radiograph(tree / kept[0]["path"], window=name).tobytes() for name in ("minmax", "auto")}
    assert len(windows) == 2


def test_what_cannot_be_read_says_why(tmp_path: Path, monkeypatch):
    small = write(tmp_path / "small.dcm", radiograph(64, 64), bits=12)
    with pytest.raises(UserError, match=r"small.dcm cannot become .* \(too_small: 64x64\)"):
        read_radiograph(small)
    assert read_radiograph(str(small), min_size=16, resolution=32).shape == (32, 32)
    with pytest.raises(UserError, match="not a file"):
        read_radiograph(tmp_path)
    with pytest.raises(UserError, match="no setting 'windw'"):
        read_radiograph(small, windw="voi")
    with pytest.raises(UserError, match="--crop=circle is unknown; use field, center, lesion or pad"):
        read_radiograph(small, crop="circle")
    with pytest.raises(UserError, match="--resolution=100 is not a power of two"):
        read_radiograph(small, resolution=100)
    with pytest.raises(UserError, match="no preset 'papre'"):
        read_radiograph(small, preset="papre")
    packed = write(tmp_path / "packed.dcm", radiograph(), making.J2K, bits=12)
    monkeypatch.setattr(codecs, "available_plugins", lambda uid: ())
    with pytest.raises(MissingError, match="pip install pylibjpeg-openjpeg"):
        read_radiograph(packed)


def test_a_conversion_is_the_commands(tree: Path, converted: Path, key_file: Path, tmp_path: Path, capsys):
    summary = convert_dicom(tree, tmp_path / "x.zip", resolution=64, key_file=key_file)
    assert (tmp_path / "x.zip").read_bytes() == converted.read_bytes()
    assert summary == json.loads((tmp_path / "x_summary.json").read_text())
    assert capsys.readouterr().out == ""
    said: list[str] = []
    parts = convert_dicom(
        [tree / "train_images"],
        tmp_path / "y.zip",
        annotations=tree / "annotations",
        labels="multi13",
        split="0.5/0.5",
        resolution=32,
        log=said.append,
    )
    assert sum(parts["by_split"].values()) == parts["kept"] == 24
    assert len(parts["label_names"]) == 13
    assert "kept 24 of 24 files" in said[0]


def test_mistakes_in_a_conversion_are_told(tree: Path, tmp_path: Path):
    with pytest.raises(UserError, match="--labels=spine9 is unknown"):
        convert_dicom(tree, tmp_path / "x.zip", labels="spine9")
    with pytest.raises(UserError, match="does not exist"):
        convert_dicom(tmp_path / "nothing", tmp_path / "x.zip")
    assert list(tmp_path.iterdir()) == []
