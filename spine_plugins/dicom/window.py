"""Window: modality values -> grey levels 0..255, then polarity, then the one rounding to uint8.

The window is a pure function per rule; each cites its DICOM clause. All work in float64 on the small image.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from spine_plugins.dicom.display import VoiLut, VoiWindow
from spine_plugins.dicom.read import Radiograph

_WHITE = 255.0
_TIE = 1e-6  # makes .5 round up in spite of float noise, so that a negative and its twin agree
_COVERED = 0.5  # a plausible window holds at least this part of the pixels


class Shown(NamedTuple):
    """What was done to the grey levels."""

    image: np.ndarray  # uint8 [h, w]
    window: str  # the rule that was used in the end
    low: float  # modality values shown black and white (in the MONOCHROME2 sense)
    high: float
    is_inverted: bool
    clipped: float  # part of the pixels outside [low, high]


def show(values: np.ndarray, sample: np.ndarray, radiograph: Radiograph, rule: str,
         percentiles: tuple[float, float], polarity: str) -> Shown:  # fmt: skip
    """Grey levels of the reduced image.

    `values` are modality values [h, w]; `sample` stored values of the crop, from which percentiles come.
    """
    is_inverted = polarity == "invert" or polarity == "auto" and radiograph.is_inverted
    if rule == "paper":
        levels = paper_divide(values)
        # The ends of what paper_divide can tell apart; -(-a // b) is a division rounded up.
        low, high = 0.0, 256.0 * max(1, -(-int(values.max()) // 256))
    else:
        rule, low, high, levels = _levels(values, sample, radiograph, rule, percentiles)
    if is_inverted:
        levels = _WHITE - levels  # after the window: PS3.3 C.11.6, presentation comes last
    # Of the reduced image: part of what a network gets to see.
    clipped = float(np.mean((values < low) | (values > high)))
    return Shown(quantise(levels), rule, low, high, is_inverted, clipped)


def _levels(values: np.ndarray, sample: np.ndarray, radiograph: Radiograph, rule: str,
            percentiles: tuple[float, float]) -> tuple[str, float, float, np.ndarray]:  # fmt: skip
    voi = radiograph.voi
    # `voi` obeys the header even where it shows nothing; only `auto` judges it.
    if rule == "voi" and voi is not None or rule == "auto" and is_plausible(voi, values):
        assert voi is not None
        return "voi", *voi_range(voi), apply_voi(values, voi)
    share = (0.0, 100.0) if rule == "minmax" else percentiles
    # Ranks are taken before the rescale, on integers, where they are exact.
    stored_low, stored_high = ranked_values(sample, share)
    if stored_low >= stored_high:  # nearly all pixels alike: show what there is
        share, rule = (0.0, 100.0), "minmax"
        stored_low, stored_high = ranked_values(sample, share)
    # A negative slope exchanges the ends.
    ends = sorted(radiograph.slope * end + radiograph.intercept for end in (stored_low, stored_high))
    name = "minmax" if rule == "minmax" else "percentile"
    return name, ends[0], ends[1], linear_between(values, ends[0], ends[1])


def ranked_values(sample: np.ndarray, percentiles: tuple[float, float]) -> tuple[float, float]:
    """The stored values at two ranks, counted from either end alike, so that a negative gives negatives."""
    flat = sample.reshape(-1)
    shares = percentiles[0], 100 - percentiles[1]
    # The product may fall a hair short of the whole number that it is, hence the 1e-9.
    from_low, from_high = (min(int(len(flat) * share / 100 + 1e-9), len(flat) - 1) for share in shares)
    if flat.dtype.kind == "u" and flat.dtype.itemsize <= 2:
        below = np.cumsum(np.bincount(flat))  # much faster than sorting, and as exact
        # The value at rank r is the first at or below which more than r values lie.
        low = int(np.searchsorted(below, from_low, side="right"))
        return low, int(np.searchsorted(below, len(flat) - 1 - from_high, side="right"))
    # Puts just these two ranks in place; sorting everything takes several times longer.
    ranks = np.partition(flat, (from_low, len(flat) - 1 - from_high))
    return float(ranks[from_low]), float(ranks[len(flat) - 1 - from_high])


def linear_between(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """low -> 0, high -> 255, clipped."""
    if high <= low:
        return np.zeros_like(values)
    return np.clip((values - low) * (_WHITE / (high - low)), 0, _WHITE)


def voi_linear(values: np.ndarray, center: float, width: float) -> np.ndarray:
    """VOI LUT function LINEAR, PS3.3 C.11.2.1.2.1: the width counts values, hence the halves and ones."""
    # The formula below would divide by 0; what the clause leaves of it is a step.
    if width == 1:
        return np.where(values > center - 0.5, _WHITE, 0.0)
    return np.clip(((values - (center - 0.5)) / (width - 1) + 0.5) * _WHITE, 0, _WHITE)


def voi_linear_exact(values: np.ndarray, center: float, width: float) -> np.ndarray:
    """VOI LUT function LINEAR_EXACT, PS3.3 C.11.2.1.3.2."""
    return np.clip(((values - center) / width + 0.5) * _WHITE, 0, _WHITE)


def voi_sigmoid(values: np.ndarray, center: float, width: float) -> np.ndarray:
    """VOI LUT function SIGMOID, PS3.3 C.11.2.1.3.1."""
    exponent = np.clip(-4 * (values - center) / width, -500, 500)  # beyond that the level is 0 or 255 anyway
    return _WHITE / (1 + np.exp(exponent))


def voi_lookup(values: np.ndarray, lut: VoiLut) -> np.ndarray:
    """VOI LUT sequence, PS3.3 C.11.2.1.1: ends hold beyond the table, lines connect its entries."""
    inputs = lut.first + np.arange(len(lut.table), dtype=np.float64)
    # White is what its bits can say, not its largest entry: a table may be dark on purpose.
    outputs = lut.table.astype(np.float64) * (_WHITE / ((1 << lut.out_bits) - 1))
    return np.clip(np.interp(values, inputs, outputs), 0, _WHITE)


_FUNCTIONS = {"LINEAR": voi_linear, "LINEAR_EXACT": voi_linear_exact, "SIGMOID": voi_sigmoid}


def apply_voi(values: np.ndarray, voi: VoiLut | VoiWindow) -> np.ndarray:
    """Grey levels 0..255 (float64) by the header's own rule."""
    if isinstance(voi, VoiLut):
        return voi_lookup(values, voi)
    return _FUNCTIONS[voi.function](values, voi.center, voi.width)


