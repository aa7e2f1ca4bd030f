"""The two quality scores that the Retinal GAN was judged by, of grey images [n, H, W] in any fixed range.

Q_v weighs the sharpness of oriented patches by how much the vessels vary in them (Koehler et al. 2013; metric
Q of Zhu and Milanfar 2010; vesselness of Frangi et al. 1998). Structure clustering (Niemeijer et al. 2006)
sorts pixels by their local derivatives; the original feeds the shares of its clusters to a classifier of
graded photographs. There are no grades here, so real and drawn shares are compared.
"""

from __future__ import annotations

import numpy as np
from scipy.cluster.vq import kmeans2, vq
from scipy.ndimage import gaussian_filter

from stylegan2ada.errors import UserError

PATCH = 8
# Coherence that a patch of white noise exceeds once in a thousand (Zhu and Milanfar, eq. 19).
_CHANCE = 0.001 ** (1 / (PATCH**2 - 1))
COHERENT = float(np.sqrt((1 - _CHANCE) / (1 + _CHANCE)))
SCALES = (1.0, 2.0, 3.0)
CLUSTERS = 5
_MOST_PIXELS = 5_000  # that clusters are learned from
_STARTS = 8  # of the search for clusters, which ends in the nearest optimum; the tightest is taken


def vessel_quality(images: np.ndarray) -> float:
    """Q_v: over patches with one direction, mean of Q times the deviation of vesselness."""
    along_y, along_x = (np.gradient(images.astype(np.float64), axis=axis) for axis in (1, 2))
    pairs = ((along_y, along_y), (along_x, along_x), (along_y, along_x))
    yy, xx, xy = (_patches(a * b).sum(-1) for a, b in pairs)
    # Singular values of a patch's gradients are the roots of their second moments' eigenvalues.
    middle, apart = (yy + xx) / 2, np.hypot((yy - xx) / 2, xy)
    large, small = np.sqrt(middle + apart), np.sqrt(np.maximum(middle - apart, 0))
    coherence = (large - small) / np.maximum(large + small, 1e-12)
    weight = _patches(vesselness(images)).std(-1)
    return float((weight * large * coherence * (coherence > COHERENT)).mean())


def vesselness(images: np.ndarray) -> np.ndarray:
    """Frangi's, of bright lines, the largest over scales: in [0, 1], whatever the contrast."""
    found = np.zeros(images.shape)
    for scale in SCALES:
        weak, strong = _curvatures(images, scale)
        blobness = np.abs(weak) / np.maximum(np.abs(strong), 1e-12)
        size = np.hypot(weak, strong)
        half = size.max(axis=(1, 2), keepdims=True) / 2
        line = np.exp(-2 * blobness**2) * (1 - np.exp(-(size**2) / np.maximum(2 * half**2, 1e-12)))
        found = np.maximum(found, np.where(strong < 0, line, 0))
    return found


def structure_shares(real: np.ndarray, fake: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Shares of pixels per structure, clusters learned on the real ones: two vectors that sum to 1."""
    known, drawn = _responses(real), _responses(fake)
    if not known.std(0).any():
        raise UserError("all pixels of the real images are equal; there is no structure to compare")
    centre, spread = known.mean(0), np.maximum(known.std(0), 1e-12)
    known, drawn = (known - centre) / spread, (drawn - centre) / spread
    rng = np.random.default_rng(seed)
    sample = known[rng.permutation(len(known))[:_MOST_PIXELS]]
    found = [kmeans2(sample, CLUSTERS, minit="++", rng=rng)[0] for _ in range(_STARTS)]
    clusters = min(found, key=lambda centres: float(np.square(vq(sample, centres)[1]).sum()))
    shares = [np.bincount(vq(part, clusters)[0], minlength=CLUSTERS) / len(part) for part in (known, drawn)]
    return shares[0], shares[1]


def retinal_scores(real: np.ndarray, fake: np.ndarray) -> dict[str, float]:
    """Q_v of fakes in units of the reals', and the share of pixels whose structure is another."""
    a, b = structure_shares(real, fake)
    return {
        "qv_ratio": vessel_quality(fake) / max(vessel_quality(real), 1e-12),
        "structure_distance": float(np.abs(a - b).sum() / 2),
    }


def _curvatures(images: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues of the Hessian at a scale, the smaller in size first; times scale^2, to compare scales."""
    yy, xx, xy = (
        scale**2 * gaussian_filter(images.astype(np.float64), (0, scale, scale), order=(0, *order))
        for order in ((2, 0), (0, 2), (1, 1))
    )
    middle, apart = (yy + xx) / 2, np.hypot((yy - xx) / 2, xy)
    low, high = middle - apart, middle + apart
    is_low = np.abs(low) < np.abs(high)
    return np.where(is_low, low, high), np.where(is_low, high, low)


def _responses(images: np.ndarray) -> np.ndarray:
    """[n * H * W, 4 * scales]: brightness, slope and both curvatures, which no rotation changes."""
    found = []
    for scale in SCALES:
        smooth = gaussian_filter(images.astype(np.float64), (0, scale, scale))
        slope = np.hypot(*np.gradient(smooth, axis=(1, 2))) * scale
        found += [smooth, slope, *_curvatures(images, scale)]
    return np.stack([part.ravel() for part in found], 1)


def _patches(images: np.ndarray) -> np.ndarray:
    """[n, rows, columns, PATCH^2] of patches side by side; a rest at the edges is left out."""
    n, height, width = images.shape
    rows, columns = height // PATCH, width // PATCH
    cut = images[:, : rows * PATCH, : columns * PATCH].reshape(n, rows, PATCH, columns, PATCH)
    return cut.transpose(0, 1, 3, 2, 4).reshape(n, rows, columns, PATCH**2)
