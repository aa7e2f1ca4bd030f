"""Read: the data set of a DICOM file -> stored pixel values [H, W] and how they are meant to be shown.

Damage inside the pixels is seen only if the decoder sees it. JPEG lossless data, for one, decode to something
after almost any change; where that matters, --checksums compares whole files.
"""

from __future__ import annotations

import hashlib
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from spine_plugins import uids
from spine_plugins.dicom import bits, codecs, display, sniff
from spine_plugins.dicom.reasons import OutOfTime, Rejected
from spine_plugins.dicom.record import Header
from spine_plugins.dicom.settings import IngestSettings
from stylegan2ada.images import LUMA

if TYPE_CHECKING:
    from pydicom import Dataset


_FEW_PIXELS, _MOST_PIXELS_PER_BYTE = 1 << 20, 5000


@dataclass
class Radiograph:
    """One image: stored values and what turns them into modality units and then into what is shown."""

    stored: np.ndarray  # integers [H, W]; after a modality LUT sequence its output values
    slope: float
    intercept: float
    voi: display.VoiLut | display.VoiWindow | None
    is_inverted: bool  # shown with black and white exchanged: MONOCHROME1 or INVERSE


def decode(dataset: Dataset, settings: IngestSettings, header: Header) -> Radiograph:
    """Decode, find the true values, apply the modality LUT (PS3.3 C.11.1); no display yet."""
    start = time.process_time()
    raw = _decode_frame(dataset, settings, header)
    header.ms_decode += 1000 * (time.process_time() - start)
    if raw.ndim == 3:
        raw = _luma(raw, header)
    stored = bits.true_values(raw, header, _overlay_bits(dataset))
    header.true_max = int(stored.max())
    slope, intercept = 1.0, 0.0
    if settings.modality_lut:
        stored, slope, intercept = display.modality(dataset, stored, header)
    is_inverted = display.is_shown_inverted(dataset, header)
    return Radiograph(stored, slope, intercept, display.voi(dataset, header), is_inverted)


def pixel_hash(radiograph: Radiograph) -> str:
    """SHA-256 of shape and values; the same picture in another syntax or container has the same hash."""
    stored = radiograph.stored
    # The shape goes in first: the same values in other rows are another picture.
    digest = hashlib.sha256(f"{stored.shape[0]}x{stored.shape[1]}:".encode())
    # One width for all narrow cells, so that 8 bits in 16 equal the same values in 8.
    is_narrow = stored.dtype.itemsize <= 2 and stored.dtype.kind == "u"
    digest.update(np.ascontiguousarray(stored, dtype="<u2" if is_narrow else "<i8").data)
    return digest.hexdigest()


def _decode_frame(dataset: Dataset, settings: IngestSettings, header: Header) -> np.ndarray:
    from pydicom.pixels import get_decoder  # once codecs.load_pydicom has made it quiet

    # Only this one frame is ever decoded, however many the file has.
    index = header.frames // 2 if settings.frames == "middle" else 0
    uid = header.transfer_syntax
    is_native = uid in codecs.NATIVE
    if is_native:
        _check_length(dataset, header)
        if uid == uids.DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN:  # inflated when the file was opened
            uid = uids.EXPLICIT_VR_LITTLE_ENDIAN
    else:
        _check_codestream(dataset, header, index)
    # Only the best decoder is asked: where it finds damage, a more lenient one would make up pixels.
    plugin = "" if is_native else codecs.available_plugins(uid)[0]
    # The cells as they are; bits.py looks at what they hold. A view saves a copy of uncompressed pixels.
    options: dict[str, Any] = {"correct_unused_bits": False, "view_only": is_native}
    try:
        array, _ = get_decoder(uid).as_array(
            dataset, index=index, raw=True, decoding_plugin=plugin, **options
        )
    except (MemoryError, OutOfTime, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a Rust panic is no Exception, and may not leave this process
        # Texts of libraries may hold parts of the file; the kind of error is all that we pass on.
        raise Rejected("decode_error", f"the decoder gave up ({type(error).__name__})") from None
    header.plugin = plugin or "native"
    if array.shape[:2] != (header.rows, header.cols):
        raise Rejected("geometry_mismatch", f"decoded to {array.shape[1]}x{array.shape[0]}")
    return array


def _check_length(dataset: Dataset, header: Header) -> None:
    bits_needed = header.rows * header.cols * header.samples * header.bits_allocated * header.frames
    if header.pi == "YBR_FULL_422":
        # Two neighbours share their chroma: two samples per pixel in place of three.
        bits_needed = bits_needed * 2 // 3
    needed, present = math.ceil(bits_needed / 8), len(dataset["PixelData"].value)
    if present < needed:
        raise Rejected("pixel_data_short", f"{present} of {needed} bytes")
    # One byte to even length is the rule; only more is worth a word.
    if present > needed + needed % 2:
        header.warn("excess_padding")


def _check_codestream(dataset: Dataset, header: Header, index: int) -> None:
    from pydicom.encaps import get_frame

    try:
        frame = get_frame(dataset["PixelData"].value, index, number_of_frames=header.frames)
    except Exception as error:
        raise Rejected("decode_error", f"the fragments cannot be read ({type(error).__name__})") from None
    # A picture of noise, as all radiographs are, needs its bytes; a decoder would first make room for it.
    if header.rows * header.cols > _FEW_PIXELS + _MOST_PIXELS_PER_BYTE * len(frame):
        raise Rejected("pixel_data_short", f"{len(frame)} bytes for {header.cols}x{header.rows} pixels")
    claimed = sniff.codestream_size(frame)
    if claimed is not None and not 0 < min(claimed) <= max(claimed) <= 65535:  # Rows and Columns are 16-bit
        raise Rejected("decode_error", "the compressed data claim an impossible size")
    if claimed is not None and claimed != (header.rows, header.cols):
        raise Rejected("geometry_mismatch", f"{claimed[1]}x{claimed[0]} in the compressed data")
    sniff.check_tiles(frame)


def _luma(rgb: np.ndarray, header: Header) -> np.ndarray:
    """Y of the YBR colours of PS3.3 C.7.6.3.1.2; images that have them carry it as the first sample."""
    header.warn("colour_to_luma")
    if header.pi.startswith("YBR"):
        # A copy, or every later pass would step over the two samples in between.
        return np.ascontiguousarray(rgb[..., 0])
    return np.rint(rgb @ np.array(LUMA)).astype(rgb.dtype)


def _overlay_bits(dataset: Dataset) -> bool:
    """True if the header says that overlays live in unused bits of the pixels (PS3.5 8.1.2, retired)."""
    # Overlay Bit Position without Overlay Data of its own: then the plane lies inside the pixels.
    for group in range(0x6000, 0x601F, 2):
        position = dataset.get((group, 0x0102))
        if position is not None and (group, 0x3000) not in dataset and int(position.value or 0) > 0:
            return True
    return False
