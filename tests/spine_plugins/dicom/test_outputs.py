"""What a conversion leaves behind: data set, boxes, report, summary, pictures; and what it must not."""
# ruff: noqa: E501 - tables

from __future__ import annotations

import io
import json
import re
import stat
import zipfile
from collections import Counter

import numpy as np
import PIL.Image
import pytest

from spine_plugins.dicom.labels import LESIONS
from spine_plugins.dicom.tally import COLUMNS
from tests.spine_plugins.dicom.making import (
    dataset,
    radiograph,
    report_rows,
    run_tool,
    to_bytes,
    write,
    write_csv,
    write_tree,
)

SPEC_COLUMNS = (
    "index path status reason warnings out_name label kinds n_boxes boxes_inside group split rows cols bits_allocated "
    "bits_stored true_max signed pi transfer_syntax plugin modality body_part window_used lo hi inverted crop_box "
    "sha256_pixels dhash ms_decode"
).split()


def as_the_original_loader(path) -> tuple[np.ndarray, list]:
    """How the original program reads a data set: every PNG of the zip in sorted order, labels by name."""
    with zipfile.ZipFile(path) as archive:
        names = sorted(name for name in archive.namelist() if name.lower().endswith(".png"))
        images = [np.array(PIL.Image.open(io.BytesIO(archive.read(name)))) for name in names]
        labels = json.loads(archive.read("dataset.json"))["labels"]
    found = None if labels is None else [dict(map(tuple, labels))[name] for name in names]
    return np.stack(images), found


def test_the_data_set_can_be_read(converted):
    images, labels = as_the_original_loader(converted)
    assert images.shape == (24, 64, 64)
    assert images.dtype == np.uint8
    assert sorted(labels) == [0] * 12 + [1] * 12
    with zipfile.ZipFile(converted) as archive:
        infos = archive.infolist()
        assert {info.compress_type for info in infos} == {zipfile.ZIP_STORED}
        assert {info.date_time for info in infos} == {(1980, 1, 1, 0, 0, 0)}
        assert [info.filename for info in infos][0] == "00000/img00000000.png"
        description = json.loads(archive.read("dataset.json"))
    assert description["label_names"] == ["normal", "abnormal"]
    assert set(description["groups"]) == {info.filename for info in infos} - {"dataset.json"}
    assert len({group["study"] for group in description["groups"].values()}) == 12
    recipe = description["recipe"]
    assert recipe["flags"]["resolution"] == 64
    assert recipe["resize_filter"] == "area"
    assert {"tool", "version", "flags", "config_hash", "versions"} <= set(recipe)
    assert {"numpy", "pillow", "pydicom"} <= set(recipe["versions"])


def test_our_dataset_class_reads_it(converted):
    dataset_module = pytest.importorskip("stylegan2ada.data.dataset")
    images, labels = as_the_original_loader(converted)
    ours = dataset_module.ImageFolderDataset(str(converted), use_labels=True)
    assert ours.label_names == ["normal", "abnormal"]
    for i in range(24):
        image, label = ours[i]
        assert (image[0] == images[i]).all()
        assert label.tolist() == [float(labels[i] == 0), float(labels[i] == 1)]


def test_one_report_row_per_file(converted, tree):
    rows = report_rows(converted)
    assert list(COLUMNS[: len(SPEC_COLUMNS)]) == SPEC_COLUMNS
    files = sorted(path.relative_to(tree).as_posix() for path in tree.rglob("*") if path.is_file())
    assert [row["path"] for row in rows] == files
    assert [row["index"] for row in rows] == [str(i) for i in range(len(rows))]
    kept = [row for row in rows if row["status"] == "ok"]
    assert [row["out_name"] for row in kept] == [f"00000/img{i:08d}.png" for i in range(24)]
    truth = {f"train_images/{i * 7919 % 10007:032x}.dicom": i for i in range(24)}
    _, labels = as_the_original_loader(converted)
    for row, label in zip(kept, labels):
        i = truth[row["path"]]
        assert row["label"] == str(label) == str(i % 2)
        assert row["kinds"] == ("Osteophytes" if i % 2 else "No finding")
        assert row["pi"] == ("MONOCHROME1" if i % 3 == 0 else "MONOCHROME2")
        assert row["inverted"] == str(int(i % 3 == 0))
        assert (row["rows"], row["cols"], row["bits_stored"]) == ("160", "192", "12")


