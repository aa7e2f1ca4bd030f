"""What two images are compared by: built-in pixels, the penultimate layer of a classifier, a detector.

An audit is as good as its features: a copy that they do not see is not found. The built-in ones are grey
values less their local mean, over their local deviation, at several scales: brightness, contrast and slow
shading drop out, bones stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from stylegan2ada.errors import UserError
from stylegan2ada.images import LUMA, to_255, to_float
from stylegan2ada.metrics.detectors import KNOWN, Detectors

SIDE = 64  # built-in features look at images of this size
_LOCAL = 8.0  # standard deviation of the window of local means, in pixels
_QUIET = 12.0  # grey levels; keeps the noise of an empty background from being blown up
_SMOOTH = 1.0  # blur before all else: single pixels carry noise, not anatomy
_COARSE = (-2, 0, 2)  # shifts in pixels; together with flips, 18 views of a fake
_MARGIN = 4  # pixels around an image that shifts may reach into; even
_BATCH = 128

Halves = dict[str, Tensor]  # {left, right, top, bottom: float32 [n, d]}


@dataclass(frozen=True)
class Features:
    """A named way to turn images into vectors; all in float32 on one device."""

    name: str
    note: str
    device: torch.device
    prepared: Callable[[np.ndarray], Tensor]  # uint8 [n, C, H, W] -> what `vector` and the views take
    vector: Callable[[Tensor], Tensor]  # -> [n, d]
    is_spatial: bool  # has halves, and views moved by single pixels

    def of(self, pixels: np.ndarray) -> Tensor:
        """[n, d], one per image."""
        return torch.cat([self.vector(part) for part in self.parts(pixels)])

    def parts(self, pixels: np.ndarray) -> Iterator[Tensor]:
        """The images prepared, some at a time."""
        return (self.prepared(pixels[i : i + _BATCH]) for i in range(0, len(pixels), _BATCH))

    def coarse(self, prepared: Tensor) -> Iterator[Tensor]:
        """[n, d] of each view that a search compares with: flips and, of pixels, shifts."""
        return _moved(prepared, _COARSE) if self.is_spatial else map(self.vector, _flips(prepared))

    def fine(self, prepared: Tensor) -> Tensor:
        """[views, n, d]: all shifts up to 3 pixels and zooms by 5 %, for pairs that are near already."""
        if not self.is_spatial:
            return torch.stack([self.vector(view) for view in _flips(prepared)])
        near = list(_moved(prepared, range(-3, 4)))
        for side in (SIDE - 3, SIDE + 3):
            near += _moved(_zoomed(prepared, side), _COARSE)
        return torch.stack(near)

    def halves(self, prepared: Tensor) -> Halves:
        """Vectors of the four halves: local means reach a little across the middle, the cells do not."""
        assert self.is_spatial
        middle = SIDE // 2
        cut = {
            "left": prepared[:, :, :, :middle],
            "right": prepared[:, :, :, middle:],
            "top": prepared[:, :, :middle],
            "bottom": prepared[:, :, middle:],
        }
        return {name: halved(part).flatten(1) for name, part in cut.items()}


def find_features(name: str, device: torch.device = torch.device("cpu")) -> Features:  # noqa: B008
    """`pixels`, a classifier's .safetensors, a detector's file, or the name of a known detector."""
    if name == "pixels":
        return _pixels(device)
    if name.endswith(".safetensors"):
        return _classifier(name, device)
    if name in KNOWN or name == "tiny":
        return _detector(name, Detectors(device=device), device)
    if Path(name).is_file():
        return _detector("given", Detectors({"given": name}, device), device)
    raise UserError(
        f"--features={name} is neither pixels, nor a classifier's .safetensors, nor a detector: "
        f"{', '.join(KNOWN)}, tiny, or a file"
    )


# Built in.


def _pixels(device: torch.device) -> Features:
    def prepared(pixels: np.ndarray) -> Tensor:
        x = grey(torch.from_numpy(pixels).to(device))
        if tuple(x.shape[2:]) != (SIDE, SIDE):
            x = functional.interpolate(x, (SIDE, SIDE), mode="bilinear", antialias=True)
        return local_contrast(x)

    return Features(
        "pixels", f"built in, {SIDE}x{SIDE}, local contrast at two scales, flips and shifts allowed",
        device, prepared, _vector, is_spatial=True,
    )  # fmt: skip


def grey(pixels: Tensor) -> Tensor:
    """uint8 [n, 1 or 3, H, W] -> float32 [n, 1, H, W] in 0..255."""
    x = pixels.float()
    return x if x.shape[1] == 1 else (x * x.new_tensor(LUMA).reshape(1, 3, 1, 1)).sum(dim=1, keepdim=True)


def local_contrast(x: Tensor) -> Tensor:
    """Grey values less the mean around them, over the deviation around them: [n, 1, H, W]."""
    x = blurred(x, _SMOOTH)
    rest = x - blurred(x, _LOCAL)
    return rest / (blurred(rest.square(), _LOCAL).clamp(min=0).sqrt() + _QUIET)


def blurred(x: Tensor, sigma: float) -> Tensor:
    """[..., H, W] under a Gaussian window, mirrored at the edges."""
    # As two products with a matrix: on a CPU far faster than a convolution of one channel.
    rows, columns = (_window(side, sigma).to(x.device) for side in x.shape[-2:])
    return rows @ x @ columns.T


@cache
def _window(side: int, sigma: float) -> Tensor:
    """[side, side]: every row the window around one place, what falls outside mirrored back in."""
    radius = int(3 * sigma + 0.5)
    steps = np.arange(-radius, radius + 1)
    window = np.exp(-np.square(steps) / (2 * sigma**2))
    at = np.abs(np.arange(side)[:, None] + steps) % max(2 * (side - 1), 1)
    at = np.minimum(at, 2 * (side - 1) - at)
    matrix = np.zeros((side, side))
    np.add.at(matrix, (np.arange(side)[:, None], at), window / window.sum())
    return torch.from_numpy(matrix.astype(np.float32))


def _vector(x: Tensor) -> Tensor:
    """Of an image that stays where it is."""
    return _of_cells(halved(x))


def _of_cells(small: Tensor) -> Tensor:
    """[n, d] of means over cells of 2 pixels: these, and those over cells of 4."""
    # Over the number of cells per side, so that each scale counts alike.
    return torch.cat([part.flatten(1) / part.shape[3] for part in (small, halved(small))], dim=1)


def halved(x: Tensor) -> Tensor:
    """[..., H, W] -> [..., H // 2, W // 2]: means over cells of 2 by 2."""
    # Sums of slices: on a CPU ten times faster than torch's pooling of a window into a larger array.
    even = x[..., : x.shape[-2] // 2 * 2, : x.shape[-1] // 2 * 2]
    rows = even[..., ::2, :] + even[..., 1::2, :]
    return (rows[..., ::2] + rows[..., 1::2]) / 4


def _flips(x: Tensor) -> Iterator[Tensor]:
    yield x
    yield x.flip(3)


def _moved(x: Tensor, shifts: range | tuple[int, ...]) -> Iterator[Tensor]:
    """Vectors of every flip and shift; what comes in from outside repeats the edge."""
    cells = SIDE // 2
    for image in _flips(x):
        wide = functional.pad(image, (_MARGIN,) * 4, mode="replicate")
        # Shifts by an even number of pixels have their cells in common: four means over cells serve all.
        grids = {
            (dy, dx): halved(wide[:, :, dy:, dx:])
            for dy in {(_MARGIN + shift) % 2 for shift in shifts}
            for dx in {(_MARGIN + shift) % 2 for shift in shifts}
        }
        for top in (_MARGIN + shift for shift in shifts):
            for left in (_MARGIN + shift for shift in shifts):
                rows, columns = (slice(at // 2, at // 2 + cells) for at in (top, left))
                yield _of_cells(grids[top % 2, left % 2][:, :, rows, columns])


def _zoomed(x: Tensor, side: int) -> Tensor:
    """Enlarged or shrunk to `side`, then cut or filled up to its size again."""
    size = x.shape[2]
    y = functional.interpolate(x, (side, side), mode="bilinear", antialias=True)
    if side < size:
        low = (size - side) // 2
        high = size - side - low
        return functional.pad(y, (low, high, low, high), mode="replicate")
    low = (side - size) // 2
    return y[:, :, low : low + size, low : low + size]


# Networks.


def _classifier(path: str, device: torch.device) -> Features:
    from spine_plugins.classifier.model import load_classifier

    model = load_classifier(path).to(device)
    # Whatever the architecture: what goes into its last linear layer.
    last = [module for module in model.network.modules() if isinstance(module, nn.Linear)][-1]

    @torch.no_grad()
    def vector(x: Tensor) -> Tensor:
        seen: list[Tensor] = []
        handle = last.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
        try:
            model(x)
        finally:
            handle.remove()
        return _unit_length(seen[0].flatten(1))

    digest = str(model.card.get("sha256") or "")[:12]
    note = f"penultimate layer of a classifier ({model.card['arch']}, SHA-256 {digest})"
    return Features("classifier", note, device, _in_unit_range(device), vector, is_spatial=False)


def _detector(name: str, detectors: Detectors, device: torch.device) -> Features:
    detector = detectors.load(name)

    @torch.no_grad()
    def vector(x: Tensor) -> Tensor:
        pixels = to_255(x).round().clamp(0, 255).byte()
        return _unit_length(detector(pixels, return_features=True).to(device).flatten(1))

    note = f"detector {name} (SHA-256 {detector.sha256[:12]})"
    return Features(f"detector {name}", note, device, _in_unit_range(device), vector, is_spatial=False)


def _in_unit_range(device: torch.device) -> Callable[[np.ndarray], Tensor]:
    return lambda pixels: to_float(torch.from_numpy(pixels).to(device))  # [-1, 1]


def _unit_length(x: Tensor) -> Tensor:
    # Distances then are those of directions, which is how such layers are compared.
    return functional.normalize(x.float(), dim=1)
