"""What a classifier's logits mean for a wanted label; only here is a binary task's single logit known."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def class_loss(logits: Tensor, c: Tensor, task: str) -> Tensor:
    """Cross-entropy per sample, [N], of classifier logits [N, k] and wanted labels c."""
    if task == "binary":  # one logit; c is one-hot [N, 2] with the positive class last
        wanted = c[:, 1]
        return functional.softplus((1 - 2 * wanted) * logits[:, 0])
    if task == "multiclass":  # c is one-hot [N, k]
        return functional.cross_entropy(logits, c, reduction="none")
    # Independent findings: the joint surprise is the sum over them.
    return functional.binary_cross_entropy_with_logits(logits, c, reduction="none").sum(dim=1)


def is_as_wanted(logits: Tensor, c: Tensor, task: str) -> Tensor:
    """1.0 where the classifier sees what was asked for (all findings of a vector), [N]."""
    if task == "binary":
        return ((logits[:, 0] > 0) == (c[:, 1] > 0.5)).float()
    if task == "multiclass":
        return (logits.argmax(dim=1) == c.argmax(dim=1)).float()
    return ((logits > 0) == (c > 0.5)).all(dim=1).float()
