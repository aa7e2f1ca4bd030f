"""Files and folders made to harm: bombs, giants, links, pipes, archives that point outside."""
# ruff: noqa: E501 - tables

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import pytest

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
    found = {item.name: item.reason for item in walk_sources([str(tmp_path / "in.zip")])}
    assert found.pop("good.dcm") == ""
    assert found.pop("bomb.dcm") == "inflate_limit"
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
