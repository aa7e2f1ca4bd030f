"""What recipes are measured by: tables, masks, textures. Real first; numpy in, floats out."""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import uniform_filter
from torch.nn.functional import binary_cross_entropy_with_logits

from spine_plugins.recipes.asked import Numbers
from spine_plugins.statistics import auc

_MOST_ROWS = 2000  # members and others that the attack looks at
_FIT_STEPS, _FIT_LR, _FIT_L2 = 150, 0.05, 1e-4


def table_scores(real: np.ndarray, fake: np.ndarray) -> Numbers:
    """Rates per code, codes per row, pair correlations, codes that never appear; [n, k] of whole numbers."""
    p, q = (real > 0).mean(0), (fake > 0).mean(0)
    used = p > 0
    return {
        "corr": _correlation(p, q),
        "rmse": float(np.sqrt(np.square(p - q).mean())),
        "codes_per_row_real": float((real > 0).sum(1).mean()),
        "codes_per_row": float((fake > 0).sum(1).mean()),
        "pair_corr": _correlation(_pairs(real), _pairs(fake)),
        "dead_codes": int((used & (q == 0)).sum()),
    }


def privacy_scores(members: np.ndarray, others: np.ndarray, fake: np.ndarray, seed: int = 0) -> Numbers:
    """How often a fake is a training row, and how well nearness to fakes tells training rows from others."""
    known = {row.tobytes() for row in np.ascontiguousarray(members, np.int32)}
    copies = np.mean([row.tobytes() in known for row in np.ascontiguousarray(fake, np.int32)])
    rng = np.random.default_rng(seed)
    near = []
    for rows in (members, others):
        chosen = rng.permutation(len(rows))[:_MOST_ROWS]
        near.append(-nearest(rows[chosen], fake))
    labels = np.repeat([1, 0], [len(part) for part in near])
    return {"exact_copies": float(copies), "membership_auc": float(auc(labels, np.concatenate(near)))}


def nearest(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Squared distance of each row to the nearest of the others, [n]; of 0/1 rows the differing codes."""
    a, b = torch.from_numpy(rows.astype(np.float32)), torch.from_numpy(others.astype(np.float32))
    squared = b.square().sum(1)
    parts = [(squared - 2 * part @ b.t()).min(1).values + part.square().sum(1) for part in a.split(256)]
    return torch.cat(parts).numpy()


def prediction_f1(train: np.ndarray, test: np.ndarray) -> float:
    """Mean F1 on `test` of one logistic regression per code on all the others, learned on `train`."""
    x, y = (torch.from_numpy((rows > 0).astype(np.float32)) for rows in (train, test))
    rates = x.mean(0).clamp(1e-3, 1 - 1e-3)
    k = x.shape[1]
    others = 1 - torch.eye(k)  # a code must not predict itself
    weight = torch.zeros(k, k, requires_grad=True)
    bias = torch.logit(rates).requires_grad_(True)
    optimizer = torch.optim.Adam([weight, bias], lr=_FIT_LR)
    for _ in range(_FIT_STEPS):
        optimizer.zero_grad()
        loss = (
            binary_cross_entropy_with_logits(x @ (weight * others) + bias, x, reduction="none").mean(0).sum()
        )
        (loss + _FIT_L2 * weight.square().sum()).backward()
        optimizer.step()
    with torch.no_grad():
        said = (y @ (weight * others) + bias > 0).float()
    hits = (said * y).sum(0)
    asked = y.sum(0) > 0
    return float((2 * hits / (said.sum(0) + y.sum(0)).clamp_min(1))[asked].mean())


def overlap(real: np.ndarray, fake: np.ndarray, kinds: int) -> tuple[np.ndarray, np.ndarray]:
    """(dice, iou) per image [n], over the kinds in either mask [n, H, W]; both empty: 1."""
    dice, iou = [], []
    for a, b in zip(real, fake, strict=True):
        present = [kind for kind in range(1, kinds + 1) if (a == kind).any() or (b == kind).any()]
        both = [((a == kind) & (b == kind)).sum() for kind in present]
        sizes = [(a == kind).sum() + (b == kind).sum() for kind in present]
        dice.append(np.mean([2 * n / m for n, m in zip(both, sizes)]) if present else 1.0)
        iou.append(np.mean([n / (m - n) for n, m in zip(both, sizes)]) if present else 1.0)
    return np.array(dice), np.array(iou)


def detail(images: np.ndarray) -> float:
    """Deviation of what a 5x5 mean leaves of the images [n, H, W]."""
    smooth = uniform_filter(images.astype(np.float64), size=(0, 5, 5), mode="nearest")
    return float((images - smooth).std())


def hf_ratio(real: np.ndarray, fake: np.ndarray) -> float:
    """High-frequency energy of the fakes in units of the reals': 1 is as sharp, below is blurred."""
    return detail(fake) / max(detail(real), 1e-12)


def _pairs(rows: np.ndarray) -> np.ndarray:
    """Correlations of all pairs of columns; 0 where one never changes."""
    values = (rows > 0).astype(np.float64)
    values -= values.mean(0)
    spread = np.sqrt(np.square(values).sum(0))
    both = values.T @ values / np.maximum(np.outer(spread, spread), 1e-12)
    return both[np.triu_indices(len(both), 1)]


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    if a.std() == 0 or b.std() == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])
