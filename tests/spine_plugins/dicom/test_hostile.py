"""Files and folders made to harm: bombs, giants, links, pipes, archives that point outside."""
# ruff: noqa: E501 - tables

from __future__ import annotations

import dataclasses
import os
import struct
import subprocess
import sys
import warnings
import zipfile
import zlib
from pathlib import Path

import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import UID

from spine_plugins.dicom import sniff
from spine_plugins.dicom.sources import Item, walk_sources
from stylegan2ada.errors import UserError
from tests.spine_plugins.dicom import making
from tests.spine_plugins.dicom.making import (
    convert_bytes,
    dataset,
    radiograph,
    report_rows,
    run_tool,
    to_bytes,
    write,
)


def deflate_bomb(megabytes: int) -> bytes:
    """A deflated file of little size whose pixel data are that many megabytes of zeros."""
    data = to_bytes(dataset(radiograph(), making.DEFLATED, bits=12))
    meta = sniff.file_meta(data)
    engine = zlib.compressobj(9, wbits=-15)
    element = b"\xe1\x7f\x10\x00OB\0\0" + (megabytes << 20).to_bytes(4, "little")
    body = zlib.decompress(data[meta.end :], -15)
    packed = [engine.compress(body + element)]
    packed += [engine.compress(bytes(1 << 20)) for _ in range(megabytes)]
    return data[: meta.end] + b"".join(packed) + engine.flush()


_PEAK = """
import sys
from tests.spine_plugins.dicom.making import convert_bytes
def peak():  # of this program alone; ru_maxrss would begin with that of the parent
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
convert_bytes(open(sys.argv[2], "rb").read())  # an ordinary file loads all libraries
before = peak()
record = convert_bytes(open(sys.argv[1], "rb").read(), max_inflate_bytes=int(sys.argv[3]) << 20)
after = peak()
print(record["reason"], (after - before) // 1024, after // 1024)
"""


