"""Data sets and sources of strangers: one sentence that names the file; no program, no hang, no flood.

Each of these fails on commit f2276c0.
"""

from __future__ import annotations

import ast
import contextlib
import csv
import gzip
import io
import json
import os
import pickle
import signal
import socket
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from spine_plugins.pages.pictures import thumbnail
from spine_plugins.runs.dataset import read_dataset
from spine_plugins.runs.documents import read_text
from stylegan2ada.data.cache import cached_images
from stylegan2ada.data.dataset import Dataset, ImageFolderDataset
from stylegan2ada.data.decode import FORMATS, DatasetError, decode_image, is_image_name
from stylegan2ada.data.labels import MOST_CLASSES
from stylegan2ada.errors import UserError
from stylegan2ada.metrics.detectors import checked_hash
from stylegan2ada.projector import read_target
from tests.stylegan2ada.test_dataset_tool import run as tool

ROOT = Path(__file__).parents[3]
GREY = PIL.Image.new("L", (8, 8), 7)


def encoded(kind: str = "PNG", picture: PIL.Image.Image = GREY) -> bytes:
    with io.BytesIO() as buffer:
        picture.save(buffer, format=kind)
        return buffer.getvalue()


def zipped(path: Path, content: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return path


def refused(source: Path, dest: Path, *flags: object) -> str:
    """What the tool says of a source that it cannot use; nothing is left at the destination."""
    result = tool("--source", source, "--dest", dest, *flags)
    assert result.exit_code in (1, 2, 3, 4), result.output
    assert result.stderr.strip().splitlines()[-1].startswith("Error: ")
    assert not list(dest.parent.glob(f"*{dest.name}*")) and not list(dest.parent.glob(f".*{dest.name}*"))
    return result.stderr


def everything(path: Path) -> None:
    """All that training reads."""
    dataset = ImageFolderDataset(path, use_labels=True)
    dataset.get_labels()
    cached_images(dataset)


@contextlib.contextmanager
def within(seconds: int) -> Iterator[None]:
    """Fails instead of hanging."""

    def late(*_: object) -> None:
        raise AssertionError(f"still busy after {seconds} seconds")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


# Pictures.

STARTED: list[str] = []
sys.addaudithook(
    lambda event, args: STARTED.append(str(args[0])) if event in ("subprocess.Popen", "os.exec") else None
)


def test_no_other_place_opens_pictures():
    """One door to Pillow's readers in both packages, which has the list of formats."""
    doors = []
    for path in sorted([*(ROOT / "stylegan2ada").rglob("*.py"), *(ROOT / "spine_plugins").rglob("*.py")]):
        text = path.read_text()
        assert "import PIL.Image as" not in text and "from PIL.Image import" not in text, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Attribute) and node.attr == "open" and "Image" in ast.unparse(node.value):
                doors.append(path.relative_to(ROOT).as_posix())
    assert doors == ["stylegan2ada/data/decode.py"]


@pytest.mark.parametrize("kind", ["EPS", "DDS", "PCX", "SGI", "SPIDER", "ICO", "PDF", "XBM"])
def test_formats_that_are_not_on_the_list(tmp_path, kind):
    assert kind not in FORMATS
    picture = {"DDS": GREY.convert("RGB"), "SPIDER": GREY.convert("F"), "XBM": GREY.convert("1")}
    disguised = tmp_path / "in" / "x.png"
    disguised.parent.mkdir()
    disguised.write_bytes(encoded(kind, picture.get(kind, GREY)))
    STARTED.clear()
    for read in (
        lambda: decode_image(disguised.read_bytes(), "x.png"),
        lambda: ImageFolderDataset(disguised.parent),
        lambda: read_target(str(disguised), 8, 1),
    ):
        with pytest.raises(UserError, match=r"x\.png.* cannot be decoded .it is not an image of a kind read"):
            read()
    assert "x.png in" in refused(disguised.parent, tmp_path / "d.zip")
    assert thumbnail(disguised, 1e6) is None
    assert STARTED == []


