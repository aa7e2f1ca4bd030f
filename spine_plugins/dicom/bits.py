"""Which bits of a pixel cell are the value: the header says so (PS3.5 8.1.1), and is sometimes wrong."""

from __future__ import annotations

import numpy as np

from spine_plugins.dicom.record import Header
from spine_plugins.dicom.settings import is_projection

# The header is overruled only when another reading is at least this much smoother. A wrong reading wraps
# values around and tears the picture; noise alone never makes that difference.
_CLEARLY_SMOOTHER = 0.5


def true_values(raw: np.ndarray, header: Header, has_overlay_bits: bool = False) -> np.ndarray:
    """The pixel values that the picture was made of, [H, W] integers.

    The header's reading is taken if the cells hold nothing beyond Bits Stored. Otherwise the bits above are
    either an overlay or garbage, and are removed, or they belong to the values and Bits Stored is too low;
    the picture decides, because the wrong choice makes it rough.
    """
    cells = _unsigned_cells(raw)
    shift = header.high_bit + 1 - header.bits_stored
    # Only native cells keep the header's layout; a decoder hands out values in the low bits.
    if header.plugin == "native" and shift > 0:  # values sit in the upper bits of the cell
        cells = cells >> np.array(shift, cells.dtype)
        header.warn("high_bit_shifted")
    width = 8 * cells.dtype.itemsize
    stored_bits = min(header.bits_stored, width)
    limit = 1 << stored_bits
    # Sign bits fill the cell above Bits Stored, so "nothing beyond" means something else there.
    if header.signed:
        return _signed(cells, stored_bits, header)
    if stored_bits == width or int(cells.max()) < limit:
        return cells
    # An overlay or garbage above the value jumps from pixel to pixel: removed, the picture is smooth.
    masked = cells & np.array(limit - 1, cells.dtype)
    if has_overlay_bits or roughness(masked) <= _CLEARLY_SMOOTHER * roughness(cells):
        header.warn("overlay_in_pixels" if has_overlay_bits else "unused_bits_cleared")
        return masked
    header.warn("bits_mismatch")
    return cells


def _signed(cells: np.ndarray, stored_bits: int, header: Header) -> np.ndarray:
    width = 8 * cells.dtype.itemsize
    whole = cells.view(f"i{cells.dtype.itemsize}")  # the cell read as a signed number
    half = 1 << (stored_bits - 1)
    if stored_bits < width:
        if int(cells.max()) < 2 * half:  # not sign-extended by the writer: PS3.5 8.1.1 leaves that open
            whole = _sign_extended(cells, stored_bits)
        # A rightly extended sign keeps within the range; beyond it the upper bits are no copy of the sign.
        elif int(whole.min()) < -half or int(whole.max()) >= half:
            extended = _sign_extended(cells, stored_bits)
            if roughness(extended) <= _CLEARLY_SMOOTHER * roughness(whole):
                header.warn("unused_bits_cleared")
                whole = extended
            else:
                header.warn("bits_mismatch")
    if int(whole.min()) < 0 and is_projection(header.modality):
        # Radiographs are often tagged as signed by mistake: then the bright half wraps below zero.
        mask = (1 << stored_bits) - 1
        unsigned = cells & np.array(mask, cells.dtype)
        if roughness(unsigned) <= _CLEARLY_SMOOTHER * roughness(whole):
            header.warn("sign_mismatch")
            return unsigned
    return whole


def roughness(pixels: np.ndarray) -> float:
    """Mean step between neighbours along rows, on at most some 250 of them."""
    # Signed and wide first: steps between unsigned neighbours would wrap around. Whole rows are read fastest.
    rows = pixels[:: max(1, len(pixels) // 250)].astype(np.int64)
    return float(np.abs(np.diff(rows, axis=1)).mean()) if rows.shape[1] > 1 else 0.0


def _unsigned_cells(raw: np.ndarray) -> np.ndarray:
    # A native view of swapped cells would exchange the bytes of every value.
    native = raw if raw.dtype.isnative else raw.astype(raw.dtype.newbyteorder("="))
    return native.view(f"u{native.dtype.itemsize}")


def _sign_extended(cells: np.ndarray, stored_bits: int) -> np.ndarray:
    spare = 8 * cells.dtype.itemsize - stored_bits
    # The stored sign bit goes to the top; shifting a signed number back repeats it in all the spare bits.
    lifted = (cells << np.array(spare, cells.dtype)).view(f"i{cells.dtype.itemsize}")
    return lifted >> np.array(spare, lifted.dtype)