def test_boxes_are_kept_beside(converted):
    side = json.loads((converted.parent / "x_boxes.json").read_text())
    assert side["resolution"] == 64
    assert len(side["boxes"]) == 12
    # The centre square of 192x160 begins at x = 16; boxes lie at 60.5..100 x 50..90.25, and 3 pixels further.
    scale = 64 / 160
    for found in side["boxes"].values():
        for shift, box in zip((0, 3), found):
            expected = [
                (60.5 - 16 + shift) * scale,
                (50 + shift) * scale,
                (100 - 16 + shift) * scale,
                (90.25 + shift) * scale,
            ]
            assert box["box"] == pytest.approx(expected, abs=0.01)
            assert box["kind"] == "Osteophytes"
            assert box["inside"] == 1


def test_summary_and_table(tree, key_file, tmp_path):
    result = run_tool(
        "--source", tree, "--dest", tmp_path / "x.zip", "--resolution", 64, "--key-file", key_file
    )
    assert "kept 24 of 25 files because" in result.output
    assert re.search(r"1 +skipped +not_dicom", result.output)
    summary = json.loads((tmp_path / "x_summary.json").read_text())
    assert (summary["files"], summary["kept"]) == (25, 24)
    assert summary["by_reason"] == {"not_dicom": 1}
    assert summary["by_label"] == {"normal": 12, "abnormal": 12}
    assert summary["by_pi"] == {"MONOCHROME1": 8, "MONOCHROME2": 16}
    assert sum(summary["by_transfer_syntax"].values()) == 24
    for name in ("contact", "hist"):
        with PIL.Image.open(tmp_path / f"x_{name}.png") as picture:
            assert np.asarray(picture).std() > 5
    assert not (tmp_path / "x.parts").exists()


def test_ids_without_file_and_files_without_row(tree, tmp_path):
    write_csv(tmp_path / "a.csv", [
        {"image_id": "0" * 32, "lesion_type": "No finding"}, {"image_id": "ghost", "lesion_type": "Osteophytes"},
    ])  # fmt: skip
    result = run_tool(
        "--source", tree / "train_images", "--dest", tmp_path / "x.zip", "--annotations", tmp_path / "a.csv"
    )
    assert result.exit_code == 0, result.output
    summary = json.loads((tmp_path / "x_summary.json").read_text())
    assert summary["annotated_without_file"] == ["ghost"]
    assert summary["files_without_annotation"] == 23
    assert Counter(row["reason"] for row in report_rows(tmp_path / "x.zip")) == {"": 1, "no_label": 23}


SECRETS = [
    b"Secret",
    b"Person",
    b"PID-",
    b"1.2.3.",
    b"20010203",
    b"ACC-99",
    b"Hospital",
    b"study0",
    b"study11",
]


def test_nothing_identifying_leaves_the_input(converted, tmp_path, tree):
    result = run_tool(
        "--source", tree, "--dest", tmp_path / "s.zip", "--resolution", 64, "--split", "0.5/0.25/0.25"
    )
    assert result.exit_code == 0
    outputs = [path for folder in (converted.parent, tmp_path) for path in folder.iterdir()]
    assert len(outputs) >= 12
    for path in outputs:
        parts = [path.read_bytes(), result.output.encode()]
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                for name in archive.namelist():
                    content = archive.read(name)
                    parts.append(content)
                    if name.endswith(".png"):  # no text, time or EXIF chunks
                        kinds = re.findall(
                            rb"(?<=[\x00-\xff]{4})(IHDR|IDAT|IEND|tEXt|zTXt|iTXt|eXIf|tIME|pHYs)", content
                        )
                        assert set(kinds) <= {b"IHDR", b"IDAT", b"IEND"}
                        assert PIL.Image.open(io.BytesIO(content)).info == {}
                names = archive.read("dataset.json") if path == converted else b""
                assert b".dicom" not in names
                assert str(tree).encode() not in names
        for secret in SECRETS:
            assert not any(secret in part for part in parts), (path, secret)