def voi_range(voi: VoiLut | VoiWindow) -> tuple[float, float]:
    """The modality values between which the rule has contrast."""
    if isinstance(voi, VoiLut):
        return float(voi.first), float(voi.first + len(voi.table) - 1)
    # LINEAR ends one value earlier and SIGMOID never: near enough to report and to judge by.
    return voi.center - voi.width / 2, voi.center + voi.width / 2


def is_plausible(voi: VoiLut | VoiWindow | None, values: np.ndarray) -> bool:
    """True if the header's window holds at least half of the pixels."""
    if voi is None:
        return False
    low, high = voi_range(voi)
    return float(np.mean((values >= low) & (values <= high))) >= _COVERED


def paper_divide(values: np.ndarray) -> np.ndarray:
    """The published preparation: whole division by ceil(max / 256), then the low byte.

    A maximum of exactly k * 256 gives 256, whose low byte is 0; kept, because it is what the paper had.
    """
    whole = values.astype(np.int64)
    # An image of negative values only would have factor 0 or less.
    factor = max(1, -(-int(whole.max()) // 256))
    return ((whole // factor) & 0xFF).astype(np.float64)


def quantise(levels: np.ndarray) -> np.ndarray:
    """The one rounding: half goes up."""
    return np.floor(np.clip(levels, 0, _WHITE) + (0.5 + _TIE)).clip(0, 255).astype(np.uint8)
