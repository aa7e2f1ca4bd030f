"""Sets of pairs by command: phantoms, boxes of the DICOM tool, masks of one's own; and the sheet of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from click.testing import CliRunner

from spine_plugins.__main__ import main
from spine_plugins.phantom.lesions import KINDS
from spine_plugins.recipes.pairs import read_pairs
from spine_plugins.vindr import COMMON
from stylegan2ada import dataset_tool
from stylegan2ada.data.writer import DatasetWriter
from tests.spine_plugins.recipes.making import invoke, refusal, run


def test_the_phantom_makes_pairs(tmp_path: Path) -> None:
    found = {}
    for what in ("vertebrae", "lesions"):
        path = tmp_path / f"{what}.zip"
        words = ["phantom", f"--zip={path}", "--n=12", "--resolution=32", "--workers=1", f"--pairs={what}"]
        result = CliRunner().invoke(main, words)
        assert result.exit_code == 0, result.output
        found[what] = read_pairs(path)
    bones, lesions = found["vertebrae"], found["lesions"]
    np.testing.assert_array_equal(bones.images, lesions.images)
    assert set(np.unique(bones.masks)) == {0, 1}
    assert lesions.kind_names == KINDS
    # Every mask of a normal spine is empty; the kinds of others are those of their table.
    rows = (tmp_path / "lesions_factors.csv").read_text().splitlines()
    head = rows[0].split(",")
    for row, mask, label in zip(rows[1:], lesions.masks, lesions.labels):
        kinds = set(row.split(",")[head.index("kind")].split("; ")) - {"No finding"}
        drawn = {KINDS[k - 1] for k in np.unique(mask) if k}
        assert drawn <= kinds
        assert bool(label) or not mask.any()


def a_set(path: Path, side: int = 16) -> None:
    rng = np.random.default_rng(0)
    with DatasetWriter(path) as writer:
        for i in range(3):
            writer.add(rng.integers(0, 255, (side, side), np.uint8), i % 2)
        writer.extra["label_names"] = ["normal", "abnormal"]
        writer.extra["groups"] = {"00000/img00000001.png": {"study": "s", "patient": None}}


def test_boxes_become_masks(tmp_path: Path) -> None:
    a_set(tmp_path / "x.zip")
    boxes = {
        "00000/img00000001.png": [
            {"kind": "Osteophytes", "box": [2, 4, 12, 10], "inside": 1.0},
            {"kind": "Fracture", "box": [6, 6, 8, 8], "inside": 0.5},
            {"kind": "Osteophytes", "box": [14, 14, 16, 16], "inside": 0.1},  # cut off by the crop
        ]
    }
    place = tmp_path / "x_boxes.json"
    place.write_text(json.dumps({"resolution": 16, "boxes": boxes}))
    out = tmp_path / "pairs.zip"
    found = run("pairs", f"--data={tmp_path / 'x.zip'}", f"--out={out}", f"--sheet={tmp_path / 's.png'}")
    assert found["images_with"] == {"Osteophytes": 1, "Fracture": 1}
    pairs = read_pairs(out)
    spurs, fracture = COMMON.index("Osteophytes") + 1, pairs.kind_names.index("Fracture") + 1
    y, x = np.mgrid[:16, :16] + 0.5
    wanted = np.where(((x - 7) / 5) ** 2 + ((y - 7) / 3) ** 2 <= 1, spurs, 0)
    wanted[6:8, 6:8] = fracture  # the small one on top
    np.testing.assert_array_equal(pairs.masks[1], wanted)
    assert not pairs.masks[[0, 2]].any()
    assert (pairs.labels is not None) and pairs.labels.tolist() == [0, 1, 0]
    with PIL.Image.open(tmp_path / "s.png") as sheet:
        assert sheet.width == 3 * 96

    def told(content: object) -> str:
        place.write_text(json.dumps(content))
        return refusal("pairs", f"--data={tmp_path / 'x.zip'}", f"--out={tmp_path / 'y.zip'}")

    assert "of images of 32 pixels" in told({"resolution": 32, "boxes": {}})
    assert "no file of boxes" in told([])
    assert "does not hold" in told({"resolution": 16, "boxes": {"a.png": []}})
    assert "is none" in told(
        {"resolution": 16, "boxes": {"00000/img00000001.png": [{"kind": "a", "box": [3, 0, 1, 2]}]}}
    )
    place.unlink()
    assert (
        "is not there"
        in invoke("pairs", f"--data={tmp_path / 'x.zip'}", f"--out={tmp_path / 'y.zip'}").output
    )
    assert "say what to make" in refusal("pairs", f"--data={out}")


@pytest.mark.parametrize("transform", [None, "center-crop"])
def test_the_dataset_tool_moves_masks_as_images(tmp_path: Path, transform: str | None) -> None:
    """Images that show their own mask: after crop and resize they still do."""
    rng = np.random.default_rng(0)
    for i in range(3):
        mask = np.zeros((40, 64), np.uint8)
        top, left = rng.integers(4, 14, 2)
        mask[top : top + 20, left + 8 : left + 34] = 255
        for folder, pixels in (("images", mask), ("masks", mask)):
            (tmp_path / folder / "sub").mkdir(parents=True, exist_ok=True)
            PIL.Image.fromarray(pixels).save(tmp_path / folder / "sub" / f"{i}.png")
    flags = [f"--source={tmp_path / 'images'}", "--width=16", "--height=16", f"--dest={tmp_path / 'x.zip'}"]
    flags += [f"--transform={transform}"] * bool(transform)

    def convert() -> str:
        result = CliRunner().invoke(dataset_tool.main, [*flags, f"--masks={tmp_path / 'masks'}"])
        return f"{result.exit_code} {result.output}"

    assert convert().startswith("0")
    pairs = read_pairs(tmp_path / "x.zip")
    assert set(np.unique(pairs.masks)) == {0, 1}  # white is kind 1
    seen = pairs.images[:, 0] > 127
    assert (seen == (pairs.masks > 0)).mean() > 0.95
    PIL.Image.new("RGB", (64, 40), (1, 2, 3)).save(tmp_path / "masks" / "sub" / "1.png")
    assert "is no mask" in convert()
    PIL.Image.new("L", (64, 41)).save(tmp_path / "masks" / "sub" / "1.png")
    assert "64x41, the image 64x40" in convert()
    (tmp_path / "masks" / "sub" / "1.png").unlink()
    assert "has no mask of sub/1.png (1 of 3" in convert()
    shutil.rmtree(tmp_path / "masks")
    assert f"--masks={tmp_path / 'masks'} does not exist" in convert()  # not --source
