"""Tables and lists as people save them, and files that are none."""

from __future__ import annotations

import codecs
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from spine_plugins.dicom import lists, texts
from stylegan2ada.errors import UserError
from stylegan2ada.files import sha256_file
from tests.spine_plugins.dicom.making import run_tool, write_csv

PLAIN = "image_id,lesion_type,note,xmin,ymin,xmax,ymax\na,Fracture,Rücken,1.5,2,30,40\nb,No finding,,,,,\n"
SEMICOLONS = PLAIN.replace("1.5", "1@5").replace(",", ";").replace("@", ",")
FORMS = {
    "utf-8": PLAIN.encode(),
    "utf-8-sig": codecs.BOM_UTF8 + PLAIN.encode(),
    "code page": PLAIN.encode("cp1252"),
    "semicolons": SEMICOLONS.encode(),
    "semicolons, code page, CRLF": SEMICOLONS.replace("\n", "\r\n").encode("cp1252"),
    "tabs": PLAIN.replace(",", "\t").encode(),
    "utf-16": PLAIN.encode("utf-16"),
    "utf-16, tabs": PLAIN.replace(",", "\t").encode("utf-16"),
    "utf-16-le": PLAIN.encode("utf-16-le"),
    "utf-16-be": PLAIN.encode("utf-16-be"),
    "utf-32": PLAIN.encode("utf-32"),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_way_to_save_a_table_is_recognised(tmp_path: Path, form: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(FORMS[form])
    table = texts.table_of(path)
    rows = list(table.records())
    assert [row["image_id"] for row in rows] == ["a", "b"]
    assert rows[0]["note"] == "Rücken"
    assert [table.number(rows[0][edge]) for edge in ("xmin", "ymin", "xmax", "ymax")] == [1.5, 2, 30, 40]
    assert table.is_guessed == ("code page" in form)


def test_a_semicolon_table_gives_the_same_data_set(small_tree: Path, key_file: Path, tmp_path: Path) -> None:
    text = (small_tree / "annotations" / "train.csv").read_text()
    forms = {
        "plain": text.encode(),
        # As Excel saves it where the comma is the decimal mark.
        "semicolons": text.replace(",", ";").replace(".", ",").replace("R1", "Müller").encode("cp1252"),
        "utf16": text.encode("utf-16"),
    }
    found = {}
    for name, content in forms.items():
        (tmp_path / f"{name}.csv").write_bytes(content)
        result = run_tool(
            "--source", small_tree / "train_images", "--dest", tmp_path / f"{name}.zip", "--resolution", 32,
            "--key-file", key_file, "--annotations", tmp_path / f"{name}.csv",
        )  # fmt: skip
        assert result.exit_code == 0, result.output
        assert ("Windows-1252" in result.output) == (name == "semicolons")
        found[name] = (
            sha256_file(tmp_path / f"{name}_boxes.json"),
            sha256_file(tmp_path / f"{name}_contact.png"),
        )
    assert len(set(found.values())) == 1


@pytest.mark.parametrize("content", [
    os.urandom(64) + b"\0" * 64, b"image_id,lesion_type\n" + b"\0" * 3000, codecs.BOM_UTF16_LE + b"\0\xd8a",
    b"a" * (3 << 20), b'image_id,lesion_type\n"' + b"a" * 200_000 + b'"\n',
], ids=["noise", "zeros", "half a character", "no line end", "endless cell"])  # fmt: skip
def test_what_is_no_text_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match="save it as|check the file"):
        list(texts.table_of(path).rows())


def test_lists_in_any_encoding(tmp_path: Path) -> None:
    for form in ("utf-8", "utf-8-sig", "utf-16", "utf-16-be", "cp1252"):
        path = tmp_path / "ids.txt"
        path.write_bytes("Rücken 1\r\n\r\n b \n".encode(form))
        assert list(lists.subset_ids(str(path))) == [("Rücken 1",), ("b",)]


@pytest.mark.parametrize("content", [
    b"name;class\nFracture;broken\nRest;other\n", b"Fracture,broken\r\nRest,other",
    b"Fracture\tbroken\nRest\tother\n", '{"Fracture": "broken", "Rest": "other"}'.encode("utf-8-sig"),
    "Fracture,broken\nRest,other\n".encode("utf-16"),
])  # fmt: skip
def test_class_maps_in_any_form(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "map"
    path.write_bytes(content)
    assert lists.class_map(str(path)) == (("Fracture", "broken"), ("Rest", "other"))


@pytest.mark.parametrize(
    "content", [b"[1, 2]", b'{"a": ', b"one column\n", b"{" * 5, b'{"a":' * 100_000, b"\0\0\0\0"]
)
def test_class_maps_that_are_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "map"
    path.write_bytes(content)
    with pytest.raises(UserError, match="map"):
        lists.class_map(str(path))


@pytest.mark.parametrize("content", [b"[]", b'"text"', b"5", b"not json", b"[" * 100_000, b"\xff\xfe\0"])
def test_summaries_of_strangers(tmp_path: Path, content: bytes) -> None:
    columns = ["status", "study", "patient", "sha256_pixels"]
    report = write_csv(tmp_path / "y_report.csv", [dict.fromkeys(columns, "ok")])
    (tmp_path / "y_summary.json").write_bytes(content)
    with pytest.raises(UserError, match="y_summary.json is"):
        list(lists.forbidden_values([str(report)], "id"))
    (tmp_path / "y_summary.json").write_text('{"key_id": ["id"]}')
    with pytest.raises(UserError, match="another key"):
        list(lists.forbidden_values([str(report)], "id"))
    (tmp_path / "y_summary.json").write_text("{}")
    assert list(lists.forbidden_values([str(report)], "id")) == [("ok",)] * 3


@contextmanager
def nobody_writes(pipe: Path) -> Iterator[None]:
    """Frees whoever waits for the pipe after some seconds, so that a hang is a failure."""
    os.mkfifo(pipe)

    def free() -> None:
        os.close(os.open(pipe, os.O_RDWR | os.O_NONBLOCK))

    timer = threading.Timer(10, free)
    timer.start()
    try:
        yield
        assert timer.is_alive(), "somebody waited for the pipe"
    finally:
        timer.cancel()
        timer.join()


FLAGS = (
    "--source",
    "--annotations",
    "--subset-list",
    "--class-map",
    "--checksums",
    "--forbid-groups",
    "--key-file",
)


@pytest.mark.parametrize("flag", FLAGS)
def test_pipes_and_devices_are_refused(small_tree: Path, tmp_path: Path, flag: str) -> None:
    for place in (tmp_path / "pipe", Path("/dev/zero")):
        words = [] if flag == "--source" else ["--source", small_tree]
        words += ["--dest", tmp_path / "x.zip", flag, place]
        if place.name == "pipe":
            with nobody_writes(place):
                result = run_tool(*words)
        else:
            result = run_tool(*words)
        assert result.exit_code == 2, result.output
        assert len(result.output.strip().splitlines()[-1]) < 400
        assert not (tmp_path / "x.zip").exists()


def test_pipes_among_the_files(small_tree: Path, tmp_path: Path) -> None:
    """As an annotation, a summary, or a picture: none is waited for."""
    import shutil

    root = tmp_path / "in"
    shutil.copytree(small_tree, root)
    with (
        nobody_writes(root / "annotations" / "z.csv"),
        nobody_writes(root / "train_images" / "z.dcm"),
    ):
        result = run_tool("--source", root, "--dest", tmp_path / "x.zip", "--resolution", 32)
        assert result.exit_code == 0, result.output
        assert "not_regular_file" in result.output
        asked = ("--annotations", root / "annotations")
        refused = run_tool("--source", root, "--dest", tmp_path / "y.zip", *asked)
        assert refused.exit_code == 2
        assert "not a regular file" in refused.output
