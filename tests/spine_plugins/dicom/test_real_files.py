"""Every file that pydicom's wheel and the pydicom-data package carry, with the reason that each must get."""
# ruff: noqa: E501 - tables

from __future__ import annotations

import dataclasses
import fnmatch
import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file

from spine_plugins.dicom.convert import convert_item
from spine_plugins.dicom.settings import IngestSettings
from spine_plugins.dicom.sources import Item
from tests.spine_plugins.dicom.making import image_of, report_rows, run_tool

WHEEL = Path(pydicom.__file__).parent / "data" / "test_files"
_found = get_testdata_file("RG1_UNCR.dcm", download=False)
EXTRA = Path(_found).parent if _found else None
needs_extra = pytest.mark.skipif(EXTRA is None, reason="pydicom-data is not installed")

OK = ""
# pattern on the relative path: (reason by default, reason with --modality any --min-size 16); the first match counts
EXPECTED = [
    ("*.py", "not_dicom", "not_dicom"), ("*.pyc", "not_dicom", "not_dicom"),
    ("*DICOMDIR*", "dicomdir", "dicomdir"),
    ("dicomdirtests/77654033/CR[123]/*", "too_small", OK),
    ("dicomdirtests/TINY_ALPHA/README", "not_dicom", "not_dicom"),
    ("dicomdirtests/TINY_ALPHA/*", "no_pixel_data", "no_pixel_data"),
    ("dicomdirtests/98892003/*", "modality_rejected", OK),
    ("dicomdirtests/98892001/*", "modality_rejected", OK),
    ("dicomdirtests/77654033/CT2/*", "modality_rejected", OK),
    ("dicomdirtests/README*", "not_dicom", "not_dicom"),
    ("*README*", "not_dicom", "not_dicom"), ("*.dump", "not_dicom", "not_dicom"), ("*.icc", "not_dicom", "not_dicom"),
    ("zipMR.gz", "not_dicom", "not_dicom"),
    ("*NoMeta.dcm", "not_dicom", "not_dicom"), ("no_meta.dcm", "not_dicom", "not_dicom"),
    ("OT-PAL-8-face.dcm", "not_dicom", "not_dicom"), ("rtstruct.dcm", "not_dicom", "not_dicom"),
    ("chr*.dcm", "no_pixel_data", "no_pixel_data"),
    ("test-SR.dcm", "no_pixel_data", "no_pixel_data"), ("waveform_ecg.dcm", "no_pixel_data", "no_pixel_data"),
    ("CT_small.dcm", "modality_rejected", OK), ("693_*", "modality_rejected", OK),
    ("MR_truncated.dcm", "modality_rejected", "pixel_data_short"),
    ("MR_small*", "modality_rejected", OK), ("MR2_*", "modality_rejected", OK),
    ("JPEG-lossy.dcm", "modality_rejected", OK),  # bad scan parameters; imagecodecs reads it
    ("JPEG2000-embedded-sequence-delimiter.dcm", "modality_rejected", "decode_error"),
    ("JPEG2000*", "modality_rejected", OK), ("JPEG-LL.dcm", "modality_rejected", OK),
    ("JPGExtended.dcm", "modality_rejected", OK),
    # 45 and 50 pixels by 10: too small in both columns, and Modality OT, which is allowed.
    ("JPEGLSNearLossless_*", "too_small", "too_small"),
    ("image_dfl.dcm", OK, OK), ("vlut_04.dcm", OK, OK), ("mlut_18.dcm", OK, OK),
    ("J2K_pixelrep_mismatch.dcm", "modality_rejected", OK), ("bad_sequence.dcm", "modality_rejected", OK),
    ("explicit_VR-UN.dcm", "modality_rejected", OK),
    ("emri_small*", "modality_rejected", "multi_frame"),
    ("rtdose_1frame.dcm", "modality_rejected", "too_small"),  # 10x10, though one frame
    ("rtdose_*1frame.dcm", "modality_rejected", "too_small"),
    ("rtdose*", "modality_rejected", "multi_frame"),
    ("badVR.dcm", "modality_rejected", "header_invalid"),
    ("color3d_jpeg_baseline.dcm", "modality_rejected", "colour"),  # 120 frames, but colour is asked first
    ("eCT_Supplemental.dcm", "modality_rejected", "multi_frame"),
    ("liver*1frame.dcm", "modality_rejected", "bits_unsupported"), ("liver*", "modality_rejected", "multi_frame"),
    ("meta_missing_tsyntax.dcm", "header_invalid", "header_invalid"),
    ("nested_priv_SQ.dcm", "header_invalid", "header_invalid"),
    ("UN_sequence.dcm", "no_pixel_data", "no_pixel_data"),
    ("empty_charset_LEI.dcm", "no_pixel_data", "no_pixel_data"),
    ("no_meta_group_length.dcm", "no_pixel_data", "no_pixel_data"),
    ("priv_SQ.dcm", "no_pixel_data", "no_pixel_data"), ("reportsi*", "no_pixel_data", "no_pixel_data"),
    ("rtplan*", "no_pixel_data", "no_pixel_data"),
    ("*.json", "not_dicom", "not_dicom"),
    ("examples_overlay.dcm", "modality_rejected", OK), ("MR-SIEMENS-DICOM-WithOverlays.dcm", "modality_rejected", OK),
    ("JPGLosslessP14SV1_1s_1f_8b.dcm", "modality_rejected", OK),
    ("RG1_*", OK, OK), ("RG3_*", OK, OK),
]  # fmt: skip
_COLOUR = ("SC_*", "US1_*", "examples_*rgb*", "examples_ybr*", "examples_palette*", "examples_jpeg2k*", "color-p*",
           "OBXXXX1A*", "gdcm-US-ALOKA*", "GDCMJ2K_TextGBR*", "ExplVR_BigEnd.dcm")  # fmt: skip


