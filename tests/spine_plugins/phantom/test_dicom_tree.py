"""The DICOM tree: the pixels that were drawn, in many storage forms, beside true annotations."""

from __future__ import annotations

import csv
import errno
import hashlib
import os
from pathlib import Path

import click.testing
import numpy as np
import pydicom
import pytest
from pydicom.pixels import pixel_array

from spine_plugins import phantom, uids
from spine_plugins.phantom import command, dicom_file, dicom_tree
from spine_plugins.phantom import syntaxes as codecs
from spine_plugins.phantom.series import SeriesOptions, hashed, sheets_of_study
from stylegan2ada.errors import UserError

SIZE = (96, 80)


def _table(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def _drawn(n, seed=0):
    sheets = []
    number = 0
    while len(sheets) < n:
        from spine_plugins.phantom.series import _study

        options = SeriesOptions(seed, SIZE)
        count = min(len(_study(options, number).views), n - len(sheets))
        sheets += sheets_of_study(options, number, len(sheets), count)
        number += 1
    return sheets


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    out = tmp_path_factory.mktemp("phantom") / "raw"
    phantom.write_dicom_tree(out, 30, size=SIZE)
    return out


def test_every_file_reads_back_as_drawn(tree):
    seen = {"syntax": set(), "bits": set(), "pi": set(), "slope": set()}
    for sheet in _drawn(30):
        traits = dicom_file.traits_of(sheet.index, codecs.syntaxes(False))
        name = hashed(f"phantom image 0 {sheet.index}")
        path = next(tree.glob(f"*_images/{name}.dicom"))
        ds = pydicom.dcmread(path)
        assert str(ds.file_meta.TransferSyntaxUID) == traits.syntax
        assert np.array_equal(pixel_array(ds), dicom_file.stored_pixels(sheet.phantom.image, traits))
        seen["syntax"].add(traits.syntax)
        seen["bits"].add(ds.BitsStored)
        seen["pi"].add(ds.PhotometricInterpretation)
        seen["slope"].add(float(ds.RescaleSlope))
    assert seen["syntax"] == {*codecs.PLAIN_SYNTAXES, uids.RLE_LOSSLESS}
    assert seen["bits"] == {8, 10, 12, 14, 16}
    assert seen["pi"] == {"MONOCHROME1", "MONOCHROME2"}
    assert len(seen["slope"]) == 3


def test_inverted_files_are_the_negative():
    image = phantom.draw(3, SIZE).image
    traits = dicom_file.traits_of(0, codecs.PLAIN_SYNTAXES)
    from dataclasses import replace

    plain, inverted = (
        dicom_file.stored_pixels(image, replace(traits, inverted=flag)).astype(int) for flag in (False, True)
    )
    assert np.array_equal(plain + inverted, np.full(SIZE, 2**traits.bits_stored - 1))


def test_annotations_say_what_factors_say(tree):
    factors = {Path(row["name"]).stem: row for row in _table(tree / "factors.csv")}
    boxes: dict[str, list] = {}
    for split in ("train", "test"):
        rows = _table(tree / "annotations" / f"{split}.csv")
        assert tuple(rows[0]) == dicom_tree.ANNOTATION_COLUMNS
        for row in rows:
            assert (tree / f"{split}_images" / f"{row['image_id']}.dicom").is_file()
            boxes.setdefault(row["image_id"], []).append(row)
        metas = _table(tree / "annotations" / f"{split}_meta.csv")
        assert {row["image_id"] for row in metas} == {row["image_id"] for row in rows}
    assert set(boxes) == set(factors)
    for image, rows in boxes.items():
        kinds = {row["lesion_type"] for row in rows}
        assert kinds == set(factors[image]["kind"].split("; "))
        assert {row["study_id"] for row in rows} == {factors[image]["study"]}
        for row in rows:
            if row["lesion_type"] != "No finding":
                x0, y0, x1, y1 = (float(row[edge]) for edge in ("xmin", "ymin", "xmax", "ymax"))
                assert 0 <= x0 < x1 <= SIZE[1]
                assert 0 <= y0 < y1 <= SIZE[0]
    assert {path.stem for path in (tree / "masks").iterdir()} == set(factors)


def test_headers_are_those_of_nobody_and_do_not_depend_on_the_day(tree):
    for path in sorted(tree.rglob("*.dicom"))[:6]:
        ds = pydicom.dcmread(path)
        assert str(ds.PatientName).startswith("Phantom^")
        assert ds.StudyDate == "20200101"
        assert ds.SOPInstanceUID.is_valid


def test_same_seed_same_bytes(tree, tmp_path):
    phantom.write_dicom_tree(tmp_path / "again", 8, size=SIZE)
    for path in (tmp_path / "again").glob("*_images/*.dicom"):
        first = next(tree.glob(f"*_images/{path.name}"))
        assert hashlib.sha256(first.read_bytes()).digest() == hashlib.sha256(path.read_bytes()).digest()


def test_compressed_syntaxes_read_back(tmp_path):
    """All but 12-bit JPEG are lossless; that one is read only where a decoder is registered."""
    image = phantom.draw(4, SIZE).image
    syntaxes = codecs.syntaxes(True)
    assert len(syntaxes) == 5 + len(codecs.COMPRESSED) - len(codecs.missing_codecs())
    for index, uid in enumerate(syntaxes):
        traits = dicom_file.traits_of(index, syntaxes)
        pixels = dicom_file.stored_pixels(image, traits)
        who = dicom_file.Identity(image=uid, study="s", series="r", patient="p", name="Phantom^1")
        dicom_file.make_file(pixels, traits, who).save_as(tmp_path / "x.dicom", enforce_file_format=True)
        ds = pydicom.dcmread(tmp_path / "x.dicom")
        if uid == uids.JPEG_EXTENDED_12BIT:
            imagecodecs = pytest.importorskip("imagecodecs")
            frame = next(pydicom.encaps.generate_frames(ds.PixelData, number_of_frames=1))
            assert np.abs(imagecodecs.jpeg8_decode(frame).astype(int) - pixels).max() < 80  # lossy, of 4095
        else:
            assert np.array_equal(pixel_array(ds), pixels), uid


def test_bad_files_are_what_expected_says(tmp_path):
    """Every file below the folder has its line; a slow test compares them with the converter."""
    out = tmp_path / "raw"
    phantom.write_dicom_tree(out, 3, size=SIZE, with_bad=True)
    rows = _table(out / "expected.csv")
    names = {
        path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file() or path.is_symlink()
    }
    assert {row["path"] for row in rows} == names
    reasons = {row["reason"] for row in rows}
    assert {
        "no_pixel_data",
        "pixel_data_short",
        "decode_error",
        "duplicate_sop",
        "duplicate_pixels",
        "colour",
    } <= reasons
    assert (out / "bad" / "deflate_bomb.dicom").stat().st_size < 200_000
    assert len(pydicom.dcmread(out / "bad" / "deflate_bomb.dicom").PixelData) < 64 << 20
    with pytest.raises(Exception, match="."):
        pixel_array(out / "bad" / "truncated.dicom")


@pytest.mark.slow
def test_converter_reports_what_expected_says(tmp_path):
    import subprocess
    import sys

    out = tmp_path / "raw"
    phantom.write_dicom_tree(out, 30, size=(256, 224), with_bad=True)
    script = Path(__file__).parents[3] / "dataset_tool_dicom.py"
    subprocess.run(
        [sys.executable, script, "--source", out, "--dest", tmp_path / "o.zip", "--resolution", "128",
         "--labels", "binary", "--workers", "1"],
        check=True, capture_output=True,
    )  # fmt: skip
    told = {row["path"]: (row["status"], row["reason"]) for row in _table(tmp_path / "o_report.csv")}
    assert told == {row["path"]: (row["status"], row["reason"]) for row in _table(out / "expected.csv")}


def test_a_folder_with_other_things_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    for overwrite in (False, True):
        with pytest.raises(UserError, match="not an empty folder"):
            phantom.write_dicom_tree(tmp_path, 1, size=SIZE, overwrite=overwrite)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_overwrite_replaces_an_older_phantom(tmp_path):
    phantom.write_dicom_tree(tmp_path / "x", 3, size=SIZE)
    phantom.write_dicom_tree(tmp_path / "x", 2, size=SIZE, seed=9, overwrite=True)
    assert len(list((tmp_path / "x").rglob("*.dicom"))) == 2


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_takes_nothing_is_one_sentence(tmp_path, monkeypatch, code):
    def full(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(pydicom.Dataset, "save_as", full)
    words = ["--out", str(tmp_path / "raw"), "--n", "2", "--size", "96x80", "--workers", "1"]
    result = click.testing.CliRunner().invoke(command.phantom, words)
    assert result.exit_code == 2
    assert f"cannot be written ({os.strerror(code)})" in result.output
