"""The pictures beside a data set: who stands where, which frames are doubtful, what the curves show."""

from __future__ import annotations

import io
import json

import numpy as np
import PIL.Image
import PIL.ImageDraw
import pytest

from spine_plugins.dicom import sheets
from spine_plugins.dicom.histograms import histogram_sheet
from spine_plugins.dicom.likeness import BARS, INVERTED, THUMB, frame_doubt, thumbnail
from spine_plugins.dicom.record import Header, Record
from tests.spine_plugins.dicom.making import dataset, radiograph, run_tool, to_bytes, write


def spine(noise: int) -> np.ndarray:
    """A bright column before a soft background, uint8 [64, 64]."""
    rng = np.random.default_rng(noise)
    image = np.full((64, 64), 60.0)
    image[:, 24:40] = 180
    image += np.linspace(-30, 30, 64)[:, None] + rng.normal(0, 6, (64, 64))
    return image.clip(0, 255).astype(np.uint8)


def record(image: np.ndarray, pi: str = "MONOCHROME2") -> Record:
    levels = np.bincount(image.ravel(), minlength=256).astype("<u4").tobytes()
    return Record("x", header=Header(pi=pi), thumb=thumbnail(image), histogram=levels)


def gallery(sizes: dict[str, int]) -> sheets.Gallery:
    made, row = sheets.Gallery(sizes), 100
    for kind, n in sizes.items():
        for _ in range(n):
            made.add(f"image {row}", row, [kind], record(spine(row)))
            row += 1
    made.judge((f"image {r}", r, thumbnail(spine(r))) for r in range(100, row))
    return made


@pytest.fixture
def drawn(monkeypatch) -> list[str]:
    """Every text that is written into a picture."""
    found: list[str] = []
    plain = PIL.ImageDraw.ImageDraw.text
    monkeypatch.setattr(
        PIL.ImageDraw.ImageDraw, "text",
        lambda self, at, text, **k: found.append(text) or plain(self, at, text, **k),
    )  # fmt: skip
    return found


def load(_name: str) -> bytes:
    file = io.BytesIO()
    PIL.Image.fromarray(np.full((64, 64), 200, np.uint8)).save(file, "PNG")
    return file.getvalue()


def test_doubtful_frames_are_found_and_ordinary_ones_are_not():
    thumbs = [np.frombuffer(thumbnail(spine(i)), np.uint8) for i in range(30)]
    mean = np.mean(thumbs, axis=0)
    assert {frame_doubt(thumb, mean) for thumb in thumbs} == {""}
    assert frame_doubt(255 - thumbs[0], mean) == INVERTED
    for turned in range(4):  # a bar of an eighth, at each side
        barred = np.rot90(spine(3), turned).copy()
        barred[:8] = 0
        flat = np.frombuffer(thumbnail(np.rot90(barred, -turned)), np.uint8)
        assert frame_doubt(flat, mean) == BARS, turned
    # Black all over is no bar, and nothing that a mean could be compared with.
    assert frame_doubt(np.zeros(THUMB * THUMB, np.uint8), mean) == ""


def test_tiles_carry_the_row_of_the_report(drawn, tmp_path):
    made = gallery({"normal": 3, "abnormal": 2})
    made.doubtful["image 101"] = BARS
    made.doubts[BARS] = 1
    sheets.contact_sheet(tmp_path / "x.png", made, load)
    assert {"100", "102", "103", "104", f"101 {BARS}", f"doubtful frames: {BARS} 1"} <= set(drawn)


def test_classes_are_kept_apart_and_small_ones_share_a_row(tmp_path):
    blocks = [PIL.Image.new("RGB", (width, 10), (200, 200, 200)) for width in (100, 30, 40, 90)]
    rows = sheets.packed(blocks, 200)
    assert [row.width for row in rows] == [146, 146]
    gutter = np.asarray(rows[0])[:, 100:116]
    assert (gutter == sheets.BACKGROUND).all()
    sheets.contact_sheet(tmp_path / "x.png", gallery({f"class {i}": 2 for i in range(6)}), load)
    with PIL.Image.open(tmp_path / "x.png") as picture:
        # Six classes of two images: one row of them, not three of half-empty blocks, and two strips.
        assert picture.height < 4 * 160


def test_histograms_share_a_scale_and_name_both_axes(drawn, tmp_path):
    histogram_sheet(tmp_path / "x.png", gallery({"normal": 5, "abnormal": 2}))
    assert {"0", "128", "255"} <= set(drawn)
    scale = [text for text in drawn if text.endswith("%") and ":" not in text]
    assert len(scale) == 10 and scale[:5] == scale[5:]
    assert any(text.startswith("normal: 5 images, ") for text in drawn)
    assert sum(text.startswith("grey level") for text in drawn) == 2


def test_failed_is_one_number(tmp_path):
    root = tmp_path / "in"
    for i in range(5):
        write(root / f"{i}.dcm", radiograph(seed=i))
    # DICOM without a picture: its row fails, but it is no image that was lost.
    plan = dataset(radiograph())
    del plan.PixelData, plan.Rows, plan.Columns
    (root / "plan.dcm").write_bytes(to_bytes(plan))
    result = run_tool("--source", root, "--dest", tmp_path / "x.zip", "--fail-over", 0)
    assert result.exit_code == 0, result.output
    summary = json.loads((tmp_path / "x_summary.json").read_text())
    assert summary["failed"] == summary["by_status"]["failed"] == 1


def test_a_refusal_leaves_no_key(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "notes.txt").write_text("no image")
    assert run_tool("--source", tmp_path / "in", "--dest", tmp_path / "x.zip").exit_code == 4
    assert not (tmp_path / "x.key").exists()
