"""From attenuation to a film: exposure, scatter, noise, the vendor's look, collimation, side marker."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, zoom

from spine_plugins.phantom.shapes import Canvas


@dataclass(frozen=True)
class Vendor:
    name: str
    gamma: float  # below 1 lifts the dark end
    sharpen: float  # gain of the fine structures
    noise: float  # grain at 256 pixels of height
    blur: float  # detector blur in image heights
    shutter: float  # grey level of the collimated border
    low: float  # attenuation shown as black
    high: float  # attenuation shown as white


VENDORS = (
    Vendor("Aster", 1.00, 0.7, 0.030, 0.0020, 0.0, 0.75, 3.55),
    Vendor("Boreal", 0.80, 0.2, 0.018, 0.0032, 0.0, 0.90, 3.75),
    Vendor("Cirrus", 1.25, 1.2, 0.042, 0.0015, 1.0, 0.65, 3.45),
    Vendor("Delta", 0.92, 0.4, 0.055, 0.0026, 0.04, 0.55, 3.65),
)


@dataclass(frozen=True)
class Factors:
    """What says nothing about the spine, unless a confound is asked for."""

    style: int  # index into VENDORS
    exposure: float
    tilt: tuple[float, float]
    marker: str  # "none", "L" or "R"
    marker_place: tuple[float, float, float]  # side and height in 0..1, size
    collimation: bool
    shutters: tuple[float, float, float, float]  # left, top, right, bottom as shares of the frame


def draw_factors(rng: np.random.Generator, style: int, abnormal: bool, confound: float) -> Factors:
    """Nuisances of one image; with probability `confound` each follows the class instead of chance."""
    tied = rng.random(2) < confound
    marker, collimation = rng.random() < 0.3, rng.random() < 0.4
    has_marker = abnormal if tied[0] else marker
    return Factors(
        style=style,
        exposure=rng.normal(0, 0.04),
        tilt=(rng.normal(0, 0.05), rng.normal(0, 0.05)),
        marker=("L" if rng.random() < 0.5 else "R") if has_marker else "none",
        marker_place=(rng.random(), rng.random(), rng.uniform(0.8, 1.3)),
        collimation=bool(abnormal if tied[1] else collimation),
        shutters=tuple(rng.uniform(0.025, 0.085, 4)),
    )


def draw_style(rng: np.random.Generator, abnormal: bool, confound: float) -> int:
    """Vendor of a study; a confound sends abnormal studies to the first two vendors, others elsewhere."""
    tied, index = rng.random() < confound, int(rng.integers(4))
    return index % 2 + (0 if abnormal else 2) if tied else index


def expose(canvas: Canvas, factors: Factors, rng: np.random.Generator) -> np.ndarray:
    """float32 [H, W] in 0..1, bone bright (MONOCHROME2 sense)."""
    vendor = VENDORS[factors.style]
    height = canvas.height
    tilted = (
        canvas.sum + factors.tilt[0] * canvas.x[None, :] * 2 + factors.tilt[1] * (canvas.y[:, None] * 2 - 1)
    )
    # Beer-Lambert; past this sum the detector sees nothing more (lesions.METAL).
    light = np.exp(-np.clip(tilted, 0, 4.8))
    # Scatter veils the dense parts; a dark current keeps the logarithm finite.
    light += 0.10 * _wide_blur(light) + 0.004
    # Fewer photons reach a smaller pixel: the grain grows with the resolution, area averaging undoes it.
    grain = vendor.noise * (height / 256) * rng.standard_normal(light.shape, dtype=np.float32)
    # Relative grain grows as light fails; the clip keeps light above 0 for the logarithm.
    light *= np.clip(1 + grain * np.sqrt(0.12 / (light + 0.012)), 0.2, 3)
    # Less than a quarter of a pixel blurs nothing.
    if vendor.blur * height > 0.25:
        light = gaussian_filter(light, vendor.blur * height, truncate=3)
    # Back to attenuation, where a step of bone is as high in thick parts as in thin ones.
    signal = -np.log(light) - factors.exposure
    # In image heights, like every shape: the sharpening looks alike at any size.
    radius = 0.012 * height
    signal += vendor.sharpen * 0.5 * (signal - gaussian_filter(signal, max(radius, 0.7), truncate=2.5))
    grey = np.clip((signal - vendor.low) / (vendor.high - vendor.low), 0, 1) ** vendor.gamma
    return finish(canvas, grey, factors).astype(np.float32)


def finish(canvas: Canvas, grey: np.ndarray, factors: Factors) -> np.ndarray:
    """Marker and collimator border on top of the processed image."""
    left, top, right, bottom = factors.shutters if factors.collimation else (0.0, 0.0, 0.0, 0.0)
    half = canvas.half_width
    x0, x1, y0, y1 = -half + 2 * half * left, half - 2 * half * right, top, 1 - bottom
    # Before the border: the shutters cover what sticks out of the field.
    if factors.marker != "none":
        _stamp(canvas, grey, factors, (x0, y0, x1, y1))
    if factors.collimation:
        # [W] coverage: an edge inside a pixel covers it in part.
        inside_x = np.clip(0.5 + np.minimum(canvas.x - x0, x1 - canvas.x) / canvas.px, 0, 1)
        inside_y = np.clip(0.5 + np.minimum(canvas.y - y0, y1 - canvas.y) / canvas.px, 0, 1)
        field = inside_y[:, None] * inside_x[None, :]
        grey = grey * field + VENDORS[factors.style].shutter * (1 - field)
    return grey


def _stamp(
    canvas: Canvas, grey: np.ndarray, factors: Factors, frame: tuple[float, float, float, float]
) -> None:
    """A lead letter, saturated, near one side of the field."""
    place_x, place_y, size = factors.marker_place
    tall = 0.06 * size
    x0, y0, x1, y1 = frame
    x = x0 + 0.03 if factors.marker == "R" else x1 - 0.03 - 0.6 * tall  # the patient's right is on our left
    y = y0 + 0.04 + (y1 - y0 - 0.08 - tall) * (0.25 * place_y if place_x < 0.7 else 0.75 + 0.25 * place_y)
    letter = np.array(_LETTERS[factors.marker]) * tall + (x, y)
    radius = 0.0065 * size
    patch = canvas.path(letter, radius)
    cover = canvas.cover(patch, 0.001) * canvas.stroke_gain(radius)
    grey[patch.window] += (1 - grey[patch.window]) * cover


_LETTERS = {
    "L": ((0.0, 0.0), (0.0, 1.0), (0.55, 1.0)),
    "R": (
        *((0.0, 1.0), (0.0, 0.0), (0.35, 0.0), (0.5, 0.08), (0.56, 0.25), (0.5, 0.42), (0.35, 0.5)),
        *((0.0, 0.5), (0.25, 0.5), (0.58, 1.0)),
    ),
}


def _wide_blur(light: np.ndarray) -> np.ndarray:
    """Blur over a sixth of the image, computed on a grid of at most 32 rows."""
    step = max(1, light.shape[0] // 32)
    if step == 1:
        return gaussian_filter(light, light.shape[0] / 6, truncate=2)
    h, w = light.shape[0] // step, light.shape[1] // step
    # Means of whole cells; rows left over are less than one cell.
    small = light[: h * step, : w * step].reshape(h, step, w, step).mean((1, 3))
    blurred = gaussian_filter(small, h / 6, truncate=2)
    # grid_mode takes pixels as areas; as points they would shift the veil by part of a coarse cell.
    return zoom(blurred, (light.shape[0] / h, light.shape[1] / w), order=1, grid_mode=True, mode="nearest")
