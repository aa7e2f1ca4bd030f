"""The header of a DICOM file: what is it, may it be an image of the data set, what do we keep of it.

The gates stand in one fixed order, which is also the order of reasons in the report: file, header, pixels.
"""

from __future__ import annotations

import re
import time
from io import BytesIO
from typing import TYPE_CHECKING, Any

from spine_plugins import uids
from spine_plugins.dicom import codecs, sniff, terms
from spine_plugins.dicom.reasons import Rejected
from spine_plugins.dicom.record import Header
from spine_plugins.dicom.settings import IngestSettings

if TYPE_CHECKING:
    from pydicom import Dataset

_COMPRESSED = re.compile(rb"\xe0\x7f\x10\x00O[BW]\0\0\xff\xff\xff\xff")  # Pixel Data of undefined length
_PIXEL_DATA_TAG = b"\xe0\x7f\x10\x00"
_CODE_LENGTH = 16  # characters of a code string, PS3.5 6.2
_MOST = (
    0xFFFF  # of what the standard writes in 16 bits; a header may say it in another form, and then anything
)
_MOST_FRAMES = 1_000_000
_ITEMS = (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00")  # the tag of an item, little and big endian
_MOST_ITEMS = 20_000  # fragments and items of sequences; pydicom spends microseconds on each


def open_dataset(data: bytes, settings: IngestSettings, header: Header) -> Dataset:
    """The pydicom data set of a file's bytes; rejects what is no DICOM, a directory, or a bomb."""
    import pydicom

    is_headerless = data[128:132] != b"DICM" and settings.force_meta and sniff.looks_headerless(data)
    if not is_headerless:
        meta = sniff.file_meta(data)
        header.transfer_syntax = terms.transfer_syntax(meta.transfer_syntax)
        if meta.transfer_syntax == uids.DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN:
            # Inflating is part of decoding; CPU time, because busy neighbours are not the file's cost.
            start = time.process_time()
            data = sniff.inflated(data, meta, settings.max_inflate_bytes)
            header.ms_decode = 1000 * (time.process_time() - start)
    # One look at the bytes; both forms only where the syntax is a guess.
    is_big = header.transfer_syntax == uids.EXPLICIT_VR_BIG_ENDIAN
    if any(data.count(tag) > _MOST_ITEMS for tag in (_ITEMS if is_headerless else _ITEMS[is_big:][:1])):
        raise Rejected("header_invalid", f"more than {_MOST_ITEMS:,} items or fragments")
    try:
        dataset = pydicom.dcmread(
            BytesIO(data), force=is_headerless, stop_before_pixels=settings.headers_only
        )
        # A reader that stopped before the pixels cannot say if there are any; the bytes can.
        has_pixels = "PixelData" in dataset or settings.headers_only and _mentions_pixels(data)
        if not has_pixels and _COMPRESSED.search(data):
            # pydicom gives back nothing at all of a file that ends inside a compressed element.
            dataset = pydicom.dcmread(BytesIO(data), force=is_headerless, stop_before_pixels=True)
            has_pixels = header.is_cut = "Rows" in dataset
    except MemoryError:
        raise
    except Exception as error:  # a parser of untrusted bytes raises whatever it likes
        raise Rejected("header_invalid", f"the header cannot be parsed ({type(error).__name__})") from None
    # The storage class says it first, unless the directory has no file meta or a wrong one.
    if "DirectoryRecordSequence" in dataset:
        raise Rejected("dicomdir")
    if is_headerless:
        _accept_headerless(dataset, has_pixels, header)
    elif not header.transfer_syntax and has_pixels:
        raise Rejected("header_invalid", "the file does not say its transfer syntax")
    if not has_pixels or not (settings.headers_only or header.is_cut) and not dataset["PixelData"].value:
        _without_pixels(dataset)
    return dataset


def _mentions_pixels(data: bytes) -> bool:
    return _PIXEL_DATA_TAG in data or b"\x7f\xe0\x00\x10" in data  # the second is big endian


def _accept_headerless(dataset: Dataset, has_pixels: bool, header: Header) -> None:
    # Almost any bytes make an element or two; three in a row are hardly chance.
    if len(dataset) < 3:
        raise Rejected("not_dicom", "no preamble and no readable elements")
    if has_pixels and not ("Rows" in dataset and "Columns" in dataset):
        raise Rejected("not_dicom", "no preamble and no image description")
    header.warn("no_file_meta")
    known = str(dataset.file_meta.get("TransferSyntaxUID", "")) if hasattr(dataset, "file_meta") else ""
    if not known:  # without file meta only the native syntaxes can be told apart
        is_implicit, is_little = dataset.original_encoding
        known = uids.IMPLICIT_VR_LITTLE_ENDIAN if is_implicit else uids.EXPLICIT_VR_LITTLE_ENDIAN
        if is_little is False:
            known = uids.EXPLICIT_VR_BIG_ENDIAN
    header.transfer_syntax = terms.transfer_syntax(known)


def _without_pixels(dataset: Dataset) -> None:
    if any(keyword in dataset for keyword in ("FloatPixelData", "DoubleFloatPixelData")):
        raise Rejected("bits_unsupported", "floating point pixels")
    raise Rejected("no_pixel_data")


def check_header(dataset: Dataset, settings: IngestSettings, header: Header) -> None:
    """Fill the header record and apply every rule that needs no pixels."""
    # The rules see what is written; the record, which is told, only terms of the standard.
    modality, body_part = (
        terms.code(value(dataset, "Modality")),
        terms.code(value(dataset, "BodyPartExamined")),
    )
    header.modality = terms.term(modality, terms.MODALITIES)
    if not settings.accepts_modality(modality):
        raise Rejected("modality_rejected", header.modality or "no modality")
    header.body_part = terms.term(body_part, terms.BODY_PARTS)
    # The form of a code string has 16 characters; a pattern may take long over a text without end.
    if settings.body_part and not re.search(settings.body_part, body_part[:_CODE_LENGTH], re.IGNORECASE):
        raise Rejected("body_part_rejected", header.body_part or "no body part")
    _fill_image_description(dataset, header)
    if (
        str(value(dataset, "BurnedInAnnotation") or "").strip().upper() == "YES"
        and not settings.allow_burned_in
    ):
        raise Rejected("burned_in")
    if header.samples != 1 or header.pi not in ("MONOCHROME1", "MONOCHROME2"):
        if settings.colour != "luma" or header.pi == "PALETTE COLOR" or header.bits_allocated not in (8, 16):
            raise Rejected("colour", header.pi)
    if header.frames > 1 and settings.frames == "reject":
        raise Rejected("multi_frame", f"{header.frames} frames")
    if header.bits_allocated not in (8, 16, 32):
        raise Rejected("bits_unsupported", f"{header.bits_allocated} bits allocated")
    # Before any decoder may allocate: the header of a hostile file asks for whatever it likes.
    if header.rows * header.cols * max(header.frames, 1) * header.samples > settings.max_pixels:
        raise Rejected("too_large", f"{header.cols}x{header.rows}, {header.frames} frames")
    if min(header.rows, header.cols) < settings.min_size:
        raise Rejected("too_small", f"{header.cols}x{header.rows}")
    _check_syntax(header, settings)
    # Last, for a fault that the file had before it was cut says more.
    if header.is_cut:
        raise Rejected("pixel_data_short", "the file ends inside its compressed pixel data")


def _fill_image_description(dataset: Dataset, header: Header) -> None:
    """Image Pixel module, PS3.3 C.7.6.3.1."""
    header.pi = terms.term(value(dataset, "PhotometricInterpretation"), terms.PHOTOMETRIC)
    header.rows, header.cols = _integer(dataset, "Rows"), _integer(dataset, "Columns")
    header.bits_allocated = _integer(dataset, "BitsAllocated")
    # Absent in some old files; the whole cell is then the safest reading, as is its top bit below.
    header.bits_stored = _integer(dataset, "BitsStored", header.bits_allocated)
    header.high_bit = _integer(dataset, "HighBit", header.bits_stored - 1)
    header.samples = _integer(dataset, "SamplesPerPixel")
    header.signed = _integer(dataset, "PixelRepresentation", 0) == 1
    header.frames = _integer(dataset, "NumberOfFrames", 1, most=_MOST_FRAMES)
    if not header.pi or header.samples not in (1, 3):
        raise Rejected("header_invalid", "no photometric interpretation, or samples other than 1 or 3")
    if min(header.rows, header.cols, header.frames) < 1:
        raise Rejected("header_invalid", f"{header.cols}x{header.rows} pixels, {header.frames} frames")
    if not 1 <= header.bits_stored <= header.bits_allocated:
        raise Rejected("header_invalid", f"{header.bits_stored} of {header.bits_allocated} bits stored")
    if header.high_bit >= header.bits_allocated:
        header.high_bit = header.bits_stored - 1
        header.warn("high_bit_invalid")


def _check_syntax(header: Header, settings: IngestSettings) -> None:
    uid = header.transfer_syntax
    if uid in codecs.NATIVE:
        return
    if uid not in codecs.CODECS:
        raise Rejected("unsupported_syntax", uid or "none given")
    if not codecs.available_plugins(uid):
        codec = codecs.CODECS[uid]
        raise Rejected("decoder_missing", f"{codec.name} needs: pip install {codec.package}")


def value(dataset: Dataset, keyword: str) -> Any:  # of the type that the element has
    """The element's value, None if it is absent or cannot be converted."""
    try:
        return dataset.get(keyword)
    except MemoryError:
        raise
    except Exception:  # pydicom converts values late, and then raises whatever the bytes cause
        return None


def _integer(dataset: Dataset, keyword: str, default: int | None = None, most: int = _MOST) -> int:
    try:
        value = dataset.get(keyword)
        if value is None or value == "":
            if default is None:
                raise Rejected("header_invalid", f"no {keyword}")
            return default
        number = int(value)
        if abs(number) > most:  # such as a patient's number in a false place, which nobody may be told
            raise Rejected("header_invalid", f"{keyword} is out of range")
        return number
    except (Rejected, MemoryError):
        raise
    except Exception:
        raise Rejected("header_invalid", f"{keyword} is not a number") from None