def _files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def _records(root: Path, settings: IngestSettings, without: Sequence[str] = ()) -> dict[str, dict]:
    paths = {path.relative_to(root).as_posix(): path for path in _files(root)}
    items = [
        Item(name, str(path), size=path.stat().st_size) for name, path in paths.items() if name not in without
    ]
    records = [dataclasses.asdict(convert_item(settings, b"key", item)) for item in items]
    return {record["path"]: record for record in records}


DEFAULT = IngestSettings()
ANY = IngestSettings(modality="any", min_size=16)


@pytest.fixture(scope="module")
def wheel():
    return _records(WHEEL, DEFAULT), _records(WHEEL, ANY)


@pytest.fixture(scope="module")
def extra():
    default = _records(EXTRA, DEFAULT)
    kept = [
        name for name, record in default.items() if not record["reason"]
    ]  # the large radiographs, read once
    return default, _records(EXTRA, ANY, without=kept) | {name: default[name] for name in kept}


def _check(both: tuple[dict, dict]) -> None:
    wrong = []
    for name in both[0]:
        reasons = both[0][name]["reason"], both[1][name]["reason"]
        if any(fnmatch.fnmatch(name, pattern) for pattern in _COLOUR):
            is_right = reasons[1] == "colour" and reasons[0] in ("colour", "modality_rejected")
        else:
            expected = next((row[1:] for row in EXPECTED if fnmatch.fnmatch(name, row[0])), None)
            is_right = reasons == expected
        if not is_right:
            wrong.append((name, *reasons))
    assert not wrong, wrong


def test_wheel_files_get_the_documented_reasons(wheel):
    _check(wheel)


@needs_extra
def test_pydicom_data_files_get_the_documented_reasons(extra):
    _check(extra)


def test_every_file_has_exactly_one_record(wheel):
    assert set(wheel[0]) == set(wheel[1]) == {path.relative_to(WHEEL).as_posix() for path in _files(WHEEL)}


@needs_extra
def test_chest_radiograph_is_shown_bone_bright(extra):
    record = extra[0]["RG1_UNCR.dcm"]
    image = image_of(record)
    assert record["inverted"]
    assert record["header"]["bits_stored"] == 15
    assert (record["header"]["rows"], record["header"]["cols"]) == (1955, 1841)
    raw = pydicom.dcmread(EXTRA / "RG1_UNCR.dcm").pixel_array
    x0, y0, x1, y1 = record["crop"]
    assert x1 - x0 == y1 - y0
    # The whole reader once more in plain float64: block means, window, inversion, rounding.
    n = x1 - x0
    edges = np.floor(np.arange(257) * n / 256 + 0.5).astype(int)
    part = raw[y0:y1, x0:x1].astype(np.float64)
    rows = np.stack([part[a:b].mean(0) for a, b in zip(edges, edges[1:])])
    small = np.stack([rows[:, a:b].mean(1) for a, b in zip(edges, edges[1:])], axis=1)
    low, high = np.percentile(raw[y0:y1:4, x0:x1:4], (0.5, 99.5))
    plain = 255 - np.clip((small - low) / (high - low) * 255, 0, 255)
    assert np.abs(image - plain).max() <= 1


