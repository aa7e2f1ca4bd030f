"""What the header says about the meaning of stored values: modality units, window, polarity (PS3.3 C.11)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from spine_plugins.dicom.header import value
from spine_plugins.dicom.record import Header
from spine_plugins.dicom.terms import code

if TYPE_CHECKING:
    from pydicom import Dataset


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


def modality(dataset: Dataset, stored: np.ndarray, header: Header) -> tuple[np.ndarray, float, float]:
    """Stored values with slope and intercept, or the output of the modality LUT sequence (PS3.3 C.11.1.1).

    The rescale is affine and commutes with the averaging that follows; it is carried along and applied to
    the small image, in float64, which is exact where the full-size float32 image would not be.
    """
    sequence = _sequence_item(dataset, "ModalityLUTSequence")
    if sequence is not None:
        lut = _lookup_table(sequence, header, "modality_lut_invalid")
        if lut is not None:
            # PS3.3 C.11.1.1.1: below the first input the first entry holds, above the last one the last.
            index = np.clip(stored.astype(np.int64) - lut.first, 0, len(lut.table) - 1)
            return lut.table[index], 1.0, 0.0
    slope, intercept = _number(dataset, "RescaleSlope"), _number(dataset, "RescaleIntercept")
    # A slope of 0 flattens the picture, an absurd one drowns it; half of a broken pair is no better.
    if slope is not None and not 1e-9 <= abs(slope) <= 1e9 or abs(intercept or 0) > 1e12:
        header.warn("rescale_invalid")
        slope = intercept = None
    return stored, 1.0 if slope is None else slope, intercept or 0.0


def voi(dataset: Dataset, header: Header) -> VoiLut | VoiWindow | None:
    """The first VOI LUT or window of the header (PS3.3 C.11.2); None if there is none that can work."""
    # A table and a window in one header are alternatives, never both at once (PS3.3 C.11.2).
    sequence = _sequence_item(dataset, "VOILUTSequence")
    if sequence is not None:
        lut = _lookup_table(sequence, header, "voi_lut_invalid")
        if lut is not None:
            return lut
    center, width = _number(dataset, "WindowCenter"), _number(dataset, "WindowWidth")
    if center is None or width is None:
        return None
    function = code(value(dataset, "VOILUTFunction")) or "LINEAR"
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        header.warn("voi_function_unknown")
        function = "LINEAR"
    # LINEAR divides by width - 1 and makes a step of width 1; the others divide by the width itself.
    if width < 1 if function == "LINEAR" else width <= 0:
        header.warn("voi_window_invalid")
        return None
    return VoiWindow(center, width, function)


def _lookup_table(item: Dataset, header: Header, warning: str) -> VoiLut | None:
    """LUT Descriptor and LUT Data, PS3.3 C.11.1.1.1."""
    try:
        entries, first, out_bits = (int(value) for value in item.LUTDescriptor)
        data = item["LUTData"].value
        # 16 bits cannot say 65536, so 0 stands for it.
        entries = entries or 65536
        if header.signed and first >= 32768:  # the descriptor was read as unsigned
            first -= 65536
        if isinstance(data, bytes):
            # Entries of 8 bits may lie one to a byte, with one more byte where their number is odd.
            is_bytes = len(data) in (entries, entries + entries % 2) and out_bits <= 8
            table = np.frombuffer(data, "u1" if is_bytes else "<u2")
        else:
            # Entries read as signed arrive negative in their upper half; the cast turns them back.
            table = np.asarray(data, dtype=np.int64).astype(np.uint16)
        if not 8 <= out_bits <= 16 or len(table) < entries or entries < 2:
            raise ValueError("unusable table")
        return VoiLut(first, table[:entries].astype(np.uint16), out_bits)
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        header.warn(warning)
        return None


def is_shown_inverted(dataset: Dataset, header: Header) -> bool:
    """MONOCHROME1 (PS3.3 C.7.6.3.1.2) and INVERSE (C.11.6.1.2) say the same: once, not twice."""
    shape = code(value(dataset, "PresentationLUTShape"))
    return header.pi == "MONOCHROME1" or shape == "INVERSE"


def _number(dataset: Dataset, keyword: str) -> float | None:
    found = value(dataset, keyword)
    try:
        if found is not None and not isinstance(found, str) and hasattr(found, "__len__"):
            # Several values are alternative windows, of which the first is taken.
            found = found[0]
        number = float(found)
    except (TypeError, ValueError, IndexError):
        return None
    # The value is text in the file, and float() understands `nan` and `inf`.
    return number if math.isfinite(number) else None


def _sequence_item(dataset: Dataset, keyword: str) -> Dataset | None:
    found = value(dataset, keyword)
    try:
        return found[0] if found else None
    except (TypeError, IndexError):
        return None
