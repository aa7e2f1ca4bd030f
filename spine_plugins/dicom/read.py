"""Read: the bytes of a DICOM file -> stored pixel values [H, W] and the few header values that we keep.

The gates stand in one fixed order, which is also the order of reasons in the report: file, header, pixels.
"""

from __future__ import annotations

import hashlib
import math
import re
import time
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import numpy as np

from spine_plugins.dicom import bits, codecs, sniff
from spine_plugins.dicom.deidentify import plain_code, plain_uid
from spine_plugins.dicom.reasons import OutOfTime, Rejected
from spine_plugins.dicom.settings import IngestSettings

_PIXEL_DATA_TAG = b"\xe0\x7f\x10\x00"


@dataclass(frozen=True)
class VoiLut:
    """A VOI lookup table (PS3.3 C.11.2.1.1): the output for input values first, first + 1, ..."""

    first: int
    table: np.ndarray
    out_bits: int


@dataclass(frozen=True)
class VoiWindow:
    """Window Center and Width with their function (PS3.3 C.11.2.1.2)."""

    center: float
    width: float
    function: str  # LINEAR | LINEAR_EXACT | SIGMOID


@dataclass
class Header:
    """What the report says about a file; filled as far as reading gets."""

    rows: int = 0
    cols: int = 0
    frames: int = 1
    samples: int = 1
    bits_allocated: int = 0
    bits_stored: int = 0
    high_bit: int = 0
    signed: bool = False
    pi: str = ""
    transfer_syntax: str = ""
    modality: str = ""
    body_part: str = ""
    true_max: int | None = None
    plugin: str = ""
    ms_decode: float = 0.0
    warnings: list[str] = field(default_factory=list)

    def warn(self, code: str) -> None:
        if code not in self.warnings:
            self.warnings.append(code)


@dataclass
class Radiograph:
    """One image: stored values and what turns them into modality units and then into what is shown."""

    stored: np.ndarray  # integers [H, W]; after a modality LUT sequence its output values
    slope: float
    intercept: float
    voi: VoiLut | VoiWindow | None
    is_inverted: bool  # shown with black and white exchanged: MONOCHROME1 or INVERSE


def open_dataset(data: bytes, settings: IngestSettings, header: Header) -> Any:
    """The pydicom data set of a file's bytes; rejects what is no DICOM, a directory, or a bomb."""
    import pydicom

    is_headerless = data[128:132] != b"DICM" and settings.force_meta and sniff.looks_headerless(data)
    if not is_headerless:
        meta = sniff.file_meta(data)
        header.transfer_syntax = plain_uid(meta.transfer_syntax)
        if meta.transfer_syntax == sniff.DEFLATED:
            data = sniff.inflated(data, meta, settings.max_inflate_bytes)
    try:
        dataset = pydicom.dcmread(
            BytesIO(data), force=is_headerless, stop_before_pixels=settings.headers_only
        )
        has_pixels = "PixelData" in dataset or settings.headers_only and _mentions_pixels(data)
    except MemoryError:
        raise
    except Exception as error:  # a parser of untrusted bytes raises whatever it likes
        raise Rejected("header_invalid", f"the header cannot be parsed ({type(error).__name__})") from None
    if "DirectoryRecordSequence" in dataset:
        raise Rejected("dicomdir")
    if is_headerless:
        _accept_headerless(dataset, has_pixels, header)
    elif not header.transfer_syntax and has_pixels:
        raise Rejected("header_invalid", "the file does not say its transfer syntax")
    if not has_pixels or not settings.headers_only and not dataset["PixelData"].value:
        _reject_without_pixels(dataset, data)
    return dataset


def _mentions_pixels(data: bytes) -> bool:
    return _PIXEL_DATA_TAG in data or b"\x7f\xe0\x00\x10" in data  # the second is big endian