@needs_extra
def test_duplicates_of_the_real_radiographs(tmp_path):
    for name in ("RG3_UNCR", "RG3_J2KR", "RG3_UNCI", "RG3_J2KI"):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / f"{name}.dcm").symlink_to(EXTRA / f"{name}.dcm")
    # Links out of the source are refused; the folder itself is the source for the real run.
    result = run_tool("--source", tmp_path / "in", "--dest", tmp_path / "x.zip")
    assert result.exit_code == 4
    assert {row["reason"] for row in report_rows(tmp_path / "x.zip")} == {"path_escape"}
    for name in ("RG3_UNCR", "RG3_J2KR", "RG3_UNCI", "RG3_J2KI"):
        (tmp_path / "in" / f"{name}.dcm").unlink()
        (tmp_path / "in" / f"{name}.dcm").write_bytes((EXTRA / f"{name}.dcm").read_bytes())
    # UNCI and J2KI share their SOP instance UID; UNCR and J2KR have two, but the same pixels.
    expected = {"sop,pixels": ["", "", "duplicate_sop", "duplicate_pixels"],
                "pixels": ["", "", "duplicate_pixels", "duplicate_pixels"]}  # fmt: skip
    for keys, reasons in expected.items():
        result = run_tool(
            "--source", tmp_path / "in", "--dest", tmp_path / "y.zip", "--dedupe", keys, "--overwrite"
        )
        assert result.exit_code == 0, result.output
        rows = report_rows(tmp_path / "y.zip")
        assert [row["path"] for row in rows] == [
            "RG3_J2KI.dcm",
            "RG3_J2KR.dcm",
            "RG3_UNCI.dcm",
            "RG3_UNCR.dcm",
        ]
        assert [row["reason"] for row in rows] == reasons


def test_headerless_files_with_force_meta():
    records = _records(WHEEL, IngestSettings(modality="any", min_size=16, force_meta=True))
    assert records["rtstruct.dcm"]["reason"] == "no_pixel_data"
    assert records["no_meta.dcm"]["reason"] == "not_dicom"  # it begins with a stray byte
    assert records["ExplVR_LitEndNoMeta.dcm"]["reason"] == "no_pixel_data"


@needs_extra
def test_headerless_image_with_force_meta():
    path = EXTRA / "OT-PAL-8-face.dcm"
    item = Item("x", str(path), size=path.stat().st_size)
    record = dataclasses.asdict(convert_item(IngestSettings(modality="any", force_meta=True), b"key", item))
    assert record["reason"] == "colour"
    assert record["header"]["transfer_syntax"] == "1.2.840.10008.1.2"  # sniffed


def test_hostile_jpeg2000_is_refused_before_the_decoder(wheel):
    record = wheel[1]["JPEG2000-embedded-sequence-delimiter.dcm"]
    assert record["reason"] == "decode_error"
    assert record["header"]["plugin"] == ""  # no decoder was asked


@pytest.mark.skipif(importlib.util.find_spec("imagecodecs") is None, reason="imagecodecs is not installed")
def test_extended_jpeg_needs_imagecodecs(wheel, monkeypatch):
    from spine_plugins.dicom import codecs

    assert wheel[1]["JPGExtended.dcm"]["header"]["plugin"] == "imagecodecs"
    monkeypatch.setattr(codecs, "available_plugins", lambda uid: ())
    path = WHEEL / "JPGExtended.dcm"
    record = dataclasses.asdict(convert_item(ANY, b"key", Item("x", str(path), size=path.stat().st_size)))
    assert record["reason"] == "decoder_missing"
    assert "pip install imagecodecs" in record["detail"]