def _peak(bomb: Path, fair: Path, limit_mb: int) -> tuple[str, int, int]:
    words = [sys.executable, "-c", _PEAK, str(bomb), str(fair), str(limit_mb)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    reason, more, peak = done.stdout.split()
    return reason, int(more), int(peak)


def test_a_deflate_bomb_stays_small(tmp_path):
    bomb, fair = tmp_path / "bomb.dcm", write(tmp_path / "fair.dcm")
    bomb.write_bytes(deflate_bomb(256))
    assert bomb.stat().st_size < 1 << 20
    reason, more, peak = _peak(bomb, fair, 64)
    assert reason == "inflate_limit"
    assert more < 150  # the limit, and a copy of it while zlib grows its buffer
    assert peak < 300


def test_giant_claims_are_refused_before_the_decoder():
    data = to_bytes(dataset(radiograph(300, 260, bits=12), making.J2K, bits=12))
    siz = data.index(b"\xff\x4f\xff\x51") + 8
    giant = data[:siz] + (60000).to_bytes(4, "big") * 2 + data[siz + 8 :]
    record = convert_bytes(giant)
    assert record["reason"] == "geometry_mismatch"
    assert record["header"]["plugin"] == ""
    assert sniff.codestream_size(data[siz - 8 :]) == (300, 260)


@pytest.mark.parametrize(
    "syntax",
    [making.BASELINE, making.EXTENDED, making.JPEG_LOSSLESS_SV1, making.JPEG_LS, making.J2K, making.HTJ2K],
)
def test_codestreams_tell_their_size(syntax):
    pixels = radiograph(70, 90, bits=8 if syntax == making.BASELINE else 12)
    made = dataset(pixels, bits=12)
    assert sniff.codestream_size(making.encoded(pixels, made, syntax)) == (70, 90)
    assert sniff.codestream_size(b"\xff\xd8\xff") is None
    assert sniff.codestream_size(b"") is None


def test_limits_on_files(tmp_path):
    big = Item("big", str(write(tmp_path / "big.dcm")), size=10 << 20)
    from spine_plugins.dicom.convert import convert_item
    from spine_plugins.dicom.settings import IngestSettings

    assert convert_item(IngestSettings(max_file_bytes=1 << 20), b"k", big).reason == "too_large"
    # A size that was stated too low does not help either.
    lied = Item("big", big.place, size=1)
    assert convert_item(IngestSettings(max_file_bytes=1000), b"k", lied).reason == "too_large"
    gone = Item("gone", str(tmp_path / "gone.dcm"), size=1)
    assert convert_item(IngestSettings(), b"k", gone).reason == "unreadable"


def test_links_pipes_and_folders(tmp_path):
    root, outside = tmp_path / "in", write(tmp_path / "outside" / "x.dcm")
    write(root / "a" / "good.dcm")
    (root / "out.dcm").symlink_to(outside)
    (root / "outdir").symlink_to(outside.parent)
    (root / "inner.dcm").symlink_to(root / "a" / "good.dcm")
    (root / "loop").symlink_to(root)
    (root / "self").symlink_to(root / "self")
    os.mkfifo(root / "pipe.dcm")
    found = {item.name: item.reason for item in walk_sources([str(root)])}
    assert found == {
        "a/good.dcm": "", "out.dcm": "path_escape", "outdir": "path_escape", "inner.dcm": "", "loop": "not_regular_file",
        "self": "not_regular_file", "pipe.dcm": "not_regular_file",
    }  # fmt: skip
    # Also a file that becomes a pipe after it was listed does not hang the reader.
    from spine_plugins.dicom.convert import convert_item
    from spine_plugins.dicom.settings import IngestSettings

    record = dataclasses.asdict(
        convert_item(IngestSettings(), b"k", Item("p", str(root / "pipe.dcm"), size=10))
    )
    assert record["reason"] == "not_regular_file"


def test_zip_members_that_point_outside(tmp_path):
    data = to_bytes(dataset(radiograph(), bits=12))
    with zipfile.ZipFile(tmp_path / "in.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("good.dcm", "../up.dcm", "/root.dcm", "a/../../b.dcm", "C:/x.dcm"):
            archive.writestr(name, data)
        archive.writestr("bomb.dcm", bytes(64 << 20))
        archive.writestr("n", b"a member without a name")
        archive.filelist[-1].filename = ""
    found = {item.name: item.reason for item in walk_sources([str(tmp_path / "in.zip")])}
    assert found.pop("good.dcm") == ""
    assert found.pop("bomb.dcm") == "inflate_limit"
    assert found.pop("") == ""
    assert set(found.values()) == {"path_escape"}
    result = run_tool("--source", tmp_path / "in.zip", "--dest", tmp_path / "x.zip")
    assert result.exit_code == 5  # one of two images failed
    assert "inflate_limit 1" in result.output
    assert "path_escape" not in result.output.splitlines()[-1]
    assert len(report_rows(tmp_path / "x.zip")) == 6


def test_lists_and_single_files(tmp_path):
    write(tmp_path / "d" / "one.dcm")
    (tmp_path / "list.txt").write_text("# comment\nd/one.dcm\nd/missing.dcm\n\nd/one.dcm\n")
    found = [(item.name, item.reason) for item in walk_sources([str(tmp_path / "list.txt")])]
    assert found == [("d/one.dcm", ""), ("d/missing.dcm", "not_regular_file")]
    assert [item.name for item in walk_sources([str(tmp_path / "d" / "one.dcm")])] == ["one.dcm"]
    both = [item.name for item in walk_sources([str(tmp_path / "d"), str(tmp_path / "d")])]
    assert both == ["d/one.dcm", "d#2/one.dcm"]
    (tmp_path / "wrong.txt").write_text("not a path\n")
    with pytest.raises(UserError, match="none of its first lines is a file"):
        list(walk_sources([str(tmp_path / "wrong.txt")]))


def test_names_that_are_no_text(tmp_path):
    """A file name need not be UTF-8, and may hold a line break; the report stays one row per file."""
    root = tmp_path / "in"
    write(root / "good.dcm")
    os.link(root / "good.dcm", os.fsencode(root) + b"/b\xff\xfe.dcm")
    os.link(root / "good.dcm", os.fsencode(root) + b"/c\n1,2,ok.dcm")
    result = run_tool("--source", root, "--dest", tmp_path / "x.zip")
    assert result.exit_code == 0, result.output
    rows = report_rows(tmp_path / "x.zip")
    assert [row["path"] for row in rows] == ["b\\xff\\xfe.dcm", "c?1,2,ok.dcm", "good.dcm"]
    assert [row["reason"] for row in rows] == ["", "duplicate_sop", "duplicate_sop"]


def test_checksums(tmp_path):
    import hashlib

    good, bad = write(tmp_path / "in" / "good.dcm"), write(tmp_path / "in" / "bad.dcm", radiograph(seed=1))
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}" for path in (good, bad)]
    (tmp_path / "SHA256SUMS.txt").write_text("\n".join(lines))
    bad.write_bytes(bad.read_bytes()[:-1] + b"\x01")
    arguments = ("--source", tmp_path / "in", "--dest", tmp_path / "x.zip", "--fail-over", 1)
    run_tool(*arguments, "--checksums", tmp_path / "SHA256SUMS.txt")
    assert [row["reason"] for row in report_rows(tmp_path / "x.zip")] == ["checksum_mismatch", ""]


def test_time_limit_ends_a_slow_file(monkeypatch):
    import time

    from spine_plugins.dicom import read

    def slow(*_):
        try:
            time.sleep(30)
        except Exception:  # what a library may do
            raise AssertionError("swallowed") from None

    monkeypatch.setattr(read, "decode", slow)
    record = convert_bytes(to_bytes(dataset(radiograph(), bits=12)), timeout_sec=0.2)
    assert record["reason"] == "timeout"


def encapsulated(frame: bytes | list[bytes], syntax: str = making.J2K, **tags: object) -> bytes:
    """A file of 160x192 pixels whose compressed data are these fragments."""
    made = dataset(radiograph(), making.EXPLICIT, bits=12, **tags)
    made.file_meta.TransferSyntaxUID = UID(syntax)
    made.PixelData = encapsulate([frame] if isinstance(frame, bytes) else frame)
    made["PixelData"].VR = "OB"
    return to_bytes(made)


JP2 = b"\0\0\0\x0cjP  \r\n\x87\n"


@pytest.mark.parametrize(
    "boxes", [b"\0\0\0\0xxxx", b"\0\0\0\1xxxx" * 50, b"\0\0\0\7xxxx" * 50, b"\0\0\0\x08free" * 2000]
)
@pytest.mark.parametrize("head", [JP2, JP2[:8] + b"\0" * 4])
def test_boxes_that_lead_nowhere_cost_nothing(head: bytes, boxes: bytes) -> None:
    """pydicom walks them by their lengths: 852 bytes kept it busy until the time limit."""
    record = convert_bytes(encapsulated(head + boxes + bytes(100)), timeout_sec=3)
    assert record["reason"] == "decode_error"


def test_a_picture_in_boxes_is_still_read() -> None:
    import imagecodecs

    pixels = radiograph(bits=12)
    options = {"level": 0, "reversible": True, "bitspersample": 12}
    boxed = imagecodecs.jpeg2k_encode(pixels, codecformat="jp2", **options)
    assert sniff.codestream_size(boxed) == (160, 192)
    plain = imagecodecs.jpeg2k_encode(pixels, codecformat="j2k", **options)
    found = [convert_bytes(encapsulated(frame)) for frame in (boxed, plain)]
    assert found[0]["reason"] == ""
    assert found[0]["png"] == found[1]["png"]


def test_tiles_without_number() -> None:
    data = bytearray(making.encoded(radiograph(bits=12), dataset(radiograph(), bits=12), making.J2K))
    siz = data.index(b"\xff\x51") + 6
    for tile in ((1, 1), (0, 160), (192, 0)):
        data[siz + 16 : siz + 24] = struct.pack(">2I", *tile)
        assert convert_bytes(encapsulated(bytes(data)))["reason"] == "decode_error"


def test_few_bytes_for_many_pixels() -> None:
    for syntax in (making.J2K, making.RLE, making.JPEG_LS, making.BASELINE):
        data = encapsulated(b"\1\0\0\0\x40" + bytes(200), syntax, Rows=9999, Columns=9999)
        record = convert_bytes(data)
        assert record["reason"] == "pixel_data_short"


def test_segments_without_end() -> None:
    fill = b"\xff\xd8" + b"\xff\xe0\0\2" * 5000
    assert convert_bytes(encapsulated(fill, making.BASELINE))["reason"] == "decode_error"


def sequence(count: int) -> bytes:
    """A sequence of so many empty items."""
    items = b"\xfe\xff\x00\xe0" + bytes(4)
    return b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff" + items * count + b"\xfe\xff\xdd\xe0" + bytes(4)


def nested(depth: int) -> bytes:
    start = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff"
    return start + (b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + start) * depth


@pytest.mark.parametrize("elements", [
    sequence(300_000), nested(1000), nested(19_000), nested(300_000), b"\x09\x00\x01\x10OB\0\0\xf0\xff\xff\xff",
    b"\x09\x00\x01\x10UT\0\0\xff\xff\xff\x7f", b"\x09\x00\x01\x10UN\0\0\xff\xff\xff\xff",
], ids=["items", "deep", "deeper", "deepest", "4 GiB", "2 GiB", "endless"])  # fmt: skip
def test_headers_that_go_on_and_on(elements: bytes) -> None:
    data = to_bytes(dataset(radiograph(), bits=12))
    end = sniff.file_meta(data).end
    record = convert_bytes(data[:end] + elements + data[end:], timeout_sec=5)
    assert record["reason"] in ("header_invalid", "no_pixel_data")


def test_fragments_without_number() -> None:
    record = convert_bytes(encapsulated([b"\0\0"] * 30_000), timeout_sec=5)
    assert record["reason"] == "header_invalid"


@pytest.mark.parametrize("tags", [
    {"NumberOfFrames": "2000000000"}, {"NumberOfFrames": "-5"}, {"NumberOfFrames": "0"},
    {"Rows": 65535, "Columns": 65535, "NumberOfFrames": "99999"}, {"BitsAllocated": 65535}, {"BitsStored": 65535},
    {"SamplesPerPixel": 65535},
])  # fmt: skip
def test_numbers_that_cannot_be(tags: dict[str, object]) -> None:
    record = convert_bytes(to_bytes(dataset(radiograph(), bits=12, **tags)), frames="first", timeout_sec=5)
    assert record["reason"] in ("header_invalid", "too_large", "bits_unsupported", "colour")


def test_zips_of_strangers(tmp_path: Path) -> None:
    data = to_bytes(dataset(radiograph(), bits=12))
    with zipfile.ZipFile(tmp_path / "twice.zip", "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(2):
            archive.writestr("a.dcm", data)
    result = run_tool("--source", tmp_path / "twice.zip", "--dest", tmp_path / "x.zip")
    assert result.exit_code == 2
    assert "holds 2 files called a.dcm" in result.output
    with zipfile.ZipFile(tmp_path / "locked.zip", "w") as archive:
        archive.writestr("a.dcm", data)
        archive.writestr("b.dcm", to_bytes(dataset(radiograph(seed=1), bits=12)))
    content = bytearray((tmp_path / "locked.zip").read_bytes())
    content[content.index(b"PK\1\2") + 8] |= 1  # says that the first one is encrypted
    (tmp_path / "locked.zip").write_bytes(content)
    words = ("--dest", tmp_path / "x.zip", "--resolution", 32, "--fail-over", 1)
    assert run_tool("--source", tmp_path / "locked.zip", *words).exit_code == 0
    assert [row["reason"] for row in report_rows(tmp_path / "x.zip")] == ["unreadable", ""]


def test_a_folder_that_cannot_be_read_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "in" / "a.dcm")
    write(tmp_path / "in" / "ward" / "b.dcm")
    scandir = os.scandir

    def refuse(place: str) -> object:
        if os.fspath(place).endswith("ward"):
            raise PermissionError(13, "Permission denied", place)
        return scandir(place)

    monkeypatch.setattr(os, "scandir", refuse)
    found = {item.name: item.reason for item in walk_sources([str(tmp_path / "in")])}
    assert found == {"a.dcm": "", "ward": "unreadable"}