def _accept_headerless(dataset: Any, has_pixels: bool, header: Header) -> None:
    if len(dataset) < 3:
        raise Rejected("not_dicom", "no preamble and no readable elements")
    if has_pixels and not ("Rows" in dataset and "Columns" in dataset):
        raise Rejected("not_dicom", "no preamble and no image description")
    header.warn("no_file_meta")
    known = str(dataset.file_meta.get("TransferSyntaxUID", "")) if hasattr(dataset, "file_meta") else ""
    if not known:  # without file meta only the native syntaxes can be told apart
        is_implicit, is_little = dataset.original_encoding
        known = "1.2.840.10008.1.2" if is_implicit else "1.2.840.10008.1.2.1"
        if is_little is False:
            known = "1.2.840.10008.1.2.2"
    header.transfer_syntax = plain_uid(known)


def _reject_without_pixels(dataset: Any, data: bytes) -> None:
    if any(keyword in dataset for keyword in ("FloatPixelData", "DoubleFloatPixelData")):
        raise Rejected("bits_unsupported", "floating point pixels")
    if re.search(re.escape(_PIXEL_DATA_TAG) + b"(OB|OW)\0\0\xff\xff\xff\xff", data):
        raise Rejected("pixel_data_short", "the file ends inside its compressed pixel data")
    raise Rejected("no_pixel_data")


def check_header(dataset: Any, settings: IngestSettings, header: Header) -> None:
    """Fill the header record and apply every rule that needs no pixels."""
    header.modality = plain_code(value(dataset, "Modality"))
    if not settings.accepts_modality(header.modality):
        raise Rejected("modality_rejected", header.modality or "no modality")
    header.body_part = plain_code(value(dataset, "BodyPartExamined"))
    if settings.body_part and not re.search(settings.body_part, header.body_part, re.IGNORECASE):
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
    if header.rows * header.cols * max(header.frames, 1) * header.samples > settings.max_pixels:
        raise Rejected("too_large", f"{header.cols}x{header.rows}, {header.frames} frames")
    if min(header.rows, header.cols) < settings.min_size:
        raise Rejected("too_small", f"{header.cols}x{header.rows}")
    _check_syntax(header, settings)


def _fill_image_description(dataset: Any, header: Header) -> None:
    """Image Pixel module, PS3.3 C.7.6.3.1."""
    header.pi = plain_code(value(dataset, "PhotometricInterpretation"))
    header.rows, header.cols = _integer(dataset, "Rows"), _integer(dataset, "Columns")
    header.bits_allocated = _integer(dataset, "BitsAllocated")
    header.bits_stored = _integer(dataset, "BitsStored", header.bits_allocated)
    header.high_bit = _integer(dataset, "HighBit", header.bits_stored - 1)
    header.samples = _integer(dataset, "SamplesPerPixel")
    header.signed = _integer(dataset, "PixelRepresentation", 0) == 1
    header.frames = _integer(dataset, "NumberOfFrames", 1)
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


def decode(dataset: Any, settings: IngestSettings, header: Header) -> Radiograph:
    """Decode, find the true value range, apply the modality LUT (PS3.3 C.11.1); values only, no display yet."""
    start = time.process_time()
    raw = _decode_frame(dataset, settings, header)
    header.ms_decode = 1000 * (time.process_time() - start)
    if raw.ndim == 3:
        raw = _luma(raw, header)
    stored = bits.true_values(raw, header, _overlay_bits(dataset))
    header.true_max = int(stored.max())
    slope, intercept = 1.0, 0.0
    if settings.modality_lut:
        stored, slope, intercept = _modality(dataset, stored, header)
    return Radiograph(stored, slope, intercept, _voi(dataset, header), _is_shown_inverted(dataset, header))


def pixel_hash(radiograph: Radiograph) -> str:
    """SHA-256 of shape and values; the same picture in another syntax or container has the same hash."""
    stored = radiograph.stored
    digest = hashlib.sha256(f"{stored.shape[0]}x{stored.shape[1]}:".encode())
    is_narrow = stored.dtype.itemsize <= 2 and stored.dtype.kind == "u"
    digest.update(np.ascontiguousarray(stored, dtype="<u2" if is_narrow else "<i8").data)
    return digest.hexdigest()