def test_free_text_cannot_pass_as_a_code(tmp_path):
    made = dataset(radiograph(), bits=12, BodyPartExamined="DOE^JOHN", Modality="CR")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.dcm").write_bytes(to_bytes(made))
    run_tool("--source", tmp_path / "in", "--dest", tmp_path / "x.zip")
    assert report_rows(tmp_path / "x.zip")[0]["body_part"] == "other"


def test_paths_in_the_report(small_tree, tmp_path):
    shown = {}
    for form in ("relative", "hash", "none"):
        run_tool(
            "--source",
            small_tree,
            "--dest",
            tmp_path / f"{form}.zip",
            "--resolution",
            64,
            "--report-paths",
            form,
        )
        shown[form] = [row["path"] for row in report_rows(tmp_path / f"{form}.zip")]
    assert shown["relative"][1].startswith("train_images/")
    assert all(re.fullmatch("[0-9a-f]{16}", path) for path in shown["hash"])
    assert set(shown["none"]) == {""}


def test_the_key_is_made_once_and_kept_private(small_tree, tmp_path):
    hashes = []
    for name in ("x", "x", "y"):
        run_tool(
            "--source", small_tree, "--dest", tmp_path / f"{name}.zip", "--resolution", 64, "--overwrite"
        )
        hashes.append(report_rows(tmp_path / f"{name}.zip")[1]["study"])
    assert hashes[0] == hashes[1] != hashes[2]
    assert stat.S_IMODE((tmp_path / "x.key").stat().st_mode) == 0o600
    key = (tmp_path / "x.key").read_text().strip()
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        assert key.encode() not in archive.read("dataset.json")
    (tmp_path / "bad.key").write_text("no key")
    result = run_tool(
        "--source", small_tree, "--dest", tmp_path / "z.zip", "--key-file", tmp_path / "bad.key"
    )
    assert result.exit_code == 2
    assert "does not hold a key" in result.output


def test_paper_preset_and_folder_output(small_tree, tmp_path):
    result = run_tool(
        "--source",
        small_tree,
        "--dest",
        tmp_path / "out",
        "--resolution",
        64,
        "--preset",
        "paper",
        "--labels",
        "multi13",
    )
    assert result.exit_code == 0, result.output
    labels = dict(json.loads((tmp_path / "out" / "dataset.json").read_text())["labels"])
    for name, vector in labels.items():
        with PIL.Image.open(tmp_path / "out" / name) as picture:
            assert picture.mode == "RGB"
        assert [LESIONS[i] for i, value in enumerate(vector) if value] in ([], ["Osteophytes"])
    assert (tmp_path / "out_report.csv").exists()


def test_subset_and_limit(tree, tmp_path):
    (tmp_path / "ids.txt").write_text(f"{'0' * 32}\n{7919:032x}.dicom\nunknown\n")
    run_tool(
        "--source",
        tree,
        "--dest",
        tmp_path / "x.zip",
        "--resolution",
        64,
        "--subset-list",
        tmp_path / "ids.txt",
    )
    rows = report_rows(tmp_path / "x.zip")
    assert Counter(row["reason"] for row in rows) == {"": 2, "not_in_subset": 23}
    run_tool(
        "--source", tree / "train_images", "--dest", tmp_path / "y.zip", "--resolution", 64, "--max-images", 5
    )
    assert [row["reason"] for row in report_rows(tmp_path / "y.zip")] == [""] * 5 + ["over_max_images"] * 19


def test_window_of_each_kind_of_label(tmp_path):
    rows = [{"image_id": f"i{i}", "label": view} for i, view in enumerate(("lateral", "AP", "AP"))]
    write_csv(tmp_path / "views.csv", rows)
    for i in range(3):
        write(tmp_path / "in" / f"i{i}.dcm", radiograph(seed=i), bits=12)
    result = run_tool(
        "--source", tmp_path / "in", "--annotations", tmp_path / "views.csv", "--dest", tmp_path / "x.zip"
    )
    assert "labels: csv:label from views.csv" in result.output
    assert as_the_original_loader(tmp_path / "x.zip")[1] == [1, 0, 0]
    write_tree(tmp_path / "more", 4)
    both = run_tool("--source", tmp_path / "more", "--dest", tmp_path / "y.zip", "--labels", "spine8")
    assert both.exit_code == 0
    assert set(as_the_original_loader(tmp_path / "y.zip")[1]) == {0, 3}
