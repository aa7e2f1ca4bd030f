"""What the first bytes say, before any library is trusted with the file: kind, syntax, size inside."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from spine_plugins import uids
from spine_plugins.dicom.reasons import Rejected

_MOST_STEPS = 1000  # segments or boxes before what we look for; real files have a dozen
_MOST_TILES = 4096  # of JPEG 2000; a decoder prepares each of them, however small the file
_LONG_FORM = {b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"SQ", b"UC", b"UN", b"UR", b"UT", b"SV", b"UV"}


@dataclass(frozen=True)
class FileMeta:
    """The two values of the file meta group that matter here, and where the data set starts."""

    transfer_syntax: str
    syntax_offset: int  # of the value of (0002,0010); 0 if there is none
    storage_class: str
    end: int


def file_meta(data: bytes) -> FileMeta:
    """Read the file meta group (PS3.10 7.1: preamble, DICM, explicit VR little endian).

    Rejects as `not_dicom` what has no preamble, and as `dicomdir` a directory of files.
    """
    if data[128:132] != b"DICM":
        raise Rejected("not_dicom", "no DICM mark after the preamble")
    syntax, storage, offset, end = "", "", 0, 132
    for element, start, stop in _group_two(data):
        # NUL fills a UID to even length; some writers take a blank.
        value = data[start:stop].rstrip(b"\0 ").decode("ascii", "replace")
        if element == 0x0010:
            syntax, offset = value, start
        elif element == 0x0002:
            storage = value
        end = stop
    if storage == uids.MEDIA_STORAGE_DIRECTORY_STORAGE:
        raise Rejected("dicomdir")
    return FileMeta(syntax, offset, storage, end)


def inflated(data: bytes, meta: FileMeta, limit: int) -> bytes:
    """A deflated file (PS3.5 A.5) as explicit VR little endian, never growing beyond `limit` bytes.

    A reader that inflates by itself can be made to fill the memory by less than a megabyte.
    """
    # Raw deflate (RFC 1951): no zlib header comes before it.
    engine = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        body = engine.decompress(data[meta.end :], limit)
    except zlib.error as error:
        raise Rejected("header_invalid", "the deflated data set cannot be inflated") from error
    # Input is left over only if the limit stopped the output.
    if engine.unconsumed_tail:
        raise Rejected("inflate_limit", f"more than {limit >> 20} MB when inflated")
    # Renamed in place and filled with NUL: no length in the group has to change.
    head = bytearray(data[: meta.end])
    room = len(uids.DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN)
    plain = uids.EXPLICIT_VR_LITTLE_ENDIAN.encode().ljust(room, b"\0")
    head[meta.syntax_offset : meta.syntax_offset + room] = plain
    return bytes(head) + body


def codestream_size(frame: bytes) -> tuple[int, int] | None:
    """(rows, columns) that a JPEG, JPEG-LS or JPEG 2000 stream claims for itself; None if it does not say.

    Asked before a decoder is: some allocate whatever the stream claims. Rejects streams that are built to be
    walked for ever.
    """
    if (size := _jpeg2000_size(frame)) is not None:
        x1, y1, x0, y0, _, _ = size
        return y1 - y0, x1 - x0
    if frame[:2] != b"\xff\xd8":
        return None
    position, steps = 2, 0
    # Segments are stepped over by their lengths: a marker inside a thumbnail must not be taken for ours.
    while position + 9 <= len(frame):
        steps += 1
        if steps > _MOST_STEPS:
            raise Rejected("decode_error", "the compressed data never come to the picture")
        if frame[position] != 0xFF:
            return None
        marker = frame[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        # DHT, JPG and DAC (C4, C8, CC) lie in the range of the frame headers without being any.
        is_frame_header = 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) or marker == 0xF7
        if is_frame_header:  # SOFn: ISO 10918-1 B.2.2; SOF55: ISO 14495-1 C.2.2
            # Behind marker and length, two bytes each, and one byte of precision.
            rows, columns = struct.unpack(">HH", frame[position + 5 : position + 9])
            return (rows, columns) if rows else None  # rows = 0: defined later by DNL
        # The length counts its own two bytes, not the marker; a length of 0 still moves on.
        position += 2 + int.from_bytes(frame[position + 2 : position + 4], "big")
    return None


_JP2_SIGNATURE = b"\0\0\0\x0cjP  "  # as much of it as pydicom looks at


def check_tiles(frame: bytes) -> None:
    """Reject a JPEG 2000 stream of more tiles than a decoder should prepare."""
    if (size := _jpeg2000_size(frame)) is not None:
        x1, y1, _, _, width, height = size
        if not width or not height or -(-x1 // width) * -(-y1 // height) > _MOST_TILES:
            raise Rejected("decode_error", "the compressed data claim an impossible number of tiles")


def _jpeg2000_size(frame: bytes) -> tuple[int, ...] | None:
    """Lower right and upper left corner, size of a tile, each x then y: SIZ, ISO 15444-1 A.5.1."""
    stream = _boxed_stream(frame) if frame[:8] == _JP2_SIGNATURE else frame
    is_jpeg2000 = stream[:4] == b"\xff\x4f\xff\x51" and len(stream) >= 32  # SOC, SIZ
    return struct.unpack(">6I", stream[8:32]) if is_jpeg2000 else None


def _boxed_stream(frame: bytes) -> bytes:
    """The codestream inside a JP2 file, ISO 15444-1 annex I."""
    # pydicom walks the boxes by their lengths, for ever where one has none.
    position = 12
    for _ in range(_MOST_STEPS):
        length, kind = (
            int.from_bytes(frame[position : position + 4], "big"),
            frame[position + 4 : position + 8],
        )
        if kind == b"jp2c":
            return frame[position + 8 :]
        if length < 8:  # less than its own head
            break
        position += length
        if position >= len(frame):
            return b""
    raise Rejected("decode_error", "the boxes around the compressed data lead nowhere")


def looks_headerless(data: bytes) -> bool:
    """True if the bytes may be a data set without preamble: a first element of a low group, in order."""
    if len(data) < 16:
        return False
    group, element = struct.unpack("<HH", data[:4])
    return group in (2, 8) and element <= 0x2000


def _group_two(data: bytes) -> Iterator[tuple[int, int, int]]:
    position = 132
    while position + 8 <= len(data):
        group, element = struct.unpack("<HH", data[position : position + 4])
        if group != 2:
            return
        # PS3.5 7.1.2: these have two reserved bytes and a length of four bytes, all others one of two.
        if data[position + 4 : position + 6] in _LONG_FORM:
            length, start = int.from_bytes(data[position + 8 : position + 12], "little"), position + 12
        else:
            length, start = int.from_bytes(data[position + 6 : position + 8], "little"), position + 8
        # A length that points behind the end is damage or malice; what came before still holds.
        if start + length > len(data):
            return
        yield element, start, start + length
        position = start + length