def test_the_list_serves_what_people_have():
    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8)
    for kind in ("PNG", "TIFF", "BMP", "PPM", "TGA"):
        assert np.array_equal(decode_image(encoded(kind, PIL.Image.fromarray(pixels)), "x"), pixels), kind
    for kind in ("JPEG", "JPEG2000", "WEBP"):
        assert decode_image(encoded(kind, GREY.convert("RGB")), "x").shape == (8, 8, 3)


def test_a_document_in_a_folder_of_pictures_is_named(tmp_path):
    """upstream: its ending is in Pillow's table, so it counts; we cannot leave it out without a word."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(encoded())
    (tmp_path / "in" / "readme.pdf").write_bytes(encoded("PDF"))
    assert is_image_name("readme.pdf") and is_image_name("x.eps")
    assert "readme.pdf in" in refused(tmp_path / "in", tmp_path / "x.zip")
    result = tool("--source", tmp_path / "in", "--dest", tmp_path / "x.zip", "--skip-bad")
    assert result.exit_code == 0 and "readme.pdf" in result.stderr


def test_pictures_that_claim_too_much():
    header = encoded()
    claimed = bytearray(header)
    claimed[16:24] = (30_000).to_bytes(4, "big") * 2
    import zlib

    claimed[29:33] = zlib.crc32(claimed[12:29]).to_bytes(4, "big")
    with pytest.raises(UserError, match="x.png"):
        decode_image(bytes(claimed), "x.png")


# Only regular files.


@pytest.mark.parametrize("name", ["x.png", "dataset.json"])
def test_pipes_in_a_folder_are_named(tmp_path, name):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.png").write_bytes(encoded())
    os.mkfifo(folder / name)
    with within(10):
        assert name in refused(folder, tmp_path / "d.zip")
        with pytest.raises(DatasetError, match=f"{name} is not a regular file"):
            everything(folder)


def test_links_to_devices_and_to_nothing_are_named(tmp_path):
    (tmp_path / "a.png").write_bytes(encoded())
    (tmp_path / "b.png").symlink_to("/dev/zero")
    with within(10), pytest.raises(DatasetError, match=r"b\.png is not a regular file"):
        cached_images(ImageFolderDataset(tmp_path))
    (tmp_path / "b.png").unlink()
    (tmp_path / "b.png").symlink_to("nowhere")
    with pytest.raises(DatasetError, match=r"b\.png (cannot be read|is not there)"):
        cached_images(ImageFolderDataset(tmp_path))
    (tmp_path / "b.png").unlink()
    (tmp_path / "dataset.json").symlink_to("nowhere")
    with pytest.raises(UserError, match=r"dataset\.json is not there"):
        ImageFolderDataset(tmp_path, use_labels=True).get_labels()


NAMES = ["x", "x.zip", "cifar-10-python.tar.gz", "train-images-idx3-ubyte.gz"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["pipe", "socket", "device"])
def test_sources_that_are_no_files(tmp_path, name, kind, monkeypatch):
    monkeypatch.chdir(tmp_path)  # names of sockets are short
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(b"")
    with contextlib.ExitStack() as stack:
        if kind == "pipe":
            os.mkfifo(name)
        elif kind == "socket":
            stack.enter_context(contextlib.closing(socket.socket(socket.AF_UNIX))).bind(name)
        else:
            Path(name).symlink_to("/dev/zero")
        with within(10):
            assert "is a pipe, socket or device" in refused(Path(name), tmp_path / "d.zip")
            with pytest.raises(DatasetError, match=name):
                ImageFolderDataset(name)
            assert read_dataset(name, tmp_path).recipe == {}
            assert read_text(Path(name)) == ""
            assert thumbnail(Path(name), 1e6) is None
            with pytest.raises(UserError, match="not a regular file"):
                read_target(name, 8, 1)


def test_a_pipe_among_the_parts_of_known_sets(tmp_path):
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(b""))
    os.mkfifo(tmp_path / "train-labels-idx1-ubyte.gz")
    with within(10):
        assert "needs train-labels" in refused(tmp_path / "train-images-idx3-ubyte.gz", tmp_path / "d.zip")
    (tmp_path / "x_lmdb").mkdir()
    os.mkfifo(tmp_path / "x_lmdb" / "data.mdb")
    with within(10):
        assert "not a regular file" in refused(tmp_path / "x_lmdb", tmp_path / "d.zip")
    os.mkfifo(tmp_path / "labels.csv")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(encoded())
    with within(10):
        said = refused(tmp_path / "in", tmp_path / "d.zip", "--labels", tmp_path / "labels.csv")
    assert "labels.csv is not a regular file" in said


# Zips.


def patched(path: Path, offset: int, value: int) -> None:
    """One byte of the last entry of a zip's directory; in the entry's own header, too."""
    content = bytearray(path.read_bytes())
    content[content.rindex(b"PK\x01\x02") + offset] = value
    content[content.rindex(b"PK\x03\x04") + offset - 2] = value
    path.write_bytes(content)


@pytest.mark.parametrize("member", ["b.png", "dataset.json"])
@pytest.mark.parametrize(
    ("offset", "value", "said"),
    [(8, 1, "is encrypted"), (10, 97, "cannot be read"), (0, 0, "cannot be read")],
)
def test_zips_of_other_kinds(tmp_path, member, offset, value, said):
    content = {"a.png": encoded(), "b.png": encoded(), "dataset.json": b'{"labels": null}'}
    content[member] = content.pop(member)  # the last
    path = zipped(tmp_path / "x.zip", content)
    if offset:
        patched(path, offset, value)
    else:  # a bit of the compressed stream
        damaged = bytearray(path.read_bytes())
        damaged[damaged.rindex(member.encode(), 0, damaged.index(b"PK\x01\x02")) + len(member) + 2] ^= 0xFF
        path.write_bytes(damaged)
    assert f"{member} in" in (text := refused(path, tmp_path / "d.zip")) and said in text
    with pytest.raises(DatasetError, match=f"{member} in .*{said}"):
        everything(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", ["a.png", "dataset.json"])
def test_two_members_of_one_name(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for content in ({"labels": [["a.png", 0]]}, {"labels": [["a.png", 1]]}):
            archive.writestr("a.png", encoded())
            if name == "dataset.json":
                archive.writestr("dataset.json", json.dumps(content))
                archive.filelist.pop(-2) if len(archive.filelist) > 3 else None
    assert "2 files called" in refused(tmp_path / "x.zip", tmp_path / "d.zip")
    with pytest.raises(DatasetError, match="2 files called"):
        ImageFolderDataset(tmp_path / "x.zip")


def bomb(size: int) -> bytes:
    return b'{"labels": null, "x": "' + b" " * size + b'"}'


def test_descriptions_are_as_large_as_their_images_are_many(tmp_path):
    fits = {f"{i}.png": encoded() for i in range(200)} | {"dataset.json": bomb(3 << 20)}
    assert ImageFolderDataset(zipped(tmp_path / "fits.zip", fits), use_labels=True).label_names is None
    path = zipped(tmp_path / "x.zip", {"a.png": encoded(), "dataset.json": bomb(3 << 20)})
    assert path.stat().st_size < 10_000
    with pytest.raises(DatasetError, match="dataset.json in .*unpacks to 3 MiB, over 1 MiB"):
        ImageFolderDataset(path, use_labels=True).get_labels()
    assert "unpacks to 3 MiB" in refused(path, tmp_path / "d.zip")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(encoded())
    (tmp_path / "in" / "dataset.json").write_bytes(bomb(3 << 20))
    assert "dataset.json holds" in refused(tmp_path / "in", tmp_path / "d.zip")


@pytest.mark.parametrize("text", ["[" * 100_000, '{"labels":' * 100_000, '{"labels": %s}' % ("1" * 5000)])
def test_descriptions_that_exhaust_the_reader(tmp_path, text):
    path = zipped(tmp_path / "x.zip", {"a.png": encoded(), "dataset.json": text.encode()})
    assert "dataset.json in" in refused(path, tmp_path / "d.zip")
    with pytest.raises(DatasetError, match=r"dataset\.json in .*(nested too deeply|is not JSON)"):
        ImageFolderDataset(path, use_labels=True).get_labels()


# Labels and further facts.

HUGE = "1" + "0" * 400
BAD_LABELS = {
    "the class 1000000000; classes count from 0 without gaps, to 32767": "1000000000",
    "the class 9223372036854775808": str(2**63),
    r"the class 1e\+300": "1e300",
    "the class of hundreds of digits|all numbers": HUGE,
    "the label nan, which is not made of finite": "NaN",
    r"the class 0\.5, which is not whole; .*\[0\.5\]": "0.5",
    "the label .{1,3}1.{1,3}, which is not made|of one length": "[[1]]",
    "beyond the numbers of float32": "[1e300]",
    "not made of finite numbers|all numbers": f"[{HUGE}, null]",
}


@pytest.mark.parametrize("problem", BAD_LABELS)
def test_labels_that_cannot_be(tmp_path, problem):
    """Checked before anything is written, and before anything is as large as they say."""
    text = '{"labels": [["a.png", LABEL], ["b.png", LABEL]]}'.replace("LABEL", BAD_LABELS[problem])
    path = zipped(tmp_path / "x.zip", {"a.png": encoded(), "b.png": encoded(), "dataset.json": text.encode()})
    with pytest.raises(DatasetError, match=problem):
        ImageFolderDataset(path, use_labels=True).get_labels()
    assert "a.png" in refused(path, tmp_path / "d.zip")


def test_the_last_class_and_the_last_list(tmp_path):
    labels = {"labels": [["a.png", MOST_CLASSES - 1]]}
    path = zipped(tmp_path / "x.zip", {"a.png": encoded(), "dataset.json": json.dumps(labels).encode()})
    assert ImageFolderDataset(path, use_labels=True).label_dim == MOST_CLASSES
    labels = {"labels": [["a.png", [0] * (MOST_CLASSES + 1)], ["b.png", [0] * (MOST_CLASSES + 1)]]}
    content = {f"{name}.png": encoded() for name in "ab"} | {"dataset.json": json.dumps(labels).encode()}
    with pytest.raises(DatasetError, match="the label of 32769 numbers; at most 32768"):
        ImageFolderDataset(zipped(tmp_path / "y.zip", content), use_labels=True).get_labels()


def test_classes_of_plug_ins_have_a_limit_too():
    class Far(Dataset):
        def _load_raw_labels(self) -> np.ndarray:
            return np.array([0, 10**9])

    with pytest.raises(DatasetError, match="the class 1000000000"):
        _ = Far("far", [2, 1, 4, 4], use_labels=True).label_dim


@pytest.mark.parametrize("column", ["1000000000", "1e300", "nan", "-inf", "1;nan"])
def test_labels_of_tables(tmp_path, column):
    (tmp_path / "in").mkdir()
    for name in "ab":
        (tmp_path / "in" / f"{name}.png").write_bytes(encoded())
    (tmp_path / "labels.csv").write_text(f"image,label\na.png,{column}\nb.png,{column}\n")
    said = refused(tmp_path / "in", tmp_path / "d.zip", "--labels", tmp_path / "labels.csv")
    assert "a.png has the" in said


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-8-sig"])
@pytest.mark.parametrize("mark", [";", "\t", ","])
def test_tables_as_spreadsheets_write_them(tmp_path, encoding, mark):
    (tmp_path / "in").mkdir()
    for name in "ab":
        (tmp_path / "in" / f"{name}.png").write_bytes(encoded())
    text = f"image{mark}label\r\na.png{mark}1\r\nb.png{mark}0\r\n"
    (tmp_path / "labels.csv").write_bytes(text.encode(encoding))
    result = tool(
        "--source", tmp_path / "in", "--dest", tmp_path / "d.zip", "--labels", tmp_path / "labels.csv"
    )
    assert result.exit_code == 0, result.output
    assert ImageFolderDataset(tmp_path / "d.zip", use_labels=True).raw_labels().tolist() == [1, 0]


@pytest.mark.parametrize(
    "facts",
    [{"label_names": 5}, {"label_names": [1]}, {"groups": []}, {"groups": {"a.png": 1}}, {"recipe": 1}],
)
def test_facts_of_another_type(tmp_path, facts):
    (key,) = facts
    path = zipped(tmp_path / "x.zip", {"a.png": encoded(), "dataset.json": json.dumps(facts).encode()})
    for read in (lambda d: d.info(), lambda d: d.groups, lambda d: d.recipe):
        with pytest.raises(DatasetError, match=f'"{key}" in dataset.json'):
            read(ImageFolderDataset(path, use_labels=True))
    assert f'"{key}" in dataset.json' in refused(path, tmp_path / "d.zip")


# Sets that are known by their name.


def cifar(path: Path, batches: list[bytes], extra: bytes = b"") -> Path:
    path = path / "cifar-10-python.tar.gz"
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        contents = {"first": extra} if extra else {}
        contents |= {f"cifar-10-batches-py/data_batch_{i + 1}": batch for i, batch in enumerate(batches)}
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def batch(**changed: object) -> bytes:
    return pickle.dumps({"data": np.zeros((2, 3072), np.uint8), "labels": [0, 1], **changed}, protocol=2)


class Twice:
    """Encodes one long text again and again."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return __import__("_codecs").encode, (TEXT, "latin1")