def _decode_frame(dataset: Any, settings: IngestSettings, header: Header) -> np.ndarray:
    from pydicom.pixels import get_decoder

    index = header.frames // 2 if settings.frames == "middle" else 0
    uid = header.transfer_syntax
    if uid in codecs.NATIVE:
        _check_length(dataset, header)
        uid = "1.2.840.10008.1.2.1" if uid == sniff.DEFLATED else uid
        plugins: tuple[str, ...] = ("",)
    else:
        _check_codestream(dataset, header, index)
        plugins = codecs.available_plugins(uid)
    decoder, failure = get_decoder(uid), "no decoder"
    for plugin in plugins:
        try:
            array, _ = decoder.as_array(
                dataset, index=index, raw=True, decoding_plugin=plugin,
                correct_unused_bits=False, view_only=uid in codecs.NATIVE, pixel_keyword="PixelData",
            )  # fmt: skip
        except (MemoryError, OutOfTime, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a Rust panic is no Exception, and may not leave this process
            failure = _failure(error)
            continue
        header.plugin = plugin or "native"
        if array.shape[:2] != (header.rows, header.cols):
            raise Rejected("geometry_mismatch", f"decoded to {array.shape[1]}x{array.shape[0]}")
        return array
    raise Rejected("decode_error", failure)


def _failure(error: BaseException) -> str:
    # Texts of libraries may hold parts of the file; the kind of error is all that we pass on.
    return f"the decoder gave up ({type(error).__name__})"


def _check_length(dataset: Any, header: Header) -> None:
    bits_needed = header.rows * header.cols * header.samples * header.bits_allocated * header.frames
    if header.pi == "YBR_FULL_422":
        bits_needed = bits_needed * 2 // 3
    needed, present = math.ceil(bits_needed / 8), len(dataset["PixelData"].value)
    if present < needed:
        raise Rejected("pixel_data_short", f"{present} of {needed} bytes")
    if present > needed + needed % 2:
        header.warn("excess_padding")


def _check_codestream(dataset: Any, header: Header, index: int) -> None:
    from pydicom.encaps import get_frame

    try:
        frame = get_frame(dataset["PixelData"].value, index, number_of_frames=header.frames)
    except Exception as error:
        raise Rejected("decode_error", f"the fragments cannot be read ({type(error).__name__})") from None
    claimed = sniff.codestream_size(frame)
    if claimed is not None and not 0 < min(claimed) <= max(claimed) <= 65535:  # Rows and Columns are 16-bit
        raise Rejected("decode_error", "the compressed data claim an impossible size")
    if claimed is not None and claimed != (header.rows, header.cols):
        raise Rejected("geometry_mismatch", f"{claimed[1]}x{claimed[0]} in the compressed data")


def _luma(rgb: np.ndarray, header: Header) -> np.ndarray:
    """Y of ITU-R BT.601, the luminance row of PS3.3 C.7.6.3.1.2; YBR images carry it as the first sample."""
    header.warn("colour_to_luma")
    if header.pi.startswith("YBR"):
        return np.ascontiguousarray(rgb[..., 0])
    return np.rint(rgb @ np.array([0.299, 0.587, 0.114])).astype(rgb.dtype)


def _overlay_bits(dataset: Any) -> bool:
    """True if the header says that overlays live in unused bits of the pixels (PS3.5 8.1.2, retired)."""
    for group in range(0x6000, 0x601F, 2):
        position = dataset.get((group, 0x0102))
        if position is not None and (group, 0x3000) not in dataset and int(position.value or 0) > 0:
            return True
    return False


def _modality(dataset: Any, stored: np.ndarray, header: Header) -> tuple[np.ndarray, float, float]:
    """Stored values with slope and intercept, or the output of the modality LUT sequence (PS3.3 C.11.1.1).

    The rescale is affine and commutes with the averaging that follows; it is carried along and applied to
    the small image, in float64, which is exact where the full-size float32 image would not be.
    """
    sequence = _sequence_item(dataset, "ModalityLUTSequence")
    if sequence is not None:
        lut = _lookup_table(sequence, header, "modality_lut_invalid")
        if lut is not None:
            index = np.clip(stored.astype(np.int64) - lut.first, 0, len(lut.table) - 1)
            return lut.table[index], 1.0, 0.0
    slope, intercept = _number(dataset, "RescaleSlope"), _number(dataset, "RescaleIntercept")
    if slope == 0:
        header.warn("rescale_invalid")
        slope = None
    return stored, 1.0 if slope is None else slope, intercept or 0.0


def _voi(dataset: Any, header: Header) -> VoiLut | VoiWindow | None:
    """The first VOI LUT or window of the header (PS3.3 C.11.2); None if there is none that can work."""
    sequence = _sequence_item(dataset, "VOILUTSequence")
    if sequence is not None:
        lut = _lookup_table(sequence, header, "voi_lut_invalid")
        if lut is not None:
            return lut
    center, width = _number(dataset, "WindowCenter"), _number(dataset, "WindowWidth")
    if center is None or width is None:
        return None
    function = plain_code(value(dataset, "VOILUTFunction")) or "LINEAR"
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        header.warn("voi_function_unknown")
        function = "LINEAR"
    if width < 1 if function == "LINEAR" else width <= 0:
        header.warn("voi_window_invalid")
        return None
    return VoiWindow(center, width, function)


def _lookup_table(item: Any, header: Header, warning: str) -> VoiLut | None:
    """LUT Descriptor and LUT Data, PS3.3 C.11.1.1.1."""
    try:
        entries, first, out_bits = (int(value) for value in item.LUTDescriptor)
        data = item["LUTData"].value
        entries = entries or 65536
        if header.signed and first >= 32768:  # the descriptor was read as unsigned
            first -= 65536
        if isinstance(data, bytes):
            is_bytes = len(data) in (entries, entries + entries % 2) and out_bits <= 8
            table = np.frombuffer(data, "u1" if is_bytes else "<u2")
        else:
            table = np.asarray(data, dtype=np.int64).astype(np.uint16)
        if not 8 <= out_bits <= 16 or len(table) < entries or entries < 2:
            raise ValueError("unusable table")
        return VoiLut(first, table[:entries].astype(np.uint16), out_bits)
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        header.warn(warning)
        return None


def _is_shown_inverted(dataset: Any, header: Header) -> bool:
    """MONOCHROME1 shows small values bright (PS3.3 C.7.6.3.1.2), and so says INVERSE (C.11.6.1.2): once, not twice."""
    shape = plain_code(value(dataset, "PresentationLUTShape"))
    return header.pi == "MONOCHROME1" or shape == "INVERSE"


def value(dataset: Any, keyword: str) -> Any:
    """The element's value, None if it is absent or cannot be converted."""
    try:
        return dataset.get(keyword)
    except MemoryError:
        raise
    except Exception:  # pydicom converts values late, and then raises whatever the bytes cause
        return None


def _integer(dataset: Any, keyword: str, default: int | None = None) -> int:
    try:
        value = dataset.get(keyword)
        if value is None or value == "":
            if default is None:
                raise Rejected("header_invalid", f"no {keyword}")
            return default
        return int(value)
    except (Rejected, MemoryError):
        raise
    except Exception:
        raise Rejected("header_invalid", f"{keyword} is not a number") from None


def _number(dataset: Any, keyword: str) -> float | None:
    found = value(dataset, keyword)
    try:
        if found is not None and not isinstance(found, str) and hasattr(found, "__len__"):
            found = found[0]
        number = float(found)
    except (TypeError, ValueError, IndexError):
        return None
    return number if math.isfinite(number) else None


def _sequence_item(dataset: Any, keyword: str) -> Any:
    found = value(dataset, keyword)
    try:
        return found[0] if found else None
    except (TypeError, IndexError):
        return None
