"""Phantom folders through the whole tool: every unusable file gets the expected reason; lesions keep their boxes."""
# ruff: noqa: E501 - tables

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from spine_plugins import phantom
from tests.spine_plugins.dicom.making import report_rows, run_tool

TOOL = Path(__file__).parents[3] / "dataset_tool_dicom.py"


def test_every_bad_file_gets_the_expected_status_and_reason(tmp_path):
    phantom.write_dicom_tree(tmp_path / "in", 6, size=(320, 256), codecs=True, with_bad=True)
    result = run_tool(
        "--source", tmp_path / "in", "--dest", tmp_path / "x.zip", "--fail-over", 1, "--labels", "binary"
    )
    assert result.exit_code == 0, result.output
    found = {row["path"]: (row["status"], row["reason"]) for row in report_rows(tmp_path / "x.zip")}
    with open(tmp_path / "in" / "expected.csv", newline="") as file:
        expected = {row["path"]: (row["status"], row["reason"]) for row in csv.DictReader(file)}
    assert found == expected
    lie = next(row for row in report_rows(tmp_path / "x.zip") if row["path"] == "bad/bits_stored_lie.dicom")
    assert "bits_mismatch" in lie["warnings"]
    small = run_tool(
        "--source",
        tmp_path / "in",
        "--dest",
        tmp_path / "y.zip",
        "--fail-over",
        1,
        "--labels",
        "binary",
        "--max-inflate",
        32,
    )
    assert small.exit_code == 0
    bomb = next(row for row in report_rows(tmp_path / "y.zip") if "bomb" in row["path"])
    assert bomb["reason"] == "inflate_limit"


def test_labels_and_boxes_are_those_that_were_drawn(tmp_path):
    factors = phantom.write_dicom_tree(tmp_path / "in", 10, seed=3, size=(320, 256))
    result = run_tool(
        "--source", tmp_path / "in", "--dest", tmp_path / "x.zip", "--labels", "multi13", "--resolution", 128
    )
    assert result.exit_code == 0, result.output
    rows = [row for row in report_rows(tmp_path / "x.zip") if row["status"] == "ok"]
    assert len(rows) == len(factors) == 10
    given: dict[str, set[str]] = {}
    for split in ("train", "test"):
        with open(tmp_path / "in" / "annotations" / f"{split}.csv", newline="") as file:
            for row in csv.DictReader(file):
                given.setdefault(row["image_id"], set()).add(row["lesion_type"])
    assert {Path(row["path"]).stem: set(row["kinds"].split(";")) for row in rows} == given
    boxes = json.loads((tmp_path / "x_boxes.json").read_text())["boxes"]
    assert sum(len(found) for found in boxes.values()) == sum(int(row["n_boxes"]) for row in rows) > 0
    assert all(0 <= edge <= 128 for found in boxes.values() for box in found for edge in box["box"])


def test_polarity_bits_and_syntax_leave_no_trace(tmp_path):
    """The phantoms of one study differ in how they are stored; bones are bright in all of them."""
    phantom.write_dicom_tree(tmp_path / "in", 12, seed=1, size=(320, 256), codecs=True)
    run_tool(
        "--source", tmp_path / "in", "--dest", tmp_path / "x.zip", "--resolution", 64, "--labels", "none"
    )
    rows = [row for row in report_rows(tmp_path / "x.zip") if row["status"] == "ok"]
    assert {row["pi"] for row in rows} == {"MONOCHROME1", "MONOCHROME2"}
    assert len({row["bits_stored"] for row in rows}) >= 4
    assert len({row["transfer_syntax"] for row in rows}) >= 8
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        for row in rows:
            image = np.asarray(PIL.Image.open(io.BytesIO(archive.read(row["out_name"])))).astype(float)
            middle, border = image[:, 20:44], np.concatenate([image[:, :4], image[:, -4:]], axis=1)
            assert middle.mean() > border.mean() + 20, row["path"]


@pytest.mark.slow
def test_demo_is_quick(tmp_path):
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, str(TOOL), "--demo", "--dest", "demo.zip"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    seconds = time.monotonic() - start
    assert done.returncode == 0, done.stderr
    assert "kept 96 of" in done.stdout
    for name in (
        "demo.zip",
        "demo_contact.png",
        "demo_hist.png",
        "demo_report.csv",
        "demo_summary.json",
        "demo_boxes.json",
    ):
        assert (tmp_path / name).stat().st_size > 0
    print(f"demo: {seconds:.0f} s", file=sys.stderr)
    assert seconds < 120  # 20 s on two idle cores; tests share theirs