TEXT = "a" * 10_000
NESTED = b"\x80\x02" + b")" + b"q\x00" + b"".join(b"h\x00h\x00\x86q\x00" for _ in range(60))
BAD_BATCHES = {
    "labels": batch(labels=[0, "x"]),
    "class": batch(labels=[0, 10**9]),
    "no labels": pickle.dumps({"data": np.zeros((2, 3072), np.uint8)}, protocol=2),
    "other pixels": batch(data=np.zeros((2, 3072), np.float32)),
    "other shape": batch(data=np.zeros((2, 3071), np.uint8)),
    "no array": batch(data=[1, 2]),
    "a list": pickle.dumps([]),
    "cut off": batch()[:100],
    "rubbish": b"\xff" * 100,
    "empty": b"",
    "too many labels": batch(labels=[0, 1, 2]),
    "keys of tuples": b"\x80\x02}" + NESTED[2:] + b"K\x01s.",  # hashing takes 2^60 steps
    "copies": pickle.dumps([Twice() for _ in range(50)], protocol=2),
    "far memo": b"\x80\x02}r\xff\xff\xff\x7f.",
    "array of a terabyte": b"\x80\x02cnumpy\nndarray\nJ\xff\xff\xff\x7f\x85R.",
}


@pytest.mark.parametrize("problem", BAD_BATCHES)
def test_damaged_cifar(tmp_path, problem):
    path = cifar(tmp_path, [BAD_BATCHES[problem], *[batch()] * 4])
    with within(10):
        assert "not the CIFAR-10 archive" in refused(path, tmp_path / "d.zip")


