"""dataset_tool for data without DICOM: splits by patient and class, keyed hashes, deep images, hints."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from stylegan2ada.data import pseudonyms
from stylegan2ada.data.dataset import ImageFolderDataset
from stylegan2ada.data.pseudonyms import load_key
from tests.stylegan2ada.test_dataset_tool import ok, run


@pytest.fixture
def patients(tmp_path: Path) -> Path:
    """20 patients, the first five abnormal, with three images each: CLASS/PATIENT_VIEW.png."""
    for patient in range(20):
        for view in ("ap", "lat", "x"):
            path = tmp_path / "in" / ("abnormal" if patient < 5 else "normal") / f"P{patient:02}_{view}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            PIL.Image.new("L", (8, 8), patient * 10 + len(view)).save(path)
    return tmp_path / "in"


def table(folder: Path, path: Path) -> Path:
    rows = [
        f"{image.relative_to(folder).as_posix()},{image.parent.name},{image.name[:3]}"
        for image in sorted(folder.rglob("*.png"))
    ]
    path.write_text("\n".join(["image,label,patient", *rows]))
    return path


def owners(path: Path) -> set[int]:
    """The patients whose images are in a data set, by their grey."""
    dataset = ImageFolderDataset(path)
    return {int(dataset[i][0][0, 0, 0]) // 10 for i in range(len(dataset))}


@pytest.mark.parametrize("by", ["table", "pattern"])
def test_patients_and_classes(patients, tmp_path, by):
    csv = table(patients, tmp_path / "t.csv")
    groups = f"{csv}:patient" if by == "table" else "*/{group}_*"
    labels = f"{csv}:label" if by == "table" else "folders"
    result = ok(
        "--source", patients, "--dest", tmp_path / "x.zip", "--split=0.6/0.2/0.2",
        "--labels", labels, "--groups", groups,
    )  # fmt: skip
    parts = {split: tmp_path / f"x-{split}.zip" for split in ("train", "val", "test")}
    found = {split: owners(path) for split, path in parts.items()}
    assert sorted(sum(map(sorted, found.values()), [])) == list(range(20))  # each patient once
    assert [len(patients_there & set(range(5))) for patients_there in found.values()] == [3, 1, 1]
    assert [len(patients_there) for patients_there in found.values()] == [12, 4, 4]
    unit = "patients" if by == "table" else "groups"
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[3:] == [
        ["train", "val", "test"], ["abnormal", "9", "3", "3"], ["normal", "27", "9", "9"],
        ["images", "36", "12", "12"], [unit, "12", "4", "4"],
    ]  # fmt: skip
    assert result.stderr == ""
    key = load_key(tmp_path / "x.key")
    assert (tmp_path / "x.key").stat().st_mode & 0o777 == 0o600
    for split, path in parts.items():
        dataset = ImageFolderDataset(path, use_labels=True)
        assert dataset.label_names == ["abnormal", "normal"]
        assert dataset.image_names == [f"00000/img{i:08}.png" for i in range(len(dataset))]
        recipe = dataset.recipe
        assert (recipe["this_split"], recipe["split_unit"]) == (split, unit.rstrip("s"))
        for i, name in enumerate(dataset.image_names):
            patient = f"P{int(dataset[i][0][0, 0, 0]) // 10:02}"
            # As the DICOM tool writes them for this patient with this key.
            assert dataset.groups[name]["patient"] == pseudonyms.keyed_hash(key, "patient", patient)
        with zipfile.ZipFile(path) as archive:
            assert b"P0" not in archive.read("dataset.json")
    assert not (tmp_path / "x.zip").exists()


def test_the_same_key_and_another(patients, tmp_path):
    def hashes(*flags: object) -> list[str]:
        flags = "--source", patients, "--dest", tmp_path / "x.zip", "--groups=*/{group}_*", *flags
        ok(*flags)
        return [entry["patient"] for entry in ImageFolderDataset(tmp_path / "x.zip").groups.values()]

    first = hashes()
    assert len(set(first)) == 20 and hashes() == first  # also without --split
    assert not set(hashes("--key-file", tmp_path / "other.key")) & set(first)
    (tmp_path / "other.key").chmod(0o644)
    result = run(
        "--source", patients, "--dest", tmp_path / "y.zip", "--groups=*/{group}_*",
        "--key-file", tmp_path / "other.key",
    )  # fmt: skip
    assert result.exit_code == 2 and "can be read by others (mode 644)" in result.stderr
    assert not (tmp_path / "y.zip").exists()


def test_refusals_leave_no_key(patients, tmp_path):
    PIL.Image.new("L", (8, 8), 0).save(patients / "normal" / "nobodys.png")
    flags = "--source", patients, "--dest", tmp_path / "x.zip", "--split=0.5/0.5"
    for groups, said in {
        "*/{group}_*": "does not fit normal/nobodys.png",
        "{group}/{group}": "more than once",
        "nowhere.csv": "does not exist",
        "patients": "neither the path of a .csv file nor a pattern",
    }.items():
        result = run(*flags, "--groups", groups)
        assert result.exit_code in (2, 3) and said in result.stderr, result.output
    table(patients, tmp_path / "t.csv")
    ok(*flags, f"--groups={tmp_path / 't.csv'}")
    assert "has no column age" in run(*flags, f"--groups={tmp_path / 't.csv'}:age").stderr
    for path in tmp_path.glob("x*"):
        path.unlink()
    (patients / "normal" / "broken.png").write_bytes(b"rubbish")
    assert run(*flags, "--groups={group}/*").exit_code == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "t.csv"]


def test_without_groups_it_is_said(patients, tmp_path):
    result = ok(
        "--source", patients, "--dest", tmp_path / "x", "--split=0.5/0.5/0", "--labels=folders", "--json=-"
    )
    assert "Warning: nobody knows which images are of one patient" in result.stderr
    found = json.loads(result.stdout)
    assert found["split_unit"] == "image"
    assert {split: part["images"] for split, part in found["splits"].items()} == {"train": 30, "val": 30}
    assert (found["images"], found["per_class"]) == (60, [15, 45])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "x-train", "x-val"]
    recipe = ImageFolderDataset(tmp_path / "x-train").recipe
    assert (recipe["split_unit"], recipe["flags"]["split"]) == ("image", "0.5/0.5/0")


def test_a_class_that_a_split_lacks(patients, tmp_path):
    for patient in range(1, 5):
        for image in (patients / "abnormal").glob(f"P{patient:02}*"):
            image.unlink()
    flags = "--source", patients, "--dest", tmp_path / "x.zip", "--labels=folders", "--groups=*/{group}_*"
    result = ok(*flags, "--split=0.6/0.2/0.2")
    assert "Warning: abnormal has no image in val and test: too few groups have it; add some" in result.stderr
    assert len(ImageFolderDataset(tmp_path / "x-train.zip").label_names) == 2


def test_groups_of_the_source_are_kept_together(patients, tmp_path):
    """A data set with groups, split later: its hashes stay, and no key is needed."""
    ok("--source", patients, "--dest", tmp_path / "x.zip", "--groups=*/{group}_*", "--labels=folders")
    (tmp_path / "x.key").unlink()
    ok("--source", tmp_path / "x.zip", "--dest", tmp_path / "y.zip", "--split=0.5/0.5")
    assert owners(tmp_path / "y-train.zip") | owners(tmp_path / "y-val.zip") == set(range(20))
    assert not owners(tmp_path / "y-train.zip") & owners(tmp_path / "y-val.zip")
    before = {entry["patient"] for entry in ImageFolderDataset(tmp_path / "x.zip").groups.values()}
    after = [ImageFolderDataset(tmp_path / f"y-{split}.zip").groups for split in ("train", "val")]
    assert {entry["patient"] for groups in after for entry in groups.values()} == before
    assert not (tmp_path / "y.key").exists()


def test_bad_images_cost_no_split(patients, tmp_path):
    (patients / "normal" / "P19_ap.png").write_bytes(b"rubbish")
    flags = "--source", patients, "--dest", tmp_path / "x.zip", "--groups=*/{group}_*", "--split=0.5/0.5"
    assert run(*flags).exit_code == 1
    assert not list(tmp_path.glob("*x-*"))
    ok(*flags, "--skip-bad")
    assert (tmp_path / "x_skipped.csv").exists()
    assert owners(tmp_path / "x-train.zip") | owners(tmp_path / "x-val.zip") == set(range(20))


def test_too_few_groups_for_the_splits(patients, tmp_path):
    result = run(
        "--source", patients, "--dest", tmp_path / "x.zip", "--groups={group}/*", "--split=0.8/0.1/0.1"
    )
    assert result.exit_code == 2 and "2 group(s) cannot be dealt to 3 splits" in result.stderr


# Images of more than 8 bits.


def deep(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(exist_ok=True)
    PIL.Image.fromarray(pixels).save(path)
    return path.parent


def shown(source: Path, tmp_path: Path, window: str) -> np.ndarray:
    ok("--source", source, "--dest", tmp_path / "d.zip", f"--window={window}")
    return ImageFolderDataset(tmp_path / "d.zip")[0][0][0]


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_a_window(tmp_path, ending):
    """PS3.3 C.11.2.1.3.2, in float64: linear from LOW to HIGH, cut off beyond, rounded."""
    values = np.random.default_rng(0).integers(0, 4096, size=(8, 8), dtype=np.uint16)
    source = deep(tmp_path / "in" / f"a.{ending}", values)
    expected = np.clip((values.astype(float) - 1000) / 2000, 0, 1) * 255
    assert np.abs(shown(source, tmp_path, "1000,3000") - expected).max() <= 0.5 + 1e-9
    low, high = np.percentile(values, [0.5, 99.5])
    expected = np.clip((values - low) / (high - low), 0, 1) * 255
    assert np.abs(shown(source, tmp_path, "auto") - expected).max() <= 0.5 + 1e-9
    recipe = ImageFolderDataset(tmp_path / "d.zip").recipe
    assert recipe["flags"]["window"] == "auto"


def test_windows_of_other_depths(tmp_path):
    values = np.arange(64, dtype=np.int32).reshape(8, 8) * 1000 - 30_000
    found = shown(deep(tmp_path / "a" / "x.tif", values), tmp_path, "-30000,33000")
    assert (found[0, 0], found[7, 7], found[3, 6]) == (0, 255, 121)  # 30000 / 63000 * 255 = 121.4
    floats = np.linspace(-1, 1, 64, dtype=np.float32).reshape(8, 8)
    assert shown(deep(tmp_path / "b" / "x.tif", floats), tmp_path, "-1,1")[7, 7] == 255
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8)
    assert shown(deep(tmp_path / "c" / "x.png", grey), tmp_path, "0,63")[7, 7] == 255


def test_what_no_window_serves(tmp_path):
    rgb = deep(tmp_path / "a" / "x.png", np.zeros((8, 8, 3), np.uint8))
    flat = deep(tmp_path / "b" / "x.png", np.full((8, 8), 700, np.uint16))
    odd = deep(tmp_path / "c" / "x.tif", np.full((8, 8), np.nan, np.float32))
    inverse = tmp_path / "d" / "x.tif"
    inverse.parent.mkdir()
    PIL.Image.fromarray(np.zeros((8, 8), np.uint16)).save(inverse, tiffinfo={262: 0})
    for source, said in {
        rgb: "is of mode RGB; a window can be chosen for grey images only",
        flat: "one value everywhere (700)",
        odd: "not finite",
        inverse.parent: "stores white as 0",
    }.items():
        result = run("--source", source, "--dest", tmp_path / "d.zip", "--window=auto")
        assert result.exit_code == 1 and said in result.stderr, result.output
    for window in ("1", "3,1", "nan,1", "1,inf", "a,b", "1,2,3"):
        result = run("--source", rgb, "--dest", tmp_path / "d.zip", f"--window={window}")
        assert result.exit_code == 2 and "neither auto nor two rising numbers" in result.stderr
    result = run("--source", flat, "--dest", tmp_path / "d.zip")
    assert result.exit_code == 1 and "--window" in result.stderr  # the remedy


# Hints.


def test_class_folders_without_a_word_about_labels(patients, tmp_path):
    said = ok("--source", patients, "--dest", tmp_path / "x.zip").stderr
    assert (
        said == "Note: the images lie in 2 folders (abnormal, normal); --labels=folders makes them classes\n"
    )
    assert ok("--source", patients, "--dest", tmp_path / "x.zip", "--labels=folders").stderr == ""
    ok("--source", patients, "--dest", tmp_path / "y", "--max-images=4")
    assert "Note" not in ok("--source", tmp_path / "y", "--dest", tmp_path / "z.zip").stderr


def test_one_table_for_labels_and_groups(patients, tmp_path):
    csv = table(patients, tmp_path / "t.csv")
    flags = "--source", patients, "--dest", tmp_path / "x.zip"
    assert f"--labels={csv}:COLUMN takes one of them" in run(*flags, f"--labels={csv}").stderr
    ok(*flags, f"--labels={csv}:label", f"--groups={csv}")
    assert ImageFolderDataset(tmp_path / "x.zip").label_names == ["abnormal", "normal"]
    assert len({entry["patient"] for entry in ImageFolderDataset(tmp_path / "x.zip").groups.values()}) == 20


def test_names_that_are_no_text(tmp_path):
    """Bytes of a name that are no UTF-8 are a group like any other."""
    for patient in (b"\xff\xfe", b"b"):
        path = Path(os.fsdecode(os.fsencode(tmp_path / "in") + b"/" + patient + b"/1.png"))
        path.parent.mkdir(parents=True)
        PIL.Image.new("L", (8, 8)).save(path)
    ok("--source", tmp_path / "in", "--dest", tmp_path / "x.zip", "--groups={group}/*", "--split=0.5/0.5")
    groups = [ImageFolderDataset(tmp_path / f"x-{split}.zip").groups for split in ("train", "val")]
    assert len({entry["patient"] for table in groups for entry in table.values()}) == 2


@pytest.mark.parametrize("label", ["NaN", "1e400", '"x"', "[null]", "[[1]]", "null"])
def test_labels_that_some_images_lack_do_not_count(patients, tmp_path, label):
    """The result has no labels then, so what is wrong with the others is no matter of the split."""
    (patients / "dataset.json").write_text(
        '{"labels": [["normal/P19_ap.png", LABEL]]}'.replace("LABEL", label)
    )
    flags = "--source", patients, "--dest", tmp_path / "x.zip", "--split=0.5/0.5", "--groups=*/{group}_*"
    result = run(*flags)
    assert result.exit_code in (0, 2), result.output
    assert ("Error: the label" in result.stderr) == (result.exit_code == 2)
