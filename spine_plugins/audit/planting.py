"""Planting: doctored training images put among the fakes, to learn what the audit would have seen.

Every kind is something a generator or a careless pipeline does to an image that it knows by heart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from spine_plugins.audit.evidence import Evidence, Planted, Reals, Swap, Test
from spine_plugins.audit.features import blurred
from spine_plugins.audit.neighbours import Search, Step

SHARES = (0.001, 0.01, 0.1)  # of the fakes
REPEATS = 20
SEEN = 0.95  # share of the repeats that must be detected for a share of copies to count as visible
ALPHA = 0.05
ANOTHER_VIEW = "same_patient"
_SIDE = 64  # pixels that the strengths below are meant for
_MOST = 400  # planted images of a kind


class Power(TypedDict):
    """How often a share of copies of one kind is detected."""

    kind: str
    share: float
    detected: float


# Every kind: float [n, C, H, W] in 0..255 and a random generator -> the same, doctored.


def _exact(x: Tensor, rng: np.random.Generator) -> Tensor:
    return x


def _shift(x: Tensor, rng: np.random.Generator) -> Tensor:
    most = round(3 * x.shape[3] / _SIDE)
    wide = functional.pad(x, (most,) * 4, mode="replicate")
    size = x.shape[2:]
    moved = [
        image[:, dy : dy + size[0], dx : dx + size[1]]
        for image, (dy, dx) in zip(wide, rng.integers(0, 2 * most + 1, size=(len(x), 2)))
    ]
    return torch.stack(moved)


def _flip(x: Tensor, rng: np.random.Generator) -> Tensor:
    return x.flip(3)


def _contrast(x: Tensor, rng: np.random.Generator) -> Tensor:
    return (x - 128) * 0.8 + 128


def _blur(x: Tensor, rng: np.random.Generator) -> Tensor:
    sigma = 1.5 * x.shape[3] / _SIDE
    return blurred(x.flatten(0, 1)[:, None], sigma).reshape(x.shape)


def _noise(x: Tensor, rng: np.random.Generator) -> Tensor:
    return x + torch.from_numpy(rng.normal(0, 6, size=x.shape).astype(np.float32))


def _zoom(x: Tensor, rng: np.random.Generator) -> Tensor:
    height, width = x.shape[2:]
    larger = (round(1.05 * height), round(1.05 * width))
    y = functional.interpolate(x, larger, mode="bilinear", antialias=True)
    top, left = (larger[0] - height) // 2, (larger[1] - width) // 2
    return y[:, :, top : top + height, left : left + width]


KINDS: dict[str, Callable[[Tensor, np.random.Generator], Tensor]] = {
    "exact": _exact,
    "shift": _shift,
    "flip": _flip,
    "contrast": _contrast,
    "blur": _blur,
    "noise": _noise,
    "zoom": _zoom,
}
ALL_KINDS = (*KINDS, ANOTHER_VIEW)


def doctored(pixels: np.ndarray, kind: str, rng: np.random.Generator) -> np.ndarray:
    """uint8 [n, C, H, W] -> the same with every image doctored."""
    x = KINDS[kind](torch.from_numpy(pixels).float(), rng)
    return x.round().clamp(0, 255).byte().numpy()


def count_planted(n_fakes: int) -> int:
    """How many images of a kind are made: the largest share, within reason."""
    return min(max(round(max(SHARES) * n_fakes), 1), _MOST)


def plant(
    reals: Reals, search: Search, n_fakes: int, seed: int, step: Step | None = None
) -> dict[str, Planted]:
    """Doctored images of every kind and what the search finds of them, drawn from all of train."""
    found = {}
    for number, kind in enumerate(ALL_KINDS):
        rng = np.random.default_rng([seed, number])
        source = _sources(reals, kind, count_planted(n_fakes), rng)
        if not len(source):
            continue
        pixels = reals.pixels[source]
        if kind != ANOTHER_VIEW:
            pixels = doctored(pixels, kind, rng)
        ignored = source if kind == ANOTHER_VIEW else None
        labels = None if reals.labels is None else reals.labels[source]
        there = search(pixels, ignored=ignored, step=step)
        found[kind] = Planted(kind, pixels, source, labels, there)
    return found


def _sources(reals: Reals, kind: str, count: int, rng: np.random.Generator) -> np.ndarray:
    """Training images to doctor; of other views only those whose patient has a second one."""
    candidates = np.arange(reals.n_train)
    if kind == ANOTHER_VIEW:
        several = np.bincount(reals.unit_of, minlength=reals.n_units) > 1
        candidates = candidates[several[reals.unit_of[candidates]]]
    return rng.permutation(candidates)[:count]


def swaps(planted: Planted, n_fakes: int, share: float, repeats: int, seed: int) -> Iterator[Swap]:
    """Repeats of exchanging a share of the fakes; with few fakes, at least one of them."""
    count = max(round(share * n_fakes), 1)
    for repeat in range(repeats):
        rng = np.random.default_rng([seed, repeat, count])
        removed = np.zeros(n_fakes, dtype=bool)
        removed[rng.permutation(n_fakes)[:count]] = True
        yield Swap(removed, planted, rng.permutation(len(planted.pixels))[:count])


def power(
    test: Test,
    evidence: Evidence,
    *,
    n_tests: int,  # Holm's first step: the smallest p-value has to be below ALPHA / n_tests
    seed: int,
    repeats: int = REPEATS,
    step: Step | None = None,
) -> list[Power]:
    """How often this test alone would have raised the alarm."""
    found: list[Power] = []
    for kind, planted in evidence.planted.items():
        for share in SHARES:
            p_values = [
                test.p_value(swap) for swap in swaps(planted, len(evidence.fakes), share, repeats, seed)
            ]
            found.append(
                Power(kind=kind, share=share, detected=float(np.mean(np.array(p_values) * n_tests < ALPHA)))
            )
            if step:
                step(repeats)
    return found


def smallest_seen(rows: list[Power], kinds: tuple[str, ...] = tuple(KINDS)) -> float | None:
    """The smallest share of copies that is seen whatever their kind; None if not even the largest is."""
    for share in SHARES:
        detected = [row["detected"] for row in rows if row["share"] == share and row["kind"] in kinds]
        if detected and min(detected) >= SEEN:
            return share
    return None