def test_cifar_of_other_archives(tmp_path):
    assert "lacks cifar-10-batches-py/data_batch_5" in refused(
        cifar(tmp_path, [batch()] * 4), tmp_path / "d.zip"
    )
    path = cifar(tmp_path, [batch()] * 5)
    path.write_bytes(path.read_bytes()[:-50])
    assert "not the CIFAR-10 archive" in refused(path, tmp_path / "d.zip")
    path.write_bytes(b"no archive")
    assert "not the CIFAR-10 archive" in refused(path, tmp_path / "d.zip")


@pytest.mark.slow  # 1 s each: a quarter of a gigabyte is unpacked
@pytest.mark.parametrize("where", ["before", "inside"])
def test_cifar_bombs(tmp_path, where):
    size = (300 << 20) if where == "before" else (70 << 20)
    before, first = (bytes(size), batch()) if where == "before" else (b"", bytes(size))
    path = cifar(tmp_path, [first, *[batch()] * 4], before)
    assert path.stat().st_size < 4 << 20
    said = refused(path, tmp_path / "d.zip")
    assert "unpacks to more than 256 MiB" in said or "holds more than 64 MiB" in said


def test_mnist_bomb(tmp_path):
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(bytes(65 << 20), 1))
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(b""))
    said = refused(tmp_path / "train-images-idx3-ubyte.gz", tmp_path / "d.zip")
    assert "more than 64 MiB" in said


