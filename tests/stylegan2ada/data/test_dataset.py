"""The reader: recorded results of the reference, and clear words for everything that cannot be read."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from stylegan2ada.data.dataset import Dataset, DatasetInfo, ImageFolderDataset
from stylegan2ada.data.writer import DatasetWriter
from stylegan2ada.errors import UserError
from tests.golden_data import golden_json, golden_path

RECORDED = golden_json("dataset/dataset.json")


def _check(dataset: Dataset, expected: dict) -> None:
    for key in (
        "name",
        "image_shape",
        "num_channels",
        "resolution",
        "label_shape",
        "label_dim",
        "has_labels",
    ):
        assert getattr(dataset, key) == expected[key], key
    assert dataset.has_onehot_labels == expected["has_onehot_labels"]
    assert len(dataset) == expected["length"] == len(expected["items"])
    for index, item in enumerate(expected["items"]):
        image, label = dataset[index]
        details = dataset.get_details(index)
        assert hashlib.sha256(image.tobytes()).hexdigest() == item["image_sha256"]
        assert image.dtype == np.uint8
        assert label.dtype == np.float32
        assert label.tolist() == dataset.get_label(index).tolist() == item["label"]
        assert (details.raw_idx, details.xflip) == (item["raw_idx"], item["xflip"])
        assert details.raw_label.tolist() == item["raw_label"]


def test_zip_with_labels():
    path = golden_path("dataset/tool_output_labelled.zip")
    _check(ImageFolderDataset(path, use_labels=True), RECORDED["labelled"]["reader"])


@pytest.mark.parametrize("case", RECORDED["reader_options"], ids=lambda case: str(case["kwargs"]))
def test_options(case):
    path = golden_path("dataset/tool_output_labelled.zip")
    if "exception" in case:
        with pytest.raises(UserError, match="32x32, not 64x64") as caught:
            ImageFolderDataset(path, **case["kwargs"])
        assert isinstance(caught.value, {"OSError": OSError}[case["exception"]])
    else:
        _check(ImageFolderDataset(path, **case["kwargs"]), case["result"])


def test_folder(source_folder):
    expected = RECORDED["folder_direct"]
    dataset = ImageFolderDataset(source_folder, use_labels=True)
    assert dataset.image_names == expected["fnames_order"]
    _check(dataset, expected["result"])


def test_vector_labels():
    path = golden_path("dataset/gray_vector_labels.zip")
    _check(ImageFolderDataset(path, use_labels=True), RECORDED["gray_vector_labels"])


@pytest.mark.parametrize("name", RECORDED["label_edge_cases"])
def test_label_edge_cases(name, tmp_path):
    """Three recorded images under their own names; what dataset.json says differs."""
    images = ["10.png", "2.png", "a/aa.png"]
    labels = {
        "labels_null": None,
        "all_zero_int": [[image, 0] for image in images],
        "missing_entry": [[image, 1] for image in images[:2]],
    }
    expected = RECORDED["label_edge_cases"][name]
    with (
        zipfile.ZipFile(golden_path("dataset/source_folder.zip")) as source,
        zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as archive,
    ):
        for image in images:
            archive.writestr(image, source.read(image))
        if name in labels:
            archive.writestr("dataset.json", json.dumps({"labels": labels[name]}))
    dataset = ImageFolderDataset(tmp_path / f"{name}.zip", use_labels=True)
    if "exception" in expected:
        with pytest.raises(UserError, match=r"no label for 'a/aa.png' \(1 of 3 images lack one\)") as caught:
            _ = dataset.label_shape
        assert isinstance(caught.value, {"KeyError": KeyError}[expected["exception"]])
        return
    facts = {key: value for key, value in expected.items() if key not in ("items", "image_shape")}
    assert facts == {key: len(dataset) if key == "length" else getattr(dataset, key) for key in facts}
    assert len(expected["items"]) == 3
    for index, item in enumerate(expected["items"]):
        assert dataset.get_label(index).tolist() == item["label"]
        assert dataset.get_details(index).raw_label.tolist() == item["raw_label"]


class Numbers(Dataset):
    """A plug-in: image i is filled with i, its class is i modulo 3."""

    def __init__(self, n: int, **options):
        super().__init__("numbers", [n, 1, 2, 2], **options)

    def _load_raw_image(self, raw_idx):
        return np.full([1, 2, 2], raw_idx % 256, dtype=np.uint8)

    def _load_raw_labels(self):
        return np.arange(self.raw_shape[0], dtype=np.int64) % 3


@pytest.mark.parametrize(
    "case", RECORDED["subset_indices"], ids=lambda case: f"{case['n']}-{case['random_seed']}"
)
def test_subset(case):
    dataset = Numbers(case["n"], max_size=case["max_size"], random_seed=case["random_seed"])
    assert [dataset.get_details(i).raw_idx for i in range(len(dataset))] == case["raw_idx"]


def test_plugin():
    dataset = Numbers(7, use_labels=True, xflip=True)
    assert len(dataset) == 14
    image, label = dataset[8]
    np.testing.assert_array_equal(image, np.full([1, 2, 2], 1))
    np.testing.assert_array_equal(label, [0, 1, 0])
    assert dataset.info() == DatasetInfo("numbers", None, 14, (1, 2, 2), 3, True, None)
    assert Numbers(7).info().label_dim == 0


@pytest.mark.parametrize(
    ("labels", "problem"),
    [
        (np.arange(4), "7 images but 4 labels"),
        (np.arange(7) - 1, "class -1"),
        (np.zeros([7, 2]), "must be int64"),
        (np.zeros([7, 2], dtype=np.int64), "must be int64"),
    ],
)
def test_plugin_with_bad_labels(labels, problem):
    dataset = Numbers(7, use_labels=True)
    dataset._load_raw_labels = lambda: labels
    with pytest.raises(UserError, match=problem):
        dataset.get_label(0)


def test_plugin_with_bad_image():
    dataset = Numbers(7)
    dataset._load_raw_image = lambda raw_idx: np.zeros([3, 2, 2], np.uint8)
    with pytest.raises(UserError, match=r"image 4 of numbers is uint8 \[3, 2, 2\]"):
        dataset[4]


@pytest.mark.parametrize("source", ["set.zip", "set"])
def test_reads_what_was_written(make_dataset, source):
    for name, shape, labels in (
        ("grey-" + source, (8, 8), [0, 2, 1, 1, 0]),
        ("rgb-" + source, (4, 4, 3), np.random.RandomState(1).randn(5, 2).astype(np.float32)),
    ):
        dataset = ImageFolderDataset(make_dataset(name, shape=shape, labels=labels, seed=3), use_labels=True)
        images = np.random.RandomState(3).randint(0, 256, size=(5, *shape), dtype=np.uint8)
        for index, image in enumerate(images):
            np.testing.assert_array_equal(dataset[index][0], np.atleast_3d(image).transpose(2, 0, 1))
        expected = labels if dataset.label_dim == 2 else np.eye(3)[labels]
        np.testing.assert_array_equal(dataset.get_labels(), expected)
        assert dataset.info().path == str(dataset.path)


@given(
    images=arrays(
        np.uint8, st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3]))
    ),
    labels=st.none()
    | st.integers(0, 5)
    | arrays(np.float32, 3, elements=st.floats(-(2.0**99), 2.0**99, width=32)),
    is_zip=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_read_inverts_write(tmp_path_factory, images, labels, is_zip):
    """Any image and label comes back as it was; of a class number, the one-hot vector."""
    dest = tmp_path_factory.mktemp("any") / ("set.zip" if is_zip else "set")
    with DatasetWriter(dest) as writer:
        for image in images:
            writer.add(image, labels)
    dataset = ImageFolderDataset(dest, use_labels=True)
    assert len(dataset) == len(images)
    expected = (
        np.eye(6)[labels, : labels + 1] if isinstance(labels, int) else [] if labels is None else labels
    )
    for index, image in enumerate(images):
        np.testing.assert_array_equal(dataset[index][0], image.transpose(2, 0, 1))
        np.testing.assert_array_equal(dataset[index][1], expected)


def test_items_are_copies(make_dataset):
    dataset = ImageFolderDataset(make_dataset("a.zip", labels=[[1.0, 2.0]] * 5), use_labels=True)
    image, label = dataset[0]
    image[:], label[:] = 0, 0
    details = dataset.get_details(0)
    details.raw_label[:] = 0
    assert dataset[0][0].any()
    np.testing.assert_array_equal(dataset.get_label(0), [1, 2])


@pytest.mark.parametrize("n", [1, 3, 14, 256, 70000])
def test_drawn_labels_follow_single_draws(n):
    """The global generator is used up as if labels were drawn one by one."""
    dataset = Numbers(n, use_labels=True)
    np.random.seed(5)
    expected = np.stack([dataset.get_label(np.random.randint(n)) for _ in range(50)])
    after = np.random.randint(1 << 30)
    np.random.seed(5)
    np.testing.assert_array_equal(dataset.draw_labels(50), expected)
    assert np.random.randint(1 << 30) == after
    np.testing.assert_array_equal(dataset.draw_labels(50, np.random.RandomState(5)), expected)
    assert dataset.draw_labels(50, np.random.default_rng(5)).shape == (50, dataset.label_dim)
    assert Numbers(n).draw_labels(50).shape == (50, 0)


def test_further_facts(make_dataset, tmp_path):
    path = make_dataset("a", labels=[0, 1, 0, 1, 0])
    facts = {
        "label_names": ["no", "yes"],
        "groups": {"x": {"study": "1", "patient": None}},
        "recipe": {"tool": "t"},
    }
    plain = ImageFolderDataset(path, use_labels=True)
    assert (plain.label_names, plain.groups, plain.recipe) == (None, None, None)
    (path / "dataset.json").write_text(
        json.dumps({**json.loads((path / "dataset.json").read_text()), **facts})
    )
    dataset = ImageFolderDataset(path, use_labels=True)
    assert {name: getattr(dataset, name) for name in facts} == facts
    assert dataset.info().label_names == ("no", "yes")
    assert ImageFolderDataset(path).info().label_names is None  # labels that are not used have no names


def test_item_labels_are_raw_and_in_the_order_of_the_items(make_dataset):
    path = make_dataset("a.zip", n=5, labels=[4, 3, 2, 1, 0])
    dataset = ImageFolderDataset(path, use_labels=True, max_size=3, xflip=True)
    labels = dataset.item_labels()
    assert labels.dtype == np.int64
    assert labels.tolist() == [4 - raw for raw in dataset.raw_indices]
    assert len(labels) == len(dataset) == 6


@pytest.mark.parametrize("name", ["a.zip", "a"])
def test_a_view_has_these_items_and_files_of_its_own(make_dataset, name):
    dataset = ImageFolderDataset(make_dataset(name, n=5, labels=[0, 1, 2, 1, 0]), use_labels=True)
    view = dataset.view(np.array([3, 0, 3]), np.array([False, False, True]))
    assert type(view) is ImageFolderDataset
    assert [view.get_details(i).raw_idx for i in range(len(view))] == [3, 0, 3]
    assert np.array_equal(view[0][0], dataset[3][0])
    assert np.array_equal(view[2][0], dataset[3][0][:, :, ::-1])
    assert view.item_labels().tolist() == [1, 0, 1]
    assert view.label_dim == dataset.label_dim == 3  # classes stay as they were
    view.close()
    assert np.array_equal(dataset[1][0], dataset.view([1])[0][0])  # the other's files are open still
    assert len(dataset) == 5 and not dataset.flips.any()


def test_a_view_of_a_view_counts_stored_images(make_dataset):
    dataset = ImageFolderDataset(make_dataset("a.zip", n=5), max_size=2, xflip=True)
    assert dataset.view([4, 0]).view([0, 1, 4]).raw_indices.tolist() == [0, 1, 4]
    assert len(dataset.view([])) == 0
    with pytest.raises(AssertionError):
        dataset.view([5])


def test_a_view_keeps_the_attributes_of_plug_ins():
    class Counted(Dataset):
        def __init__(self):
            super().__init__("counted", [3, 1, 4, 4], use_labels=True)
            self.reads = 0

        def _load_raw_image(self, raw_idx):
            return np.full([1, 4, 4], raw_idx, dtype=np.uint8)

        def _load_raw_labels(self):
            self.reads += 1
            return np.array([2, 1, 0])

    dataset = Counted()
    assert dataset.label_dim == 3
    view = dataset.view([2])
    assert view[0][0].max() == 2 and view.item_labels().tolist() == [0]
    assert dataset.reads == view.reads == 1  # labels are read once, not per view


def test_pickles_without_open_files(make_dataset):
    dataset = ImageFolderDataset(make_dataset("a.zip", labels=[0, 1, 0, 1, 0]), use_labels=True)
    image, label = dataset[3]
    copy = pickle.loads(pickle.dumps(dataset))
    assert copy._zip is None
    assert copy._labels is None
    np.testing.assert_array_equal(copy[3][0], image)
    np.testing.assert_array_equal(copy[3][1], label)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_opens_the_zip_itself(make_dataset):
    dataset = ImageFolderDataset(make_dataset("a.zip"))
    handle = dataset._zip
    real, os.getpid = os.getpid, lambda: -1  # as a child would see it
    try:
        dataset[0]
    finally:
        os.getpid = real
    assert dataset._zip is not handle


def _encoded(picture: PIL.Image.Image, kind: str = "PNG") -> bytes:
    with io.BytesIO() as buffer:
        picture.save(buffer, format=kind)
        return buffer.getvalue()


def _png_16_bit_rgb() -> bytes:
    """Pillow cannot write one: patch the header of a grey 16-bit image of three times the width."""
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = zlib.compress(b"".join(b"\0" + bytes(8 * 6) for _ in range(8)))
    header = struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


GREY = PIL.Image.new("L", (8, 8), 7)
BAD_IMAGES = {
    "transparency .RGBA": _encoded(PIL.Image.new("RGBA", (8, 8))),
    "palette": _encoded(PIL.Image.new("P", (8, 8))),
    "grey image with transparency": _encoded(PIL.Image.new("LA", (8, 8))),
    "1 bit": _encoded(PIL.Image.new("1", (8, 8))),
    "CMYK": _encoded(PIL.Image.new("CMYK", (8, 8)), "JPEG"),
    "16-bit": _encoded(PIL.Image.fromarray(np.zeros((8, 8), np.uint16))),
    "a 16-bit": _png_16_bit_rgb(),
    "floating-point": _encoded(PIL.Image.new("F", (8, 8)), "TIFF"),
    "cannot be decoded .*truncated": _encoded(PIL.Image.effect_noise((8, 8), 50))[:90],
    "cannot be decoded .it is not an image": b"no image at all",
    "cannot be decoded": b"",
    "4x8 grey, but the first image is 8x8 grey": _encoded(PIL.Image.new("L", (4, 8))),
    "8x8 RGB, but the first image is 8x8 grey": _encoded(PIL.Image.new("RGB", (8, 8))),
}


@pytest.mark.parametrize("problem", BAD_IMAGES)
def test_bad_images_are_named(tmp_path, problem):
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr("a.png", _encoded(GREY))
        archive.writestr("sub/bad.png", BAD_IMAGES[problem])
    dataset = ImageFolderDataset(tmp_path / "set.zip")
    dataset[0]
    with pytest.raises(UserError, match=f"^sub/bad.png in .*set.zip .*{problem}"):
        dataset[1]


def test_damaged_zip(make_dataset, tmp_path):
    path = make_dataset("a.zip")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255  # inside some image: its checksum no longer fits
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"img0000000\d.png in .*a.zip cannot be read .*CRC"):
        [ImageFolderDataset(path)[i] for i in range(5)]
    path.write_bytes(content[:500])
    with pytest.raises(UserError, match="not a usable zip"):
        ImageFolderDataset(path)


BAD_DESCRIPTIONS = {
    "is not JSON": "{",
    "must be {": "[]",
    "must be a list of": '{"labels": {"a.png": 1}}',
    "must be a list of .*pairs": '{"labels": [["a.png"]]}',
    "'a.png' has 1, but 'b.png' has .0, 1.": '{"labels": [["a.png", 1], ["b.png", [0, 1]]]}',
    "'a.png' has .0., but 'b.png' has .0, 1.": '{"labels": [["a.png", [0]], ["b.png", [0, 1]]]}',
    "'a.png' has 'one'": '{"labels": [["a.png", "one"], ["b.png", "two"]]}',
    "but 'b.png' has None": '{"labels": [["a.png", 1], ["b.png", null]]}',
    "not made of finite": '{"labels": [["a.png", [NaN]], ["b.png", [0]]]}',
    "class -2; classes count from 0": '{"labels": [["a.png", -2], ["b.png", 0]]}',
    r"no label for 'b.png'.*lists for example 'C:": '{"labels": [["C:\\\\x\\\\a.png", 0], ["a.png", 1]]}',
}


@pytest.mark.parametrize("problem", BAD_DESCRIPTIONS)
def test_bad_label_files(tmp_path, problem):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(_encoded(GREY))
    (tmp_path / "dataset.json").write_text(BAD_DESCRIPTIONS[problem])
    with pytest.raises(UserError, match=problem):
        ImageFolderDataset(tmp_path, use_labels=True).get_labels()


def test_places_without_a_data_set(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("x")
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        pass
    for name, problem in {
        "nowhere": "does not exist",
        "nowhere.zip": "does not exist",
        "notes.txt": "neither a folder nor a .zip",
        "empty": "holds no images",
        "empty.zip": "holds no images",
    }.items():
        with pytest.raises(UserError, match=problem) as caught:
            ImageFolderDataset(tmp_path / name)
        assert isinstance(caught.value, OSError)
        assert str(Path(name)) in str(caught.value)


def test_shapes_that_cannot_train(make_dataset):
    dataset = ImageFolderDataset(make_dataset("a.zip", shape=(4, 8)))
    with pytest.raises(UserError, match="8x4; only square"):
        _ = dataset.resolution
    with pytest.raises(UserError, match="at least 1"):
        ImageFolderDataset(dataset.path, max_size=0)


@pytest.mark.parametrize("use_labels", [False, True])
@pytest.mark.parametrize(
    "kwargs", [{}, {"max_size": 4, "random_seed": 3}, {"max_size": 4, "xflip": True}], ids=str
)
def test_as_if_opened_is_the_data_set_that_the_constructor_makes(tmp_path, kwargs, use_labels):
    with DatasetWriter(tmp_path / "x.zip") as writer:
        for i in range(7):
            writer.add(np.full([4, 4], 30 * i, dtype=np.uint8), label=i % 3)
    whole = ImageFolderDataset(tmp_path / "x.zip", use_labels=not use_labels)
    whole.raw_labels()  # what was read under the other answer must not be kept
    seen = whole.as_if_opened(use_labels=use_labels, **kwargs)
    made = ImageFolderDataset(tmp_path / "x.zip", use_labels=use_labels, **kwargs)
    assert (len(seen), seen.info()) == (len(made), made.info())
    for (image, label), (other, expected) in zip(seen, made, strict=True):
        np.testing.assert_array_equal(image, other)
        np.testing.assert_array_equal(label, expected)
    assert len(whole) == 7
