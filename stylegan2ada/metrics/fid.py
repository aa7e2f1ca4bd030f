"""Frechet distance between two feature sets (Heusel et al. 2017, equation 6), in float64."""

from __future__ import annotations

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike

from stylegan2ada.errors import UserError


def mean_and_covariance(features: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Mean [d] and biased covariance [d, d] of features [n, d]."""
    x = _as_float64(features)
    mean = x.mean(axis=0)
    return mean, x.T @ x / len(x) - np.outer(mean, mean)


def frechet_distance(mu_r: np.ndarray, cov_r: np.ndarray, mu_g: np.ndarray, cov_g: np.ndarray) -> float:
    """|mu_g - mu_r|^2 + tr(C_g + C_r - 2 (C_g C_r)^(1/2))."""
    # C_g C_r has the spectrum of R C_g R with R = C_r^(1/2), which is symmetric: two `eigh` instead of a
    # general matrix root, and no complex leftovers.
    values, vectors = scipy.linalg.eigh(cov_r)
    root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    spectrum = scipy.linalg.eigvalsh(root @ cov_g @ root)
    root_trace = np.sqrt(spectrum.clip(min=0)).sum()
    return _combine(mu_r, mu_g, np.trace(cov_r), np.trace(cov_g), root_trace)


def fid(real: ArrayLike, fake: ArrayLike) -> float:
    """Frechet distance of features real [n, d] and fake [m, d]."""
    r, g = _as_float64(real), _as_float64(fake)
    check_features(r, g)
    if max(len(r), len(g)) >= r.shape[1]:
        return frechet_distance(*mean_and_covariance(r), *mean_and_covariance(g))
    # Fewer samples than dimensions: with C = A^T A, tr (C_g C_r)^(1/2) is the nuclear norm of A_r A_g^T.
    # By way of C, each eigenvalue that is zero but for rounding would add the root of its error.
    mu_r, mu_g = r.mean(axis=0), g.mean(axis=0)
    factor_r = (r - mu_r) / np.sqrt(len(r))
    factor_g = (g - mu_g) / np.sqrt(len(g))
    root_trace = scipy.linalg.svdvals(factor_r @ factor_g.T).sum()
    return _combine(mu_r, mu_g, np.square(factor_r).sum(), np.square(factor_g).sum(), root_trace)


def check_features(real: np.ndarray, fake: np.ndarray) -> None:
    """UserError unless both are [n, d] with one d and enough rows to have a covariance."""
    if real.ndim != 2 or fake.ndim != 2 or real.shape[1] != fake.shape[1]:
        raise UserError(
            f"features of shapes {list(real.shape)} and {list(fake.shape)} cannot be compared; give [n, d] "
            "of both kinds from one detector"
        )
    if min(len(real), len(fake)) < 2:
        raise UserError(
            f"{len(real)} real and {len(fake)} fake rows of features have no spread; give two of each or more"
        )


def _combine(mu_r: np.ndarray, mu_g: np.ndarray, trace_r: float, trace_g: float, root_trace: float) -> float:
    return float(np.square(mu_g - mu_r).sum() + trace_g + trace_r - 2 * root_trace)


def _as_float64(features: ArrayLike) -> np.ndarray:
    x = np.asarray(features, dtype=np.float64)
    assert x.ndim == 2, x.shape
    return x