@pytest.mark.parametrize(
    "content",
    [
        b"no gzip",
        gzip.compress(b"")[:-4],
        gzip.compress(b"\0\0\x08\x03" + b"\xff" * 12),
        gzip.compress(b"\0\0\x08\xff" + b"\xff" * 12),
        gzip.compress(b"\0\0\x08\x03" + (1 << 31).to_bytes(4, "big") * 2 + bytes(4)),
    ],
)
def test_damaged_mnist(tmp_path, content):
    for name in ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"):
        (tmp_path / name).write_bytes(content)
    assert "download it again" in refused(tmp_path / "train-images-idx3-ubyte.gz", tmp_path / "d.zip")


@pytest.mark.parametrize("damage", ["cut", "rubbish", "empty", "folder"])
def test_damaged_lmdb(tmp_path, damage):
    lmdb = pytest.importorskip("lmdb")
    path = tmp_path / "cat_lmdb"
    with lmdb.open(str(path)) as database, database.begin(write=True) as transaction:
        for i in range(200):
            transaction.put(str(i).encode(), encoded())
    data = path / "data.mdb"
    content = data.read_bytes()
    data.unlink()
    if damage == "folder":
        data.mkdir()
    else:
        data.write_bytes(
            {"cut": content[: len(content) // 3], "rubbish": b"\xff" * 50_000, "empty": b""}[damage]
        )
    (path / "lock.mdb").unlink()
    assert "cat_lmdb" in refused(path, tmp_path / "d.zip")


# DICOM files without an ending, and in zips, belong to the other tool.


@pytest.mark.parametrize("kind", ["folder", "zip", "file"])
def test_dicom_is_sent_to_its_own_tool(tmp_path, kind):
    dicom = bytes(128) + b"DICM" + bytes(100)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "IM000001").write_bytes(dicom)
    zipped(tmp_path / "in.zip", {"a.dcm": dicom})
    source = {"folder": tmp_path / "in", "zip": tmp_path / "in.zip", "file": tmp_path / "in" / "IM000001"}[
        kind
    ]
    assert "dataset_tool_dicom.py" in refused(source, tmp_path / "d.zip")
    if kind == "zip":
        with pytest.raises(DatasetError, match=r"dataset_tool_dicom\.py"):
            ImageFolderDataset(source)


def test_names_that_a_spreadsheet_would_calculate(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(encoded())
    (tmp_path / "in" / '=HYPERLINK("x").png').write_bytes(b"rubbish")
    assert tool("--source", tmp_path / "in", "--dest", tmp_path / "x.zip", "--skip-bad").exit_code == 0
    with (tmp_path / "x_skipped.csv").open(newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t"))]


def test_an_empty_path_is_not_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.png").write_bytes(encoded())
    with pytest.raises(DatasetError, match="is empty"):
        ImageFolderDataset("")
    assert tool("--source=", "--dest=x.zip").exit_code == 2
    assert tool("--source=.", "--dest=").exit_code == 2
    assert not Path("x.zip").exists()


def test_hashes_of_detectors_that_were_damaged(tmp_path, own_cache):
    path = tmp_path / "det.pt"
    path.write_bytes(b"x")
    (own_cache / "detectors").mkdir()
    for damage in ("{", "[]", '{"a": 1}', "[" * 100_000):
        (own_cache / "detectors" / "hashes.json").write_text(damage)
        with pytest.raises(UserError, match=r"hashes\.json"):
            checked_hash(path)
