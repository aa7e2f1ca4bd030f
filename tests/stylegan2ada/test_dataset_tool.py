"""dataset_tool by its command line: recorded archives and exit codes, every source, labels, bad input."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import pickle
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import PIL.features
import PIL.Image
import pytest
from click.testing import CliRunner, Result

from stylegan2ada.data.dataset import ImageFolderDataset
from stylegan2ada.dataset_tool import main
from tests.golden_data import golden_json, golden_path

RECORDED = golden_json("dataset/dataset.json")
ROOT = Path(__file__).parents[2]
# The bytes of a PNG, not its pixels, depend on how zlib cuts it into blocks.
HAS_RECORDED_ZLIB = PIL.__version__ == RECORDED["pillow_version"] and not PIL.features.check("zlib_ng")


def run(*flags: object) -> Result:
    result = CliRunner().invoke(main, [str(flag) for flag in flags])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def ok(*flags: object) -> Result:
    result = run(*flags)
    assert result.exit_code == 0, result.output
    return result


def picture(path: Path, size: tuple[int, int] = (8, 8), mode: str = "L", seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    channels = () if mode == "L" else (len(mode),)
    pixels = np.random.RandomState(seed).randint(0, 256, size=(size[1], size[0], *channels), dtype=np.uint8)
    PIL.Image.fromarray(pixels).save(path)
    return path


def described(dest: Path) -> dict:
    if dest.is_dir():
        return json.loads((dest / "dataset.json").read_text())
    with zipfile.ZipFile(dest) as archive:
        return json.loads(archive.read("dataset.json"))


def labels_of(dest: Path) -> list:
    return [label for _, label in described(dest)["labels"]]


def pixels_of(png: bytes) -> np.ndarray:
    return np.asarray(PIL.Image.open(io.BytesIO(png)))


@pytest.fixture
def source(tmp_path) -> Path:
    with zipfile.ZipFile(golden_path("dataset/source_folder.zip")) as archive:
        archive.extractall(tmp_path / "src")
    return tmp_path / "src"


@pytest.fixture
def three(tmp_path) -> Path:
    for seed, name in enumerate(["b/1.png", "a/2.png", "a/1.png"]):
        picture(tmp_path / "three" / name, seed=seed)
    return tmp_path / "three"


# ---------------------------------------------------------------- recorded results


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_recorded_archive(source, tmp_path, kind):
    recorded = RECORDED["labelled"]
    given = json.loads((source / "dataset.json").read_text())["labels"]
    assert given == recorded["source_names_and_labels"]
    ok(
        "--source",
        source if kind == "folder" else golden_path("dataset/source_folder.zip"),
        "--dest",
        tmp_path / "x.zip",
    )
    expected = zipfile.ZipFile(golden_path("dataset/tool_output_labelled.zip"))
    with expected, zipfile.ZipFile(tmp_path / "x.zip") as archive:
        members = recorded["archive_members_in_order"]
        assert archive.namelist() == expected.namelist() == [member["name"] for member in members]
        if kind == "zip":  # the other order: by string, "A/upper.png" between digits and small letters
            order = sorted(name for name, _ in given)
            assert labels_of(tmp_path / "x.zip") == [dict(given)[name] for name in order]
            return
        for member in members[:-1]:
            content = archive.read(member["name"])
            assert archive.getinfo(member["name"]).compress_type == member["compress_type"]
            assert pixels_of(content).tobytes() == pixels_of(expected.read(member["name"])).tobytes()
            if HAS_RECORDED_ZLIB:
                assert len(content) == member["size"]
                assert hashlib.sha256(content).hexdigest() == member["sha256"]
        assert {"labels": described(tmp_path / "x.zip")["labels"]} == json.loads(recorded["dataset_json"])


def test_recorded_rezip(tmp_path):
    recorded = RECORDED["rezip_max4_box16"]
    golden = golden_path("dataset/tool_output_labelled.zip")
    result = run(
        "--source", golden, "--dest", tmp_path / "x.zip", "--max_images=4", "--resize_filter=box",
        "--width=16", "--height=16",
    )  # fmt: skip
    assert result.exit_code == recorded["exit_code"]
    with zipfile.ZipFile(tmp_path / "x.zip") as archive, zipfile.ZipFile(golden) as original:
        assert archive.namelist() == recorded["members"]
        for name in archive.namelist()[:-1]:  # means of two columns, then of two rows, each rounded half up
            big = pixels_of(original.read(name)).astype(int)
            columns = (big[:, ::2] + big[:, 1::2] + 1) // 2
            expected = (columns[::2] + columns[1::2] + 1) // 2
            np.testing.assert_array_equal(pixels_of(archive.read(name)), expected)
    assert described(tmp_path / "x.zip")["labels"] == json.loads(recorded["dataset_json"])["labels"]


def _recorded_case(case: str, tmp_path: Path) -> list[object]:
    """The flags of a recorded case, its source made on the spot."""
    source, dest, more = tmp_path / "in", tmp_path / "out.zip", []
    first, second = source / "a.png", source / "b.png"
    if case == "not square":
        picture(first, (8, 4))
    elif case == "square but not a power of two":
        picture(first, (12, 12))
    elif case == "two different sizes":
        picture(first), picture(second, (16, 16))
    elif case == "RGB then gray":
        picture(first, mode="RGB"), picture(second)
    elif case == "RGBA input":
        picture(first, mode="RGBA")
    elif case == "empty source folder":
        source.mkdir()
    elif case == "labels for only one of three images":
        picture(first), picture(second), picture(source / "c.png")
        (source / "dataset.json").write_text('{"labels": [["a.png", 0]]}')
    elif case != "missing source":
        picture(first, (12, 8)), picture(second, (12, 8))
        more = ["--width=8", "--height=8"]
        if "center-crop" in case:
            more = ["--transform=center-crop"] + (more if "gray" in case else [])
    if case == "max-images 1 of 2":
        more += ["--max-images=1"]
    if case == "empty destination name":
        dest = ""
    elif case in ("ok to folder", "destination folder not empty"):
        dest = tmp_path / "out"
        if case != "ok to folder":
            picture(dest / "old.png")
    return ["--source", source, "--dest", dest, *more]


DELIBERATE = {"empty source folder": 4, "gray image with center-crop": 0}  # see docs/compatibility.md


@pytest.mark.parametrize("recorded", RECORDED["tool_errors"], ids=lambda recorded: recorded["case"])
def test_recorded_exit_codes(recorded, tmp_path):
    case = recorded["case"]
    result = run(*_recorded_case(case, tmp_path))
    expected = DELIBERATE.get(case, recorded["exit_code_or_exception"])
    assert result.exit_code == expected, result.output
    if expected != 0:
        assert not (tmp_path / "out.zip").exists()
        assert result.stderr.strip().splitlines()[-1].startswith("Error: ")
    if "dataset_json" in recorded:
        assert described(tmp_path / "out.zip")["labels"] == json.loads(recorded["dataset_json"])["labels"]
        assert "2 of 3 images have no label" in result.stderr
    if case == "max-images 1 of 2":
        assert len(ImageFolderDataset(tmp_path / "out.zip")) == 1


# ---------------------------------------------------------------- sources


def test_cifar(tmp_path):
    pixels = np.random.RandomState(0).randint(0, 256, size=(10, 3, 32, 32), dtype=np.uint8)
    with tarfile.open(tmp_path / "cifar-10-python.tar.gz", "w:gz") as archive:
        for number in range(5):
            rows = slice(2 * number, 2 * number + 2)
            content = pickle.dumps(
                {"data": pixels[rows].reshape(2, -1), "labels": [number, 9 - number]}, protocol=2
            )
            member = tarfile.TarInfo(f"cifar-10-batches-py/data_batch_{number + 1}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    ok("--source", tmp_path / "cifar-10-python.tar.gz", "--dest", tmp_path / "x.zip")
    dataset = ImageFolderDataset(tmp_path / "x.zip", use_labels=True)
    np.testing.assert_array_equal([dataset[i][0] for i in range(10)], pixels)
    assert labels_of(tmp_path / "x.zip") == [0, 9, 1, 8, 2, 7, 3, 6, 4, 5]


def test_cifar_runs_nothing(tmp_path):
    class Evil:
        def __reduce__(self):
            return print, ("executed",)

    with tarfile.open(tmp_path / "cifar-10-python.tar.gz", "w:gz") as archive:
        content = pickle.dumps(Evil())
        member = tarfile.TarInfo("cifar-10-batches-py/data_batch_1")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    result = run("--source", tmp_path / "cifar-10-python.tar.gz", "--dest", tmp_path / "x.zip")
    assert result.exit_code == 1
    assert "builtins.print has no place in it" in result.stderr
    assert "executed" not in result.stdout


def _idx(array: np.ndarray) -> bytes:
    return gzip.compress(
        bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes() + array.tobytes()
    )


def test_mnist(tmp_path):
    digits = np.random.RandomState(0).randint(0, 256, size=(3, 28, 28), dtype=np.uint8)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(_idx(digits))
    flags = "--source", tmp_path / "train-images-idx3-ubyte.gz", "--dest", tmp_path / "x.zip"
    assert "needs train-labels-idx1-ubyte.gz beside it" in run(*flags).stderr
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(_idx(np.array([5, 0, 4], np.uint8)))
    ok(*flags)
    dataset = ImageFolderDataset(tmp_path / "x.zip")
    assert dataset.image_shape == [1, 32, 32]
    for index, digit in enumerate(digits):
        image = dataset[index][0][0]
        np.testing.assert_array_equal(image[2:30, 2:30], digit)
        assert image.sum() == digit.sum()  # zeros around
    assert labels_of(tmp_path / "x.zip") == [5, 0, 4]
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(b"\0\0\x08\x03"))
    assert "not a complete IDX file" in run(*flags).stderr


def test_lsun(tmp_path):
    lmdb = pytest.importorskip("lmdb")
    pictures = [picture(tmp_path / "p.png", mode="RGB", seed=seed).read_bytes() for seed in range(3)]
    with lmdb.open(str(tmp_path / "cat_lmdb")) as database, database.begin(write=True) as transaction:
        for key, value in zip([b"a", b"b", b"c", b"d"], [pictures[0], b"rubbish", *pictures[1:]]):
            transaction.put(key, value)
    result = ok("--source", tmp_path / "cat_lmdb", "--dest", tmp_path / "x.zip")
    dataset = ImageFolderDataset(tmp_path / "x.zip")
    assert dataset.image_names == [
        f"00000/img0000000{i}.png" for i in range(3)
    ]  # the unreadable has no number
    for index, content in enumerate(pictures):
        np.testing.assert_array_equal(dataset[index][0], pixels_of(content).transpose(2, 0, 1))
    assert "b in " in result.stderr
    assert described(tmp_path / "x.zip")["labels"] is None
    (tmp_path / "bad_lmdb").mkdir()
    bad = run("--source", tmp_path / "bad_lmdb", "--dest", tmp_path / "y.zip")
    assert bad.exit_code == 3 and "data.mdb is not there" in bad.stderr


def test_dropped_images_keep_their_number(tmp_path):
    for seed, size in enumerate([(32, 24), (8, 8), (64, 48)]):
        picture(tmp_path / "in" / f"{seed}.png", size, "RGB", seed)
    result = ok(
        "--source", tmp_path / "in", "--dest", tmp_path / "x.zip",
        "--transform=center_crop_wide", "--width=16", "--height=12",
    )  # fmt: skip
    assert ImageFolderDataset(tmp_path / "x.zip").image_names == [
        "00000/img00000000.png",
        "00000/img00000002.png",
    ]
    assert "1 images were too small" in result.stderr


# ---------------------------------------------------------------- labels


def test_labels_from_folders(three, tmp_path):
    for around in ("", "set/images"):  # folders around everything are looked through
        source = tmp_path / "around" / "x" / around
        source.parent.mkdir(parents=True, exist_ok=True)
        three.rename(source)
        result = ok("--source", tmp_path / "around" / "x", "--dest", tmp_path / "x.zip", "--labels=folders")
        assert labels_of(tmp_path / "x.zip") == [0, 0, 1]
        assert described(tmp_path / "x.zip")["label_names"] == ["a", "b"]
        assert "class 0 (a): 2" in result.stdout
        assert "class 1 (b): 1" in result.stdout
        source.rename(three)
    picture(three / "loose.png")
    assert (
        "loose.png is in no folder"
        in run("--source", three, "--dest", tmp_path / "y.zip", "--labels=folders").stderr
    )


TABLES = {
    "class numbers": ("image,label\na/1.png,2\na/2.png,0\nb/1.png,1\n", [2, 0, 1], None),
    "names": ("filename,label\na/1.png,osteo\na/2.png,none\nb/1.png,osteo\n", [1, 0, 1], ["none", "osteo"]),
    "a fraction": ("image,age\na/1.png,0.5\na/2.png,1\nb/1.png,-2\n", [[0.5], [1], [-2]], None),
    "columns": ("image,x,y\na/1.png,0,1\na/2.png,0,1\nb/1.png,2,3\n", [[0, 1], [0, 1], [2, 3]], ["x", "y"]),
    "multi-hot": ("image,finds\na/1.png,p;q\na/2.png,\nb/1.png,q\n", [[1, 1], [0, 0], [0, 1]], ["p", "q"]),
    "lists": ("image,v\na/1.png,0;1\na/2.png,1; 0.5\nb/1.png,2;3\n", [[0, 1], [1, 0.5], [2, 3]], None),
    "trailing commas": ("image,label,\na/1.png,2,\na/2.png,0,\nb/1.png,1\n", [2, 0, 1], None),
    "label first": ("label,path\n2,a/1.png\n0,a/2.png\n1,b/1.png\n", [2, 0, 1], None),
    "windows": ("\ufeffimage,label\r\n.\\a\\1.png,2\r\na\\2.png,0\r\nb\\1.png,1\r\n", [2, 0, 1], None),
    "file name alone": ("image,label\na/1.png,2\n2.png,0\nb/1.png,1\nz.png,5\n", [2, 0, 1], None),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_labels_from_a_table(three, tmp_path, name):
    text, expected, names = TABLES[name]
    (tmp_path / "labels.csv").write_bytes(text.encode())
    result = ok("--source", three, "--dest", tmp_path / "x.zip", "--labels", tmp_path / "labels.csv")
    assert labels_of(tmp_path / "x.zip") == expected
    assert described(tmp_path / "x.zip").get("label_names") == names
    assert ("1 lines of" in result.stderr) == (name == "file name alone")
    read = ImageFolderDataset(tmp_path / "x.zip", use_labels=True)
    one_hot = np.eye(3)[expected] if isinstance(expected[0], int) and name != "names" else None
    one_hot = np.eye(2)[expected] if name == "names" else one_hot
    np.testing.assert_array_equal(read.get_labels(), np.float32(expected) if one_hot is None else one_hot)


BAD_TABLES = {
    "no line for b/1.png .1 of 3 images lack one.": "image,label\na/1.png,2\na/2.png,0\n",
    "a/2.png has an empty label": "image,label\na/1.png,2\na/2.png,\nb/1.png,1\n",
    "line 3: a/1.png occurs a second time": "image,label\na/1.png,2\na/1.png,0\nb/1.png,1\n",
    "line 2: 3 cells, but there are 2 titles": "image,label\na/1.png,2,3\n",
    "needs a line of titles": "",
    "no column of labels": "image\na/1.png\na/2.png\nb/1.png\n",
    "a/2.png has 'x' as v": "image,u,v\na/1.png,1,2\na/2.png,1,x\nb/1.png,1,1\n",
    "a/1.png has 2 numbers but a/2.png has 1": "image,v\na/1.png,0;1\na/2.png,1\nb/1.png,2;3\n",
    "a/2.png has the class -1": "image,v\na/1.png,0\na/2.png,-1\nb/1.png,2\n",
    "not a CSV file in UTF-8": "image,v\na/1.png,\udcff\n",
}


@pytest.mark.parametrize("problem", BAD_TABLES)
def test_bad_tables(three, tmp_path, problem):
    (tmp_path / "labels.csv").write_bytes(BAD_TABLES[problem].encode("utf-8", "surrogateescape"))
    result = run("--source", three, "--dest", tmp_path / "x.zip", "--labels", tmp_path / "labels.csv")
    assert result.exit_code in (1, 2)
    assert re.search(problem, result.stderr), result.stderr
    assert not (tmp_path / "x.zip").exists()


def test_bad_origins_of_labels(three, tmp_path):
    flags = "--source", three, "--dest", tmp_path / "x.zip"
    assert run(*flags, "--labels=nowhere.csv").exit_code == 3
    assert "neither 'folders' nor" in run(*flags, "--labels=auto").stderr


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([1, 2, 1], "labels seem to count from 1"),
        ([0, 4, 0], "3 of 5 classes have no image: 1, 2, 3"),
        ([[0, 1.5], [0, 0], [1, 2]], "column 1: 2 of 3 not zero, from 0 to 2, mean 1.167"),
    ],
)
def test_class_table(three, tmp_path, labels, said):
    names = ["a/1.png", "a/2.png", "b/1.png"]
    (three / "dataset.json").write_text(json.dumps({"labels": list(zip(names, labels))}))
    assert said in ok("--source", three, "--dest", tmp_path / "x.zip").stdout
    assert labels_of(tmp_path / "x.zip") == labels


@pytest.mark.parametrize(
    ("labels", "problem"),
    [
        ([1, [1], 0], "a/1.png has the label 1, but a/2.png has .1."),
        ([1, "x", 0], "a/2.png has the label 'x'"),
        ([0, 0, -1], "b/1.png has the class -1"),
    ],
)
def test_bad_labels_of_the_source(three, tmp_path, labels, problem):
    names = ["a/1.png", "a/2.png", "b/1.png"]
    (three / "dataset.json").write_text(json.dumps({"labels": list(zip(names, labels))}))
    result = run("--source", three, "--dest", tmp_path / "x.zip")
    assert result.exit_code == 1
    assert re.search(problem, result.stderr), result.stderr


def test_further_keys(three, tmp_path):
    names = ["a/1.png", "a/2.png", "b/1.png"]
    facts = {
        "labels": [[name, 0] for name in names],
        "label_names": ["only"],
        "groups": {name: {"study": str(i), "patient": None} for i, name in enumerate(names)},
        "recipe": {"tool": "before"},
    }
    (three / "dataset.json").write_text(json.dumps(facts))
    ok("--source", three, "--dest", tmp_path / "x.zip", "--resize-filter=box", "--width=4", "--height=4")
    dataset = ImageFolderDataset(tmp_path / "x.zip")
    assert dataset.label_names == ["only"]
    assert dataset.groups["00000/img00000002.png"] == {"study": "2", "patient": None}
    recipe = dataset.recipe
    assert recipe["tool"] == "dataset_tool"
    assert recipe["resize_filter"] == "box"
    assert recipe["flags"]["width"] == 4
    assert recipe["versions"]["pillow"] == PIL.__version__
    assert recipe["made_from"] == {"tool": "before"}
    assert str(tmp_path) not in json.dumps(recipe)


# ---------------------------------------------------------------- bad input


@pytest.fixture
def spoiled(tmp_path) -> Path:
    folder = tmp_path / "spoiled"
    picture(folder / "a.png", mode="RGBA")
    picture(folder / "b.png", seed=1)
    (folder / "c.png").write_bytes((folder / "b.png").read_bytes()[:60])
    picture(folder / "d.png", (16, 16))
    picture(folder / "e.png", mode="RGB")
    PIL.Image.fromarray(np.zeros((8, 8), np.uint16)).save(folder / "f.png")
    picture(folder / "g.png", seed=2)
    return folder


def test_bad_images_stop_by_default(spoiled, tmp_path):
    result = run("--source", spoiled, "--dest", tmp_path / "x.zip")
    assert result.exit_code == 1
    assert "a.png in" in result.stderr
    assert "RGBA" in result.stderr
    assert not list(tmp_path.glob("x*"))


def test_skip_bad(spoiled, tmp_path):
    result = ok("--source", spoiled, "--dest", tmp_path / "x.zip", "--skip-bad")
    dataset = ImageFolderDataset(tmp_path / "x.zip")
    assert dataset.image_names == ["00000/img00000001.png", "00000/img00000006.png"]
    with open(tmp_path / "x_skipped.csv", newline="") as file:
        rows = dict(csv.reader(file))
    assert list(rows) == ["image", "a.png", "c.png", "d.png", "e.png", "f.png"]
    for name, word in {"a": "RGBA", "c": "decoded", "d": "16x16 grey", "e": "8x8 RGB", "f": "16-bit"}.items():
        assert word in rows[f"{name}.png"]
        assert rows[f"{name}.png"] in result.stderr
    for name in "acdef":
        (spoiled / f"{name}.png").unlink()
    ok("--source", spoiled, "--dest", tmp_path / "x.zip", "--skip-bad")
    assert (tmp_path / "x_skipped.csv").read_text().split() == ["image,reason"]


def test_numbers_for_programs(spoiled, tmp_path):
    result = ok("--source", spoiled, "--dest", tmp_path / "x.zip", "--skip-bad", "--json=-")
    assert json.loads(result.stdout) == {
        "images": 2, "labelled": 0, "per_class": None, "too_small": 0, "bad": 5,
        "files": [str(tmp_path / "x.zip"), str(tmp_path / "x_skipped.csv")],
    }  # fmt: skip
    assert f"{tmp_path / 'x.zip'}: 2 images\n  no labels\n" in result.stderr
    for place in ("b/1.png", "b/2.png", "a/1.png"):
        picture(tmp_path / "classes" / place)
    ok("--source", tmp_path / "classes", "--dest", tmp_path / "y", "--labels=folders", f"--json={tmp_path}/n")
    found = json.loads((tmp_path / "n").read_text())
    assert (found["images"], found["labelled"], found["per_class"]) == (3, 3, [1, 2])


def test_only_bad_images(tmp_path):
    picture(tmp_path / "in" / "a.png", mode="RGBA")
    result = run("--source", tmp_path / "in", "--dest", tmp_path / "x.zip", "--skip-bad")
    assert result.exit_code == 4
    assert "none of 1 images could be used" in result.stderr
    assert "RGBA" in result.stderr
    assert "RGBA" in (tmp_path / "x_skipped.csv").read_text()


WRONG = {
    "of a kind that cannot be read": ["--source=notes.txt", "--dest=x.zip"],
    "not a usable zip": ["--source=bad.zip", "--dest=x.zip"],
    "the source itself": ["--source=good.zip", "--dest=good.zip"],
    "ends in .zip": ["--source=good.zip", "--dest=x.tar.gz"],
    "give --width and --height": [
        "--source=good.zip",
        "--dest=x.zip",
        "--transform=center-crop",
        "--width=8",
    ],
}


@pytest.mark.parametrize("problem", WRONG)
def test_wrong_use(tmp_path, monkeypatch, problem):
    monkeypatch.chdir(tmp_path)
    Path("notes.txt").write_text("x")
    Path("bad.zip").write_text("x")
    with zipfile.ZipFile("good.zip", "w") as archive:
        archive.write(picture(tmp_path / "a.png"), "a.png")
    result = run(*WRONG[problem])
    assert result.exit_code == 1
    assert problem in result.stderr
    assert not Path("x.zip").exists()


def test_as_a_script_of_a_bare_clone(three, tmp_path):
    """From any folder, nothing installed; the exit code reaches the shell."""
    script = ROOT / "stylegan2ada" / "dataset_tool.py"
    command = [sys.executable, str(script), "--source", str(three), "--dest", "x.zip", "--max_images", "2"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(ImageFolderDataset(tmp_path / "x.zip")) == 2


def test_a_folder_of_dicom_files_is_sent_to_its_own_tool(tmp_path: Path) -> None:
    for i in range(2):
        (tmp_path / f"{i}.dcm").write_bytes(b"")
    PIL.Image.new("L", (8, 8)).save(tmp_path / "thumbnail.png")
    result = CliRunner().invoke(main, [f"--source={tmp_path}", f"--dest={tmp_path / 'x.zip'}"])
    assert result.exit_code == 1  # as all that this tool refuses
    assert "holds 2 DICOM files; those are for dataset_tool_dicom.py" in result.output
    PIL.Image.new("L", (8, 8)).save(tmp_path / "mask.png")  # of each of them a mask
    result = CliRunner().invoke(main, [f"--source={tmp_path}", f"--dest={tmp_path / 'x.zip'}"])
    assert (result.exit_code, "holds 2 DICOM files" in result.output) == (1, True)
    (tmp_path / "1.dcm").unlink()  # one beside pictures is no reason
    result = CliRunner().invoke(main, [f"--source={tmp_path}", f"--dest={tmp_path / 'x.zip'}"])
    assert result.exit_code == 0, result.output
    (tmp_path / "mask.png").unlink()
    assert "Note: " in result.stderr and "also holds 1 DICOM files; those are for" in result.stderr
    (tmp_path / "0.dcm").rename(tmp_path / "thumbnail.dcm")
    PIL.Image.new("L", (12, 8)).save(tmp_path / "thumbnail.png")  # what it says of this is not what helps
    result = CliRunner().invoke(main, [f"--source={tmp_path}", f"--dest={tmp_path / 'y.zip'}"])
    assert result.exit_code == 1 and "must be square" in result.stderr
    assert "also holds 1 DICOM files; those are for dataset_tool_dicom.py" in result.stderr
