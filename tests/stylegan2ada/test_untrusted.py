"""What a stranger's file may cost: a sentence, and neither time nor memory."""

from __future__ import annotations

import gzip
import io
import os
import struct
import zipfile
from pathlib import Path

import pytest

from stylegan2ada import untrusted
from stylegan2ada.errors import MissingError, UserError


class OursError(UserError):
    """As a room would have."""


def zip_file(path: Path, content: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return path


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("a")
    os.mkfifo(tmp_path / "pipe")
    assert untrusted.read_file(tmp_path / "link") == b"abc"
    for place in (tmp_path / "pipe", tmp_path, "/dev/zero", "a\0b"):
        assert not untrusted.is_regular(place)
        with pytest.raises(OursError, match="not a regular file|no path"):
            untrusted.read_file(place, error=OursError)
    with pytest.raises(MissingError, match="is not there"):
        untrusted.read_file(tmp_path / "b")


def test_reads_are_bounded_to_the_byte(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"12345"))
    zipped = zip_file(tmp_path / "a.zip", {"a": b"12345"})
    with untrusted.open_zip(zipped) as archive:
        assert untrusted.read_member(archive, "a", 5) == b"12345"
        with pytest.raises(OursError, match="a in .*over 4 bytes"):
            untrusted.read_member(archive, "a", 4, error=OursError)
    assert untrusted.read_file(tmp_path / "a", 5) == untrusted.read_gzip(tmp_path / "a.gz", 5) == b"12345"
    for read, name in ((untrusted.read_file, "a"), (untrusted.read_gzip, "a.gz")):
        with pytest.raises(OursError, match="more than 4 bytes"):
            read(tmp_path / name, 4, error=OursError)


def test_bombs_cost_their_limit_and_no_more(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(bytes(64 * untrusted.MIB)))
    with pytest.raises(UserError, match="more than 1 MiB"):
        untrusted.read_gzip(tmp_path / "a.gz", untrusted.MIB)


@pytest.mark.parametrize("cut", [0, 60, -22, -6])
def test_damaged_zips_have_a_sentence(tmp_path: Path, cut: int) -> None:
    whole = zip_file(tmp_path / "a.zip", {"a": os.urandom(100)}).read_bytes()
    (tmp_path / "a.zip").write_bytes(whole[:cut] + bytes([whole[cut] ^ 0xFF]) + whole[cut:][1:])
    with pytest.raises(UserError, match=r"a\.zip"), untrusted.open_zip(tmp_path / "a.zip") as archive:
        untrusted.read_member(archive, "a", 100)


def test_what_zips_may_also_be(tmp_path: Path) -> None:
    stored = bytearray(zip_file(tmp_path / "a.zip", {"a": b"12345"}).read_bytes())
    central = stored.index(b"PK\x01\x02")
    for offset, value, sentence in ((8, 1, "encrypted"), (10, 97, "cannot be read")):
        changed = stored.copy()
        changed[central + offset] = value
        (tmp_path / "b.zip").write_bytes(changed)
        with pytest.raises(UserError, match=sentence), untrusted.open_zip(tmp_path / "b.zip") as archive:
            untrusted.read_member(archive, "a", 5)
    with untrusted.open_zip(tmp_path / "a.zip") as archive, pytest.raises(UserError, match="is not there"):
        untrusted.read_member(archive, "b", 5)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a", b"1")
        archive.writestr("a", b"2")
    with pytest.raises(UserError, match="2 files called a"), untrusted.open_zip(tmp_path / "a.zip"):
        pass


@pytest.mark.parametrize("text", [b"[" * 100_000, b'{"a":' * 100_000, b"\xff", b"1" * 5000, b"", b"{"])
def test_json_that_is_none(text: bytes) -> None:
    with pytest.raises(OursError, match="x.json is"):
        untrusted.parse_json(text, "x.json", error=OursError)


def test_a_stream_that_fails_midway_has_a_sentence() -> None:
    damaged = bytearray(gzip.compress(os.urandom(1000)))
    damaged[500:600] = bytes(100)
    with pytest.raises(UserError, match="x cannot be read"):
        untrusted.read_bounded(gzip.open(io.BytesIO(damaged)), 2000, "x")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, zipfile.ZIP_DEFLATED])
def test_damage_under_any_compression_has_a_sentence(tmp_path: Path, method: int) -> None:
    content = bytes(range(256)) * 20
    whole = zip_file(tmp_path / "a.zip", {"a": content}, method).read_bytes()
    start, end = 31, whole.index(b"PK\x01\x02")
    said = []
    for place in range(start, end, max((end - start) // 40, 1)):
        damaged = whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :]
        (tmp_path / "a.zip").write_bytes(damaged)
        with untrusted.open_zip(tmp_path / "a.zip") as archive:
            try:
                # A few bits at the end say nothing of the content.
                assert untrusted.read_member(archive, "a", 5120) == content
            except UserError as error:
                said.append(str(error))
    assert len(said) > 20 and all("a in" in text for text in said)


def test_members_beyond_every_file_have_a_sentence(tmp_path: Path) -> None:
    """Zip64 gives places of 64 bits, which no seek takes."""
    content = bytearray(zip_file(tmp_path / "a.zip", {"a": b"12345"}, zipfile.ZIP_STORED).read_bytes())
    entry, end = content.index(b"PK\x01\x02"), content.index(b"PK\x05\x06")
    extra = struct.pack("<HHQ", 1, 8, 2**64 - 2)
    content[entry + 42 : entry + 46] = b"\xff" * 4  # the place is told in the extra field
    content[entry + 30 : entry + 32] = struct.pack("<H", len(extra))
    content[end:end] = extra
    content[end + len(extra) + 12 : end + len(extra) + 16] = struct.pack("<I", end + len(extra) - entry)
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.zip"), untrusted.open_zip(tmp_path / "a.zip") as archive:
        untrusted.read_member(archive, "a", 5)
